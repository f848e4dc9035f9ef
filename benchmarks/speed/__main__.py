"""All measurements of speed, one after the other: `python -m benchmarks.speed`."""

from benchmarks.speed import encode, infer_cycle, models, scanner

for measurement in (scanner, encode, models, infer_cycle):
    measurement.main()
    print()
