"""Error and speed of the digests of two online models, compared with those of `fastdigest`.

The error is the distance of the answer's rank from what was asked for, over streams of 20,000
samples and quantiles from 0.01 to 0.99. Of two digests, the one with as many centroids as ours
keeps in the end, and the one with as many as our `compression`.

Speed is in CPU time: many digests that get one sample each, as in a run of the service, and one
digest that gets many.

Run it with `python -m benchmarks.speed.digests`.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import numpy as np
from fastdigest import TDigest

from vmanomaly.kernel import kernel
from vmanomaly.model.digest.tdigest import add, capacity, quantiles
from vmanomaly.series import FloatArray, IntArray, SingleArray

COMPRESSION = 100
N_CENTROIDS = 66
"""What is left of many samples at that compression."""

N_SAMPLES = 20_000
N_STREAMS = 5
N_DIGESTS = 10_000
N_PAST = 200
N_ROUNDS = 50
PROBABILITIES = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])

DISTRIBUTIONS: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "normal": lambda rng: rng.normal(size=N_SAMPLES),
    "heavy-tailed (Cauchy)": lambda rng: rng.standard_cauchy(N_SAMPLES),
    "skewed (log-normal)": lambda rng: rng.lognormal(0.0, 2.0, N_SAMPLES),
    "bimodal": lambda rng: np.where(
        rng.random(N_SAMPLES) < 0.3, rng.normal(-10, 1, N_SAMPLES), rng.normal(10, 1, N_SAMPLES)
    ),
    "uniform": lambda rng: rng.random(N_SAMPLES),
}


@kernel
def learn(
    means: FloatArray, weights: SingleArray, sizes: IntArray, samples: FloatArray, compression: int
) -> None:
    """Add a row of samples to each digest."""
    for row in range(len(sizes)):
        size = sizes[row]
        for value in samples[row]:
            size = add(means[row], weights[row], size, value, 1.0, compression)
        sizes[row] = size


@kernel
def ask(
    means: FloatArray,
    weights: SingleArray,
    sizes: IntArray,
    probabilities: FloatArray,
    answers: FloatArray,
) -> None:
    """Fill a row of answers for each digest."""
    for row in range(len(sizes)):
        size = sizes[row]
        quantiles(means[row, :size], weights[row, :size], probabilities, answers[row])


class Digests:
    """As many digests as rows of samples, in arrays."""

    def __init__(self, n: int) -> None:
        self._means = np.empty((n, capacity(COMPRESSION)))
        self._weights = np.empty((n, capacity(COMPRESSION)), np.float32)
        self._sizes = np.zeros(n, np.int64)

    def update(self, samples: FloatArray) -> None:
        learn(self._means, self._weights, self._sizes, samples, COMPRESSION)

    def quantiles(self) -> FloatArray:
        answers = np.empty((len(self._sizes), len(PROBABILITIES)))
        ask(self._means, self._weights, self._sizes, PROBABILITIES, answers)
        return answers


class FastDigests:
    """The same of `fastdigest`, an object each."""

    def __init__(self, n: int, n_centroids: int) -> None:
        self._digests = [TDigest(max_centroids=n_centroids) for _ in range(n)]

    def update(self, samples: FloatArray) -> None:
        if samples.shape[1] == 1:
            for digest, value in zip(self._digests, samples[:, 0].tolist(), strict=True):
                digest.update(value)
        else:
            for digest, row in zip(self._digests, samples, strict=True):
                digest.batch_update(row)

    def quantiles(self) -> FloatArray:
        return np.array([digest.quantile_vec(PROBABILITIES.tolist()) for digest in self._digests])


Kind = Callable[[int], Digests | FastDigests]
KINDS: dict[str, Kind] = {
    "ours": Digests,
    f"fastdigest {N_CENTROIDS}": lambda n: FastDigests(n, N_CENTROIDS),
    f"fastdigest {COMPRESSION}": lambda n: FastDigests(n, COMPRESSION),
}


def rank_errors(samples: FloatArray, answers: FloatArray) -> FloatArray:
    """Return how far the ranks of the answers are from what was asked for."""
    ascending = np.sort(samples)
    below = np.searchsorted(ascending, answers, side="left") / len(samples)
    up_to = np.searchsorted(ascending, answers, side="right") / len(samples)
    errors: FloatArray = np.maximum(np.maximum(below - PROBABILITIES, PROBABILITIES - up_to), 0.0)
    return errors


def errors_of(create: Kind, streams: list[FloatArray]) -> FloatArray:
    """Return the errors of digests that get one sample after the other."""
    errors = []
    for samples in streams:
        digest = create(1)
        for value in samples[:, None, None]:
            digest.update(value)
        errors.append(rank_errors(samples, digest.quantiles()[0]))
    return np.array(errors)


def nanoseconds(create: Kind) -> tuple[float, float, float, float]:
    """CPU time per sample of many digests, per digest that is asked, both, and of one digest."""
    rng = np.random.default_rng(0)
    many = create(N_DIGESTS)
    many.update(rng.normal(size=(N_DIGESTS, N_PAST)))
    learned = asked = 0.0
    for _ in range(N_ROUNDS):
        samples = rng.normal(size=(N_DIGESTS, 1))
        started = process_time()
        many.update(samples)
        between = process_time()
        many.quantiles()
        learned += between - started
        asked += process_time() - between
    one = create(1)
    samples = rng.normal(size=(1, 1_000_000))
    started = process_time()
    one.update(samples)
    alone = process_time() - started
    per_point = 1e9 / N_ROUNDS / N_DIGESTS
    learning, asking = learned * per_point, asked * per_point
    return learning, asking, learning + asking, 1e9 * alone / samples.size


def main() -> None:
    print(
        f"digests of compression {COMPRESSION}: rank errors, largest and mean of {N_STREAMS} "
        f"streams of {N_SAMPLES:,} samples"
    )
    print(f"{'samples':<32}" + "".join(f"{kind:>20}" for kind in KINDS))
    sorted_streams = []
    for name, draw in DISTRIBUTIONS.items():
        streams = [draw(np.random.default_rng(seed)) for seed in range(N_STREAMS)]
        sorted_streams += [np.sort(stream) for stream in streams]
        print_errors(name, streams)
    print_errors("any of these, sorted", sorted_streams)

    print(f"\nnanoseconds per sample, {N_DIGESTS:,} digests")
    print(f"{'':<32}" + "".join(f"{kind:>20}" for kind in KINDS))
    Digests(1).update(np.zeros((1, 1)))
    Digests(1).quantiles()
    speeds = [nanoseconds(create) for create in KINDS.values()]
    rows = ("one sample to each", "7 quantiles of each", "both", "a million samples to one")
    for name, row in zip(rows, zip(*speeds, strict=True), strict=True):
        print(f"{name:<32}" + "".join(f"{value:20.0f}" for value in row))


def print_errors(name: str, streams: list[FloatArray]) -> None:
    cells = ""
    for create in KINDS.values():
        errors = errors_of(create, streams)
        cells += f"{errors.max():12.4f}{errors.mean():8.4f}"
    print(f"{name:<32}{cells}", flush=True)


if __name__ == "__main__":
    main()
