"""A whole window of the temporal envelope, learned in several passes."""

from __future__ import annotations

import math

import numpy as np

from vmanomaly.kernel import kernel
from vmanomaly.model.temporal_envelope.calendar import WEEK, Places, Profiles
from vmanomaly.model.temporal_envelope.forecast import (
    DUE,
    ERROR_QUANTILE,
    KNOWN,
    learn_products,
    persistence,
    steady,
)
from vmanomaly.model.temporal_envelope.learn import (
    BASE,
    DEVIATION,
    FAST,
    LARGE,
    LAST_TIME,
    LEARNED,
    LEVEL,
    LOWER_QUANTILE,
    OUTAGE,
    QUARTILE_1,
    QUARTILE_3,
    RUN_LENGTH,
    SETTLED,
    SHIFT,
    SLOPE,
    STEP,
    TAILS,
    UPPER_QUANTILE,
    Rates,
    clipped,
    learn_one,
    profile_at,
    reach_of,
    sigma_of,
)
from vmanomaly.model.temporal_envelope.tails import measure_tail
from vmanomaly.series import BoolArray, FloatArray, IntArray, SingleArray

_PASSES = 2


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
    for place in range(TAILS, FAST + 1):
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
        measure_tail(x[TAILS:RUN_LENGTH], side, excesses, sigma, reach_of(x, sigma), window, weeks)
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
