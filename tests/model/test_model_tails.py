"""The oracles: quantiles of known distributions, and the rule written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vmanomaly.model.state import Record
from vmanomaly.model.temporal_envelope.tails import (
    ABOVE,
    BELOW,
    IMPATIENT,
    SIDES,
    TAILS,
    WEEKLY,
    kept_of_events,
    learn_tails,
    measure_tail,
)
from vmanomaly.series import FloatArray

STEP_WEEKS = 1 / 2016  # five minutes
KEPT = math.exp(-STEP_WEEKS / 2.0)
REACH = 3.0
WINDOW = 16


def learned(
    events: dict[int, float], n_samples: int, side: int = ABOVE, patience: float = IMPATIENT
) -> Record:
    """The tails after samples without excess, except those of the events."""
    tails = np.zeros(1, TAILS)[0]
    for t in range(n_samples):
        excesses = [-1.0, -1.0]
        excesses[side] = events.get(t, -1.0)
        learn(tails, excesses[BELOW], excesses[ABOVE], patience)
    return tails


def learn(tails: Record, below: float, above: float, patience: float = IMPATIENT) -> None:
    learn_tails(tails, below, above, REACH, WINDOW, STEP_WEEKS, KEPT, patience)


def bound(tails: Record, side: int = ABOVE) -> float:
    return max(float(tails["reach"][side]), REACH)


def measured(
    side: int,
    excesses: FloatArray,
    sigma: float,
    reach: float,
    weeks: float,
    rarity: float = WEEKLY,
) -> float:
    """How far the residuals reach that have these excesses."""
    tails = np.zeros(1, TAILS)[0]
    room = np.empty(len(excesses))
    measure_tail(tails, side, excesses, sigma, reach, WINDOW, weeks, rarity, room)
    return float(tails["reach"][side])


@pytest.mark.parametrize("side", SIDES)
def test_one_event_of_any_size_changes_nothing(side: int) -> None:
    assert bound(learned({5: 1e6}, 40, side), side) == pytest.approx(REACH)
    # Nor does one that lasts: what follows within a window belongs to it.
    lasting = dict.fromkeys(range(5, 21), 50.0)
    assert bound(learned(lasting, 40, side), side) == pytest.approx(REACH)


def test_events_that_recur_move_the_bound_more_and_more() -> None:
    """The second counts half, the third fully; each moves the bound to 1.1 of what was seen."""
    bounds = [bound(learned({20 * n: 10.0 for n in range(k)}, 20 * k)) for k in range(1, 5)]
    assert bounds[0] == pytest.approx(REACH)
    assert bounds[1] == pytest.approx(math.sqrt(REACH * 11.0), rel=0.02)
    assert bounds[2] == pytest.approx(11.0, rel=0.02)
    assert bounds[3] == pytest.approx(11.0, rel=0.02)


def test_an_event_counts_by_its_highest_sample_and_not_by_its_first() -> None:
    events = {20 * n + k: 4.0 + 3.0 * k for n in range(3) for k in range(3)}
    assert bound(learned(events, 60)) == pytest.approx(11.0, rel=0.02)


def test_a_giant_among_spikes_counts_up_to_one_and_a_half_times_the_bound_before() -> None:
    spikes = {20 * n: 10.0 for n in range(3)}
    assert bound(learned(spikes | {60: 1e6}, 80)) == pytest.approx(1.1 * 1.5 * 11.0, rel=0.02)
    # Once it has been there, its like counts as it is.
    assert bound(learned(spikes | {60: 1e6, 80: 1e6}, 100)) == pytest.approx(1.1e6, rel=0.02)


def test_a_bound_that_is_too_wide_narrows_in_quiet_weeks() -> None:
    tails = learned({20 * n: 10.0 for n in range(6)}, 120)
    wide = tails["reach"][ABOVE] - REACH
    for _ in range(2016):
        learn(tails, -1.0, -1.0)
    assert tails["reach"][ABOVE] - REACH == pytest.approx(wide * math.exp(-0.4), rel=0.01)


def test_a_patient_bound_narrows_only_when_its_events_are_long_ago() -> None:
    """The steps of a year: the events fade, and where few are left, the bound narrows."""
    patience = 0.5
    tails = learned({20 * n: 10.0 for n in range(6)}, 120, patience=patience)
    events, wide = float(tails["n_events"][ABOVE]), bound(tails) - REACH
    expected = 1.0
    n_quiet = 52 * 2016
    for t in range(n_quiet):
        fraction = max(1.0 - events * math.exp(-t * STEP_WEEKS / 2.0) / patience, 0.0)
        expected *= 1.0 - 0.4 * STEP_WEEKS * fraction
        learn(tails, -1.0, -1.0, patience)
        if t == 3 * 2016:
            assert bound(tails) - REACH == wide
    assert expected < 0.1
    assert bound(tails) - REACH == pytest.approx(wide * expected, rel=1e-6)


def test_events_fade_the_more_slowly_the_rarer_they_are_to_be() -> None:
    assert kept_of_events(STEP_WEEKS, WEEKLY) == KEPT
    assert kept_of_events(2.0, 3.0) == math.exp(-1.0 / 3.0)


def test_events_of_long_ago_do_not_count() -> None:
    events = {0: 10.0, 10 * 2016: 10.0}
    assert bound(learned(events, 10 * 2016 + 20)) == pytest.approx(REACH, rel=0.02)


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


def test_what_recurs_is_extrapolated_to_once_in_as_many_weeks_as_asked_for() -> None:
    """An exponential tail reaches further by its scale times the logarithm of how much rarer."""
    rng = np.random.default_rng(1)
    excesses = np.zeros(2016)
    excesses[:2000:20] = rng.exponential(1.0, 100)
    once, rarely = (measured(ABOVE, excesses, 0.0, 0.1, 1.0, rarity) for rarity in (1.0, 8.0))
    ascending = np.sort(excesses[excesses > 0.0])
    # From the third of a week, of which two may be incidents, to the 17th.
    scale = (ascending[-3] - ascending[-17]) / math.log(17 / 3)
    assert rarely - once == pytest.approx(scale * math.log(8.0), rel=1e-6)


def test_two_spikes_a_week_move_no_bound() -> None:
    excesses = np.zeros(2016)
    excesses[[100, 500]] = [50.0, 1e9]
    assert measured(BELOW, excesses, 1.0, REACH, 1.0) == 0.0


def test_what_recurs_more_often_is_normal() -> None:
    excesses = np.zeros(2016)
    excesses[[100, 500, 900, 1500]] = [50.0, 80.0, 60.0, 1e9]
    assert measured(BELOW, excesses, 1.0, REACH, 1.0) == 60.0


def test_in_a_short_window_a_lone_spike_counts_up_to_twice_what_noise_reaches() -> None:
    excesses = np.zeros(600)
    excesses[100] = 1e9
    assert measured(ABOVE, excesses, 1.0, REACH, 0.3) == pytest.approx(2 * REACH)


def test_an_event_that_is_not_over_at_the_end_of_the_window_moves_no_bound() -> None:
    excesses = np.zeros(600)
    excesses[-10:] = 50.0
    assert measured(ABOVE, excesses, 1.0, REACH, 0.3) == 0.0
