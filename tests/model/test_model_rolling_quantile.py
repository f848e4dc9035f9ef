"""The oracle: rolling quantiles of pandas, and weighted ones by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from vmanomaly.model import Model
from vmanomaly.series import FloatArray, Labels, SeriesBatch

LABELS = (Labels({"job": "api"}),)
NAMES = ("yhat_lower", "yhat", "yhat_upper")


def walk(model: Model, values: FloatArray) -> dict[str, FloatArray]:
    """Predictions for all but the first point, one at a time."""
    timestamps = np.arange(len(values), dtype=np.int64)
    state = model.fit(SeriesBatch(LABELS, timestamps[:1], values[None, :1].copy()))
    present = SeriesBatch(LABELS, timestamps[1:], values[None, 1:].copy())
    outputs = model.infer(state, present, np.arange(len(values) - 1)).outputs
    return {name: outputs[name][0] for name in NAMES}


def expected_bounds(
    frame: dict[str, FloatArray], quantiles: tuple[FloatArray, FloatArray], iqr_threshold: float
) -> dict[str, FloatArray]:
    margin = iqr_threshold * (quantiles[1] - quantiles[0]) / 2.0
    least = np.maximum(1e-9 * np.abs(frame["yhat"]), 1e-12)
    return {
        "yhat": frame["yhat"],
        "yhat_lower": np.minimum(frame["yhat_lower"] - margin, frame["yhat"] - least),
        "yhat_upper": np.maximum(frame["yhat_upper"] + margin, frame["yhat"] + least),
    }


number = st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float), st.just(np.nan))


@examples(80)
@given(
    values=st.lists(number, min_size=2, max_size=60),
    window=st.integers(1, 20),
    quantile=st.sampled_from([0.5, 0.75, 0.9, 1.0]),
    iqr_threshold=st.sampled_from([0.0, 1.0, 2.5]),
)
def test_it_is_the_rolling_quantile_of_pandas(
    make_model: Callable[..., Model],
    values: list[float],
    window: int,
    quantile: float,
    iqr_threshold: float,
) -> None:
    model = make_model(
        "rolling_quantile", quantile=quantile, window_steps=window, iqr_threshold=iqr_threshold
    )
    given_values = np.array([0.0, *values])
    found = walk(model, given_values)
    samples = pd.Series(given_values).dropna()
    rolling = samples.rolling(window, min_periods=1)

    def before_each_point(probability: float) -> FloatArray:
        known = rolling.quantile(probability).reindex(range(len(given_values))).ffill()
        values: FloatArray = known.to_numpy()[:-1]
        return values

    frame = {
        name: before_each_point(p)
        for name, p in zip(NAMES, (1 - quantile, 0.5, quantile), strict=True)
    }
    quartiles = before_each_point(0.25), before_each_point(0.75)
    expected = expected_bounds(frame, quartiles, iqr_threshold)
    for name in NAMES:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-11, atol=1e-8)


@pytest.mark.parametrize("decay", [0.99, 0.8, 0.1, 1e-12])
def test_decay_weighs_the_samples_of_the_window(
    make_model: Callable[..., Model], decay: float
) -> None:
    model: Any = make_model("rolling_quantile", quantile=0.9, window_steps=12, decay=decay)
    values = np.random.default_rng(0).normal(size=60).round(1)
    found = walk(model, values)
    for t in range(1, 60):
        seen = values[max(t - 12, 0) : t]
        weights = decay ** np.arange(len(seen) - 1.0, -1.0, -1.0)
        order = np.argsort(seen, kind="stable")
        middles = np.cumsum(weights[order]) - weights[order] / 2.0
        span = middles[-1] - middles[0]
        for name, p in zip(NAMES, (0.1, 0.5, 0.9), strict=True):
            expected = np.interp(middles[0] + p * span, middles, seen[order])
            assert found[name][t - 1] == pytest.approx(expected, abs=2e-9)


def test_a_level_is_forgotten_after_one_window(make_model: Callable[..., Model]) -> None:
    model = make_model("rolling_quantile", quantile=0.9, window_steps=10)
    values = np.concatenate([np.full(50, 1e300), np.full(12, 3.0)])
    found = walk(model, values)
    assert found["yhat"][-1] == 3.0
    assert found["yhat_upper"][-1] == pytest.approx(3.0)
