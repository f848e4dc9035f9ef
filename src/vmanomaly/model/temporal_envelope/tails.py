"""How far residuals reach beyond what is usual, so that alarms stay rare whatever the noise.

What is known of both tails of a series is a row of `TAILS`; a side is `BELOW` or `ABOVE` what is
expected.
"""

from __future__ import annotations

import math

import numpy as np

from vmanomaly.kernel import kernel, spliced
from vmanomaly.model.order_statistics import select
from vmanomaly.model.state import NOT_NEGATIVE, Record
from vmanomaly.series import FloatArray

BELOW, ABOVE = SIDES = (0, 1)

TAILS = np.dtype(
    [(name, np.float64, (len(SIDES),)) for name in ("reach", "n_events", "n_quiet")], align=True
)
"""What is known of both tails, by side:

- `reach`: how far residuals reach beyond a quantile;
- `n_events`: how often they reached beyond the bound recently;
- `n_quiet`: the samples since the last time.
"""

TAIL_RANGES = dict.fromkeys(TAILS.names or (), NOT_NEGATIVE)
"""What may stand in such a row, by name."""

_MEMORY = 1.0
"""Weeks after which an event counts 1/e."""
_MARGIN = 1.1
"""Where a bound that is exceeded too often moves to, in what was seen."""
_FULL_WEIGHT = 3.0
"""Recent events beyond the first at which a bound adopts what was seen at once."""
_NARROWING = 0.4
"""Share of what a bound is too wide by that it loses in a week without events."""
_INCIDENTS_PER_WEEK = 30.0
_INCIDENTS_PER_SAMPLE = 0.01
"""Events that may be incidents, whichever are fewer."""
_LARGEST_REACH = 1e306


@kernel
def learn_tails(
    tails: Record, below: float, above: float, reach: float, window: int, weeks: float
) -> None:
    """Widen a bound that is exceeded repeatedly, and narrow it otherwise.

    One event changes nothing; from the second in a week on they count more and more, until the
    bound lies a little beyond what was seen.

    Parameters
    ----------
    tails
        A row of `TAILS`, changed.
    below, above
        How far a residual reaches beyond the quantile on each side; negative inside.
    reach
        How far normal noise does, of which nothing is narrower.
    window
        Samples without an event that separate it from the next.
    weeks
        The time that the sample represents.
    """
    reaches, n_events, n_quiet = tails.reach, tails.n_events, tails.n_quiet
    for side in SIDES:
        excess = below if side == BELOW else above
        tail = max(reaches[side], reach)
        if reaches[side] > reach:
            reaches[side] += (reach - reaches[side]) * min(_NARROWING * weeks, 1.0)
        n_events[side] *= math.exp(-weeks / _MEMORY)
        if excess > tail * (1.0 + 1e-9) and n_quiet[side] >= window:
            n_events[side] += 1.0
            weight = min((n_events[side] - 1.0) / _FULL_WEIGHT, 1.0)
            reaches[side] = math.exp(
                (1.0 - weight) * math.log(tail) + weight * math.log(excess * _MARGIN)
            )
            n_quiet[side] = 0.0
        n_quiet[side] += 1.0


@kernel
def measure_tail(
    tails: Record,
    side: int,
    excesses: FloatArray,
    sigma: float,
    reach: float,
    window: int,
    weeks: float,
    room: FloatArray,
) -> None:
    """Set one tail from the excesses of a whole window.

    Parameters
    ----------
    tails, reach, window
        As for `learn_tails`.
    side
        `BELOW` or `ABOVE`.
    excesses
        float64, shape (n,), in the order of time.
    sigma
        What is smaller is no event.
    weeks
        The length of the window.
    room
        float64, shape (n,), overwritten.
    """
    n_events = _largest_of_events(excesses, sigma, window, room)
    tail = _extrapolated(room[:n_events], len(excesses), weeks)
    tails.reach[side] = tail
    tails.n_events[side] = _events_of_late(excesses, max(tail, reach), window, weeks)


@spliced
def _largest_of_events(
    excesses: FloatArray, threshold: float, window: int, largest: FloatArray
) -> int:
    """Fill in the largest excess of every event above the threshold; return how many these are."""
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
    return n_events


@spliced
def _extrapolated(events: FloatArray, n_samples: int, weeks: float) -> float:
    """Return what events reach once a week, by extrapolation from those that recur within days.

    Four a day at most, and no more than a hundredth of the samples, are left out: they may be
    incidents, which must not become normal. The tail is taken as exponential.
    """
    n_events = len(events)
    rank = 1 + int(min(_INCIDENTS_PER_WEEK * weeks, _INCIDENTS_PER_SAMPLE * n_samples))
    if n_events < rank:
        return 0.0
    last = min(n_events - 1, 2 * rank + 10)
    recurring = select(events, n_events - rank)
    slope = 0.0
    if last > rank:
        frequent = select(events, n_events - 1 - last)
        slope = (recurring - frequent) / math.log((last + 1) / rank)
    reach = recurring + slope * math.log(max(rank / max(weeks, 0.1), 1.0))
    return float(min(reach, _LARGEST_REACH))


@spliced
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
