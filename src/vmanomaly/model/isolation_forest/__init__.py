"""Isolation forests: grown by scikit-learn, kept as arrays, scored by compiled code."""
