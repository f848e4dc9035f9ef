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
    [
        (name, np.float64, (len(SIDES),))
        for name in ("reach", "n_events", "peak", "event_age", "largest")
    ],
    align=True,
)
"""What is known of both tails, by side:

- `reach`: how far residuals reach beyond a quantile;
- `n_events`: how often they reached beyond the bound recently;
- `peak`, `event_age`: how far they reached in the event in progress, and its samples so far; both
  0 where there is none;
- `largest`: the highest peak of late.
"""

TAIL_RANGES = dict.fromkeys(TAILS.names or (), NOT_NEGATIVE)
"""What may stand in such a row, by name."""

WEEKLY = 1.0
"""The rarity of a bound that is to be exceeded about once a week."""
IMPATIENT = math.inf
"""The patience of a bound that narrows whatever happened of late."""
_MEMORY = 2.0
"""After this many times as long as a bound is to hold, an event counts 1/e."""
_MARGIN = 1.1
"""Where a bound that is exceeded too often moves to, in what was seen."""
_FULL_WEIGHT = 2.0
"""Recent events beyond the first at which a bound adopts what was seen at once."""
_MOST_GROWTH = 1.5
"""How much higher an event counts than the highest before it."""
_MOST_GROWTH_IN_FIT = 2.0
"""How much higher the highest event of a fit counts than the next."""
_NARROWING = 0.4
"""Share of what a bound is too wide by that it loses in a week without events."""
_INCIDENTS_PER_WEEK = 2.0
_INCIDENTS_PER_SAMPLE = 0.01
"""Events that may be incidents, whichever are fewer."""
_LARGEST_REACH = 1e306


@kernel
def kept_of_events(weeks: float, rarity: float) -> float:
    """Return what is left of an event after some weeks.

    Parameters
    ----------
    weeks
        Since then.
    rarity
        Weeks in which a bound is to be exceeded about once; events are remembered twice as long.
    """
    return math.exp(-weeks / (_MEMORY * rarity))


@kernel
def learn_tails(
    tails: Record,
    below: float,
    above: float,
    reach: float,
    window: int,
    weeks: float,
    kept: float,
    patience: float,
) -> None:
    """Widen a bound that is exceeded repeatedly, and narrow it otherwise.

    An event begins with a sample beyond the bound and is over after `window` samples. One changes
    nothing; the second within weeks counts half, and from the third on the bound lies a little
    beyond what was seen. What was seen only once counts up to one and a half times what was seen
    before, so that one spike of any size among others widens nothing by much.

    Parameters
    ----------
    tails
        A row of `TAILS`, changed.
    below, above
        How far a residual reaches beyond the quantile on each side; negative inside.
    reach
        How far normal noise does, of which nothing is narrower.
    window
        Samples that an event takes.
    weeks
        The time that the sample represents.
    kept
        What is left of an event after that time, from `kept_of_events`.
    patience
        Recent events from which on the bound does not narrow; infinity where it always does. It
        narrows the more slowly the more there are.
    """
    for side in SIDES:
        excess = below if side == BELOW else above
        tail = max(tails.reach[side], reach)
        narrowing = min(_NARROWING * weeks, 1.0)
        narrowing *= max(1.0 - tails.n_events[side] / patience, 0.0)
        if tails.reach[side] > reach:
            tails.reach[side] += (reach - tails.reach[side]) * narrowing
        tails.largest[side] -= tails.largest[side] * narrowing
        tails.n_events[side] *= kept
        if tails.event_age[side] > 0.0:
            tails.peak[side] = max(tails.peak[side], excess)
            tails.event_age[side] += 1.0
        elif excess > tail * (1.0 + 1e-9):
            tails.peak[side] = excess
            tails.event_age[side] = 1.0
        if tails.event_age[side] >= window:
            _learn_event(tails, side, tail)


