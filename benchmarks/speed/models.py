"""How fast the models learn and predict, and how much they keep per series, compared with `river`.

Run as `python -m benchmarks.speed.models`. One process, one thread, in CPU time, so that other
work on the machine counts little. Every round counts: digests fill up together and are compressed
in the same round, which the fastest round would hide.

What `river` does on the same points is one object a series that scores or predicts and then
learns, where it has something near: `anomaly.GaussianScorer` (mean and deviation), `stats.MAD`
(a median of distances from running medians; not an anomaly model, of which it has none that is
robust), `stats.Quantile` (P², no seasons) and `stats.RollingQuantile`. It has no seasonal
decomposition of this kind.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
from river import anomaly, stats

from vmanomaly.config.model import ModelSection
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.detector import create_detector
from vmanomaly.model import Model, SeriesState, create_model, warm_up
from vmanomaly.series import Labels, SeriesBatch

N_SERIES = 10_000
N_PAST = 200
ROUNDS = 200
RIVER_ROUNDS = 10
STEP = 60_000
SIZES = {1: 3_000, 100: 1_000, 10_000: 30}
"""How many infer cycles are measured over so many series."""

QUERY = Query.model_validate({"alias": "cpu", "expr": "cpu", "step": "1m"})


_GAUSSIAN: Any = anomaly.GaussianScorer


class GaussianScorer:
    def __init__(self) -> None:
        self._model: Any = _GAUSSIAN(grace_period=16)

    def step(self, y: float) -> None:
        self._model.score_one(None, y)
        self._model.learn_one(None, y)


class Statistics:
    def __init__(self, *statistics: Any) -> None:
        self._statistics = statistics

    def step(self, y: float) -> None:
        for statistic in self._statistics:
            statistic.get()
            statistic.update(y)


class Case(NamedTuple):
    """A model with the points per second it has to reach, and what `river` has instead."""

    keys: dict[str, Any]
    remark: str = ""
    target: float | None = None
    river: Callable[[], GaussianScorer | Statistics] | None = None

    @property
    def name(self) -> str:
        return f"{self.keys['class']} {self.remark}".strip()

    def section(self) -> ModelSection:
        return MODELS[self.keys["class"]].section.model_validate(self.keys)


CASES = (
    Case({"class": "zscore_online"}, target=5e6, river=GaussianScorer),
    Case({"class": "mad_online"}, target=1e6, river=lambda: Statistics(stats.MAD())),
    Case(
        {"class": "quantile_online"},
        target=1e6,
        river=lambda: Statistics(*(stats.Quantile(q) for q in (0.01, 0.5, 0.99))),
    ),
    Case(
        {"class": "quantile_online", "seasonal_interval": "7d", "min_subseason": "1h"},
        "7d/1h",
        target=1e6,
    ),
    Case(
        {
            "class": "quantile_online",
            "seasonal_interval": "1d",
            "min_subseason": "1h",
            "quantiles": [0.25, 0.5, 0.75],
            "iqr_threshold": 2,
            "global_smoothing": 0.2,
        },
        "1d/1h, smoothed",
    ),
    Case({"class": "temporal_envelope"}, target=1e6),
    Case({"class": "temporal_envelope", "forecast_at": ["1h", "1d"]}, "with forecasts"),
    Case(
        {"class": "rolling_quantile", "quantile": 0.9, "window_steps": 96},
        "96 steps",
        river=lambda: Statistics(*(stats.RollingQuantile(q, 96) for q in (0.1, 0.5, 0.9))),
    ),
    Case(
        {"class": "rolling_quantile", "quantile": 0.9, "window_steps": 96, "decay": 0.99},
        "96 steps, decay",
    ),
    Case({"class": "std", "period": 24}, "24 points"),
    Case({"class": "std", "period": 288}, "288 points"),
)


class Stream:
    """Batches of noise on consecutive minutes."""

    def __init__(self, n_series: int = N_SERIES) -> None:
        self._labels = tuple(Labels({"series": str(s)}) for s in range(n_series))
        self._random = np.random.default_rng(0)
        self._end = 0

    def take(self, n_timestamps: int) -> SeriesBatch:
        timestamps = STEP * np.arange(self._end, self._end + n_timestamps, dtype=np.int64)
        self._end += n_timestamps
        values = self._random.normal(size=(len(self._labels), n_timestamps))
        return SeriesBatch(self._labels, timestamps, values)


def points_per_second(
    stream: Stream, n_timestamps: int, rounds: int, work: Callable[[SeriesBatch], object]
) -> float:
    elapsed = 0.0
    for _ in range(rounds):
        batch = stream.take(n_timestamps)
        started = process_time()
        work(batch)
        elapsed += process_time() - started
    return rounds * N_SERIES * n_timestamps / elapsed


def measure(model: Model) -> tuple[float, float, float, SeriesState]:
    """Points/s of fit, of infer a point at a time, and of infer over long rows; and the state."""
    warm_up(model)
    stream = Stream()
    fit = points_per_second(stream, N_PAST, 3, model.fit)
    state = model.fit(stream.take(N_PAST))
    one = np.zeros(1, np.int64)
    each = np.arange(N_PAST, dtype=np.int64)
    single = points_per_second(stream, 1, ROUNDS, lambda batch: model.infer(state, batch, one))
    long = points_per_second(stream, N_PAST, 3, lambda batch: model.infer(state, batch, each))
    return fit, single, long, state


def measure_river(number: int) -> tuple[float, int]:
    """Points/s and resident bytes a series of one object a series, for the case `number`.

    To be run in a process of its own, where no memory that was freed before is used again.
    """
    create = CASES[number].river
    assert create
    stream = Stream()
    past = stream.take(N_PAST)
    gc.collect()
    before = resident_bytes()
    detectors = [create() for _ in range(N_SERIES)]

    def walk(batch: SeriesBatch) -> None:
        for detector, row in zip(detectors, batch.values, strict=True):
            for y in row.tolist():
                detector.step(y)

    walk(past)
    n_bytes = (resident_bytes() - before) // N_SERIES
    return points_per_second(stream, 1, RIVER_ROUNDS, walk), n_bytes


def resident_bytes() -> int:
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


def cycle_per_series(case: Case, n_series: int, rounds: int) -> float:
    """Seconds a series of an infer as the service runs it: infer, scores, policies."""
    section = case.section()
    detector = create_detector(create_model(section, QUERY), section, [QUERY])
    stream = Stream(n_series)
    learned, _ = detector.fit([stream.take(N_PAST)])
    one = np.zeros(1, np.int64)
    for _ in range(3):
        assert not detector.infer(learned, [stream.take(1)], one)[1].failures
    elapsed = 0.0
    for _ in range(rounds):
        batch = stream.take(1)
        started = process_time()
        detector.infer(learned, [batch], one)
        elapsed += process_time() - started
    return elapsed / rounds / n_series


def main() -> None:
    print(f"models, {N_SERIES:,} series, million points/s on one core, bytes/series")
    print(
        f"{'model':<32}{'fit':>8}{'x 1':>8}{f'x {N_PAST}':>8}{'bytes':>8}"
        f"{'river':>8}{'ratio':>7}{'bytes':>8}  to reach"
    )
    for number, case in enumerate(CASES):
        fit, single, long, state = measure(create_model(case.section(), QUERY))
        line = "".join(f"{speed / 1e6:8.2f}" for speed in (fit, single, long))
        line = f"{case.name:<32}{line}{state.bytes_per_series:8,d}"
        if case.river:
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                speed, n_bytes = process.submit(measure_river, number).result()
            line += f"{speed / 1e6:8.2f}{single / speed:6.0f}x{n_bytes:8,d}"
        elif case.target:
            line += " " * 23
        if case.target:
            verdict = "met" if min(single, long) >= case.target else "NOT met"
            line += f"  {case.target / 1e6:.0f}, {verdict}"
        print(line, flush=True)

    print("\nan infer cycle of a detector, 1 new point a series, CPU time per series, microseconds")
    print(f"{'model':<32}" + "".join(f"{f'{n:,} series':>16}" for n in SIZES))
    for case in CASES:
        costs = [cycle_per_series(case, n, rounds) for n, rounds in SIZES.items()]
        print(f"{case.name:<32}" + "".join(f"{1e6 * cost:16.2f}" for cost in costs), flush=True)


if __name__ == "__main__":
    main()
