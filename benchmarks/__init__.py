"""Measurements of the product: how fast, how small, how good."""
