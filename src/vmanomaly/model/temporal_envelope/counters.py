"""Counters: what they say is how fast they grow, not how high they are.

A counter only grows, and starts from 0 again when its process does. How high it gets before is
chance, so a height that was never seen is no anomaly. What is learned of such a series is its rate,
as `rate` of MetricsQL and PromQL takes it, and what is expected of it is its last sample and the
growth since then.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vmanomaly.kernel import inlined, inner, kernel
from vmanomaly.model.base import LARGEST
from vmanomaly.model.online import Bounds, Points
from vmanomaly.model.state import Array
from vmanomaly.series import FloatArray, IntArray

COUNTER = np.dtype(
    [(name, np.float64) for name in ("is_counter", "last_sample", "last_time")], align=True
)
"""What is known of a series as a counter:

- `is_counter`: 1 if it is one, else 0, and so are the others;
- `last_sample`, `last_time`: the last sample, and when it was in Unix milliseconds.
"""

_RESTART = 0.5
"""A sample of less than this share of the one before is of a counter that started again."""
_RISES_PER_RESTART = 50.0
"""So many samples must be higher than the one before, for each restart or in all."""
_LEAST_TIME = 20 * 3_600_000.0
"""Milliseconds without a fall from which on a series without any restart is a counter: what has a
daily rhythm falls before, and the samples of a day are less than a day apart."""
_LEAST_VARIATION = 0.3
_FEW = 3.0
"""Of three heights before restarts or more, in their mean. Where these are much the same, as those
of a buffer or of today's count are, a higher one means something."""
_LEAST_RATE_VARIATION = 0.05
"""Of the rates, in their mean. What always grows at one rate is a clock, as the age of a file is,
and says something with its height only."""
_ROUNDING = 1e-14
"""Share of a sample that its difference from `yhat` may be off by."""


@kernel
def recognise_counters(points: Points, counters: Array) -> None:
    """Find the counters among whole windows.

    No sample of theirs is negative, none is lower than the one before unless it counts from 0
    again, and their rates vary, as do the heights before restarts.

    Parameters
    ----------
    points
        The windows.
    counters
        Rows of `COUNTER`, set: to the first sample for counters, to 0 for all others.
    """
    for s in range(len(points.rows)):
        counter = counters[points.rows[s]]
        counter.is_counter = counter.last_sample = counter.last_time = 0.0
        first, first_time, before, time = 0.0, 0.0, math.nan, math.nan
        n_steps = n_rises = n_restarts = 0.0
        rates = squared_rates = heights = squared_heights = 0.0
        highest_rate = highest_start = 0.0
        never_falls = True
        for t in range(len(points.timestamps)):
            y, now = points.values[s, t], float(points.timestamps[t])
            if not math.isfinite(y):
                continue
            restarts = is_restart(before, y)
            if y < 0.0 or (y < before and not restarts):
                never_falls = False
                break
            if math.isnan(before):
                first, first_time = y, now
            elif restarts:
                n_restarts += 1.0
                heights += before
                squared_heights += before * before
                highest_start = max(highest_start, y / (now - time))
            else:
                rate = (y - before) / (now - time)
                n_steps += 1.0
                n_rises += 1.0 if y > before else 0.0
                rates += rate
                squared_rates += rate * rate
                highest_rate = max(highest_rate, rate)
            before, time = y, now
        if (
            never_falls
            and n_rises >= _RISES_PER_RESTART * max(n_restarts, 1.0)
            and highest_start <= highest_rate
            and (n_restarts > 0.0 or time - first_time >= _LEAST_TIME)
            and _vary(n_steps, rates, squared_rates, _LEAST_RATE_VARIATION)
            and (n_restarts < _FEW or _vary(n_restarts, heights, squared_heights, _LEAST_VARIATION))
        ):
            counter.is_counter, counter.last_sample, counter.last_time = 1.0, first, first_time


@inlined
def is_restart(before: float, y: float) -> bool:
    """Tell whether a counter started again between two samples."""
    return y < _RESTART * before


