"""The kinds of values that a key can have."""
