"""A whole window of the temporal envelope, learned in two passes."""

from __future__ import annotations

import numpy as np

from vmanomaly.model.online import Points
from vmanomaly.model.temporal_envelope.calendar import Places, Profiles
from vmanomaly.model.temporal_envelope.columns import Envelopes
from vmanomaly.model.temporal_envelope.learn import SETTLED, Rates
from vmanomaly.model.temporal_envelope.measure import (
    N_ROOMS,
    measure,
    measure_forecasts,
    restart,
)
from vmanomaly.model.temporal_envelope.walk import (
    NO_TRACES,
    Evidence,
    traces_of_forecasts,
    traces_of_residuals,
    walk_rows,
)
from vmanomaly.series import FloatArray

_POINTS_AT_ONCE = 1 << 16
"""The traces of this many fit into the cache of the processor."""


def fit_rows(
    points: Points,
    profiles: Profiles,
    places: Places,
    rates: Rates,
    horizons: FloatArray | None,
    envelopes: Envelopes,
) -> None:
    """Learn whole windows; parameters as in `walk_rows`.

    The first pass meets every sample for the first time, so its errors are those of forecasts. The
    second one is left out for series of few samples.
    """
    n_series, n_timestamps = points.values.shape
    if n_timestamps == 0:
        return
    at_once = max(_POINTS_AT_ONCE // n_timestamps, 1)
    for start in range(0, n_series, at_once):
        block = _some(points, slice(start, start + at_once))
        _fit_block(block, profiles, places, rates, horizons, envelopes)


def _some(points: Points, series: slice) -> Points:
    return points._replace(
        rows=points.rows[series],
        first=points.first[series],
        n_seen=points.n_seen[series],
        values=points.values[series],
    )


def _fit_block(
    points: Points,
    profiles: Profiles,
    places: Places,
    rates: Rates,
    horizons: FloatArray | None,
    envelopes: Envelopes,
) -> None:
    n_series, n_timestamps = points.values.shape
    n_horizons = 0 if horizons is None else len(horizons)
    bounds = points.blank_bounds()
    evidence = Evidence.blank(points)
    forecasts = np.empty((n_horizons, 3, *bounds.yhat.shape))
    n_samples = np.isfinite(points.values).sum(axis=1)
    enough = n_samples > 2 * SETTLED
    again = points._replace(first=np.where(enough, points.first, n_timestamps))
    of_first = NO_TRACES
    if horizons is not None:
        of_first = traces_of_forecasts(n_series, n_horizons, n_timestamps)
    of_second = traces_of_residuals(n_series, n_timestamps)
    rooms = np.empty((N_ROOMS, n_timestamps))
    known = profiles, places, rates, horizons, envelopes
    walk_rows(points, *known, bounds, evidence, forecasts, of_first)
    restart(again, profiles, places, envelopes, rooms[0])
    walk_rows(again, *known, bounds, evidence, forecasts, of_second)
    if horizons is not None:
        measure_forecasts(points, horizons, of_first, rates, envelopes, *rooms[:2])
    envelopes.envelope["n_learned"][points.rows] = n_samples
    measure(again, n_samples, of_second, rates, envelopes, rooms)
