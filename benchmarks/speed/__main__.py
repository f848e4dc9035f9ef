"""All measurements of speed, one after the other: `python -m benchmarks.speed`."""

from benchmarks.speed import (
    digests,
    encode,
    fetch,
    fit_memory,
    groups,
    infer_cycle,
    models,
    scanner,
    state,
)

for measurement in (
    scanner,
    fetch,
    encode,
    digests,
    models,
    groups,
    infer_cycle,
    fit_memory,
    state,
):
    measurement.main()
    print()
