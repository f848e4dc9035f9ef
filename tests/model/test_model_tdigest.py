from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.model.tdigest import add, capacity, compress, median_and_deviation
from vmanomaly.series import FloatArray

N = 20_000


def digest(values: FloatArray, compression: int) -> tuple[FloatArray, FloatArray, int, float]:
    means, weights = np.zeros(capacity(compression)), np.zeros(capacity(compression))
    size, total = 0, 0.0
    for value in values:
        size, total = add(means, weights, size, total, value, 1.0)
    return means, weights, size, total


def distributions(seed: int) -> dict[str, FloatArray]:
    rng = np.random.default_rng(seed)
    return {
        "normal": rng.normal(size=N),
        "heavy-tailed": rng.standard_cauchy(N),
        "skewed": rng.lognormal(0.0, 2.0, N),
        "bimodal": np.where(rng.random(N) < 0.3, rng.normal(-10, 1, N), rng.normal(10, 1, N)),
        "uniform": rng.random(N),
        "counts": rng.poisson(3.0, N).astype(np.float64),
    }


def from_both_ends(values: FloatArray) -> FloatArray:
    """Smallest, largest, second smallest, second largest, ..."""
    ascending = np.sort(values)
    return np.ravel(np.column_stack([ascending[: N // 2], ascending[: N // 2 - 1 : -1]]))


def rank_error(values: FloatArray, answer: float) -> float:
    """Return how far the answer is from having half of the values on each side."""
    below, up_to = float(np.mean(values < answer)), float(np.mean(values <= answer))
    return max(below - 0.5, 0.5 - up_to, 0.0)


@pytest.mark.parametrize(
    ("order", "median_error", "deviation_error"),
    [
        (np.asarray, 0.016, 0.02),
        (np.sort, 0.016, 0.02),
        (lambda values: np.sort(values)[::-1].copy(), 0.016, 0.02),
        (lambda values: from_both_ends(values)[::-1].copy(), 0.016, 0.02),
        # The hardest order: every new sample falls between all earlier ones.
        (from_both_ends, 0.025, 0.035),
    ],
    ids=["as drawn", "ascending", "descending", "outwards", "inwards"],
)
@pytest.mark.parametrize("name", distributions(0))
def test_rank_error_of_both_medians(
    name: str,
    order: Callable[[FloatArray], FloatArray],
    median_error: float,
    deviation_error: float,
) -> None:
    for seed in range(5):
        values = order(distributions(seed)[name])
        median, deviation = median_and_deviation(*digest(values, 100))
        assert rank_error(values, median) <= median_error
        assert rank_error(np.abs(values - median), deviation) <= deviation_error


@pytest.mark.parametrize("compression", [10, 37, 100, 500])
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 3.0))
def test_compression_bounds_the_size_and_keeps_the_sums(
    compression: int, seed: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    full = capacity(compression)
    means = np.sort(rng.normal(size=full))
    weights = np.exp(spread * rng.normal(size=full))
    weight, moment = weights.sum(), (means * weights).sum()
    size, total = compress(means, weights, full)
    assert size <= compression + 1
    assert (np.diff(means[:size]) >= 0.0).all()
    assert total == pytest.approx(weight)
    assert weights[:size].sum() == pytest.approx(weight)
    assert (means * weights)[:size].sum() == pytest.approx(moment, abs=1e-9 * weight)


def test_centroids_are_small_at_the_ends_and_bounded_in_the_middle() -> None:
    _, weights, size, total = digest(np.random.default_rng(5).normal(size=N), 100)
    shares = weights[:size] / total
    assert shares.max() <= np.pi / 100 + 1e-3
    assert max(shares[0], shares[-1]) <= 0.002


def test_equal_samples_stay_exactly_what_they_are() -> None:
    for value in (0.1, -1e300, 5e-324):
        means, weights, size, total = digest(np.full(5000, value), 100)
        assert (means[:size] == value).all()
        assert median_and_deviation(means, weights, size, total) == (value, 0.0)


def test_weights_that_vanished_do_no_harm() -> None:
    means, weights = np.arange(116.0), np.zeros(116)
    weights[-1] = 1.0
    size, total = compress(means, weights, 116)
    assert median_and_deviation(means, weights, size, total) == (115.0, 0.0)
