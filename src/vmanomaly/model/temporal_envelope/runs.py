"""What several samples say together, by supplementary run rules of control charts.

Isolated samples beyond a narrow limit are normal where noise has heavy tails; two in a row, or
eight of twelve, are not. How far so many of the last samples reach together is learned as the tails
of single samples are: a row of `TAILS` for each rule, in standard deviations.
"""

from __future__ import annotations

import math

import numpy as np

from vmanomaly.kernel import inlined, inner
from vmanomaly.model.state import Record
from vmanomaly.model.temporal_envelope.tails import BELOW, IMPATIENT, TAILS, learn_tails

N_BEFORE = 11
"""The samples before the present one that the longer rule looks at."""
_NEEDED = 8
"""How many of twelve must be beyond the limit."""
PAIR_REACH = 2.3
SPELL_REACH = 1.05
"""What normal noise reaches with two samples in a row, and with eight of twelve, as rarely as one
sample reaches 3.7."""
NO_LIMIT = math.inf
_PAIR_MARGIN = 1.25
_SPELL_MARGIN = 2.0
"""The limits in what recurs; the more samples overlap, the more their reach varies."""

RUNS = np.dtype(
    [
        ("newest", np.float64),
        ("position", np.float64),
        ("recent", np.float64, (N_BEFORE,)),
        ("ordered", np.float64, (N_BEFORE,)),
        ("pair", TAILS),
        ("spell", TAILS),
    ],
    align=True,
)
"""What is known of the last samples, by their deviations in standard deviations:

- `newest`: the last one;
- `recent`, `ordered`: the last eleven, in a ring whose oldest is at `position`, and in ascending
  order;
- `pair`, `spell`: how far two in a row reach together, and eight of twelve.
"""


@inlined
def forget_runs(runs: Record) -> None:
    """Start without any deviation, as after a level shift."""
    runs.newest = runs.position = 0.0
    for i in range(N_BEFORE):
        runs.recent[i] = runs.ordered[i] = 0.0


@inner
def pair_of(runs: Record, deviation: float) -> tuple[float, float]:
    """Return how far the last sample and this one both reach, below and above."""
    return min(-deviation, -runs.newest), min(deviation, runs.newest)


@inner
def spell_of(runs: Record, deviation: float) -> tuple[float, float]:
    """Return how far eight of the last eleven samples and this one reach, below and above."""
    ordered = runs.ordered
    # The 8th smallest of twelve is this one if it lies between the 7th and the 8th of the others.
    eighth_smallest = max(min(deviation, ordered[_NEEDED - 1]), ordered[_NEEDED - 2])
    eighth_largest = max(
        min(deviation, ordered[N_BEFORE - _NEEDED + 1]), ordered[N_BEFORE - _NEEDED]
    )
    return -eighth_smallest, eighth_largest


@inner
def limit_of(runs: Record, side: int) -> float:
    """Return the deviation from which on the next sample is part of a run, or `NO_LIMIT`.

    The rules are one sample short: if the next one is beyond the limit too, they are fulfilled.
    """
    pair = _PAIR_MARGIN * max(runs.pair.reach[side], PAIR_REACH)
    spell = _SPELL_MARGIN * max(runs.spell.reach[side], SPELL_REACH)
    if side == BELOW:
        newest, others = -runs.newest, -runs.ordered[_NEEDED - 2]
    else:
        newest, others = runs.newest, runs.ordered[N_BEFORE - _NEEDED + 1]
    limit = NO_LIMIT
    if newest >= pair:
        limit = pair
    if others >= spell:
        limit = min(limit, spell)
    return limit


@inlined
def learn_runs(runs: Record, deviation: float, window: int, weeks: float, kept: float) -> None:
    """Learn how far the last samples reach together, this one included.

    Parameters
    ----------
    runs
        A row of `RUNS`, changed.
    deviation
        Of the sample from what is expected, in standard deviations.
    window, weeks, kept
        As for `learn_tails`; bounds are to be exceeded about once a week.
    """
    below, above = pair_of(runs, deviation)
    learn_tails(runs.pair, below, above, PAIR_REACH, window, weeks, kept, IMPATIENT)
    below, above = spell_of(runs, deviation)
    learn_tails(runs.spell, below, above, SPELL_REACH, window, weeks, kept, IMPATIENT)
    add_to_runs(runs, deviation)


@inner
def add_to_runs(runs: Record, deviation: float) -> None:
    """Let a sample take the place of the oldest one."""
    position = int(min(max(runs.position, 0.0), N_BEFORE - 1.0))
    oldest = runs.recent[position]
    runs.recent[position] = runs.newest = deviation
    runs.position = position + 1.0 if position + 1 < N_BEFORE else 0.0
    ordered = runs.ordered
    before = -math.inf
    for i in range(N_BEFORE - 1):
        # No branches: where a deviation belongs cannot be predicted.
        other = ordered[i + 1] if ordered[i] >= oldest else ordered[i]
        ordered[i] = max(before, min(other, deviation))
        before = other
    ordered[N_BEFORE - 1] = max(before, deviation)
