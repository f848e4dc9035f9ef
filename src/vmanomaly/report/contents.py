"""What a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vmanomaly.incidents import THRESHOLD, find_incidents
from vmanomaly.series import FloatArray, IntArray, Labels

ANOMALY_SCORE, INCIDENT_SCORE = "anomaly_score", "incident_score"
OUTPUTS = (ANOMALY_SCORE, INCIDENT_SCORE, "y", "yhat", "yhat_lower", "yhat_upper")
"""The outputs that a report shows."""


@dataclass(frozen=True, slots=True)
class ScoredSeries:
    """What one model says about one series of one query.

    Attributes
    ----------
    query, model : str
        Aliases in the configuration.
    series : Labels
        The labels that the query gave the series.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, UTC, ascending.
    outputs : dict of str to ndarray of float64, shape (T,)
        Some of `OUTPUTS`; NaN where nothing was written.
    """

    query: str
    model: str
    series: Labels
    timestamps: IntArray
    outputs: Mapping[str, FloatArray]

    def output(self, name: str) -> FloatArray:
        """Return an output, all NaN if it was not written."""
        values = self.outputs.get(name)
        return np.full(len(self.timestamps), np.nan) if values is None else values

    @property
    def score_name(self) -> str:
        """The score that tells incidents: `incident_score` where it was written."""
        has_it = np.isfinite(self.output(INCIDENT_SCORE)).any()
        return INCIDENT_SCORE if has_it else ANOMALY_SCORE

    @property
    def step(self) -> int:
        """The most frequent distance between two points, milliseconds; 0 for a single point."""
        distances = np.diff(self.timestamps)
        return int(np.median(distances)) if len(distances) else 0


@dataclass(frozen=True, slots=True)
class Alarm:
    """An incident that a model found.

    Attributes
    ----------
    query, model : str
        Aliases in the configuration.
    series : Labels
        The series.
    start, end : int
        First and last point with a score above the threshold, Unix milliseconds.
    peak : float
        The highest score.
    deviation : str or None
        In which way the values left what was expected, as `deviation_of` says.
    """

    query: str
    model: str
    series: Labels
    start: int
    end: int
    peak: float
    deviation: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one model made of something that is known to have happened.

    Attributes
    ----------
    delay : int or None
        Milliseconds from the start to the alarm; None if it was missed.
    max_score : float
        The highest score while it lasted, NaN if nothing was scored.
    """

    delay: int | None
    max_score: float


@dataclass(frozen=True, slots=True)
class Known:
    """Something that is known to have happened.

    Attributes
    ----------
    name, story : str
        A short name, and a sentence: what happened.
    series : Labels
        Some labels of the series that show it.
    start, end : int
        First and last moment, Unix milliseconds.
    findings : dict of str to Finding
        By model.
    """

    name: str
    story: str
    series: Labels
    start: int
    end: int
    findings: Mapping[str, Finding]

    def concerns(self, series: Mapping[str, str]) -> bool:
        """Return whether a series shows it: the labels that both have agree, at least one."""
        return agree(self.series, series)


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes
    ----------
    title, subtitle : str
        What it is about.
    scored : sequence of ScoredSeries
        One item for each query, model and series.
    units : dict of str to str
        The unit of a query's values by its alias; a query that is not there has none.
    known : sequence of Known
        What is known to have happened.
    false_alarms : set of Alarm
        Alarms that are known to be wrong.
    figures : sequence of pairs of str
        Numbers for the head of the page, each with what it says; empty for the usual ones.
    threshold : float
        A score above it is one of an incident.
    """

    title: str
    subtitle: str
    scored: Sequence[ScoredSeries]
    units: Mapping[str, str] = field(default_factory=dict)
    known: Sequence[Known] = ()
    false_alarms: frozenset[Alarm] = frozenset()
    figures: Sequence[tuple[str, str]] = ()
    threshold: float = THRESHOLD


def alarms_of(scored: ScoredSeries, threshold: float = THRESHOLD) -> list[Alarm]:
    """Return the incidents of a series, in the order of time.

    Parameters
    ----------
    scored
        The series.
    threshold
        A score above it is one of an incident.

    Examples
    --------
    >>> minutes = np.arange(5, dtype=np.int64) * 60_000
    >>> score = np.array([0, 0.9, 1.2, 3, 0])
    >>> series = ScoredSeries("cpu", "mad", Labels(), minutes, {"incident_score": score})
    >>> [(alarm.start // 60_000, alarm.end // 60_000, alarm.peak) for alarm in alarms_of(series)]
    [(2, 3, 3.0)]
    """
    found = find_incidents(
        [scored.series],
        scored.timestamps,
        scored.output(scored.score_name)[np.newaxis],
        scored.step,
        threshold,
        {name: values[np.newaxis] for name, values in scored.outputs.items()},
    )
    return [
        Alarm(
            scored.query,
            scored.model,
            scored.series,
            each.start,
            each.end,
            each.peak,
            each.deviation,
        )
        for each in found
    ]


def agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether the labels that both have agree, and there is at least one.

    Examples
    --------
    >>> agree({"metric": "cpu", "host": "a"}, {"host": "a", "mode": "user"})
    True
    >>> agree({"host": "a"}, {"host": "b"}), agree({"host": "a"}, {"mode": "user"})
    (False, False)
    """
    shared = one.keys() & other.keys()
    return bool(shared) and all(one[name] == other[name] for name in shared)
