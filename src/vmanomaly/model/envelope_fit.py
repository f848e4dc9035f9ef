"""A whole window of the temporal envelope, learned in several passes."""

from __future__ import annotations

import math

import numpy as np

from vmanomaly.kernel import kernel
from vmanomaly.model.calendar import WEEK, Places, Profiles
from vmanomaly.model.envelope_forecast import (
    DUE,
    ERROR_QUANTILE,
    KNOWN,
    learn_products,
    persistence,
    steady,
)
from vmanomaly.model.envelope_kernel import (
    BASE,
    DEVIATION,
    EVENT_MEMORY,
    FAST,
    LARGE,
    LAST_TIME,
    LEARNED,
    LEVEL,
    LOWER_EVENTS,
    LOWER_QUANTILE,
    LOWER_TAIL,
    OUTAGE,
    QUARTILE_1,
    QUARTILE_3,
    SETTLED,
    SHIFT,
    SLOPE,
    STEP,
    UPPER_QUANTILE,
    Rates,
    clipped,
    learn_one,
    profile_at,
    reach_of,
    sigma_of,
)
from vmanomaly.series import BoolArray, FloatArray, IntArray, SingleArray

_PASSES = 2
_INCIDENTS_PER_WEEK = 30.0
_INCIDENTS_PER_SAMPLE = 0.01
"""Events that may be incidents, whichever are fewer."""


@kernel
def _largest_of_events(excesses: FloatArray, threshold: float, window: int) -> FloatArray:
    """Return the largest excess of every event above the threshold, the largest first."""
    largest = np.empty(len(excesses))
    n_events = 0
    quiet = window
    for excess in excesses:
        quiet += 1
        if excess > threshold:
            if quiet > window:
                largest[n_events] = excess
                n_events += 1
            else:
                largest[n_events - 1] = max(largest[n_events - 1], excess)
            quiet = 0
    return -np.sort(-largest[:n_events])


@kernel
def _tail(falling: FloatArray, n_samples: int, weeks: float) -> float:
    """Return what events reach once a week, by extrapolation from those that recur within days.

    Four a day at most, and no more than a hundredth of the samples, are left out: they may be
    incidents, which must not become normal. The tail is taken as exponential.
    """
    rank = 1 + int(min(_INCIDENTS_PER_WEEK * weeks, _INCIDENTS_PER_SAMPLE * n_samples))
    if len(falling) < rank:
        return 0.0
    last = min(len(falling) - 1, 2 * rank + 10)
    slope = 0.0
    if last > rank:
        slope = (falling[rank - 1] - falling[last]) / math.log((last + 1) / rank)
    reach = falling[rank - 1] + slope * math.log(max(rank / max(weeks, 0.1), 1.0))
    return float(min(reach, LARGE))


@kernel
def _events_of_late(excesses: FloatArray, tail: float, window: int, weeks: float) -> float:
    """Return the events beyond the tail, each weighing less the longer ago it was."""
    count = 0.0
    quiet = window
    for i in range(len(excesses)):
        quiet += 1
        if excesses[i] > tail and quiet > window:
            count += math.exp(-weeks * (1.0 - i / len(excesses)) / EVENT_MEMORY)
            quiet = 0
    return count


@kernel
def fit_rows(
    rows: IntArray,
    timestamps: IntArray,
    values: FloatArray,
    profiles: Profiles,
    places: Places,
    rates: Rates,
    envelopes: FloatArray,
    all_coefficients: SingleArray,
    all_visits: SingleArray,
    horizons: FloatArray,
    all_forecasts: FloatArray,
) -> None:
    """Learn whole windows, in several passes over each; parameters as in `walk_rows`.

    The first pass meets every sample for the first time, so its errors are those of forecasts.
    """
    n_series, n_timestamps = values.shape
    n_horizons = len(horizons)
    steadies = np.full((n_horizons, n_timestamps), np.nan)
    fasts = np.empty(n_timestamps)
    residuals, distances = np.empty(n_timestamps), np.empty(n_timestamps)
    alive = np.empty(n_timestamps, np.bool_)
    for s in range(n_series):
        x = envelopes[rows[s]]
        coefficients, visits = all_coefficients[rows[s]], all_visits[rows[s]]
        n_samples = 0
        for number in range(_PASSES):
            if number > 0:
                if n_samples <= 2 * SETTLED:
                    break
                _restart(x, coefficients, visits, timestamps, values[s], profiles, places)
            n_samples = 0
            for t in range(n_timestamps):
                y = values[s, t]
                if math.isfinite(y):
                    residuals[n_samples], distances[n_samples] = learn_one(
                        x,
                        coefficients,
                        visits,
                        y,
                        float(timestamps[t]),
                        profiles,
                        places,
                        t,
                        rates,
                    )
                    alive[n_samples] = x[OUTAGE] == 0.0
                    n_samples += 1
                if number == 0:
                    fasts[t] = x[FAST]
                    for h in range(n_horizons):
                        ahead = t + (h + 1) * n_timestamps
                        profile = profile_at(coefficients, profiles, places, ahead, x[STEP])
                        steadies[h, t] = steady(x, horizons[h], profile, rates.alpha)
        for h in range(n_horizons):
            _measure_forecasts(
                x,
                all_forecasts[rows[s], h],
                horizons[h],
                timestamps,
                values[s],
                steadies[h],
                fasts,
                rates,
            )
        x[LEARNED] = n_samples
        if n_samples > 2 * SETTLED:
            weeks = (timestamps[-1] - timestamps[0]) / WEEK
            _measure(
                x, residuals[:n_samples], distances[:n_samples], alive[:n_samples], weeks, rates
            )


