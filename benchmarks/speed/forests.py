"""How fast isolation forests score, compared with scikit-learn on the same trees.

Run as `python -m benchmarks.speed.forests`. One thread, in CPU time, so that other work on the
machine counts little. scikit-learn scores one forest after the other, as it has no other way.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import process_time

import numpy as np
from sklearn.ensemble import IsolationForest

from vmanomaly.model.base import warm_up
from vmanomaly.model.isolation_forest.model import IsolationForestModel
from vmanomaly.series import Labels, SeriesBatch

STEP = 300_000
N_PAST = 4_032
N_GROWN = 20
"""Forests that are grown; more series than that share them."""
N_SERIES = 1_000


def main() -> None:
    """Print a line for each of some sizes."""
    rng = np.random.default_rng(0)
    past = rng.normal(50.0, 5.0, (N_GROWN, N_PAST))
    model = IsolationForestModel(contamination=0.01)
    warm_up(model)
    started = process_time()
    state = model.fit(_batch(past, 0))
    fit_s = process_time() - started
    forests = [IsolationForest(contamination=0.01, random_state=42) for _ in past]
    sklearn_fit_s = _time(
        lambda: [forest.fit(row[:, None]) for forest, row in zip(forests, past, strict=True)], 1
    )
    print(
        f"fit of {N_PAST:,} points: {1000 * fit_s / N_GROWN:.0f} ms per series, "
        f"scikit-learn {1000 * sklearn_fit_s / N_GROWN:.0f} ms; "
        f"{state.bytes_per_series / 1000:.0f} KB per series"
    )
    grown = {name: array.copy() for name, array in state.arrays().items()}
    while len(state) < N_SERIES:
        state.append(model.restore(_labels(len(state), N_GROWN), grown))
    for n_series, n_points in ((1, 1), (N_SERIES, 1), (1, N_PAST)):
        values = rng.normal(50.0, 5.0, (n_series, n_points))
        present = _batch(values, N_PAST)
        starts = np.zeros(1, np.int64)

        def ours(present: SeriesBatch = present, starts: np.ndarray = starts) -> object:
            state.last_seen[:] = 0
            return model.infer(state, present, starts)

        def theirs(values: np.ndarray = values) -> object:
            return [
                forests[row % N_GROWN].decision_function(each[:, None])
                for row, each in enumerate(values)
            ]

        n_times = max(200 // n_series, 5) if n_points == 1 else 10
        ours_s = _time(ours, n_times)
        theirs_s = _time(theirs, 1 if n_series > 1 else n_times)
        print(
            f"{n_series:,} series of {n_points:,} points: {1000 * ours_s:.3f} ms, "
            f"scikit-learn {1000 * theirs_s:.1f} ms: {theirs_s / ours_s:.1f} times as fast"
        )


def _time(work: Callable[[], object], n_times: int) -> float:
    """Return the seconds of CPU time that one call takes."""
    gc.collect()
    started = process_time()
    for _ in range(n_times):
        work()
    return (process_time() - started) / n_times


def _batch(values: np.ndarray, start: int) -> SeriesBatch:
    timestamps = STEP * (1 + start + np.arange(values.shape[1]))
    return SeriesBatch(_labels(0, len(values)), timestamps, values)


def _labels(first: int, n: int) -> tuple[Labels, ...]:
    return tuple(Labels({"series": str(number)}) for number in range(first, first + n))


if __name__ == "__main__":
    main()
