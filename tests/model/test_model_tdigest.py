from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fastdigest import TDigest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.model.digest.tdigest import (
    add,
    capacity,
    compress,
    median_and_deviation,
    quantiles,
    renormalise,
    total_weight,
)
from vmanomaly.series import FloatArray, SingleArray

N = 20_000


def digest(values: FloatArray, compression: int) -> tuple[FloatArray, SingleArray]:
    means = np.zeros(capacity(compression))
    weights = np.zeros(capacity(compression), np.float32)
    size = 0
    for value in values:
        size = add(means, weights, size, value, 1.0, compression)
    return means[:size], weights[:size]


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
    weights = np.exp(spread * rng.normal(size=full)).astype(np.float32)
    weight, moment = weights.sum(dtype=np.float64), (means * weights).sum()
    size = compress(means, weights, compression)
    assert size <= compression + 1
    assert (np.diff(means[:size]) >= 0.0).all()
    assert weights[:size].sum(dtype=np.float64) == pytest.approx(weight, rel=1e-6)
    assert total_weight(weights[:size]) == pytest.approx(weight, rel=1e-6)
    assert (means * weights)[:size].sum() == pytest.approx(moment, abs=1e-6 * weight)


def test_centroids_are_small_at_the_ends_and_bounded_in_the_middle() -> None:
    _, weights = digest(np.random.default_rng(5).normal(size=N), 100)
    shares = weights / N
    assert shares.max() <= np.pi / 100 + 1e-3
    assert max(shares[0], shares[-1]) <= 0.002


def test_equal_samples_stay_exactly_what_they_are() -> None:
    for value in (0.1, -1e300, 5e-324):
        means, weights = digest(np.full(5000, value), 100)
        assert (means == value).all()
        assert median_and_deviation(means, weights) == (value, 0.0)


def test_weights_that_vanished_do_no_harm() -> None:
    means, weights = np.arange(116.0), np.zeros(116, np.float32)
    weights[-1] = 1.0
    size = compress(means, weights, 100)
    assert median_and_deviation(means[:size], weights[:size]) == (115.0, 0.0)


@given(
    st.lists(
        st.one_of(st.floats(-1e9, 1e9), st.integers(-3, 3).map(float)), min_size=1, max_size=100
    ),
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8).map(sorted),
)
def test_quantiles_are_exact_until_samples_are_merged(
    values: list[float], probabilities: list[float]
) -> None:
    answers = np.empty(len(probabilities))
    quantiles(*digest(np.array(values), 100), np.array(probabilities), answers)
    expected = np.quantile(values, probabilities, method="hazen")
    tolerance = 1e-12 * max(map(abs, values)) + 1e-300
    np.testing.assert_allclose(answers, expected, rtol=1e-12, atol=tolerance)


PROBABILITIES = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])


def quantile_errors(values: FloatArray, answers: FloatArray) -> FloatArray:
    """Return how far the rank of each answer is from what was asked for."""
    ascending = np.sort(values)
    below = np.searchsorted(ascending, answers, side="left") / len(values)
    up_to = np.searchsorted(ascending, answers, side="right") / len(values)
    errors: FloatArray = np.maximum(np.maximum(below - PROBABILITIES, PROBABILITIES - up_to), 0.0)
    return errors


@pytest.mark.parametrize("order", [np.asarray, np.sort], ids=["as drawn", "ascending"])
@pytest.mark.parametrize("name", distributions(0))
def test_rank_error_of_quantiles_is_small_and_smaller_at_the_ends(
    name: str, order: Callable[[FloatArray], FloatArray]
) -> None:
    for seed in range(5):
        values = order(distributions(seed)[name])
        answers = np.empty(len(PROBABILITIES))
        quantiles(*digest(values, 100), PROBABILITIES, answers)
        errors = quantile_errors(values, answers)
        assert errors.max() <= 0.016
        assert max(errors[0], errors[-1]) <= 0.004


def test_it_is_about_as_exact_as_another_implementation_with_as_many_centroids() -> None:
    ours = theirs = 0.0
    for name, values in distributions(7).items():
        if name == "counts":
            continue  # Between equal samples, ranks jump.
        answers = np.empty(len(PROBABILITIES))
        quantiles(*digest(values, 100), PROBABILITIES, answers)
        ours += quantile_errors(values, answers).mean()
        # Compressed at 100, a digest of many samples has 66 centroids.
        other = TDigest(max_centroids=66)
        for value in values:
            other.update(value)
        answers = np.array([other.quantile(p) for p in PROBABILITIES])
        theirs += quantile_errors(values, answers).mean()
    assert ours <= 1.5 * theirs


def test_weights_are_made_smaller_without_vanishing() -> None:
    weights = np.array([1.0, 3.0, 0.0], np.float32)
    renormalise(weights, 8.0)
    assert weights.tolist() == [0.125, 0.375, 0.0]
    renormalise(weights, 1e300)
    assert total_weight(weights) == pytest.approx(1e-30)
