"""What is measured on a whole window of the temporal envelope after a pass over it."""

from __future__ import annotations

import math

from vmanomaly.kernel import inner, kernel, spliced
from vmanomaly.model.online import Points
from vmanomaly.model.order_statistics import median, quantile
from vmanomaly.model.state import Record
from vmanomaly.model.temporal_envelope.calendar import WEEK, Places, Profiles
from vmanomaly.model.temporal_envelope.columns import Bins, Envelopes
from vmanomaly.model.temporal_envelope.forecast import learn_products, persistence
from vmanomaly.model.temporal_envelope.learn import (
    CALM_WEEKS,
    LARGE,
    SETTLED,
    Rates,
    clipped,
    profile_at,
    reach_of,
    sigma_of,
)
from vmanomaly.model.temporal_envelope.runs import (
    PAIR_REACH,
    SPELL_REACH,
    add_to_runs,
    forget_runs,
    pair_of,
    spell_of,
)
from vmanomaly.model.temporal_envelope.tails import BELOW, SIDES, WEEKLY, measure_tail
from vmanomaly.model.temporal_envelope.walk import Traces
from vmanomaly.series import BoolArray, FloatArray, IntArray

N_ROOMS = 5
"""The rows that `measure` needs to write to."""
_FIRST = 288


@kernel
def restart(
    points: Points, profiles: Profiles, places: Places, envelopes: Envelopes, room: FloatArray
) -> None:
    """Go back to the start of the window, with what is known of profiles and scale.

    The level is the median of the first samples without their profiles. Series without points
    to be learned stay as they are. `room` has a place for each timestamp.
    """
    n_timestamps = len(points.timestamps)
    n_first = min(n_timestamps, _FIRST)
    for s in range(len(points.rows)):
        if points.first[s] == n_timestamps:
            continue
        row = points.rows[s]
        x = envelopes.envelope[row]
        bins = Bins(envelopes.profile[row], envelopes.profile_visits[row])
        n_samples = 0
        for t in range(n_first):
            y = points.values[s, t]
            if math.isfinite(y):
                profile = profile_at(bins, profiles, places, t, x.step)
                room[n_samples] = clipped(y, LARGE) - profile
                n_samples += 1
        if n_samples > 0:
            x.level = median(room[:n_samples])
        x.n_learned = SETTLED + 1
        x.last_time = points.timestamps[0] - x.step
        x.base, x.base_since = x.level, x.last_time
        x.slope = x.fast = 0.0
        x.run_length = x.run_mean = x.run_change = 0.0
        x.shift = x.shift_age = x.n_returned = x.outage = 0.0
        for side in SIDES:
            x.tails.reach[side] = x.tails.n_events[side] = x.tails.largest[side] = 0.0
            x.tails.peak[side] = x.tails.event_age[side] = 0.0
        forget_runs(x.runs)
        x.flat_length = x.longest_flat = x.second_flat = x.flat_share = 0.0
        for b in range(len(bins.visits)):
            bins.visits[b] = 0.0


