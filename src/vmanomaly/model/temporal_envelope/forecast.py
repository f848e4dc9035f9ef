"""Forecasts of the temporal envelope, and how wrong they have been.

For every horizon a series has a row `f` of numbers, whose places have names here. One forecast of
each horizon waits for its time to come; what it was wrong by then is learned, and the next one
waits.
"""

from __future__ import annotations

from vmanomaly.kernel import inlined, kernel
from vmanomaly.model.online import widened
from vmanomaly.model.temporal_envelope.learn import (
    FAST,
    LARGE,
    LEVEL,
    LOWER_QUANTILE,
    QUARTILE_1,
    QUARTILE_3,
    SLOPE,
    STEP,
    UPPER_QUANTILE,
    Rates,
    clipped,
    learn_quantile,
    sigma_of,
)
from vmanomaly.series import FloatArray

# What is known of a horizon, as places in its row `f`.
KNOWN = 0  # forecasts whose time has come
FAST_SQUARED = 1  # of the last residuals at a forecast, summed
FAST_AND_ERROR = 2  # and their products with the error of the forecast
ERROR_QUANTILE = 3  # of the errors: the lower one, quartiles, and the upper one
DUE = 7  # when the time of the waiting forecast comes
WAITING = 8  # it, without what the last residuals say
WAITING_FAST = 9  # the last residuals when it was made
FORECAST_WIDTH = 10

_PRIOR_PRODUCTS = 20.0
_GAIN = 0.02


@inlined
def steady(x: FloatArray, horizon: float, profile: float, alpha: float) -> float:
    """Return the level, the trend, which dies down, and the profiles at a time to come."""
    steps = horizon / x[STEP] if x[STEP] > 0.0 else 0.0
    travelled = (1.0 - (1.0 - alpha) ** steps) / alpha
    return float(x[LEVEL] + x[SLOPE] * travelled) + profile


@kernel
def persistence(f: FloatArray) -> float:
    """Return the share of the last residuals that is still there after the horizon."""
    return float(min(max(f[FAST_AND_ERROR] / (f[FAST_SQUARED] + _PRIOR_PRODUCTS), 0.0), 1.0))


@inlined
def forecast(
    x: FloatArray, f: FloatArray, horizon: float, profile: float, rates: Rates
) -> tuple[float, float, float]:
    """Return the forecast and its bounds.

    The bounds are quantiles of the errors so far, `iqr_threshold` of their distances of the
    quartiles wider; as long as none is known, those of the residuals. They are up to three times
    as far away while few are known.
    """
    yhat = steady(x, horizon, profile, rates.alpha) + persistence(f) * x[FAST]
    if f[KNOWN] > 0.0:
        margin = rates.iqr_threshold * (f[ERROR_QUANTILE + 2] - f[ERROR_QUANTILE + 1])
        lower, upper = f[ERROR_QUANTILE] - margin, f[ERROR_QUANTILE + 3] + margin
    else:
        margin = rates.iqr_threshold * (x[QUARTILE_3] - x[QUARTILE_1])
        lower, upper = x[LOWER_QUANTILE] - margin, x[UPPER_QUANTILE] + margin
    caution = 1.0 + 2.0 / (f[KNOWN] + 1.0)
    lower, upper = widened(yhat, yhat + caution * min(lower, 0.0), yhat + caution * max(upper, 0.0))
    return yhat, lower, upper


@inlined
def learn_products(f: FloatArray, fast: float, error: float, sigma: float, memory: float) -> None:
    """Learn how much of the last residuals was left in the error of a forecast without them."""
    at_forecast, later = clipped(fast / sigma, 10.0), clipped(error / sigma, 10.0)
    keep = 1.0 - 1.0 / memory
    f[FAST_SQUARED] = keep * f[FAST_SQUARED] + at_forecast * at_forecast
    f[FAST_AND_ERROR] = keep * f[FAST_AND_ERROR] + at_forecast * later


@kernel
def learn_forecast(
    x: FloatArray,
    f: FloatArray,
    horizon: float,
    y: float,
    timestamp: float,
    profile: float,
    rates: Rates,
) -> None:
    """Compare the waiting forecast with a sample if its time has come, and make the next one.

    `profile` is the sum of the profiles at the horizon from here.
    """
    if timestamp < f[DUE]:
        return
    if f[DUE] > 0.0 and timestamp < f[DUE] + max(x[STEP], 1.0):
        sigma = max(sigma_of(x), 1e-12)
        wrong_by = clipped(y - f[WAITING], LARGE)
        error = clipped(wrong_by - persistence(f) * f[WAITING_FAST], LARGE)
        learn_products(f, f[WAITING_FAST], wrong_by, sigma, 200.0)
        gain = min(max(1.0 / (f[KNOWN] + 1.0), _GAIN, rates.forget), 0.5)
        iqr = f[ERROR_QUANTILE + 2] - f[ERROR_QUANTILE + 1]
        step = 2.0 * gain * max(iqr / 1.349, sigma)
        learn_quantile(f, ERROR_QUANTILE, rates.lower, error, step)
        learn_quantile(f, ERROR_QUANTILE + 1, 0.25, error, step)
        learn_quantile(f, ERROR_QUANTILE + 2, 0.75, error, step)
        learn_quantile(f, ERROR_QUANTILE + 3, rates.upper, error, step)
        f[KNOWN] += 1.0
    f[DUE] = timestamp + horizon
    f[WAITING] = clipped(steady(x, horizon, profile, rates.alpha), LARGE)
    f[WAITING_FAST] = x[FAST]
