"""Incidents of single series that belong together: one thing that happened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vmanomaly.incidents import JOINED_WITHIN, find_incidents
from vmanomaly.scores.above import Above, Scorer, shared_labels
from vmanomaly.series import FloatArray, Labels

SEVERE = 10.0
"""A higher score counts as this one in a severity: beyond it, more says nothing more."""


@dataclass(frozen=True, slots=True)
class Member:
    """An incident of one series, according to one model.

    Attributes
    ----------
    scorer : Scorer
        The series and the model.
    start, end : int
        First and last point above the threshold, Unix milliseconds.
    peak : float
        The highest score.
    peak_at : int
        When that was, Unix milliseconds.
    n_points : int
        The points above the threshold.
    severity : float
        How anomalous the series was while the whole incident lasted: the mean of its scores,
        where those up to the threshold count as 0, and those above 10 as 10.
    """

    scorer: Scorer
    start: int
    end: int
    peak: float
    peak_at: int
    n_points: int
    severity: float


@dataclass(frozen=True, slots=True)
class IncidentGroup:
    """Incidents of single series that belong together.

    Attributes
    ----------
    start, end : int
        From the first to the last point of any of them, Unix milliseconds.
    ongoing : bool
        Whether one of them reaches to the end of what was read.
    peak : float
        The highest score.
    shared : Labels
        The labels that all series have in common.
    queries : tuple of str
        Their queries, sorted.
    members : tuple of Member
        The most severe first.
    n_series : int
        How many series these are: a series may be scored by several models.
    """

    start: int
    end: int
    ongoing: bool
    peak: float
    shared: Labels
    queries: tuple[str, ...]
    members: tuple[Member, ...]
    n_series: int


def group_incidents(above: Above, step: int, end: int, threshold: float) -> list[IncidentGroup]:
    """Return the incidents in a window, those of series that belong together as one.

    Two incidents belong together if they begin within twelve steps of each other and have the same
    query or share a label that not all series have; or if they are of one series, according to
    different models, and overlap.

    Parameters
    ----------
    above
        The scores above the threshold.
    step
        Milliseconds between two points.
    end
        The end of the window, Unix milliseconds.
    threshold
        The threshold.

    Returns
    -------
    list of IncidentGroup
        The newest first.

    Examples
    --------
    >>> scorers = [
    ...     Scorer("cpu", "m", "s", "p", Labels({"host": host, "job": "node"})) for host in "abc"
    ... ]
    >>> scores = np.full((3, 100), np.nan)
    >>> scores[:2, 10:13] = 2.0
    >>> scores[2, 80] = 3.0
    >>> minutes = np.arange(100, dtype=np.int64) * 60
    >>> above = Above(scorers, minutes, scores, n_scored=3, universal=Labels({"job": "node"}))
    >>> [(each.start, each.end, each.shared, each.n_series)
    ...  for each in group_incidents(above, 60, 99 * 60, 1.0)]
    [(4800, 4800, {host="c", job="node"}, 1), (600, 720, {job="node"}, 2)]
    """
    runs = _runs(above, step, threshold)
    slack = JOINED_WITHIN * step
    leaders = _Leaders(len(runs))
    for of_one_value in _sharing(runs, above.universal):
        for one, other in pairwise(of_one_value):
            if runs[other].start - runs[one].start < slack:
                leaders.join(one, other)
    for of_one_series in _of_same_series(runs):
        last = of_one_series[0]
        for one in of_one_series[1:]:
            if runs[one].start - runs[last].end < slack:
                leaders.join(last, one)
            last = max(last, one, key=lambda each: runs[each].end)
    found: defaultdict[int, list[int]] = defaultdict(list)
    for number in range(len(runs)):
        found[leaders.of(number)].append(number)
    groups = [
        _group([runs[each] for each in numbers], above, step, end) for numbers in found.values()
    ]
    return sorted(groups, key=lambda group: (group.start, group.peak), reverse=True)


@dataclass(frozen=True, slots=True)
class _Run:
    row: int
    scorer: Scorer
    start: int
    end: int
    peak: float
    peak_at: int
    n_points: int


class _Leaders:
    """Sets that are joined, each named by one of its members."""

    def __init__(self, n_members: int) -> None:
        self._leader = list(range(n_members))

    def of(self, member: int) -> int:
        while self._leader[member] != member:
            self._leader[member] = self._leader[self._leader[member]]
            member = self._leader[member]
        return member

    def join(self, one: int, other: int) -> None:
        self._leader[self.of(other)] = self.of(one)


def _runs(above: Above, step: int, threshold: float) -> list[_Run]:
    """Return the incidents of all series, in the order of their starts."""
    runs = []
    for row, scorer in enumerate(above.scorers):
        scores = above.scores[row : row + 1]
        for each in find_incidents([scorer.series], above.timestamps, scores, step, threshold):
            runs.append(  # noqa: PERF401 - a nested comprehension reads worse
                _Run(row, scorer, each.start, each.end, each.peak, each.peak_at, each.n_points)
            )
    return sorted(runs, key=lambda run: run.start)


def _sharing(runs: Sequence[_Run], universal: Labels) -> Iterable[list[int]]:
    """Return the incidents that have something in common, in the order of their starts."""
    sharing: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for number, run in enumerate(runs):
        sharing["", run.scorer.query].append(number)
        for name, value in run.scorer.series.items():
            if name not in universal:
                sharing[name, value].append(number)
    return sharing.values()


def _of_same_series(runs: Sequence[_Run]) -> Iterable[list[int]]:
    same: defaultdict[tuple[str, Labels], list[int]] = defaultdict(list)
    for number, run in enumerate(runs):
        same[run.scorer.query, run.scorer.series].append(number)
    return same.values()


def _group(runs: Sequence[_Run], above: Above, step: int, end: int) -> IncidentGroup:
    first, last = min(run.start for run in runs), max(run.end for run in runs)
    within = (above.timestamps >= first) & (above.timestamps <= last)
    rows = sorted({run.row for run in runs})
    severities = dict(
        zip(rows, _severities(above.scores[rows][:, within], first, last, step), strict=True)
    )
    members = [
        Member(
            scorer=run.scorer,
            start=run.start,
            end=run.end,
            peak=run.peak,
            peak_at=run.peak_at,
            n_points=run.n_points,
            severity=severities[run.row],
        )
        for run in runs
    ]
    members.sort(key=lambda member: (-member.severity, -member.peak, member.start))
    return IncidentGroup(
        start=first,
        end=last,
        ongoing=end - last < JOINED_WITHIN * step,
        peak=max(run.peak for run in runs),
        shared=shared_labels([run.scorer.series for run in runs]),
        queries=tuple(sorted({run.scorer.query for run in runs})),
        members=tuple(members),
        n_series=len({(run.scorer.query, run.scorer.series) for run in runs}),
    )


def _severities(scores: FloatArray, first: int, last: int, step: int) -> list[float]:
    n_points = (last - first) // step + 1
    severities: list[float] = (
        np.minimum(np.nan_to_num(scores, posinf=SEVERE), SEVERE).sum(axis=1) / n_points
    ).tolist()
    return severities
