"""The envelope of every channel of a group, and what the channels do together."""
