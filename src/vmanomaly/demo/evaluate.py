"""What was found of what was planted.

An anomaly score becomes an alarm as in an alerting rule of vmalert::

    expr: anomaly_score > 1
    for: 2m
    keep_firing_for: 5m

The expression must hold for two minutes, without a point in between that says otherwise, before
the alarm fires; it is resolved when the expression has not held for five minutes. A missing point
changes nothing, since a server answers with the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vmanomaly.demo.incidents import Incident
from vmanomaly.series import FloatArray, IntArray, Labels

FOR = 2 * 60_000
"""Milliseconds the score must stay above 1 before an alarm fires."""
KEEP_FIRING_FOR = 5 * 60_000
"""Milliseconds without a score above 1 after which an alarm is resolved."""
AFTERMATH = 60 * 60_000
"""Milliseconds after an incident in which an alarm on its series is still its echo."""
_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class ScoredSeries:
    """What one model said about one series of one query.

    Attributes
    ----------
    query, model : str
        Aliases in the config.
    series : Labels
        The labels the query gave the series.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, UTC, ascending.
    outputs : dict of str to ndarray of float64, shape (T,)
        `anomaly_score`, `y`, `yhat`, `yhat_lower`, `yhat_upper`; NaN where nothing was written.
    """

    query: str
    model: str
    series: Labels
    timestamps: IntArray
    outputs: dict[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm from the moment it fires to the moment it is resolved, Unix milliseconds."""

    query: str
    model: str
    series: Labels
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What one model made of one incident.

    Attributes
    ----------
    incident : Incident
        The truth.
    model : str
        Alias of the model.
    alarm : Alarm or None
        The first alarm that fired while the incident lasted; None when it was missed.
    max_score : float
        The highest score on the incident's series while it lasted, NaN when nothing was scored.
    """

    incident: Incident
    model: str
    alarm: Alarm | None
    max_score: float

    @property
    def delay(self) -> int | None:
        """Milliseconds from the start of the incident to the alarm; None when it was missed."""
        return None if self.alarm is None else self.alarm.start - self.incident.start


@dataclass(frozen=True, slots=True)
class ModelEvaluation:
    """How one model did.

    Attributes
    ----------
    model : str
        Alias of the model.
    findings : tuple of Finding
        One for each incident.
    alarms : tuple of Alarm
        Every alarm.
    false_alarms : tuple of Alarm
        Those that no incident explains.
    series_days : float
        Days scored, summed over the series.
    """

    model: str
    findings: tuple[Finding, ...]
    alarms: tuple[Alarm, ...]
    false_alarms: tuple[Alarm, ...]
    series_days: float

    @property
    def found(self) -> int:
        """The number of incidents found."""
        return sum(finding.alarm is not None for finding in self.findings)

    @property
    def median_delay(self) -> float:
        """Milliseconds, over the incidents found; NaN when none was."""
        delays = [finding.delay for finding in self.findings if finding.delay is not None]
        return float(np.median(delays)) if delays else np.nan

    @property
    def false_alarms_per_series_day(self) -> float:
        """False alarms per series and day; NaN when nothing was scored."""
        return len(self.false_alarms) / self.series_days if self.series_days else np.nan


def alarms_of(scored: ScoredSeries) -> list[Alarm]:
    """Return the alarms of one series, in order of time.

    Examples
    --------
    >>> minutes = np.arange(12, dtype=np.int64) * 60_000
    >>> score = np.array([0, 2, 2, 2, 0, 3, 0, 0, 0, 0, 0, 2.0])
    >>> series = ScoredSeries("cpu", "mad", Labels(), minutes, {"anomaly_score": score})
    >>> [(alarm.start // 60_000, alarm.end // 60_000) for alarm in alarms_of(series)]
    [(3, 10)]
    """
    score = scored.outputs["anomaly_score"]
    present = ~np.isnan(score)
    timestamps = scored.timestamps[present]
    above = score[present] > 1
    edges = np.flatnonzero(np.diff(above, prepend=False, append=False))
    firing: list[list[int]] = []
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        begin, last = int(timestamps[first]), int(timestamps[stop - 1])
        if firing and begin <= firing[-1][1]:
            firing[-1][1] = last + KEEP_FIRING_FOR
        elif last - begin >= FOR:
            held = np.searchsorted(timestamps, begin + FOR)
            firing.append([int(timestamps[held]), last + KEEP_FIRING_FOR])
    return [Alarm(scored.query, scored.model, scored.series, start, end) for start, end in firing]


def concerns(incident: Incident, series: Labels) -> bool:
    """Return whether a query's series shows what the incident happened to.

    It does when the labels that both have agree, and there is at least one.

    Examples
    --------
    >>> incident = Incident("", "", "", Labels({"metric": "cpu", "host": "a"}), 0, 1)
    >>> concerns(incident, Labels({"host": "a", "mode": "user"}))
    True
    >>> concerns(incident, Labels({"host": "b"})), concerns(incident, Labels({"mode": "user"}))
    (False, False)
    """
    shared = incident.series.keys() & series.keys()
    return bool(shared) and all(incident.series[name] == series[name] for name in shared)


def evaluate(
    scored: Sequence[ScoredSeries], incidents: Sequence[Incident]
) -> tuple[ModelEvaluation, ...]:
    """Compare the scores with the truth.

    An alarm on the series of an incident finds it when it fires between the incident's start and
    end. Up to an hour later it is an echo: neither a find nor false. Every other alarm is false.

    Parameters
    ----------
    scored
        What was written, one item for each query, model and series.
    incidents
        The truth.

    Returns
    -------
    tuple of ModelEvaluation
        One for each model, in the order in which models appear in `scored`.
    """
    models = dict.fromkeys(item.model for item in scored)
    return tuple(
        _evaluate_model(model, [item for item in scored if item.model == model], incidents)
        for model in models
    )


def _evaluate_model(
    model: str, scored: Sequence[ScoredSeries], incidents: Sequence[Incident]
) -> ModelEvaluation:
    alarms = [alarm for item in scored for alarm in alarms_of(item)]
    return ModelEvaluation(
        model,
        tuple(_finding(incident, model, scored, alarms) for incident in incidents),
        tuple(alarms),
        tuple(alarm for alarm in alarms if not any(_explains(i, alarm) for i in incidents)),
        sum(_days(item.timestamps) for item in scored),
    )


def _explains(incident: Incident, alarm: Alarm) -> bool:
    return (
        concerns(incident, alarm.series)
        and incident.start <= alarm.start <= incident.end + AFTERMATH
    )


def _finding(
    incident: Incident, model: str, scored: Sequence[ScoredSeries], alarms: Sequence[Alarm]
) -> Finding:
    finds = [
        alarm for alarm in alarms if _explains(incident, alarm) and alarm.start <= incident.end
    ]
    peaks = [
        _max_between(item, incident.start, incident.end)
        for item in scored
        if concerns(incident, item.series)
    ]
    return Finding(
        incident,
        model,
        min(finds, key=lambda alarm: alarm.start, default=None),
        max((peak for peak in peaks if not np.isnan(peak)), default=np.nan),
    )


def _max_between(item: ScoredSeries, start: int, end: int) -> float:
    inside = (item.timestamps >= start) & (item.timestamps <= end)
    score = item.outputs["anomaly_score"][inside]
    score = score[~np.isnan(score)]
    return float(score.max()) if score.size else np.nan


def _days(timestamps: IntArray) -> float:
    return float(timestamps[-1] - timestamps[0]) / _DAY if len(timestamps) else 0.0
