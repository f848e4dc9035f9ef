"""One point of one series of the temporal envelope: what is expected of it, and learning it.

A series is a row `x` of `ENVELOPE`, and the bins of its calendar profiles. `TemporalEnvelopeModel`
describes what is computed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from vmanomaly.kernel import inlined, inner, spliced
from vmanomaly.model.base import LARGEST
from vmanomaly.model.online import widened
from vmanomaly.model.state import Record
from vmanomaly.model.temporal_envelope.calendar import DAY, WEEK, Places, Profiles
from vmanomaly.model.temporal_envelope.columns import Bins
from vmanomaly.model.temporal_envelope.drift import drift_of, drift_score, learn_drift
from vmanomaly.model.temporal_envelope.flatlines import flatline_score, learn_flatline
from vmanomaly.model.temporal_envelope.runs import (
    NO_LIMIT,
    forget_runs,
    learn_runs,
    limit_of,
)
from vmanomaly.model.temporal_envelope.tails import (
    ABOVE,
    BELOW,
    WEEKLY,
    kept_of_events,
    learn_tails,
)

LARGE = 1e306
"""Of samples and levels, so that sums and differences of a few are finite."""
SETTLED = 16
"""Number of samples before which residuals say little."""
_LARGEST_COEFFICIENT = 1e38
IQR_OF_NORMAL = 1.349
"""Distance of the quartiles of a normal distribution, in standard deviations."""
_SIGMA_PER_DEVIATION = math.sqrt(math.pi / 2.0)
"""Makes the mean absolute deviation of a normal distribution its standard deviation."""
_SCALE_GAIN = 0.001
CALM_WEEKS = 2.0
"""Weeks in which noise reaches beyond the bounds about once."""
_PATIENCE = 0.5
"""Recent events beyond a bound from which on it does not narrow."""
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


class Pace(NamedTuple):
    """What follows from the times of samples alone; mostly the same from sample to sample.

    Attributes
    ----------
    step
        The milliseconds between samples.
    reach
        What `reach_of` says of it.
    duration
        The milliseconds that the last sample represents.
    kept, kept_of_runs
        What is left after that of events of single samples, and of several together.
    """

    step: float
    reach: float
    duration: float
    kept: float
    kept_of_runs: float


NO_PACE = Pace(math.nan, math.nan, math.nan, math.nan, math.nan)
"""That of no sample."""


@inner
def pace_of(pace: Pace, step: float, duration: float) -> Pace:
    """Return the pace of a sample, given that of any other: what differs is computed."""
    reach, kept, kept_of_runs = pace.reach, pace.kept, pace.kept_of_runs
    if step != pace.step:
        reach = reach_of(step)
    if duration != pace.duration:
        weeks = duration / WEEK
        kept = kept_of_events(weeks, CALM_WEEKS)
        kept_of_runs = kept_of_events(weeks, WEEKLY)
    return Pace(step, reach, duration, kept, kept_of_runs)


@inner
def clipped(value: float, limit: float) -> float:
    """Return the value, no further from 0 than the limit."""
    return min(max(value, -limit), limit)


@inner
def clipped_between(value: float, end: float) -> float:
    """Return the value, between 0 and `end`."""
    return min(max(value, min(end, 0.0)), max(end, 0.0))


@inner
def sigma_of(x: Record) -> float:
    """Return the scale of the residuals: the larger of two estimates of a normal's deviation.

    The distance of the quartiles ignores outliers, and is 0 where most samples are the same.
    """
    quartiles = (x.residuals.quartile_3 - x.residuals.quartile_1) / IQR_OF_NORMAL
    return float(max(quartiles, _SIGMA_PER_DEVIATION * x.deviation))


@spliced
def _least(expected: float) -> float:
    return max(1e-9 * abs(expected), 1e-12)


@inner
def reach_of(step: float) -> float:
    """Return how far normal noise reaches beyond a quartile, in standard deviations.

    Two distances of the quartiles, or where samples are many the quantile of the normal
    distribution that one of them exceeds in `CALM_WEEKS`, by its asymptotic expansion.
    """
    reach = 2.0 * IQR_OF_NORMAL
    if step > 0.0:
        rarity = math.log(2.0 * CALM_WEEKS * WEEK / step)
        if rarity > 2.0:
            z = math.sqrt(2.0 * rarity - math.log(4.0 * math.pi * rarity))
            reach = max(reach, z - 0.5 * IQR_OF_NORMAL)
    return reach


@inner
def _unsettled(x: Record, changepoint_window: int) -> float:
    """Return what is left in the expected value of the level before the last shift."""
    if x.shift == 0.0:
        return 0.0
    return float(x.shift * math.exp(-x.shift_age / (_GLIDE * changepoint_window)))


@inlined
def profile_at(bins: Bins, profiles: Profiles, places: Places, t: int, step: float) -> float:
    """Return the sum of the profiles at a timestamp; of those with two samples a period."""
    total = 0.0
    for p in range(len(profiles.periods)):
        if places.bins[t, p, 0] >= 0 and 0.0 < 2.0 * step <= profiles.periods[p]:
            share = places.shares[t, p]
            total += (1.0 - share) * bins.values[places.bins[t, p, 0]]
            total += share * bins.values[places.bins[t, p, 1]]
    return total


@inner
def expected_of(x: Record, profile: float) -> float:
    """Return the level, the trend and, except in an outage, the sum of the profiles."""
    return float(x.level + x.slope + (profile if x.outage == 0.0 else 0.0))


@spliced
def bounds_of(
    x: Record, profile: float, rates: Rates, pace: Pace, is_next: bool
) -> tuple[float, float, float]:
    """Return `yhat`, `yhat_lower` and `yhat_upper`, from the sum of the profiles.

    While the level before may come back, it is between the bounds too. Where the next sample may
    complete a run, the limit of such runs is the bound. `is_next` says that the last samples are
    the ones right before: later points of a micro-batch complete nothing that is known.
    """
    expected = expected_of(x, profile)
    sigma = sigma_of(x)
    reach = pace.reach * sigma
    width = rates.iqr_threshold / 2.0
    lower = min(x.residuals.lower, 0.0) - width * max(reach, x.tails.reach[BELOW])
    upper = max(x.residuals.upper, 0.0) + width * max(reach, x.tails.reach[ABOVE])
    if is_next and x.outage == 0.0:
        unit = width * max(sigma, _least(expected))
        limit = limit_of(x.runs, BELOW)
        if limit < NO_LIMIT:
            lower = max(lower, min(x.residuals.lower, 0.0, -unit * limit))
        limit = limit_of(x.runs, ABOVE)
        if limit < NO_LIMIT:
            upper = min(upper, max(x.residuals.upper, 0.0, unit * limit))
    least, most = expected, expected
    if x.shift != 0.0:
        before = x.level + x.slope + profile + x.shift
        least, most = min(expected, before), max(expected, before)
    yhat = expected + _unsettled(x, rates.changepoint_window)
    lower, upper = widened(yhat, min(least + lower, yhat), max(most + upper, yhat))
    return yhat, lower, upper


@inner
def beyond_levels_of(x: Record, profile: float, y: float, lower: float, upper: float) -> float:
    """Return how far a sample that is back at the level before lies beyond both levels.

    Its score would be high only because `yhat` is on its way to the present one. In the distance
    from the levels to the bound, 0 between them; `LARGEST` for a sample nearer to the present
    level.
    """
    if x.shift == 0.0:
        return LARGEST
    expected = expected_of(x, profile)
    before = x.level + x.slope + profile + x.shift
    if abs(y - before) >= abs(y - expected):
        return LARGEST
    least, most = min(expected, before), max(expected, before)
    if y > most:
        return float(min((y - most) / max(upper - most, 1e-300), LARGEST))
    if y < least:
        return float(min((least - y) / max(least - lower, 1e-300), LARGEST))
    return 0.0


@inner
def flatline_score_of(x: Record, y: float) -> float:
    """Return how unusually long the series has been standing still if `y` is its next sample."""
    if x.n_learned <= SETTLED:
        return 0.0
    change = abs(clipped(y, LARGE) - x.last_sample)
    return flatline_score(x, change, x.n_learned - SETTLED)


@inner
def drift_score_of(x: Record) -> tuple[float, float]:
    """Return how far the level has drifted, and how unusual that is."""
    if x.n_learned <= SETTLED:
        return 0.0, 0.0
    drift = drift_of(x)
    return drift, drift_score(x, drift, sigma_of(x))


@spliced
def _pass_time(x: Record, timestamp: float) -> float:
    """Record the time of a sample, and return the milliseconds that it represents."""
    gap = timestamp - x.last_time
    x.last_time = timestamp
    if x.step == 0.0:
        x.step = gap
    elif gap < 3.0 * x.step:
        x.step += 0.05 * (gap - x.step)
    return float(min(gap, 2.0 * x.step))


@inner
def _moved(quantile: float, probability: float, residual: float, step: float) -> float:
    """Move a quantile by a step towards a residual, so that the moves cancel where it is right."""
    if residual > quantile:
        return quantile + step * probability
    if residual < quantile:
        return quantile - step * (1.0 - probability)
    return quantile


@inner
def learn_quantiles(quantiles: Record, rates: Rates, residual: float, step: float) -> None:
    """Move a row of `QUANTILES` by a step towards a residual."""
    quantiles.lower = _moved(quantiles.lower, rates.lower, residual, step)
    quantiles.quartile_1 = _moved(quantiles.quartile_1, 0.25, residual, step)
    quantiles.quartile_3 = _moved(quantiles.quartile_3, 0.75, residual, step)
    quantiles.upper = _moved(quantiles.upper, rates.upper, residual, step)


@spliced
def _learn_scale(x: Record, residual: float, sigma: float, change: float, rates: Rates) -> None:
    n = x.n_learned
    gain = max(_SCALE_GAIN, 1.0 / n, min(rates.forget, 0.1))
    if n <= 2.0:
        x.deviation = abs(residual)
        x.change = x.usual_change = change
    else:
        x.deviation += gain * (min(abs(residual), 5.0 * max(sigma, x.deviation)) - x.deviation)
        x.change += max(0.01, 1.0 / n) * (min(change, 10.0 * max(x.change, 1e-12)) - x.change)
    if n <= SETTLED:
        x.usual_change = x.change
    else:
        towards = 0.02 * x.change
        x.usual_change = max(
            x.usual_change + (towards if change > x.usual_change else -towards), 0.0
        )
    step = 2.0 * min(gain, 0.1) * max(sigma, x.deviation)
    learn_quantiles(x.residuals, rates, residual, step)


@spliced
def _learn_profiles(
    x: Record,
    bins: Bins,
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
        if places.bins[t, p, 0] >= 0 and 0.0 < 2.0 * x.step <= profiles.periods[p]:
            visit = min(duration / profiles.widths[p], 1.0)
            most = profiles.mosts[p]
            if forget > 0.0:
                most = min(most, x.step / (forget * profiles.periods[p]))
            for side in range(2):
                share = places.shares[t, p] if side == 1 else 1.0 - places.shares[t, p]
                if share > 0.0:
                    b = places.bins[t, p, side]
                    bins.visits[b] = min(bins.visits[b] + share * visit, most)
                    gain = share * visit / (bins.visits[b] + profiles.priors[p])
                    moved = bins.values[b] + gain * residual
                    bins.values[b] = clipped(moved, _LARGEST_COEFFICIENT)


@spliced
def _learn_level(x: Record, residual: float, sigma: float, rates: Rates) -> None:
    gain = max(rates.alpha, 1.0 / x.n_learned, rates.forget)
    x.level = clipped(x.level + x.slope + gain * residual, LARGE)
    if x.n_learned * rates.alpha > 1.0:
        slope = x.slope + 0.25 * rates.alpha**2 * residual
        x.slope = clipped(slope, rates.alpha * sigma)


@spliced
def _learn_outage(x: Record, profile: float, change: float) -> None:
    """End an outage in which the noise is back."""
    lifeless = 1.0 if change < _LIFELESS * x.usual_change else 0.0
    x.outage += 0.05 * (lifeless - x.outage)
    if x.outage < 0.5:
        x.outage = 0.0
        x.level = x.base = clipped(x.level - profile, LARGE)
        x.base_since = x.last_time


@spliced
def _learn_shift(
    x: Record, residual: float, profile: float, sigma: float, change: float, rates: Rates
) -> None:
    """Return to the level before or take up a new one, where the last samples all say so.

    A new level without the noise of before is an outage: the profiles do not apply in it, and
    nothing but its level is learned until there is another shift.
    """
    if x.shift != 0.0:
        x.shift_age += 1.0
        back = abs(residual - x.shift - (profile if x.outage > 0.0 else 0.0))
        near = back < abs(residual) and back < _SHIFT_SIGMAS * sigma
        x.n_returned = x.n_returned + 1.0 if near else 0.0
        if x.n_returned >= _RETURNED:
            x.level = clipped(x.level + x.shift, LARGE)
            x.base = clipped(x.base + x.shift, LARGE)
            x.base_since = x.last_time
            x.shift = x.n_returned = x.run_length = x.outage = 0.0
            forget_runs(x.runs)
            return
        if x.shift_age > 3.0 * _GLIDE * rates.changepoint_window and x.outage == 0.0:
            x.shift = 0.0
    same_side = residual != 0.0 and (residual > 0.0) == (x.run_mean > 0.0)
    near_run = abs(residual) < 2.0 * abs(x.run_mean) + 3.0 * sigma
    if x.run_length > 0.0 and same_side and near_run:
        # The first change of a run is the shift itself.
        x.run_change += (change - x.run_change) / x.run_length
        x.run_length += 1.0
        x.run_mean += (residual - x.run_mean) / x.run_length
    else:
        x.run_length, x.run_mean, x.run_change = 1.0, residual, 0.0
    if x.run_length < rates.changepoint_window or x.n_learned <= 2.0 * rates.changepoint_window:
        return
    if abs(x.run_mean) > _SHIFT_SIGMAS * sigma:
        _take_up(x, profile, rates)
    x.run_length = 0.0


@spliced
def _take_up(x: Record, profile: float, rates: Rates) -> None:
    """Move to the level of the run, and to its scale if that is larger."""
    shift = x.run_mean
    ratio = x.run_change / max(x.change, 1e-300)
    outage = x.run_length > 4.0 and x.run_change < _LIFELESS * x.usual_change
    if outage and x.outage == 0.0:
        shift += profile
    elif not outage and x.outage > 0.0:
        shift -= profile
    before = x.shift if x.outage > 0.0 else _unsettled(x, rates.changepoint_window)
    x.level = clipped(x.level + shift, LARGE)
    x.base = clipped(x.base + shift, LARGE)
    x.base_since = x.last_time
    x.shift = clipped(before - shift, LARGE)
    x.slope = x.fast = x.shift_age = x.n_returned = 0.0
    x.outage = 1.0 if outage else 0.0
    forget_runs(x.runs)
    factor = min(max(ratio, 1.0) ** 0.7, math.e)
    scaled = x.residuals
    scaled.lower = clipped(scaled.lower * factor, LARGE)
    scaled.quartile_1 = clipped(scaled.quartile_1 * factor, LARGE)
    scaled.quartile_3 = clipped(scaled.quartile_3 * factor, LARGE)
    scaled.upper = clipped(scaled.upper * factor, LARGE)
    x.deviation = clipped(x.deviation * factor, LARGE)


@inner
def learn_one(
    x: Record,
    bins: Bins,
    y: float,
    timestamp: float,
    profiles: Profiles,
    places: Places,
    t: int,
    rates: Rates,
    pace: Pace,
) -> tuple[float, float, float, float, Pace]:
    """Learn a sample; return its distance from the level, from `yhat`, from both levels, and more.

    The third is 0 between the level and the one before while that may come back. What follows are
    how far the level has drifted, and the pace of the sample; `pace` is that of any other one.
    """
    y = clipped(y, LARGE)
    x.n_learned += 1.0
    if x.n_learned == 1.0:
        x.last_time, x.level, x.base, x.last_sample = timestamp, y, y, y
        x.base_since = timestamp
        return 0.0, 0.0, 0.0, 0.0, pace
    duration = _pass_time(x, timestamp)
    pace = pace_of(pace, x.step, duration)
    weeks = duration / WEEK
    profile = profile_at(bins, profiles, places, t, x.step)
    expected = expected_of(x, profile)
    residual = clipped(y - expected, LARGE)
    change = min(abs(y - x.last_sample), LARGE)
    x.last_sample = y
    if x.n_learned > SETTLED:
        learn_flatline(x, change, x.n_learned - SETTLED, weeks)
    sigma = max(sigma_of(x), _least(expected))
    distance = residual - _unsettled(x, rates.changepoint_window)
    outside = residual - clipped_between(residual, x.shift)
    limit = 0.5 * rates.loss_reactivity * sigma
    if x.n_learned <= 4.0:
        limit = LARGE
    elif x.n_learned <= SETTLED:
        limit = 3.0 * max(sigma, x.deviation)
    bounded = clipped(residual, limit)
    level = x.level
    drift = 0.0
    x.fast += 0.3 * (bounded - x.fast)
    _learn_level(x, bounded, sigma, rates)
    if x.outage == 0.0:
        if x.n_learned > SETTLED:
            above = residual - max(x.residuals.quartile_3, 0.0) - max(x.shift, 0.0)
            below = -residual + min(x.residuals.quartile_1, 0.0) + min(x.shift, 0.0)
            learn_tails(
                x.tails,
                below,
                above,
                pace.reach * sigma,
                rates.changepoint_window,
                weeks,
                pace.kept,
                _PATIENCE,
            )
            learn_runs(x.runs, outside / sigma, rates.changepoint_window, weeks, pace.kept_of_runs)
            drift = learn_drift(x, sigma, rates.changepoint_window, weeks, pace.kept_of_runs)
        _learn_scale(x, distance, sigma_of(x), change, rates)
        from_base = clipped(bounded + level - x.base, LARGE)
        base_gain = max(min(rates.alpha, duration / _BASE_TIME), 1.0 / x.n_learned, rates.forget)
        x.base = clipped(x.base + base_gain * from_base, LARGE)
        _learn_profiles(x, bins, from_base, duration, profiles, places, t, rates.forget)
    else:
        _learn_outage(x, profile, change)
    _learn_shift(x, residual, profile, sigma, change, rates)
    return residual, distance, outside, drift, pace