@spliced
def _learn_event(tails: Record, side: int, tail: float) -> None:
    """Widen the bound on a side by an event that is over."""
    peak = tails.peak[side]
    tails.n_events[side] += 1.0
    weight = min((tails.n_events[side] - 1.0) / _FULL_WEIGHT, 1.0)
    seen = min(peak, _MOST_GROWTH * max(tails.largest[side], tail))
    if weight > 0.0:
        adopted = math.log(max(seen, 1e-300) * _MARGIN)
        wider = math.exp((1.0 - weight) * math.log(max(tail, 1e-300)) + weight * adopted)
        tails.reach[side] = min(wider, _LARGEST_REACH)
    tails.largest[side] = min(max(tails.largest[side], peak), _LARGEST_REACH)
    tails.peak[side] = tails.event_age[side] = 0.0


@kernel
def measure_tail(
    tails: Record,
    side: int,
    excesses: FloatArray,
    sigma: float,
    reach: float,
    window: int,
    weeks: float,
    rarity: float,
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
    rarity
        As for `kept_of_events`.
    room
        float64, shape (n,), overwritten.
    """
    n_events = _largest_of_events(excesses, sigma, window, room)
    tail = _extrapolated(room[:n_events], len(excesses), reach, weeks, rarity)
    tails.reach[side] = tail
    tail = max(tail, reach)
    largest = _largest_beyond(excesses, tail)
    tails.largest[side] = largest
    tails.n_events[side] = 0.0
    if largest > 0.0:
        tails.n_events[side] = _events_of_late(excesses, tail, window, weeks, rarity)
    tails.peak[side] = tails.event_age[side] = 0.0


@spliced
def _largest_of_events(
    excesses: FloatArray, threshold: float, window: int, largest: FloatArray
) -> int:
    """Fill in the largest excess of every event above the threshold; return how many these are.

    One that is not over at the end is left out: it may be an incident in progress.
    """
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
    return n_events - 1 if n_events > 0 and quiet < window else n_events


@spliced
def _extrapolated(
    events: FloatArray, n_samples: int, reach: float, weeks: float, rarity: float
) -> float:
    """Return what events reach once in `rarity` weeks, extrapolated from those of every few days.

    Two a week at most, and no more than a hundredth of the samples, are left out: they may be
    incidents, which must not become normal. Of what is left, the highest counts up to twice the
    next, or twice what normal noise reaches. The tail is taken as exponential.
    """
    n_events = len(events)
    rank = 1 + int(min(_INCIDENTS_PER_WEEK * weeks, _INCIDENTS_PER_SAMPLE * n_samples))
    if n_events < rank:
        return 0.0
    last = min(n_events - 1, 2 * rank + 10)
    recurring = select(events, n_events - rank)
    next_to_it = select(events, n_events - rank - 1) if n_events > rank else 0.0
    recurring = min(recurring, _MOST_GROWTH_IN_FIT * max(next_to_it, reach))
    slope = 0.0
    if last > rank:
        frequent = select(events, n_events - 1 - last)
        slope = max(recurring - frequent, 0.0) / math.log((last + 1) / rank)
    reach = recurring + slope * math.log(max(rarity * rank / max(weeks, 0.1), 1.0))
    return float(min(reach, _LARGEST_REACH))


@spliced
def _events_of_late(
    excesses: FloatArray, tail: float, window: int, weeks: float, rarity: float
) -> float:
    """Return the events beyond the tail, each weighing less the longer ago it was."""
    count = 0.0
    quiet = window
    for i in range(len(excesses)):
        quiet += 1
        if excesses[i] > tail and quiet > window:
            count += kept_of_events(weeks * (1.0 - i / len(excesses)), rarity)
            quiet = 0
    return count


@spliced
def _largest_beyond(excesses: FloatArray, tail: float) -> float:
    largest = 0.0
    for excess in excesses:
        if excess > tail:
            largest = max(largest, excess)
    return min(largest, _LARGEST_REACH)