@inner
def _vary(n: float, total: float, squares: float, least: float) -> bool:
    """Tell whether n numbers deviate by so much of their mean, given their sum and of squares."""
    return n * squares - total * total >= least * least * total * total


class Growth(NamedTuple):
    """What the samples of the C counters among S series are made of.

    Attributes
    ----------
    series : ndarray of int64, shape (C,)
        Which of the S series are counters.
    rates : ndarray of float64, shape (C, T)
        The growth per second since the sample before; not finite after a restart.
    bases : ndarray of float64, shape (C, T)
        The sample before, NaN after a restart.
    elapsed : ndarray of float64, shape (C, T)
        The seconds since then.
    """

    series: IntArray
    rates: FloatArray
    bases: FloatArray
    elapsed: FloatArray


def growth_of(points: Points, counters: Array) -> Growth:
    """Return what the samples of counters are made of.

    Parameters
    ----------
    points
        The samples.
    counters
        Rows of `COUNTER`; the last samples in them are updated.
    """
    series = np.flatnonzero(counters["is_counter"][points.rows])
    growth = Growth(series, *np.full((3, len(series), len(points.timestamps)), np.nan))
    _learn_counters(points, counters, growth)
    return growth


def with_rates(points: Points, growth: Growth) -> Points:
    """Return the points with the rates of counters in the place of their samples."""
    if not len(growth.series):
        return points
    values = points.values.copy()
    values[growth.series] = growth.rates
    return points.of(values)


@kernel
def _learn_counters(points: Points, counters: Array, growth: Growth) -> None:
    for c in range(len(growth.series)):
        s = growth.series[c]
        counter = counters[points.rows[s]]
        for t in range(points.first[s], len(points.timestamps)):
            y, now = points.values[s, t], float(points.timestamps[t])
            before = math.nan if is_restart(counter.last_sample, y) else counter.last_sample
            elapsed = (now - counter.last_time) / 1000.0
            growth.rates[c, t] = (y - before) / elapsed
            growth.bases[c, t], growth.elapsed[c, t] = before, elapsed
            if math.isfinite(y):
                counter.last_sample, counter.last_time = y, now


@kernel
def expect_counters(points: Points, growth: Growth, bounds: Bounds, drifts: FloatArray) -> None:
    """Turn what is expected of the rates of counters into what is expected of their samples.

    After a restart anything from 0 to the growth that is expected is, as how long ago it was is
    not known. Nothing is expected of a sample that is not after the last one.

    Parameters
    ----------
    points
        The samples.
    growth
        What they are made of.
    bounds, drifts
        Of the rates, changed; `drifts` is float64, shape (S, T).
    """
    for c in range(len(growth.series)):
        s = growth.series[c]
        for t in range(points.first[s], len(points.timestamps)):
            base, seconds = growth.bases[c, t], growth.elapsed[c, t]
            if seconds <= 0.0:
                bounds.yhat[s, t] = math.nan
                bounds.yhat_lower[s, t] = bounds.yhat_upper[s, t] = math.nan
                continue
            restarts = math.isnan(base)
            if restarts:
                base = 0.0
            yhat = _grown(base, seconds * bounds.yhat[s, t])
            lower = _grown(base, seconds * bounds.yhat_lower[s, t])
            upper = _grown(base, seconds * bounds.yhat_upper[s, t])
            if restarts:
                yhat = max(min(yhat, points.values[s, t]), 0.0)
                lower = min(lower, 0.0)
            drifts[s, t] = _grown(0.0, seconds * drifts[s, t])
            least = max(_ROUNDING * yhat, 1e-12)
            bounds.yhat[s, t] = yhat
            bounds.yhat_lower[s, t] = min(lower, yhat - least)
            bounds.yhat_upper[s, t] = min(max(upper, yhat + least), LARGEST)


@inlined
def _grown(base: float, growth: float) -> float:
    return min(max(base + growth, -LARGEST), LARGEST)
