"""What workers gain for Prophet, next to a plain loop of joblib over the library.

Fits series of two weeks at 5 minutes and predicts the next hour of each:

    python -m benchmarks.speed.executors [--series 200]

Workers are started, and have loaded the library, before the time is taken. Every executor has to
give the predictions that one worker gives, to the bit.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from vmanomaly.config.model.prophet import ProphetSection
from vmanomaly.config.reader import Query
from vmanomaly.detector import create_detector
from vmanomaly.executor import Executor
from vmanomaly.model import create_model
from vmanomaly.series import FloatArray, Labels, SeriesBatch

STEP = 300_000
N_PAST, N_NEW, N_WARM = 14 * 288, 12, 4


class Measured(NamedTuple):
    """Seconds, and what was predicted."""

    fit_s: float
    infer_s: float
    outputs: Mapping[str, FloatArray] | None = None


def telemetry(n_series: int, first: int, n: int) -> SeriesBatch:
    timestamps = 1_750_032_000_000 + STEP * np.arange(first, first + n)
    rng = np.random.default_rng(first)
    day = np.sin(2 * np.pi * timestamps / 86_400_000)
    values = 10.0 + 3.0 * day + rng.normal(0.0, 0.3, (n_series, n))
    labels = tuple(Labels({"series": str(number)}) for number in range(n_series))
    return SeriesBatch(labels, timestamps, values)


def measured(executor: Executor, past: SeriesBatch, new: SeriesBatch) -> Measured:
    section = ProphetSection.model_validate({"class": "prophet"})
    query = Query.model_validate({"alias": "q", "expr": "q", "step": "5m"})
    detector = create_detector(create_model(section, query), section, [query], executor=executor)
    warm = past.keep(range(N_WARM))
    detector.infer(detector.fit([warm])[0], [new.keep(range(N_WARM))], np.zeros(1, np.int64))
    started = time.perf_counter()
    learned, fitted = detector.fit([past])
    fit_s = time.perf_counter() - started
    _, inferred = detector.infer(learned, [new], np.zeros(1, np.int64))
    infer_s = time.perf_counter() - started - fit_s
    assert not fitted.failures
    assert not inferred.failures
    return Measured(fit_s, infer_s, inferred.parts[0].predictions.outputs)


def plain_fit(timestamps: Any, values: Any) -> Any:
    from prophet import Prophet  # noqa: PLC0415

    warnings.simplefilter("ignore")
    frame = pd.DataFrame({"ds": timestamps.astype("datetime64[ms]"), "y": values})
    return Prophet().fit(frame)


def plain_predict(fitted: Any, timestamps: Any) -> Any:
    warnings.simplefilter("ignore")
    return fitted.predict(pd.DataFrame({"ds": timestamps.astype("datetime64[ms]")}))


def plain(past: SeriesBatch, new: SeriesBatch) -> Measured:
    parallel = Parallel(2)

    def both(batch: SeriesBatch) -> Measured:
        started = time.perf_counter()
        fits = parallel(delayed(plain_fit)(batch.timestamps, row) for row in batch.values)
        fit_s = time.perf_counter() - started
        parallel(delayed(plain_predict)(fitted, new.timestamps) for fitted in fits)
        return Measured(fit_s, time.perf_counter() - started - fit_s)

    both(past.keep(range(N_WARM)))
    return both(past)


def main() -> None:
    """Print a row for each executor, in seconds, and how much faster it is than one worker."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=int, default=200)
    n_series = parser.parse_args().series
    past, new = telemetry(n_series, 0, N_PAST), telemetry(n_series, N_PAST, N_NEW)
    runs: dict[str, Callable[[], Measured]] = {
        "1 worker": lambda: measured(Executor(), past, new),
        "2 threads": lambda: measured(Executor("threads", 2), past, new),
        "2 processes": lambda: measured(Executor("processes", 2), past, new),
        "2 tasks of Ray": lambda: measured(Executor("ray", 2), past, new),
        "2 workers of Dask": lambda: measured(Executor("dask", 2), past, new),
        "joblib and Prophet alone, 2 processes": lambda: plain(past, new),
    }
    print(f"{n_series} series, {N_PAST} points each, {N_NEW} predicted")
    print(f"| {'executed by':37} |  fit s | infer s | speed-up |")
    first: Measured | None = None
    for name, run in runs.items():
        found = run()
        first = first or found
        if found.outputs is not None and first.outputs is not None:
            for output, expected in first.outputs.items():
                np.testing.assert_array_equal(found.outputs[output], expected, f"{name}: {output}")
        speed_up = (first.fit_s + first.infer_s) / (found.fit_s + found.infer_s)
        figures = f"{found.fit_s:6.1f} | {found.infer_s:7.1f} | {speed_up:8.2f}"
        print(f"| {name:37} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
