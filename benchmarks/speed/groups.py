"""How fast groups of series are scored jointly and learned, by how many channels they have.

Run as `python -m benchmarks.speed.groups`. One process, one thread, in CPU time; samples of
channels, whose groups share two loads. What is measured is a detector: the model, scores, policies.
"""

from __future__ import annotations

from time import process_time

import numpy as np

from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.detector import create_detector
from vmanomaly.model.registry import create_multivariate_model
from vmanomaly.series import FloatArray, Labels, SeriesBatch

N_SERIES = 10_000
N_PAST = 300
N_LONG = 200
ROUNDS = 50
STEP = 60_000
SIZES = (2, 5, 10, 20, 50)

QUERY = Query.model_validate({"alias": "load", "expr": "load", "step": "1m"})


class Stream:
    """Batches of groups on consecutive minutes."""

    def __init__(self, n_channels: int) -> None:
        self._shape = (N_SERIES // n_channels, n_channels)
        self._random = np.random.default_rng(0)
        self._loadings = self._random.normal(size=(*self._shape, 2))
        self._labels = tuple(
            Labels({"__name__": f"channel_{c}", "group": str(g)})
            for g in range(self._shape[0])
            for c in range(n_channels)
        )
        self._end = 0

    def take(self, n_timestamps: int) -> SeriesBatch:
        timestamps = STEP * np.arange(self._end, self._end + n_timestamps, dtype=np.int64)
        self._end += n_timestamps
        loads = self._random.normal(size=(self._shape[0], 2, n_timestamps))
        noise = self._random.normal(size=(*self._shape, n_timestamps))
        values: FloatArray = (0.5 * self._loadings @ loads + noise).reshape(-1, n_timestamps)
        return SeriesBatch(self._labels, timestamps, values)


def measure(n_channels: int) -> tuple[float, float, float]:
    """Samples/s of fit, of infer a point at a time, and of infer over long rows."""
    section = MODELS["temporal_envelope_multivariate"].section.model_validate(
        {"class": "temporal_envelope_multivariate", "groupby": ["group"]}
    )
    detector = create_detector(create_multivariate_model(section, [QUERY]), section, [QUERY])
    stream = Stream(n_channels)
    past = stream.take(N_PAST)
    started = process_time()
    learned, _ = detector.fit([past])
    fit = past.values.size / (process_time() - started)
    one = np.zeros(1, np.int64)
    # The first ones compile, and find the channels.
    for _ in range(2):
        detector.infer(learned, [stream.take(1)], one)
    elapsed = n_samples = 0.0
    for _ in range(ROUNDS):
        batch = stream.take(1)
        started = process_time()
        assert not detector.infer(learned, [batch], one)[1].failures
        elapsed += process_time() - started
        n_samples += batch.values.size
    rows = stream.take(N_LONG)
    started = process_time()
    detector.infer(learned, [rows], np.arange(N_LONG))
    return fit, n_samples / elapsed, rows.values.size / (process_time() - started)


def main() -> None:
    print(f"groups, {N_SERIES:,} channels in all, million samples/s on one core")
    print(f"{'channels of a group':<32}{'fit':>8}{'x 1':>8}{f'x {N_LONG}':>8}")
    for n_channels in SIZES:
        speeds = "".join(f"{speed / 1e6:8.2f}" for speed in measure(n_channels))
        print(f"{n_channels:<32}{speeds}", flush=True)


if __name__ == "__main__":
    main()
