"""How well models find what is labelled: `python -m benchmarks.quality`."""
