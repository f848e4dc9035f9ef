"""How far residuals reach beyond what is usual, so that alarms stay rare whatever the noise.

What is known of both tails of a series is a row of `TAILS_WIDTH` numbers; a side is 0 below and 1
above what is expected.
"""

from __future__ import annotations

import math

import numpy as np

from vmanomaly.kernel import inlined, kernel
from vmanomaly.series import FloatArray

# Places in the row, to which the side is added.
TAIL = 0  # how far residuals reach beyond a quantile
_EVENTS = 2  # reaches beyond the bound, of late
_QUIET = 4  # samples since the last of them
TAILS_WIDTH = 6

_MEMORY = 1.0
"""Weeks after which an event counts 1/e."""
_MARGIN = 1.1
"""Where a bound moves to that is reached beyond too often, in what was seen."""
_FULL_WEIGHT = 3.0
"""Events beyond the first, of late, at which a bound takes up what was seen at once."""
_NARROWING = 0.4
"""Share of what a bound is too wide by that it loses in a week without events."""
_INCIDENTS_PER_WEEK = 30.0
_INCIDENTS_PER_SAMPLE = 0.01
"""Events that may be incidents, whichever are fewer."""
_LARGEST_REACH = 1e306


@inlined
def learn_tail(
    tails: FloatArray, side: int, excess: float, reach: float, window: int, weeks: float
) -> None:
    """Widen a bound that is reached beyond again and again, and narrow it otherwise.

    One event changes nothing; from the second in a week on they count more and more, until the
    bound lies a little beyond what was seen.

    Parameters
    ----------
    tails
        float64, shape (TAILS_WIDTH,), changed.
    side
        0 below, 1 above.
    excess
        How far a residual reaches beyond the quantile; negative inside.
    reach
        How far normal noise does, of which nothing is narrower.
    window
        Samples without an event that separate it from the next.
    weeks
        What the sample stands for.
    """
    tail = max(tails[TAIL + side], reach)
    if tails[TAIL + side] > reach:
        tails[TAIL + side] += (reach - tails[TAIL + side]) * min(_NARROWING * weeks, 1.0)
    tails[_EVENTS + side] *= math.exp(-weeks / _MEMORY)
    if excess > tail * (1.0 + 1e-9) and tails[_QUIET + side] >= window:
        tails[_EVENTS + side] += 1.0
        weight = min((tails[_EVENTS + side] - 1.0) / _FULL_WEIGHT, 1.0)
        tails[TAIL + side] = math.exp(
            (1.0 - weight) * math.log(tail) + weight * math.log(excess * _MARGIN)
        )
        tails[_QUIET + side] = 0.0
    tails[_QUIET + side] += 1.0


@kernel
def measure_tail(
    tails: FloatArray,
    side: int,
    excesses: FloatArray,
    sigma: float,
    reach: float,
    window: int,
    weeks: float,
) -> None:
    """Set one tail from the excesses of a whole window.

    Parameters
    ----------
    tails, side, reach, window
        As for `learn_tail`.
    excesses
        float64, shape (n,), in the order of time.
    sigma
        What is smaller is no event.
    weeks
        The length of the window.
    """
    tail = _extrapolated(_largest_of_events(excesses, sigma, window), len(excesses), weeks)
    tails[TAIL + side] = tail
    tails[_EVENTS + side] = _events_of_late(excesses, max(tail, reach), window, weeks)


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
def _extrapolated(falling: FloatArray, n_samples: int, weeks: float) -> float:
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
    return float(min(reach, _LARGEST_REACH))


@kernel
def _events_of_late(excesses: FloatArray, tail: float, window: int, weeks: float) -> float:
    """Return the events beyond the tail, each weighing less the longer ago it was."""
    count = 0.0
    quiet = window
    for i in range(len(excesses)):
        quiet += 1
        if excesses[i] > tail and quiet > window:
            count += math.exp(-weeks * (1.0 - i / len(excesses)) / _MEMORY)
            quiet = 0
    return count
