"""Many points of many series of the temporal envelope, predicted and learned."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vmanomaly.kernel import kernel
from vmanomaly.model.online import Bounds, Points, micro_batch
from vmanomaly.model.temporal_envelope.calendar import Places, Profiles
from vmanomaly.model.temporal_envelope.columns import Bins, Envelopes
from vmanomaly.model.temporal_envelope.forecast import forecast, learn_forecast, steady
from vmanomaly.model.temporal_envelope.learn import (
    NO_PACE,
    Rates,
    beyond_levels_of,
    bounds_of,
    drift_score_of,
    flatline_score_of,
    learn_one,
    pace_of,
    profile_at,
)
from vmanomaly.series import BoolArray, FloatArray


class Traces(NamedTuple):
    """What a pass of a fit leaves behind for measurements; empty where not wanted.

    Attributes
    ----------
    residuals, distances, outsides, drifts : ndarray of float64, shape (S, T)
        What `learn_one` returned for every finite sample, one after the other.
    alive : ndarray of bool, shape (S, T)
        Whether there was no outage at them.
    fasts : ndarray of float64, shape (S, T)
        The mean of the last few residuals at every timestamp.
    steadies : ndarray of float64, shape (S, H, T)
        The forecasts that were made then, without what the last residuals say.
    """

    residuals: FloatArray
    distances: FloatArray
    outsides: FloatArray
    drifts: FloatArray
    alive: BoolArray
    fasts: FloatArray
    steadies: FloatArray


class Evidence(NamedTuple):
    """What is said of an incident, whatever the bounds are; NaN before anything is known.

    Attributes
    ----------
    flatlines : ndarray of float64, shape (S, T)
        How unusually long the series has been standing still; NaN where there is no sample.
    drifts, drift_scores : ndarray of float64, shape (S, T)
        How far its level has drifted, and how unusual that is.
    beyond_levels : ndarray of float64, shape (S, T)
        How far a sample that is back at the level before is beyond both levels; `LARGEST` for
        all others. 0 where a counter restarts: since when it counts again is not known, so that
        its first sample is no evidence.
    """

    flatlines: FloatArray
    drifts: FloatArray
    drift_scores: FloatArray
    beyond_levels: FloatArray

    @classmethod
    def blank(cls, points: Points) -> Evidence:
        """Return evidence filled with NaN."""
        return cls(*points.blanks(len(cls._fields)))


def traces_of_forecasts(n_series: int, n_horizons: int, n_timestamps: int) -> Traces:
    """Return room for the traces of the first pass of a fit."""
    return NO_TRACES._replace(
        fasts=np.empty((n_series, n_timestamps)),
        steadies=np.empty((n_series, n_horizons, n_timestamps)),
    )


def traces_of_residuals(n_series: int, n_timestamps: int) -> Traces:
    """Return room for the traces of the second pass of a fit."""
    shape = (n_series, n_timestamps)
    return NO_TRACES._replace(
        residuals=np.empty(shape),
        distances=np.empty(shape),
        outsides=np.empty(shape),
        drifts=np.empty(shape),
        alive=np.empty(shape, np.bool_),
    )


NO_TRACES = Traces(
    np.empty((0, 0)),
    np.empty((0, 0)),
    np.empty((0, 0)),
    np.empty((0, 0)),
    np.empty((0, 0), np.bool_),
    np.empty((0, 0)),
    np.empty((0, 0, 0)),
)
"""No room: nothing is left behind."""


@kernel
def walk_rows(  # noqa: PLR0912 - what is never forecast is not compiled
    points: Points,
    profiles: Profiles,
    places: Places,
    rates: Rates,
    horizons: FloatArray | None,
    envelopes: Envelopes,
    bounds: Bounds,
    evidence: Evidence,
    forecasts: FloatArray,
    traces: Traces,
) -> None:
    """Predict and learn one micro-batch after the other.

    Parameters
    ----------
    points
        Without predictions, neither bounds nor forecasts are made, and none waits for its time.
    profiles, places, rates
        `places` has T rows for the timestamps, and T more for each of the H horizons.
    horizons
        Milliseconds from a timestamp to what is forecast at it, float64, shape (H,); None where
        H is 0: forecasts are not even compiled then.
    envelopes
        Changed.
    bounds
        Written.
    evidence
        Written.
    forecasts
        float64, shape (H, 3, S, T): the forecast and its bounds, written.
    traces
        Written.
    """
    n_timestamps = len(points.timestamps)
    pace = NO_PACE
    for s in range(len(points.rows)):
        row = points.rows[s]
        x = envelopes.envelope[row]
        bins = Bins(envelopes.profile[row], envelopes.profile_visits[row])
        n_learned = 0
        for b in range(len(points.starts)):
            begin, end = micro_batch(points, s, b)
            if points.predicted and x.n_learned > 0.0:
                pace = pace_of(pace, x.step, pace.duration)
                drift, unusual = drift_score_of(x)
                for t in range(begin, end):
                    profile = profile_at(bins, profiles, places, t, x.step)
                    yhat, lower, upper = bounds_of(x, profile, rates, pace, t == begin)
                    bounds.yhat[s, t] = yhat
                    bounds.yhat_lower[s, t], bounds.yhat_upper[s, t] = lower, upper
                    # A counter has no rate where it restarts, but a drift.
                    evidence.drifts[s, t], evidence.drift_scores[s, t] = drift, unusual
                    evidence.beyond_levels[s, t] = 0.0
                    if math.isfinite(points.values[s, t]):
                        evidence.flatlines[s, t] = flatline_score_of(x, points.values[s, t])
                        evidence.beyond_levels[s, t] = beyond_levels_of(
                            x, profile, points.values[s, t], lower, upper
                        )
                    if horizons is not None:
                        for h in range(len(horizons)):
                            ahead = t + (h + 1) * n_timestamps
                            profile = profile_at(bins, profiles, places, ahead, x.step)
                            yhat, lower, upper = forecast(
                                x, envelopes.forecast[row, h], horizons[h], profile, rates
                            )
                            forecasts[h, 0, s, t] = yhat
                            forecasts[h, 1, s, t], forecasts[h, 2, s, t] = lower, upper
            for t in range(begin, end):
                y, timestamp = points.values[s, t], float(points.timestamps[t])
                learned = math.isfinite(y)
                if learned:
                    residual, distance, outside, drift, pace = learn_one(
                        x, bins, y, timestamp, profiles, places, t, rates, pace
                    )
                    if traces.residuals.size > 0:
                        traces.residuals[s, n_learned] = residual
                        traces.distances[s, n_learned] = distance
                        traces.outsides[s, n_learned] = outside
                        traces.drifts[s, n_learned] = drift
                        traces.alive[s, n_learned] = x.outage == 0.0
                        n_learned += 1
                if traces.fasts.size > 0:
                    traces.fasts[s, t] = x.fast
                if horizons is not None:
                    for h in range(len(horizons)):
                        ahead = t + (h + 1) * n_timestamps
                        profile = profile_at(bins, profiles, places, ahead, x.step)
                        if traces.fasts.size > 0:
                            traces.steadies[s, h, t] = steady(x, horizons[h], profile, rates.alpha)
                        elif points.predicted and learned:
                            learn_forecast(
                                x,
                                envelopes.forecast[row, h],
                                horizons[h],
                                y,
                                timestamp,
                                profile,
                                rates,
                            )
