"""Models of libraries, which fit one series at a time."""
