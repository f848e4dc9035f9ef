"""The NAB score against sums made by hand, and against a walk threshold by threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.nab_score import PROFILES, STANDARD, Scored, best_threshold, nab_score
from tests.examples import examples

LOW_FN = PROFILES[2]


def spotted(*columns: int, windows: tuple[tuple[int, int], ...] = ((5, 9),)) -> Scored:
    """Twenty points, with a score of 1 at some and 0 at the others."""
    scores = np.zeros(20)
    scores[list(columns)] = 1.0
    return Scored(scores, windows)


def test_nothing_detected_is_0_and_everything_at_once_is_100() -> None:
    assert nab_score([spotted()], STANDARD, 0.5) == 0.0
    assert nab_score([spotted(5)], STANDARD, 0.5) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("columns", "profile", "expected"),
    [
        # The last point of the window: (2 / (1 + e^-1) - 1) / (2 / (1 + e^-5) - 1) = 0.46838.
        ((9,), STANDARD, 100 * (0.468384 + 1) / 2),
        # The middle, at -3/5: (2 / (1 + e^-3) - 1) / 0.986614 = 0.91743; later adds nothing.
        ((7, 9), STANDARD, 100 * (0.917429 + 1) / 2),
        # Before every window a false positive costs 0.11.
        ((2, 5), STANDARD, 100 * (1 - 0.11 + 1) / 2),
        # Two points after a window of five: at 2/4, 2 / (1 + e^2.5) - 1 = -0.848284.
        ((5, 11), STANDARD, 100 * (1 - 0.11 * 0.848284 + 1) / 2),
        # Ten points after it: at 10/4, 2 / (1 + e^12.5) - 1 = -0.999993.
        ((19,), STANDARD, 100 * (-1 - 0.11 * 0.999993 + 1) / 2),
        # Missed windows cost 2 where false negatives weigh 2: scaled by 1 + 2.
        ((5, 2), LOW_FN, 100 * (1 - 0.11 + 2) / 3),
    ],
)
def test_by_hand(columns: tuple[int, ...], profile: object, expected: float) -> None:
    assert isinstance(profile, type(STANDARD))
    assert nab_score([spotted(*columns)], profile, 0.5) == pytest.approx(expected, abs=1e-3)


def test_windows_of_all_series_weigh_alike() -> None:
    both = spotted(5, windows=((5, 9), (14, 17)))
    assert nab_score([both, spotted(5), spotted()], STANDARD, 0.5) == pytest.approx(50.0)


def test_without_windows_there_is_no_score() -> None:
    assert math.isnan(nab_score([spotted(3, windows=())], STANDARD, 0.5))


def _walk(item: Scored, threshold: float) -> float:
    """The rule as it is written down, one detection after the other."""
    total = 0.0
    best = dict.fromkeys(item.windows, -1.0)
    for column, score in enumerate(item.scores):
        if not score >= threshold:
            continue
        window = next((w for w in item.windows if w[0] <= column <= w[1]), None)
        if window is not None:
            position = -(window[1] - column + 1) / (window[1] - window[0] + 1)
            worth = (2 / (1 + math.exp(5 * position)) - 1) / (2 / (1 + math.exp(-5)) - 1)
            best[window] = max(best[window], worth)
            continue
        before = [w for w in item.windows if w[1] < column]
        worth = -1.0
        if before:
            position = (column - before[-1][1]) / max(before[-1][1] - before[-1][0], 1)
            worth = 2 / (1 + math.exp(5 * position)) - 1 if position <= 3 else -1.0
        total += 0.11 * worth
    return 100 * (total + sum(best.values()) + len(best)) / (2 * len(best))


@examples(60)
@given(seed=st.integers(0, 2**32 - 1), first=st.integers(0, 20), width=st.integers(1, 9))
def test_every_threshold_gives_what_a_walk_gives(seed: int, first: int, width: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 6, 60).astype(float)
    item = Scored(scores, ((first, first + width - 1), (40, 47)))
    values = {t: _walk(item, t) for t in (0.0, 1.0, 2.5, 3.0, 5.0, 9.0)}
    for threshold, expected in values.items():
        assert nab_score([item], STANDARD, threshold) == pytest.approx(expected, abs=1e-9)
    threshold, best = best_threshold([item], STANDARD)
    assert best == pytest.approx(max(_walk(item, t) for t in [*np.unique(scores), np.inf]))
    assert nab_score([item], STANDARD, threshold) == pytest.approx(best)