@kernel
def measure(
    points: Points,
    n_samples: IntArray,
    traces: Traces,
    rates: Rates,
    envelopes: Envelopes,
    rooms: FloatArray,
) -> None:
    """Set scale and tails from whole windows, outages left out.

    `n_samples` is how many finite samples each series has. Series without points to be learned
    stay as they are. `rooms` has `N_ROOMS` rows with a place for each timestamp.
    """
    room, excesses = rooms[0], rooms[1]
    n_timestamps = len(points.timestamps)
    weeks = (points.timestamps[n_timestamps - 1] - points.timestamps[0]) / WEEK
    for s in range(len(points.rows)):
        if points.first[s] == n_timestamps:
            continue
        n = n_samples[s]
        x = envelopes.envelope[points.rows[s]]
        alive = traces.alive[s, :n]
        for i in range(n // 4):
            alive[i] = False
        _measure_scale(x, traces.distances[s, :n], alive, rates, room)
        sigma = sigma_of(x)
        reach, window = reach_of(x.step) * sigma, rates.changepoint_window
        for side in SIDES:
            _excesses(x, side, traces.residuals[s, :n], alive, excesses)
            measure_tail(x.tails, side, excesses[:n], sigma, reach, window, weeks, CALM_WEEKS, room)
        _measure_runs(
            x.runs,
            traces.outsides[s, :n],
            alive,
            max(sigma, 1e-12),
            window,
            weeks,
            rooms[1:],
            room,
        )
        _measure_drift(x.drift, traces.drifts[s, :n], alive)
        x.shift = 0.0


@inner
def _measure_drift(tails: Record, drifts: FloatArray, alive: BoolArray) -> None:
    """Set how far the level has ever drifted."""
    for side in SIDES:
        farthest = 0.0
        for i in range(len(drifts)):
            if alive[i]:
                farthest = max(farthest, -drifts[i] if side == BELOW else drifts[i])
        tails.reach[side] = tails.largest[side] = farthest
        tails.n_events[side] = tails.peak[side] = tails.event_age[side] = 0.0


@spliced
def _measure_scale(
    x: Record, distances: FloatArray, alive: BoolArray, rates: Rates, room: FloatArray
) -> None:
    n_kept = 0
    for i in range(len(distances)):
        if alive[i]:
            room[n_kept] = distances[i]
            n_kept += 1
    if n_kept < SETTLED:
        n_kept = 0
        for i in range(len(distances) // 4, len(distances)):
            room[n_kept] = distances[i]
            n_kept += 1
    kept = room[:n_kept]
    limit = 5.0 * _mean_deviation(kept, LARGE)
    x.deviation = _mean_deviation(kept, limit)
    _measure_quantiles(x.residuals, kept, rates)


@inner
def _measure_quantiles(quantiles: Record, values: FloatArray, rates: Rates) -> None:
    """Set a row of `QUANTILES`, of which the outer two are the quartiles by default.

    Reorders the values.
    """
    lower, upper = rates.lower, rates.upper
    quantiles.quartile_1 = quantile(values, 0.25)
    quantiles.quartile_3 = quantile(values, 0.75)
    quantiles.lower = quantiles.quartile_1 if lower == 0.25 else quantile(values, lower)
    quantiles.upper = quantiles.quartile_3 if upper == 0.75 else quantile(values, upper)


@spliced
def _measure_runs(
    runs: Record,
    outsides: FloatArray,
    alive: BoolArray,
    sigma: float,
    window: int,
    weeks: float,
    reaches: FloatArray,
    room: FloatArray,
) -> None:
    """Set how far two samples in a row, and eight of twelve, reach together.

    `reaches` has four rows with a place for each sample, `room` is one.
    """
    n = len(outsides)
    forget_runs(runs)
    for i in range(n):
        deviation = outsides[i] / sigma
        pair, spell = pair_of(runs, deviation), spell_of(runs, deviation)
        for side in SIDES:
            reaches[side, i] = pair[side] if alive[i] else 0.0
            reaches[2 + side, i] = spell[side] if alive[i] else 0.0
        add_to_runs(runs, deviation)
    for side in SIDES:
        pairs, spells = reaches[side, :n], reaches[2 + side, :n]
        measure_tail(runs.pair, side, pairs, 0.0, PAIR_REACH, window, weeks, WEEKLY, room)
        measure_tail(runs.spell, side, spells, 0.0, SPELL_REACH, window, weeks, WEEKLY, room)


@inner
def _mean_deviation(distances: FloatArray, limit: float) -> float:
    total = 0.0
    for distance in distances:
        total += min(abs(distance), limit) / len(distances)
    return total


@spliced
def _excesses(
    x: Record, side: int, residuals: FloatArray, alive: BoolArray, excesses: FloatArray
) -> None:
    """Fill in how far the residuals reach beyond the quartile on a side."""
    for i in range(len(residuals)):
        if not alive[i]:
            excesses[i] = 0.0
        elif side == BELOW:
            excesses[i] = -residuals[i] + min(x.residuals.quartile_1, 0.0)
        else:
            excesses[i] = residuals[i] - max(x.residuals.quartile_3, 0.0)


@kernel
def measure_forecasts(
    points: Points,
    horizons: FloatArray,
    traces: Traces,
    rates: Rates,
    envelopes: Envelopes,
    errors: FloatArray,
    fasts: FloatArray,
) -> None:
    """Learn from all forecasts that were made in the second half of the window.

    `errors` and `fasts` have a place for each timestamp.
    """
    n_timestamps = len(points.timestamps)
    for s in range(len(points.rows)):
        row = points.rows[s]
        x = envelopes.envelope[row]
        sigma = max(sigma_of(x), 1e-12)
        for h in range(len(horizons)):
            f, horizon = envelopes.forecast[row, h], horizons[h]
            n_errors = 0
            t = 0
            for made in range(n_timestamps // 2, n_timestamps):
                due = points.timestamps[made] + horizon
                while t < n_timestamps and points.timestamps[t] < due:
                    t += 1
                if t == n_timestamps:
                    break
                y = points.values[s, t]
                if points.timestamps[t] < due + x.step and math.isfinite(y):
                    fasts[n_errors] = traces.fasts[s, made]
                    errors[n_errors] = clipped(
                        clipped(y, LARGE) - traces.steadies[s, h, made], LARGE
                    )
                    learn_products(f, fasts[n_errors], errors[n_errors], sigma, 1000.0)
                    n_errors += 1
            f.due = 0.0
            if n_errors > 0:
                share = persistence(f)
                for i in range(n_errors):
                    errors[i] = clipped(errors[i] - share * fasts[i], LARGE)
                # Neighbouring forecasts are wrong together: as many are independent as horizons
                # fit in.
                f.n_known = n_errors * min(x.step / horizon, 1.0)
                _measure_quantiles(f.errors, errors[:n_errors], rates)
