"""From files to a valid configuration, or to every problem in them."""