@kernel
def _restart(
    x: FloatArray,
    coefficients: SingleArray,
    visits: SingleArray,
    timestamps: IntArray,
    values: FloatArray,
    profiles: Profiles,
    places: Places,
) -> None:
    """Go back to the start of the window, with what is known of profiles and scale."""
    n_first = min(len(values), 288)
    without_profile = np.empty(n_first)
    n_samples = 0
    for t in range(n_first):
        y = values[t]
        if math.isfinite(y):
            profile = profile_at(coefficients, profiles, places, t, x[STEP])
            without_profile[n_samples] = clipped(y, LARGE) - profile
            n_samples += 1
    if n_samples > 0:
        x[LEVEL] = np.median(without_profile[:n_samples])
    x[LEARNED] = SETTLED + 1
    x[LAST_TIME] = timestamps[0] - x[STEP]
    x[SLOPE] = 0.0
    for place in range(LOWER_TAIL, FAST + 1):
        x[place] = 0.0
    x[BASE] = x[LEVEL]
    visits[:] = 0.0


@kernel
def _mean_deviation(distances: FloatArray, limit: float) -> float:
    total = 0.0
    for distance in distances:
        total += min(abs(distance), limit) / len(distances)
    return total


@kernel
def _measure(
    x: FloatArray,
    residuals: FloatArray,
    distances: FloatArray,
    alive: BoolArray,
    weeks: float,
    rates: Rates,
) -> None:
    """Set scale and tails from a whole window, outages left out."""
    n_samples = len(residuals)
    alive[: n_samples // 4] = False
    kept = distances[alive]
    if len(kept) < SETTLED:
        kept = distances[n_samples // 4 :]
    x[LOWER_QUANTILE] = np.quantile(kept, rates.lower)
    x[QUARTILE_1] = np.quantile(kept, 0.25)
    x[QUARTILE_3] = np.quantile(kept, 0.75)
    x[UPPER_QUANTILE] = np.quantile(kept, rates.upper)
    limit = 5.0 * _mean_deviation(kept, LARGE)
    x[DEVIATION] = _mean_deviation(kept, limit)
    sigma = sigma_of(x)
    window = rates.changepoint_window
    for side in range(2):
        if side == 0:
            excesses = np.where(alive, -residuals + min(x[QUARTILE_1], 0.0), 0.0)
        else:
            excesses = np.where(alive, residuals - max(x[QUARTILE_3], 0.0), 0.0)
        falling = _largest_of_events(excesses, sigma, window)
        tail = _tail(falling, len(residuals), weeks)
        x[LOWER_TAIL + side] = tail
        beyond = max(tail, reach_of(x, sigma))
        x[LOWER_EVENTS + side] = _events_of_late(excesses, beyond, window, weeks)
    x[SHIFT] = 0.0


@kernel
def _measure_forecasts(
    x: FloatArray,
    f: FloatArray,
    horizon: float,
    timestamps: IntArray,
    values: FloatArray,
    steadies: FloatArray,
    fasts: FloatArray,
    rates: Rates,
) -> None:
    """Learn from all forecasts of a horizon that were made in the second half of the window."""
    n_timestamps = len(timestamps)
    errors = np.empty(n_timestamps)
    fast_then = np.empty(n_timestamps)
    n_errors = 0
    sigma = max(sigma_of(x), 1e-12)
    t = 0
    for made in range(n_timestamps // 2, n_timestamps):
        while t < n_timestamps and timestamps[t] < timestamps[made] + horizon:
            t += 1
        if t == n_timestamps:
            break
        if timestamps[t] < timestamps[made] + horizon + x[STEP] and math.isfinite(values[t]):
            error = clipped(clipped(values[t], LARGE) - steadies[made], LARGE)
            learn_products(f, fasts[made], error, sigma, 1000.0)
            errors[n_errors], fast_then[n_errors] = error, fasts[made]
            n_errors += 1
    f[DUE] = 0.0
    if n_errors == 0:
        return
    share = persistence(f)
    for i in range(n_errors):
        errors[i] = clipped(errors[i] - share * fast_then[i], LARGE)
    # Neighbouring forecasts are wrong together: as many are independent as horizons fit in.
    f[KNOWN] = n_errors * min(x[STEP] / horizon, 1.0)
    f[ERROR_QUANTILE] = np.quantile(errors[:n_errors], rates.lower)
    f[ERROR_QUANTILE + 1] = np.quantile(errors[:n_errors], 0.25)
    f[ERROR_QUANTILE + 2] = np.quantile(errors[:n_errors], 0.75)
    f[ERROR_QUANTILE + 3] = np.quantile(errors[:n_errors], rates.upper)
