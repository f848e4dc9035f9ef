"""The oracles: quantiles of known distributions, and the rule written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vmanomaly.model.state import Record
from vmanomaly.model.temporal_envelope.tails import (
    ABOVE,
    BELOW,
    SIDES,
    TAILS,
    learn_tails,
    measure_tail,
)
from vmanomaly.series import FloatArray

STEP_WEEKS = 1 / 2016  # five minutes
REACH = 3.0
WINDOW = 16


def learned(events: dict[int, float], n_samples: int, side: int = ABOVE) -> Record:
    """The tails after samples without excess, except those of the events."""
    tails = np.zeros(1, TAILS)[0]
    tails["n_quiet"] = WINDOW
    for t in range(n_samples):
        excesses = [-1.0, -1.0]
        excesses[side] = events.get(t, -1.0)
        learn_tails(tails, excesses[BELOW], excesses[ABOVE], REACH, WINDOW, STEP_WEEKS)
    return tails


def bound(tails: Record, side: int = ABOVE) -> float:
    return max(float(tails["reach"][side]), REACH)


def measured(side: int, excesses: FloatArray, sigma: float, reach: float, weeks: float) -> float:
    """How far the residuals reach that have these excesses."""
    tails = np.zeros(1, TAILS)[0]
    room = np.empty(len(excesses))
    measure_tail(tails, side, excesses, sigma, reach, WINDOW, weeks, room)
    return float(tails["reach"][side])


@pytest.mark.parametrize("side", SIDES)
def test_one_event_of_any_size_changes_nothing(side: int) -> None:
    assert bound(learned({5: 1e6}, 40, side), side) == pytest.approx(REACH)
    # Nor does one that lasts: what follows within a window belongs to it.
    lasting = dict.fromkeys(range(5, 21), 50.0)
    assert bound(learned(lasting, 40, side), side) == pytest.approx(REACH)


def test_events_that_recur_move_the_bound_more_and_more() -> None:
    bounds = [bound(learned({20 * n: 10.0 for n in range(k)}, 20 * k)) for k in range(1, 7)]
    assert bounds[0] == pytest.approx(REACH)
    assert (np.diff(bounds) >= -0.05).all()
    assert REACH < bounds[1] < 5.0
    assert bounds[-1] == pytest.approx(11.0, rel=0.05)


def test_a_bound_that_is_too_wide_narrows_in_quiet_weeks() -> None:
    tails = learned({20 * n: 10.0 for n in range(6)}, 120)
    wide = tails["reach"][ABOVE] - REACH
    for _ in range(2016):
        learn_tails(tails, -1.0, -1.0, REACH, WINDOW, STEP_WEEKS)
    assert tails["reach"][ABOVE] - REACH == pytest.approx(wide * math.exp(-0.4), rel=0.01)


def test_events_of_long_ago_do_not_count() -> None:
    assert bound(learned({0: 10.0, 4 * 2016: 10.0}, 4 * 2016 + 1)) == pytest.approx(REACH, rel=0.02)


@pytest.mark.parametrize("weeks", [1, 4])
def test_what_recurs_is_extrapolated_to_once_a_week(weeks: int) -> None:
    """Single events with exponential excesses, 100 a week."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        excesses = np.zeros(2016 * weeks)
        excesses[::20] = rng.exponential(1.0, len(excesses[::20]))
        found.append(measured(ABOVE, excesses, 0.0, 0.1, float(weeks)))
    # One of 100.8 events a week.
    assert np.median(found) == pytest.approx(math.log(100.8), rel=0.2)


def test_spikes_in_the_window_move_no_bound() -> None:
    excesses = np.zeros(2016)
    excesses[[100, 500, 900, 1500]] = [50.0, 80.0, 20.0, 1e9]
    assert measured(BELOW, excesses, 1.0, REACH, 1.0) == 0.0
