"""Holt-Winters against the forecasts of statsmodels itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from statsmodels.tsa.holtwinters import ExponentialSmoothing

from vmanomaly.config.model.holtwinters import HoltWintersSection
from vmanomaly.errors import ConfigError, SkippedError
from vmanomaly.model.holtwinters import HoltWinters
from vmanomaly.series import FloatArray, IntArray, Labels, SeriesBatch

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_750_000_000_000


def model(**keys: Any) -> HoltWinters:
    return HoltWinters(
        **{"z_threshold": 2.5, "frequency": None, "seasonality": DAY, "args": {}, **keys}
    )


def samples(n: int = 24 * 8, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    hours = np.arange(n)
    # Noise with memory, so that level and season are smoothed at all.
    noise = np.cumsum(rng.normal(0.0, 0.05, n)) + rng.normal(0.0, 0.2, n)
    return 20.0 + 3.0 * np.sin(hours * 2 * np.pi / 24) + 0.01 * hours + noise


def hours(n: int, first: int = 0) -> IntArray:
    return START + HOUR * np.arange(first, first + n, dtype=np.int64)


def fitted(y: FloatArray, **arguments: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ExponentialSmoothing(y, **arguments).fit()


QUICK = {"initialization_method": "heuristic"}


@pytest.mark.parametrize(
    "args",
    [
        {},
        QUICK,
        {**QUICK, "trend": "add"},
        {**QUICK, "trend": "add", "damped_trend": True},
        {**QUICK, "trend": "mul", "seasonal": "mul"},
        {**QUICK, "trend": "mul", "damped_trend": True, "seasonal": None},
        {**QUICK, "seasonal": None},
        {**QUICK, "seasonal_periods": 12},
        {**QUICK, "use_boxcox": 0.5},
        {**QUICK, "use_boxcox": 0.0, "trend": "add"},
        {**QUICK, "use_boxcox": True},
    ],
    ids=str,
)
@pytest.mark.slow
def test_forecasts_are_those_of_statsmodels(args: dict[str, Any]) -> None:
    y = samples()
    learned = model(args=args).fit_series(hours(len(y)), y)
    found = model(args=args).infer_series(learned, hours(60, len(y)))
    arguments = {"seasonal": "add", "seasonal_periods": 24, **args}
    if arguments["seasonal"] is None:
        del arguments["seasonal_periods"]
    expected = fitted(y, **arguments)
    np.testing.assert_allclose(found["yhat"], expected.forecast(60), rtol=1e-10)
    half_width = 2.5 * np.std(y - expected.fittedvalues)
    np.testing.assert_allclose(found["yhat_upper"] - found["yhat"], half_width, rtol=1e-9)
    np.testing.assert_allclose(found["yhat"] - found["yhat_lower"], half_width, rtol=1e-9)


@pytest.mark.slow
def test_forecasts_are_the_same_through_a_stored_state() -> None:
    y = np.stack([samples(), samples(seed=1), np.full(192, 7.0)])
    labels = tuple(Labels({"host": name}) for name in "abc")
    holtwinters = model(args=QUICK)
    state = holtwinters.fit(SeriesBatch(labels, hours(192), y))
    restored = holtwinters.restore(state.labels, {k: v.copy() for k, v in state.arrays().items()})
    present = SeriesBatch(labels, hours(30, 192), np.zeros((3, 30)))
    one, other = (
        holtwinters.infer(each, present, np.zeros(1, np.int64)).outputs
        for each in (state, restored)
    )
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])


def test_gaps_are_interpolated_and_points_between_are_averaged() -> None:
    y = samples()
    timestamps = hours(len(y))
    keep = np.ones(len(y), np.bool_)
    keep[[3, 40, 41, 100]] = False
    filled = np.interp(timestamps, timestamps[keep], y[keep])
    expected = fitted(filled, seasonal="add", seasonal_periods=24, **QUICK).forecast(5)
    sparse = model(args=QUICK)
    learned = sparse.fit_series(timestamps[keep], y[keep])
    found = sparse.infer_series(learned, hours(5, len(y)))
    np.testing.assert_allclose(found["yhat"], expected, rtol=1e-10)
    # Two points around each hour, 10 minutes apart from it, whose mean is the sample.
    often = np.sort(np.concatenate([timestamps - 600_000, timestamps + 600_000]))
    values = np.repeat(y, 2) + np.tile([-1.0, 1.0], len(y))
    coarse = model(args=QUICK, frequency=HOUR)
    learned = coarse.fit_series(often[1:], values[1:])
    assert learned["spacing"] == HOUR


def test_the_forecast_between_points_of_the_grid_is_interpolated() -> None:
    y = samples()
    holtwinters = model(args=QUICK)
    learned = holtwinters.fit_series(hours(len(y)), y)
    on_grid = holtwinters.infer_series(learned, hours(3, len(y)))["yhat"]
    between = holtwinters.infer_series(learned, hours(1, len(y)) + HOUR // 4)["yhat"]
    assert between[0] == pytest.approx(0.75 * on_grid[0] + 0.25 * on_grid[1], rel=1e-12)


@pytest.mark.parametrize(
    ("keys", "y", "reason"),
    [
        ({}, samples(47), "47 points on the grid, but the fit needs 48"),
        ({"args": {**QUICK, "seasonal": None}}, samples(9), "9 points .* needs 10"),
        ({"args": {"seasonal": "mul"}}, samples() - 30.0, "values of 0 or less"),
        ({"args": {"trend": "mul"}}, samples() - 30.0, "values of 0 or less"),
        ({"seasonality": DAY + 1}, samples(), "not a multiple of 1h"),
        ({"frequency": 1, "seasonality": 2}, samples(), "a grid of 687600001 points"),
    ],
)
def test_data_that_cannot_be_fitted_is_skipped(
    keys: dict[str, Any], y: FloatArray, reason: str
) -> None:
    with pytest.raises(SkippedError, match=reason):
        model(**keys).fit_series(hours(len(y)), y)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"args": {"seasonnal": "mul"}}, "args.seasonnal: .* did you mean seasonal?"),
        ({"args": {"endog": [1]}}, "args.endog: these are the samples"),
        ({"args": {"freq": "5min"}}, "args.freq: set frequency"),
        # A check of that by statsmodels would need 15 TiB.
        (
            {"args": {"seasonal_periods": 10**12}},
            "seasonal_periods: .* 2 to 500,000, got",
        ),
        ({"args": {"trend": "linear"}}, "args: statsmodels does not take them"),
        ({"args": {"initialization_method": "known"}}, "args: statsmodels does not take them"),
        ({"seasonality": None}, "seasonality: required, but not set"),
        ({"frequency": 7 * 60_000}, "seasonality: 1d is not a multiple of 7m"),
        ({"frequency": DAY}, "not a multiple of 1d"),
    ],
)
def test_mistakes_are_found_before_data_is_read(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        model(**keys)


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("1D", DAY),
        ("5min", 300_000),
        ("H", HOUR),
        ("1d", DAY),
        ("2h30m", 9_000_000),
        ("7T", 420_000),
    ],
)
def test_durations_may_be_those_of_pandas(written: str, milliseconds: int) -> None:
    section = HoltWintersSection.model_validate({"class": "holtwinters", "frequency": written})
    assert section.frequency == milliseconds
