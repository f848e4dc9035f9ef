"""All measurements of speed, one after the other: `python -m benchmarks.speed`."""

from benchmarks.speed import (
    digests,
    encode,
    fetch,
    fit_memory,
    infer_cycle,
    models,
    scanner,
    state,
)

for measurement in (scanner, fetch, encode, digests, models, infer_cycle, fit_memory, state):
    measurement.main()
    print()
