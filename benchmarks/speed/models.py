"""How fast the models learn and predict, and how much they keep per series.

Run as `python -m benchmarks.speed.models`. One process, one thread, in CPU time, so that other
work on the machine counts little. Every round counts: digests fill up together and are compressed
in the same round, which the fastest round would hide.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import numpy as np

from vmanomaly.config.model import MadOnlineSection, ModelSection, ZscoreOnlineSection
from vmanomaly.config.reader import Query
from vmanomaly.model import Model, SeriesState, create_model, warm_up
from vmanomaly.series import Labels, SeriesBatch

N_SERIES = 10_000
N_PAST = 200
ROUNDS = 200
QUERY = Query.model_validate({"alias": "cpu", "expr": "cpu", "step": "1m"})
SECTIONS: tuple[ModelSection, ...] = (
    ZscoreOnlineSection(class_name="zscore_online"),
    MadOnlineSection(class_name="mad_online"),
)


class Stream:
    """Batches of noise on consecutive timestamps."""

    def __init__(self) -> None:
        self._labels = tuple(Labels({"series": str(s)}) for s in range(N_SERIES))
        self._random = np.random.default_rng(0)
        self._end = 0

    def take(self, n_timestamps: int) -> SeriesBatch:
        timestamps = np.arange(self._end, self._end + n_timestamps, dtype=np.int64)
        self._end += n_timestamps
        values = self._random.normal(size=(N_SERIES, n_timestamps))
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


def main() -> None:
    print(f"models, {N_SERIES:,} series, million points/s on one core, bytes/series")
    print(f"{'model':<16}{'fit':>8}{'x 1':>8}{f'x {N_PAST}':>8}{'bytes':>8}")
    for section in SECTIONS:
        fit, single, long, state = measure(create_model(section, QUERY))
        speeds = "".join(f"{speed / 1e6:8.1f}" for speed in (fit, single, long))
        print(f"{section.class_name:<16}{speeds}{state.bytes_per_series:8d}")


if __name__ == "__main__":
    main()
