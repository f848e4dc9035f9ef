"""What workers gain for Prophet, next to a plain loop of joblib over the library.

Fits and predicts series of two weeks at 5 minutes with one worker, two processes and two actors of
Ray: `python -m benchmarks.speed.executors [SERIES]`, in seconds.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from vmanomaly.config.model.prophet import ProphetSection
from vmanomaly.config.reader import Query
from vmanomaly.detector import create_detector
from vmanomaly.executor import Executor
from vmanomaly.model import create_model
from vmanomaly.series import Labels, SeriesBatch

STEP = 300_000
N_PAST, N_NEW = 14 * 288, 12


def telemetry(n_series: int, first: int, n: int) -> SeriesBatch:
    timestamps = 1_750_032_000_000 + STEP * np.arange(first, first + n)
    rng = np.random.default_rng(first)
    day = np.sin(2 * np.pi * timestamps / 86_400_000)
    values = 10.0 + 3.0 * day + rng.normal(0.0, 0.3, (n_series, n))
    labels = tuple(Labels({"series": str(number)}) for number in range(n_series))
    return SeriesBatch(labels, timestamps, values)


def measured(executor: Executor, past: SeriesBatch, new: SeriesBatch) -> tuple[float, float]:
    section = ProphetSection.model_validate({"class": "prophet"})
    query = Query.model_validate({"alias": "q", "expr": "q", "step": "5m"})
    detector = create_detector(create_model(section, query), section, [query], executor=executor)
    # Workers are started, and have loaded the library.
    warm = past.keep(range(4))
    detector.infer(detector.fit([warm])[0], [new.keep(range(4))], np.zeros(1, np.int64))
    started = time.perf_counter()
    learned, fitted = detector.fit([past])
    fit_s = time.perf_counter() - started
    _, inferred = detector.infer(learned, [new], np.zeros(1, np.int64))
    assert not fitted.failures
    assert not inferred.failures
    return fit_s, time.perf_counter() - started - fit_s


def plain_fit(timestamps: Any, values: Any) -> Any:
    from prophet import Prophet  # noqa: PLC0415

    warnings.simplefilter("ignore")
    frame = pd.DataFrame({"ds": timestamps.astype("datetime64[ms]"), "y": values})
    return Prophet().fit(frame)


def plain_predict(fitted: Any, timestamps: Any) -> Any:
    warnings.simplefilter("ignore")
    return fitted.predict(pd.DataFrame({"ds": timestamps.astype("datetime64[ms]")}))


def plain(past: SeriesBatch, new: SeriesBatch) -> tuple[float, float]:
    parallel = Parallel(2)

    def both(batch: SeriesBatch) -> tuple[float, float]:
        started = time.perf_counter()
        fits = parallel(delayed(plain_fit)(batch.timestamps, row) for row in batch.values)
        fit_s = time.perf_counter() - started
        parallel(delayed(plain_predict)(fitted, new.timestamps) for fitted in fits)
        return fit_s, time.perf_counter() - started - fit_s

    both(past.keep(range(4)))
    return both(past)


def main() -> None:
    n_series = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    past, new = telemetry(n_series, 0, N_PAST), telemetry(n_series, N_PAST, N_NEW)
    runs: dict[str, Callable[[], tuple[float, float]]] = {
        "1 worker": lambda: measured(Executor(), past, new),
        "2 processes": lambda: measured(Executor("processes", 2), past, new),
        "joblib and Prophet alone, 2 processes": lambda: plain(past, new),
        "2 actors of Ray": lambda: measured(Executor("ray", 2), past, new),
    }
    for name, run in runs.items():
        fit_s, infer_s = run()
        print(f"{name}: fit {fit_s:.1f} s, infer {infer_s:.1f} s", flush=True)


if __name__ == "__main__":
    main()
