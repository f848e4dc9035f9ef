"""Forecasts of the temporal envelope, and how wrong they have been.

For every horizon a series has a row `f` of `FORECAST`. One forecast of each horizon waits for its
time to come; how wrong it was is learned then, and the next one waits.
"""

from __future__ import annotations

from vmanomaly.kernel import inlined, inner, spliced
from vmanomaly.model.online import widened
from vmanomaly.model.state import Record
from vmanomaly.model.temporal_envelope.learn import (
    LARGE,
    Rates,
    clipped,
    learn_quantiles,
    sigma_of,
)

_PRIOR_PRODUCTS = 20.0
_GAIN = 0.02


@inlined
def steady(x: Record, horizon: float, profile: float, alpha: float) -> float:
    """Return the level, the trend, which dies down, and the profiles at a time to come."""
    steps = horizon / x.step if x.step > 0.0 else 0.0
    travelled = (1.0 - (1.0 - alpha) ** steps) / alpha
    return float(x.level + x.slope * travelled) + profile


@inner
def persistence(f: Record) -> float:
    """Return the share of the last residuals that is still there after the horizon."""
    return float(min(max(f.fast_and_error / (f.fast_squared + _PRIOR_PRODUCTS), 0.0), 1.0))


@spliced
def forecast(
    x: Record, f: Record, horizon: float, profile: float, rates: Rates
) -> tuple[float, float, float]:
    """Return the forecast and its bounds.

    The bounds are quantiles of the errors so far, `iqr_threshold` of their distances of the
    quartiles wider; as long as none is known, those of the residuals. They are up to three times
    as far away while few are known.
    """
    yhat = steady(x, horizon, profile, rates.alpha) + persistence(f) * x.fast
    if f.n_known > 0.0:
        margin = rates.iqr_threshold * (f.errors.quartile_3 - f.errors.quartile_1)
        lower, upper = f.errors.lower - margin, f.errors.upper + margin
    else:
        margin = rates.iqr_threshold * (x.residuals.quartile_3 - x.residuals.quartile_1)
        lower, upper = x.residuals.lower - margin, x.residuals.upper + margin
    caution = 1.0 + 2.0 / (f.n_known + 1.0)
    lower, upper = widened(yhat, yhat + caution * min(lower, 0.0), yhat + caution * max(upper, 0.0))
    return yhat, lower, upper


@inlined
def learn_products(f: Record, fast: float, error: float, sigma: float, memory: float) -> None:
    """Learn how much of the last residuals was left in the error of a forecast without them."""
    at_forecast, later = clipped(fast / sigma, 10.0), clipped(error / sigma, 10.0)
    keep = 1.0 - 1.0 / memory
    f.fast_squared = keep * f.fast_squared + at_forecast * at_forecast
    f.fast_and_error = keep * f.fast_and_error + at_forecast * later


@inner
def learn_forecast(
    x: Record,
    f: Record,
    horizon: float,
    y: float,
    timestamp: float,
    profile: float,
    rates: Rates,
) -> None:
    """Compare the waiting forecast with a sample if its time has come, and make the next one.

    `profile` is the sum of the profiles at the horizon from here.
    """
    if timestamp < f.due:
        return
    if f.due > 0.0 and timestamp < f.due + max(x.step, 1.0):
        sigma = max(sigma_of(x), 1e-12)
        wrong_by = clipped(y - f.waiting, LARGE)
        error = clipped(wrong_by - persistence(f) * f.waiting_fast, LARGE)
        learn_products(f, f.waiting_fast, wrong_by, sigma, 200.0)
        gain = min(max(1.0 / (f.n_known + 1.0), _GAIN, rates.forget), 0.5)
        iqr = f.errors.quartile_3 - f.errors.quartile_1
        step = 2.0 * gain * max(iqr / 1.349, sigma)
        learn_quantiles(f.errors, rates, error, step)
        f.n_known += 1.0
    f.due = timestamp + horizon
    f.waiting = clipped(steady(x, horizon, profile, rates.alpha), LARGE)
    f.waiting_fast = x.fast
