"""The envelope of every channel of a group, and the dependency between the channels."""
