r"""The score of the Numenta Anomaly Benchmark.

A detection inside a window earns up to 1, more the earlier it is; only the best of a window counts,
and a window without any costs the weight of a false negative. A detection outside costs up to the
weight of a false positive, less shortly after a window. The sum over all series is scaled so that
detecting nothing is 0 and detecting every window at its first point, and nothing else, is 100.

With the position p relative to a window (-1 its first point, 0 just after its last), what a
detection is worth is :math:`2 / (1 + e^{5 p}) - 1`, which is -1 from p = 3 on; inside a window it
is divided by its value at p = -1.

References
----------
A. Lavin, S. Ahmad, "Evaluating real-time anomaly detection algorithms - the Numenta Anomaly
Benchmark", ICMLA 2015, arXiv:1510.03336.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vmanomaly.series import FloatArray


@dataclass(frozen=True, slots=True)
class Profile:
    """What mistakes cost; a window found is worth 1."""

    name: str
    false_positive: float
    false_negative: float


STANDARD = Profile("standard", 0.11, 1.0)
PROFILES = (
    STANDARD,
    Profile("reward low FP", 0.22, 1.0),
    Profile("reward low FN", 0.11, 2.0),
)

Span = tuple[int, int]
"""First and last column of a window."""


def worth(position: FloatArray) -> FloatArray:
    """Return what detections are worth at positions relative to a window.

    Examples
    --------
    >>> worth(np.array([-1.0, 0.0, 1.0, 3.5])).round(4)
    array([ 0.9866,  0.    , -0.9866, -1.    ])
    """
    return np.where(position > 3.0, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, 3.0))) - 1)


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one series after its fit window, and its windows as columns of them."""

    scores: FloatArray
    windows: tuple[Span, ...]


def nab_score(series: Sequence[Scored], profile: Profile, threshold: float) -> float:
    """Return the score over all series when what is at or above `threshold` is a detection.

    NaN when there is no window at all.
    """
    thresholds, totals = _sweep(series, profile)
    # The smallest threshold that is not below the one asked for makes the same detections.
    index = int(np.searchsorted(-thresholds, -threshold, side="right")) - 1
    return float(totals[index]) if totals.size else np.nan


def best_threshold(series: Sequence[Scored], profile: Profile) -> tuple[float, float]:
    """Return the threshold with the highest score over all series, and that score."""
    thresholds, totals = _sweep(series, profile)
    if not totals.size:
        return np.inf, np.nan
    best = int(np.argmax(totals))
    return float(thresholds[best]), float(totals[best])


def _sweep(series: Sequence[Scored], profile: Profile) -> tuple[FloatArray, FloatArray]:
    """Return every threshold that makes a difference, falling, and the score at each."""
    n_windows = sum(len(item.windows) for item in series)
    if not n_windows:
        return np.empty(0), np.empty(0)
    scores, gains = [np.array([np.inf])], [np.zeros(1)]
    for item in series:
        for score, gain in _gains(item, profile):
            scores.append(score)
            gains.append(gain)
    all_scores, all_gains = np.concatenate(scores), np.concatenate(gains)
    order = np.argsort(-all_scores, kind="stable")
    sorted_scores = all_scores[order]
    last_of_value = np.append(sorted_scores[1:] != sorted_scores[:-1], True)
    totals = np.cumsum(all_gains[order])[last_of_value]
    null = -profile.false_negative * n_windows
    return sorted_scores[last_of_value], 100.0 * totals / (n_windows - null)


def _gains(item: Scored, profile: Profile) -> list[tuple[FloatArray, FloatArray]]:
    """Return, for the points outside and for each window, what lowering the threshold adds."""
    n_points = len(item.scores)
    columns = np.arange(n_points)
    outside = np.ones(n_points, np.bool_)
    value = np.full(n_points, -1.0)
    result = []
    for number, (first, last) in enumerate(item.windows):
        outside[first : last + 1] = False
        next_first = item.windows[number + 1][0] if number + 1 < len(item.windows) else n_points
        after = slice(last + 1, next_first)
        value[after] = worth((columns[after] - last) / max(last - first, 1))
        width = last - first + 1
        inside = worth(-(last - columns[first : last + 1] + 1) / width) / worth(np.array(-1.0))
        result.append(_window_gains(item.scores[first : last + 1], inside, profile))
    seen = outside & np.isfinite(item.scores)
    result.append((item.scores[seen], profile.false_positive * value[seen]))
    return result


def _window_gains(
    scores: FloatArray, values: FloatArray, profile: Profile
) -> tuple[FloatArray, FloatArray]:
    """Return what the detections of one window add: only the best one so far counts."""
    order = np.argsort(-scores, kind="stable")
    order = order[np.isfinite(scores[order])]
    best = np.maximum.accumulate(values[order])
    return scores[order], np.diff(best, prepend=-profile.false_negative)
