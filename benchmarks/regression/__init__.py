"""Whether models still give the same numbers, to the bit: `python -m benchmarks.regression`."""
