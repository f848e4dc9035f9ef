"""Predictions as the bodies of requests."""
