from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from vmanomaly.model.mad_online import OnlineMADModel
from vmanomaly.series import FloatArray, Labels, SeriesBatch

LABELS = (Labels({"job": "api"}),)


def model(**parameters: float) -> OnlineMADModel:
    defaults = {"threshold": 2.5, "compression": 100, "decay": 1.0, "history_strength": 1.0}
    return OnlineMADModel(min_n_samples_seen=16, **(defaults | parameters))  # type: ignore[arg-type]


def batch(values: list[float] | FloatArray, start: int = 0) -> SeriesBatch:
    return SeriesBatch(LABELS, start + np.arange(len(values)), np.array([values], np.float64))


def walk(mad: OnlineMADModel, past: FloatArray, present: FloatArray) -> dict[str, FloatArray]:
    state = mad.fit(batch(past))
    outputs = mad.infer(state, batch(present, len(past)), np.arange(len(present))).outputs
    return {name: values[0] for name, values in outputs.items()}


number = st.one_of(st.floats(-1e9, 1e9), st.integers(-3, 3).map(float))


@examples(60)
@given(
    st.lists(number, min_size=1, max_size=60),
    st.lists(number, min_size=1, max_size=50),
    st.sampled_from([1.0, 2.0, 8.0]),
)
def test_until_the_digest_is_full_the_medians_are_exact(
    past: list[float], present: list[float], strength: float
) -> None:
    outputs = walk(model(history_strength=strength), np.array(past), np.array(present))
    n_exact = len(present) if strength == 1.0 else 1
    for t in range(n_exact):
        seen = np.array(past + present[:t])
        median = np.median(seen)
        assert outputs["yhat"][t] == median
        deviation = np.median(np.abs(seen - median))
        half_width = max(2.5 * 1.4826 * deviation, 1e-9 * abs(median), 1e-12)
        assert outputs["yhat_upper"][t] == pytest.approx(median + half_width, rel=1e-15)
        assert outputs["yhat_lower"][t] == pytest.approx(median - half_width, rel=1e-15)


def weighted_median(values: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(values, kind="stable")
    middles = np.cumsum(weights[order]) - weights[order] / 2.0
    return float(np.interp(weights.sum() / 2.0, middles, values[order]))


@pytest.mark.parametrize("decay", [1.0, 0.95])
@pytest.mark.parametrize("history_strength", [1.0, 3.0, 20.0])
def test_weights_of_samples_are_those_of_both_medians(
    decay: float, history_strength: float
) -> None:
    values = np.random.default_rng(5).normal(size=110)
    n_past = 60
    outputs = walk(
        model(decay=decay, history_strength=history_strength), values[:n_past], values[n_past:]
    )
    for t in range(len(values) - n_past):
        seen = values[: n_past + t]
        weights = decay ** np.arange(len(seen) - 1.0, -1.0, -1.0)
        weights[:n_past] *= history_strength
        median = weighted_median(seen, weights)
        deviation = weighted_median(np.abs(seen - median), weights)
        # Weights are kept in single precision.
        assert outputs["yhat"][t] == pytest.approx(median, abs=2e-6)
        half_width = outputs["yhat_upper"][t] - outputs["yhat"][t]
        assert half_width == pytest.approx(2.5 * 1.4826 * deviation, rel=1e-4)


def test_bounds_of_normal_noise_are_at_threshold_sigmas() -> None:
    noise = np.random.default_rng(0).normal(50.0, 3.0, 20_000)
    outputs = walk(model(threshold=4.0), noise, np.array([0.0]))
    assert outputs["yhat"][0] == pytest.approx(50.0, abs=0.1)
    assert outputs["yhat_upper"][0] - outputs["yhat"][0] == pytest.approx(12.0, rel=0.03)


def test_outliers_hardly_move_it() -> None:
    rng = np.random.default_rng(1)
    clean = rng.normal(10.0, 1.0, 2000)
    spoiled = np.where(rng.random(2000) < 0.1, 1e6, clean)
    calm, wild = (walk(model(), values, np.array([0.0])) for values in (clean, spoiled))
    for name in calm:
        assert wild[name][0] == pytest.approx(calm[name][0], abs=0.8)


@pytest.mark.parametrize("decay", [0.99, 0.9, 0.5, 0.01])
def test_decay_weighs_recent_samples(decay: float) -> None:
    rng = np.random.default_rng(2)
    values = np.cumsum(rng.normal(size=3000))
    outputs = walk(model(decay=decay), values[:2000], values[2000:])
    for t in range(0, 1000, 50):
        seen = values[: 2000 + t]
        weights = decay ** np.arange(len(seen) - 1.0, -1.0, -1.0)
        order = np.argsort(seen)
        rank = np.cumsum(weights[order]) / weights.sum()
        # The weight up to the answer is half of all, but for a centroid or the heaviest sample.
        below = rank[np.searchsorted(seen[order], outputs["yhat"][t], side="left") - 1]
        up_to = rank[
            min(np.searchsorted(seen[order], outputs["yhat"][t], side="right"), len(seen) - 1)
        ]
        tolerance = 0.02 + (1.0 - decay) / 2.0
        assert below - tolerance <= 0.5 <= up_to + tolerance


def test_it_runs_as_long_as_wanted_with_any_decay() -> None:
    values = np.tile([1.0, 2.0, 3.0], 20_000)
    for decay in (1.0, 0.999, 1e-3, 1e-120):
        outputs = walk(model(decay=decay), values, np.array([2.0]))
        assert np.isfinite(list(outputs.values())).all()
        assert 1.0 <= outputs["yhat"][0] <= 3.0


def test_a_state_is_small() -> None:
    assert model().fit(batch([1.0])).bytes_per_series <= 2048
