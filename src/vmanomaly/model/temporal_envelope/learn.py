"""One point of one series of the temporal envelope: what is expected of it, and learning it.

A series is a row `x` of numbers, whose places have names here, and the values and visits of the
bins of its calendar profiles. What is computed is said in `TemporalEnvelopeModel`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from vmanomaly.kernel import inlined, kernel
from vmanomaly.model.online import widened
from vmanomaly.model.temporal_envelope.calendar import DAY, WEEK, Places, Profiles
from vmanomaly.model.temporal_envelope.tails import TAIL, TAILS_WIDTH, learn_tail
from vmanomaly.series import FloatArray, SingleArray

# What is known of a series beside its profiles, as places in its row `x`.
LEARNED = 0  # samples learned
LAST_TIME = 1  # when the last one was, Unix milliseconds
STEP = 2  # milliseconds between samples
LEVEL = 3
SLOPE = 4  # of the level, per sample
LOWER_QUANTILE = 5  # of the residuals, as are the next three
QUARTILE_1 = 6
QUARTILE_3 = 7
UPPER_QUANTILE = 8
DEVIATION = 9  # mean absolute residual
LAST_SAMPLE = 10
CHANGE = 11  # mean absolute difference of neighbouring samples
TAILS = 12  # how far residuals reach beyond the first and the third quartile, and more
RUN_LENGTH = TAILS + TAILS_WIDTH  # consecutive residuals of one sign
RUN_MEAN = 19
RUN_CHANGE = 20  # mean absolute difference of neighbouring samples in the run
SHIFT = 21  # from the level to the one before, while that may come back
SHIFT_AGE = 22
RETURNS = 23  # consecutive samples at the level before
OUTAGE = 24  # share of samples without noise, of late, since a shift to a flat level; else 0
BASE = 25  # a level that follows over a day, from which profiles are learned
FAST = 26  # mean residual of the last few samples
USUAL_CHANGE = 27  # median absolute difference of neighbouring samples, more or less
WIDTH = 28

LARGE = 1e306
"""Of samples and levels, so that sums and differences of a few are finite."""
SETTLED = 16
"""Samples before which residuals say little."""
_LARGEST_COEFFICIENT = 1e38
IQR_OF_NORMAL = 1.349
"""Distance of the quartiles of a normal distribution, in standard deviations."""
_SIGMA_PER_DEVIATION = math.sqrt(math.pi / 2.0)
"""Makes the mean absolute deviation of a normal distribution its standard deviation."""
_SCALE_GAIN = 0.001
_CALM_WEEKS = 2.0
"""Weeks in which normal noise reaches beyond the bounds about once."""
_SHIFT_SIGMAS = 3.7
"""The mean of a run of residuals that is a new level."""
_GLIDE = 8
"""Windows of a change point in which `yhat` goes most of the way to a new level."""
_RETURNED = 4
"""Samples near the level before the shift that say that it is back."""
_BASE_TIME = 1.0 * DAY
_LIFELESS = 0.1
"""Noise after a shift, in that before, below which it is an outage."""


class Rates(NamedTuple):
    """The parameters, as the kernels take them.

    Attributes
    ----------
    alpha, loss_reactivity, changepoint_window, iqr_threshold, lower, upper
        As in `TemporalEnvelopeModel`; the last two are its `quantiles`.
    forget
        `1 - decay`.
    """

    alpha: float
    loss_reactivity: float
    changepoint_window: int
    iqr_threshold: float
    lower: float
    upper: float
    forget: float


@kernel
def clipped(value: float, limit: float) -> float:
    """Return the value, no further from 0 than the limit."""
    return min(max(value, -limit), limit)


@kernel
def sigma_of(x: FloatArray) -> float:
    """Return the scale of the residuals: the larger of two estimates of a normal's deviation.

    The distance of the quartiles ignores outliers, and is 0 where most samples are the same.
    """
    quartiles = (x[QUARTILE_3] - x[QUARTILE_1]) / IQR_OF_NORMAL
    return float(max(quartiles, _SIGMA_PER_DEVIATION * x[DEVIATION]))


@kernel
def _least(expected: float) -> float:
    return max(1e-9 * abs(expected), 1e-12)


@kernel
def reach_of(x: FloatArray, sigma: float) -> float:
    """Return how far normal noise reaches beyond a quartile.

    Two distances of the quartiles, or where samples are many the quantile of the normal
    distribution that one of them exceeds in `_CALM_WEEKS`, by its asymptotic expansion.
    """
    reach = 2.0 * IQR_OF_NORMAL
    if x[STEP] > 0.0:
        rarity = math.log(2.0 * _CALM_WEEKS * WEEK / x[STEP])
        if rarity > 2.0:
            z = math.sqrt(2.0 * rarity - math.log(4.0 * math.pi * rarity))
            reach = max(reach, z - 0.5 * IQR_OF_NORMAL)
    return reach * sigma


@kernel
def _unsettled(x: FloatArray, changepoint_window: int) -> float:
    """Return what is left in the expected value of the level before the last shift."""
    if x[SHIFT] == 0.0:
        return 0.0
    return float(x[SHIFT]) * math.exp(-x[SHIFT_AGE] / (_GLIDE * changepoint_window))


@inlined
def profile_at(
    coefficients: SingleArray, profiles: Profiles, places: Places, t: int, step: float
) -> float:
    """Return the sum of the profiles at a timestamp; of those with two samples a period."""
    total = 0.0
    for p in range(len(profiles.periods)):
        if places.bins[t, p, 0] >= 0 and 0.0 < 2.0 * step <= profiles.periods[p]:
            share = places.shares[t, p]
            total += (1.0 - share) * coefficients[places.bins[t, p, 0]]
            total += share * coefficients[places.bins[t, p, 1]]
    return total


@kernel
def expected_of(x: FloatArray, profile: float) -> float:
    """Return the level, the trend and, except in an outage, the sum of the profiles."""
    return float(x[LEVEL] + x[SLOPE] + (profile if x[OUTAGE] == 0.0 else 0.0))


@inlined
def bounds(x: FloatArray, profile: float, rates: Rates) -> tuple[float, float, float]:
    """Return `yhat`, `yhat_lower` and `yhat_upper`, from the sum of the profiles.

    While the level before may come back, it is between the bounds too.
    """
    expected = expected_of(x, profile)
    reach = reach_of(x, sigma_of(x))
    width = rates.iqr_threshold / 2.0
    lower = min(x[LOWER_QUANTILE], 0.0) - width * max(reach, x[TAILS + TAIL])
    upper = max(x[UPPER_QUANTILE], 0.0) + width * max(reach, x[TAILS + TAIL + 1])
    least, most = expected, expected
    if x[SHIFT] != 0.0:
        before = x[LEVEL] + x[SLOPE] + profile + x[SHIFT]
        least, most = min(expected, before), max(expected, before)
    yhat = expected + _unsettled(x, rates.changepoint_window)
    lower, upper = widened(yhat, min(least + lower, yhat), max(most + upper, yhat))
    return yhat, lower, upper


@inlined
def _pass_time(x: FloatArray, timestamp: float) -> float:
    """Note the time of a sample, and return the milliseconds it stands for."""
    gap = timestamp - x[LAST_TIME]
    x[LAST_TIME] = timestamp
    if x[STEP] == 0.0:
        x[STEP] = gap
    elif gap < 3.0 * x[STEP]:
        x[STEP] += 0.05 * (gap - x[STEP])
    return float(min(gap, 2.0 * x[STEP]))


@inlined
def learn_quantile(
    x: FloatArray, place: int, probability: float, residual: float, step: float
) -> None:
    """Move a quantile by a step towards a residual, so that the moves cancel where it is right."""
    if residual > x[place]:
        x[place] += step * probability
    elif residual < x[place]:
        x[place] -= step * (1.0 - probability)


@inlined
def _learn_scale(x: FloatArray, residual: float, sigma: float, change: float, rates: Rates) -> None:
    n = x[LEARNED]
    gain = max(_SCALE_GAIN, 1.0 / n, min(rates.forget, 0.1))
    if n <= 2.0:
        x[DEVIATION] = abs(residual)
        x[CHANGE] = x[USUAL_CHANGE] = change
    else:
        x[DEVIATION] += gain * (min(abs(residual), 5.0 * max(sigma, x[DEVIATION])) - x[DEVIATION])
        x[CHANGE] += max(0.01, 1.0 / n) * (min(change, 10.0 * max(x[CHANGE], 1e-12)) - x[CHANGE])
    if n <= SETTLED:
        x[USUAL_CHANGE] = x[CHANGE]
    else:
        towards = 0.02 * x[CHANGE]
        x[USUAL_CHANGE] = max(
            x[USUAL_CHANGE] + (towards if change > x[USUAL_CHANGE] else -towards), 0.0
        )
    step = 2.0 * min(gain, 0.1) * max(sigma, x[DEVIATION])
    learn_quantile(x, LOWER_QUANTILE, rates.lower, residual, step)
    learn_quantile(x, QUARTILE_1, 0.25, residual, step)
    learn_quantile(x, QUARTILE_3, 0.75, residual, step)
    learn_quantile(x, UPPER_QUANTILE, rates.upper, residual, step)


@inlined
def _learn_profiles(
    x: FloatArray,
    coefficients: SingleArray,
    visits: SingleArray,
    residual: float,
    duration: float,
    profiles: Profiles,
    places: Places,
    t: int,
    forget: float,
) -> None:
    """Move the bins of the timestamp by their part of the residual.

    A bin is a mean over its visits, `priors` of which were without effect.
    """
    for p in range(len(profiles.periods)):
        if places.bins[t, p, 0] >= 0 and 0.0 < 2.0 * x[STEP] <= profiles.periods[p]:
            visit = min(duration / profiles.widths[p], 1.0)
            most = profiles.mosts[p]
            if forget > 0.0:
                most = min(most, x[STEP] / (forget * profiles.periods[p]))
            for side in range(2):
                share = places.shares[t, p] if side == 1 else 1.0 - places.shares[t, p]
                if share > 0.0:
                    b = places.bins[t, p, side]
                    visits[b] = min(visits[b] + share * visit, most)
                    gain = share * visit / (visits[b] + profiles.priors[p])
                    moved = coefficients[b] + gain * residual
                    coefficients[b] = clipped(moved, _LARGEST_COEFFICIENT)


@inlined
def _learn_level(x: FloatArray, residual: float, sigma: float, rates: Rates) -> None:
    gain = max(rates.alpha, 1.0 / x[LEARNED], rates.forget)
    x[LEVEL] = clipped(x[LEVEL] + x[SLOPE] + gain * residual, LARGE)
    if x[LEARNED] * rates.alpha > 1.0:
        slope = x[SLOPE] + 0.25 * rates.alpha**2 * residual
        x[SLOPE] = clipped(slope, rates.alpha * sigma)


@inlined
def _learn_outage(x: FloatArray, profile: float, change: float) -> None:
    """End an outage in which the noise is back."""
    lifeless = 1.0 if change < _LIFELESS * x[USUAL_CHANGE] else 0.0
    x[OUTAGE] += 0.05 * (lifeless - x[OUTAGE])
    if x[OUTAGE] < 0.5:
        x[OUTAGE] = 0.0
        x[LEVEL] = x[BASE] = clipped(x[LEVEL] - profile, LARGE)


@inlined
def _learn_shift(
    x: FloatArray, residual: float, profile: float, sigma: float, change: float, rates: Rates
) -> None:
    """Return to the level before or take up a new one, where the last samples all say so.

    A new level without the noise of before is an outage: the profiles do not apply in it, and
    nothing but its level is learned until there is another shift.
    """
    if x[SHIFT] != 0.0:
        x[SHIFT_AGE] += 1.0
        back = abs(residual - x[SHIFT] - (profile if x[OUTAGE] > 0.0 else 0.0))
        near = back < abs(residual) and back < _SHIFT_SIGMAS * sigma
        x[RETURNS] = x[RETURNS] + 1.0 if near else 0.0
        if x[RETURNS] >= _RETURNED:
            x[LEVEL] = clipped(x[LEVEL] + x[SHIFT], LARGE)
            x[BASE] = clipped(x[BASE] + x[SHIFT], LARGE)
            x[SHIFT] = x[RETURNS] = x[RUN_LENGTH] = x[OUTAGE] = 0.0
            return
        if x[SHIFT_AGE] > 3.0 * _GLIDE * rates.changepoint_window and x[OUTAGE] == 0.0:
            x[SHIFT] = 0.0
    same_side = residual != 0.0 and (residual > 0.0) == (x[RUN_MEAN] > 0.0)
    near_run = abs(residual) < 2.0 * abs(x[RUN_MEAN]) + 3.0 * sigma
    if x[RUN_LENGTH] > 0.0 and same_side and near_run:
        # The first change of a run is the shift itself.
        x[RUN_CHANGE] += (change - x[RUN_CHANGE]) / x[RUN_LENGTH]
        x[RUN_LENGTH] += 1.0
        x[RUN_MEAN] += (residual - x[RUN_MEAN]) / x[RUN_LENGTH]
    else:
        x[RUN_LENGTH], x[RUN_MEAN], x[RUN_CHANGE] = 1.0, residual, 0.0
    if x[RUN_LENGTH] < rates.changepoint_window or x[LEARNED] <= 2.0 * rates.changepoint_window:
        return
    if abs(x[RUN_MEAN]) > _SHIFT_SIGMAS * sigma:
        _take_up(x, profile, rates)
    x[RUN_LENGTH] = 0.0


@inlined
def _take_up(x: FloatArray, profile: float, rates: Rates) -> None:
    """Move to the level of the run, and to its scale if that is larger."""
    shift = x[RUN_MEAN]
    ratio = x[RUN_CHANGE] / max(x[CHANGE], 1e-300)
    outage = x[RUN_LENGTH] > 4.0 and x[RUN_CHANGE] < _LIFELESS * x[USUAL_CHANGE]
    if outage and x[OUTAGE] == 0.0:
        shift += profile
    elif not outage and x[OUTAGE] > 0.0:
        shift -= profile
    before = x[SHIFT] if x[OUTAGE] > 0.0 else _unsettled(x, rates.changepoint_window)
    x[LEVEL] = clipped(x[LEVEL] + shift, LARGE)
    x[BASE] = clipped(x[BASE] + shift, LARGE)
    x[SHIFT] = clipped(before - shift, LARGE)
    x[SLOPE] = x[FAST] = x[SHIFT_AGE] = x[RETURNS] = 0.0
    x[OUTAGE] = 1.0 if outage else 0.0
    factor = min(max(ratio, 1.0) ** 0.7, math.e)
    for place in range(LOWER_QUANTILE, DEVIATION + 1):
        x[place] = clipped(x[place] * factor, LARGE)


@kernel
def learn_one(
    x: FloatArray,
    coefficients: SingleArray,
    visits: SingleArray,
    y: float,
    timestamp: float,
    profiles: Profiles,
    places: Places,
    t: int,
    rates: Rates,
) -> tuple[float, float]:
    """Learn a sample, and return its distance from the level and from `yhat`."""
    y = clipped(y, LARGE)
    x[LEARNED] += 1.0
    if x[LEARNED] == 1.0:
        x[LAST_TIME], x[LEVEL], x[BASE], x[LAST_SAMPLE] = timestamp, y, y, y
        return 0.0, 0.0
    duration = _pass_time(x, timestamp)
    profile = profile_at(coefficients, profiles, places, t, x[STEP])
    expected = expected_of(x, profile)
    residual = clipped(y - expected, LARGE)
    change = min(abs(y - x[LAST_SAMPLE]), LARGE)
    x[LAST_SAMPLE] = y
    sigma = max(sigma_of(x), _least(expected))
    reach = reach_of(x, sigma)
    distance = residual - _unsettled(x, rates.changepoint_window)
    limit = 0.5 * rates.loss_reactivity * sigma
    if x[LEARNED] <= 4.0:
        limit = LARGE
    elif x[LEARNED] <= SETTLED:
        limit = 3.0 * max(sigma, x[DEVIATION])
    bounded = clipped(residual, limit)
    level = x[LEVEL]
    x[FAST] += 0.3 * (bounded - x[FAST])
    _learn_level(x, bounded, sigma, rates)
    if x[OUTAGE] == 0.0:
        if x[LEARNED] > SETTLED:
            weeks = duration / WEEK
            tails = x[TAILS:RUN_LENGTH]
            above = residual - max(x[QUARTILE_3], 0.0) - max(x[SHIFT], 0.0)
            below = -residual + min(x[QUARTILE_1], 0.0) + min(x[SHIFT], 0.0)
            learn_tail(tails, 0, below, reach, rates.changepoint_window, weeks)
            learn_tail(tails, 1, above, reach, rates.changepoint_window, weeks)
        _learn_scale(x, distance, sigma_of(x), change, rates)
        from_base = clipped(bounded + level - x[BASE], LARGE)
        base_gain = max(min(rates.alpha, duration / _BASE_TIME), 1.0 / x[LEARNED], rates.forget)
        x[BASE] = clipped(x[BASE] + base_gain * from_base, LARGE)
        _learn_profiles(
            x, coefficients, visits, from_base, duration, profiles, places, t, rates.forget
        )
    else:
        _learn_outage(x, profile, change)
    _learn_shift(x, residual, profile, sigma, change, rates)
    return residual, distance
