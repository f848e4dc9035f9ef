"""The oracle: `seasonal_decompose` of statsmodels on all samples seen before."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.seasonal import seasonal_decompose

from tests.examples import examples
from vmanomaly.model import Model
from vmanomaly.series import FloatArray, Labels, SeriesBatch

LABELS = (Labels({"job": "api"}),)
STEP = 60_000


def walk(model: Model, values: FloatArray, n_past: int, start: int = 0) -> dict[str, FloatArray]:
    """Outputs for all but the first points, one at a time."""
    timestamps = STEP * (start + np.arange(len(values), dtype=np.int64))
    state = model.fit(SeriesBatch(LABELS, timestamps[:n_past], values[None, :n_past].copy()))
    present = SeriesBatch(LABELS, timestamps[n_past:], values[None, n_past:].copy())
    outputs = model.infer(state, present, np.arange(len(values) - n_past)).outputs
    return {name: found[0] for name, found in outputs.items()}


def scores_of(model: Model, values: FloatArray, n_past: int) -> FloatArray:
    found = walk(model, values, n_past)
    y, yhat = values[n_past:], found["yhat"]
    bound = np.where(y < yhat, found["yhat_lower"], found["yhat_upper"])
    return np.asarray(np.abs(y - yhat) / np.abs(bound - yhat))


def telemetry(seed: int, n_timestamps: int, period: int, slope: float) -> FloatArray:
    rng = np.random.default_rng(seed)
    season = rng.normal(0, 5, period)
    t = np.arange(n_timestamps)
    values: FloatArray = 100.0 + slope * t + season[t % period] + rng.normal(size=n_timestamps)
    return values


def standard_error_of_level(detrended: FloatArray, period: int, decay: float = 1.0) -> float:
    """Of a mean of `period` samples, from their distances to the mean of their phase so far."""
    square = 0.0
    for t in np.flatnonzero(~np.isnan(detrended)):
        of_phase = detrended[t % period : t + 1 : period]
        known = ~np.isnan(of_phase)
        ages = period * np.arange(len(of_phase) - 1.0, -1.0, -1.0)
        mean = np.average(of_phase[known], weights=decay ** ages[known])
        square += ((detrended[t] - mean) ** 2 - square) / period
    return math.sqrt(square / period)


@examples(25)
@given(
    seed=st.integers(0, 2**32 - 1),
    period=st.integers(2, 9),
    slope=st.sampled_from([0.0, 0.3]),
    start=st.integers(0, 50),
)
def test_it_is_the_decomposition_of_statsmodels(
    make_model: Callable[..., Model], seed: int, period: int, slope: float, start: int
) -> None:
    n_past, n_present = 6 * period, 2 * period
    values = telemetry(seed, n_past + n_present, period, slope)
    found = walk(make_model("std", period=period), values, n_past, start)
    for t in range(n_present):
        seen = values[: n_past + t]
        known = seasonal_decompose(seen, model="additive", period=period, two_sided=False)
        detrended = seen - known.trend
        phase = (n_past + t) % period
        means = np.array([np.nanmean(detrended[i::period]) for i in range(period)])
        lag = means.mean()
        residuals = detrended - means[np.arange(len(seen)) % period]
        n_residuals = np.count_nonzero(~np.isnan(residuals))
        deviation = math.sqrt(np.nansum(residuals**2) / (n_residuals - period))
        width = 2.5 * math.hypot(deviation, standard_error_of_level(detrended, period))
        assert found["trend"][t] == pytest.approx(known.trend[-1] + lag, rel=1e-10)
        assert found["seasonal"][t] == pytest.approx(known.seasonal[phase], rel=1e-9, abs=1e-9)
        yhat = found["trend"][t] + found["seasonal"][t]
        assert found["yhat"][t] == pytest.approx(yhat, rel=1e-12)
        assert found["resid"][t] == pytest.approx(values[n_past + t] - yhat, abs=1e-9)
        half_width = (found["yhat_upper"][t] - found["yhat_lower"][t]) / 2.0
        assert half_width == pytest.approx(width, rel=1e-9)


@pytest.mark.parametrize("decay", [0.99, 0.9])
def test_decay_weighs_recent_seasons(make_model: Callable[..., Model], decay: float) -> None:
    period, n_past = 4, 80
    values = telemetry(1, n_past + 1, period, 0.0)
    found = walk(make_model("std", period=period, decay=decay), values, n_past)
    trend = seasonal_decompose(values, model="additive", period=period, two_sided=False).trend
    detrended = (values - trend)[:n_past]
    weights = decay ** np.arange(n_past - 1.0, -1.0, -1.0)
    known = ~np.isnan(detrended)
    squares = freedom = 0.0
    means = []
    for phase in range(period):
        of_phase = known & (np.arange(n_past) % period == phase)
        w, d = weights[of_phase], detrended[of_phase]
        means.append(np.average(d, weights=w))
        squares += (w * (d - means[-1]) ** 2).sum()
        freedom += w.sum() - (w**2).sum() / w.sum()
    assert found["yhat"][0] == pytest.approx(trend[n_past - 1] + means[0], rel=1e-10)
    half_width = found["yhat_upper"][0] - found["yhat"][0]
    of_level = standard_error_of_level(detrended, period, decay)
    width = 2.5 * math.hypot(math.sqrt(squares / freedom), of_level)
    assert half_width == pytest.approx(width, rel=1e-9)


@pytest.mark.parametrize("n_past", [100, 1_000, 10_000])
@pytest.mark.parametrize("period", [4, 7, 10, 24])
def test_a_spike_in_a_constant_series_is_the_only_point_that_alarms(
    make_model: Callable[..., Model], period: int, n_past: int
) -> None:
    """It moves the level for a season, by less than the bounds say that it may be wrong."""
    values = np.full(n_past + period, 5.0)
    values[n_past] = 10.0
    scores = scores_of(make_model("std", period=period), values, n_past)
    assert scores[0] > 1.0
    assert scores[1:].max() < 1.0


@pytest.mark.parametrize("n_past", [100, 1_000, 10_000])
@pytest.mark.parametrize("period", [4, 7, 10, 24])
def test_a_new_level_alarms_until_the_average_has_reached_it(
    make_model: Callable[..., Model], period: int, n_past: int
) -> None:
    values = np.full(n_past + 3 * period, 5.0)
    values[n_past:] = 10.0
    alarms = np.flatnonzero(scores_of(make_model("std", period=period), values, n_past) > 1.0)
    assert alarms.tolist() == list(range(len(alarms)))
    assert 1 <= len(alarms) < period


def test_gaps_do_not_shift_the_season(make_model: Callable[..., Model]) -> None:
    period = 6
    values = np.tile([0.0, 1.0, 5.0, 9.0, 4.0, 2.0], 30)
    values[40:45] = values[70] = np.nan
    values[100:131] = np.nan
    found = walk(make_model("std", period=period), values, 60)
    known = ~np.isnan(values[60:])
    np.testing.assert_allclose(found["resid"][known], 0.0, atol=1e-9)


def test_a_rising_series_is_not_predicted_too_low(make_model: Callable[..., Model]) -> None:
    values = 3.0 * np.arange(200) + np.tile([0.0, 10.0, -4.0, 1.0], 50)
    found = walk(make_model("std", period=4), values, 100)
    # Each point is predicted with the level of the point before: one step behind.
    np.testing.assert_allclose(found["resid"], 3.0, atol=1e-9)


def test_predictions_start_with_the_fourth_season(make_model: Callable[..., Model]) -> None:
    for period, first in ((5, 14), (4, 12)):
        found = walk(make_model("std", period=period), telemetry(2, 40, period, 0.0), 1)
        assert np.flatnonzero(~np.isnan(found["yhat"]))[0] + 1 == first
