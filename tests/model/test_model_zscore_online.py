from __future__ import annotations

import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from vmanomaly.model.zscore_online import OnlineZscoreModel
from vmanomaly.series import FloatArray, Labels, SeriesBatch

LABELS = (Labels({"job": "api"}),)


def model(decay: float = 1.0, history_strength: float = 1.0) -> OnlineZscoreModel:
    return OnlineZscoreModel(
        z_threshold=2.5, decay=decay, min_n_samples_seen=16, history_strength=history_strength
    )


def batch(values: list[float] | FloatArray, start: int = 0) -> SeriesBatch:
    return SeriesBatch(LABELS, start + np.arange(len(values)), np.array([values], np.float64))


def walk(
    zscore: OnlineZscoreModel, past: FloatArray, present: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Means and half widths seen by each point of `present`, one at a time."""
    starts = np.arange(len(present))
    outputs = zscore.infer(zscore.fit(batch(past)), batch(present, len(past)), starts).outputs
    yhat, lower, upper = (outputs[name][0] for name in ("yhat", "yhat_lower", "yhat_upper"))
    # Each bound is rounded on its own.
    rounding = np.finfo(np.float64).eps * np.maximum(np.abs(lower), np.abs(upper))
    assert (np.abs((yhat - lower) - (upper - yhat)) <= 2.0 * rounding).all()
    return yhat, upper - yhat


def half_width(mean: float, deviation: float) -> float:
    return max(2.5 * deviation, 1e-9 * abs(mean), 1e-12)


@examples(50)
@given(st.lists(st.integers(-(10**6), 10**6).map(float), min_size=2, max_size=40))
def test_without_decay_it_is_mean_and_standard_deviation(values: list[float]) -> None:
    yhat, half_widths = walk(model(), np.array(values[:1]), np.array([*values[1:], 0.0]))
    for n in range(1, len(values) + 1):
        seen = [Fraction(value) for value in values[:n]]
        mean = float(statistics.mean(seen))
        assert yhat[n - 1] == pytest.approx(mean, rel=1e-12, abs=1e-9)
        deviation = math.sqrt(statistics.variance(seen)) if n > 1 else 0.0
        expected = half_width(mean, deviation)
        rounding = 4.0 * math.ulp(1e6 + expected)
        assert half_widths[n - 1] == pytest.approx(expected, rel=1e-9, abs=rounding)


@pytest.mark.parametrize("decay", [1.0, 0.999, 0.9, 0.3, 1e-6])
@pytest.mark.parametrize("history_strength", [1.0, 2.0, 7.5])
def test_with_weights_it_is_the_weighted_formula(decay: float, history_strength: float) -> None:
    rng = np.random.default_rng(3)
    past, present = rng.normal(100.0, 3.0, 50), rng.normal(110.0, 5.0, 80)
    yhat, half_widths = walk(model(decay, history_strength), past, present)
    for t in range(len(present)):
        seen = np.concatenate([past, present[:t]]).astype(np.longdouble)
        weights = np.longdouble(decay) ** np.arange(len(seen) - 1, -1, -1)
        weights[: len(past)] *= history_strength
        total = weights.sum()
        mean = (weights * seen).sum() / total
        # W - V2/W by pairs, so that the formula itself does not cancel.
        pairs = 2.0 * sum((weights[lag:] * weights[:-lag]).sum() for lag in range(1, len(weights)))
        variance = (weights * (seen - mean) ** 2).sum() / (pairs / total)
        assert yhat[t] == pytest.approx(float(mean), rel=1e-12)
        expected = half_width(float(mean), float(np.sqrt(variance)))
        assert half_widths[t] == pytest.approx(expected, rel=1e-9, abs=1e-13)


def test_a_large_offset_costs_little_precision() -> None:
    # Condition number 1e9: sums of squares would lose every digit (1e18 * 1e-16).
    values = np.random.default_rng(4).normal(1e9, 1.0, 10_000)
    state = model().fit(batch(values))
    variance = state["root"][0] ** 2 * state["weight"][0] / state["pair_weight"][0]
    exact = [Fraction(value) for value in values]
    assert variance == pytest.approx(float(statistics.variance(exact)), rel=1e-6)
    assert state["mean"][0] == pytest.approx(float(statistics.mean(exact)), rel=1e-13)


@pytest.mark.parametrize("decay", [1e-200, 1e-18, 1e-3])
def test_a_fast_decay_forgets_a_large_sample_without_rounding(decay: float) -> None:
    values = [2.0**53 + 4.0, 1.0, 3.0]
    weights = [Fraction(decay) ** 2, Fraction(decay), Fraction(1)]
    exact = sum(w * Fraction(y) for w, y in zip(weights, values, strict=True)) / sum(weights)
    assert model(decay).fit(batch(values))["mean"][0] == pytest.approx(float(exact), rel=1e-15)


def test_the_largest_and_smallest_floats() -> None:
    yhat, half_widths = walk(model(), np.array([1e300, 3e300, 2e300]), np.array([0.0]))
    assert (yhat[0], half_widths[0]) == (pytest.approx(2e300), pytest.approx(2.5e300))
    yhat, half_widths = walk(model(), np.array([1.7e308, -1.7e308]), np.array([0.0]))
    assert yhat[0] == pytest.approx(0.0, abs=1e292)
    state = model().fit(batch([1e-300, 3e-300, 2e-300]))
    assert state["mean"][0] == pytest.approx(2e-300)
    assert state["root"][0] == pytest.approx(math.sqrt(2.0) * 1e-300)


def test_a_state_is_small() -> None:
    assert model().fit(batch([1.0])).bytes_per_series <= 64
