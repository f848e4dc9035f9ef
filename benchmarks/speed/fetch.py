"""A large range query of a real VictoriaMetrics: the reader, a plain parser, and the bare fetch.

1,000 series with a day of one-minute samples. The bare fetch reads the answer and looks at nothing;
the plain parser hands it to `orjson` and `float`. Run it with `python -m benchmarks.speed.fetch`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import urllib3

from benchmarks.speed.fit_memory import load
from benchmarks.speed.infer_cycle import EXPRESSION, config_of
from benchmarks.speed.scanner import parse
from tests.integration.servers import VictoriaMetrics
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader, warm_up
from vmanomaly.series import TimeRange

N_SERIES, N_POINTS, STEP = 1_000, 1_440, 60_000
START = 1_750_000_020_000
ROUNDS = 7


def main() -> None:
    with tempfile.TemporaryDirectory() as name, VictoriaMetrics(Path(name)) as vm:
        load(vm, N_SERIES, N_POINTS)
        config = config_of(vm.url, Path(name), {})
        query = config.reader.queries["cpu"]
        whole = TimeRange(START, START + N_POINTS * STEP)
        grid = whole.grid(STEP)
        warm_up(config.reader)
        reader = create_reader(config.reader, Metrics())
        with urllib3.PoolManager(retries=False) as http:

            def fetch() -> bytes:
                answer = http.request(
                    "POST",
                    f"{vm.url}/api/v1/query_range",
                    fields={
                        "query": EXPRESSION,
                        "start": str(grid[0] / 1000),
                        "end": str(grid[-1] / 1000),
                        "step": str(STEP / 1000),
                    },
                    encode_multipart=False,
                )
                assert answer.status == 200
                return answer.data

            ways: dict[str, Callable[[], object]] = {
                "bare fetch": fetch,
                "reader": lambda: reader.read(query, whole, "bench", stage="fit").values,
                "fetch, orjson, float": lambda: parse(fetch(), grid),
            }
            n_bytes = len(fetch())
            assert np.array_equal(ways["reader"](), ways["fetch, orjson, float"]())  # type: ignore[arg-type]
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for way, run in ways.items():
                    started = perf_counter()
                    run()
                    seconds[way].append(perf_counter() - started)
        reader.close()
    bare = median(seconds["bare fetch"])
    print(f"read {N_SERIES:,} series x {N_POINTS:,} samples, {n_bytes / 1e6:.0f} MB")
    for way, taken in seconds.items():
        print(f"  {way:<22}{median(taken):7.3f} s, {median(taken) / bare:5.2f} x the bare fetch")


if __name__ == "__main__":
    main()
