"""What was found of what was planted.

An alarm is an incident that a model found, `incident_score > 1`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vmanomaly.demo.incidents import Incident
from vmanomaly.report import Alarm, ScoredSeries, alarms_of
from vmanomaly.report.contents import agree
from vmanomaly.series import IntArray

AFTERMATH = 60 * 60_000
"""Milliseconds after an incident in which an alarm on its series is still its echo."""
_DAY = 86_400_000


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


def evaluate(
    scored: Sequence[ScoredSeries],
    incidents: Sequence[Incident],
    rule: Callable[[ScoredSeries], list[Alarm]] = alarms_of,
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
    rule
        Makes alarms of scores.

    Returns
    -------
    tuple of ModelEvaluation
        One for each model, in the order in which models appear in `scored`.
    """
    models = dict.fromkeys(item.model for item in scored)
    return tuple(
        _evaluate_model(model, [item for item in scored if item.model == model], incidents, rule)
        for model in models
    )


def _evaluate_model(
    model: str,
    scored: Sequence[ScoredSeries],
    incidents: Sequence[Incident],
    rule: Callable[[ScoredSeries], list[Alarm]],
) -> ModelEvaluation:
    alarms = [alarm for item in scored for alarm in rule(item)]
    return ModelEvaluation(
        model,
        tuple(_finding(incident, model, scored, alarms) for incident in incidents),
        tuple(alarms),
        tuple(alarm for alarm in alarms if not any(_explains(i, alarm) for i in incidents)),
        sum(_days(item.timestamps) for item in scored),
    )


def _explains(incident: Incident, alarm: Alarm) -> bool:
    return (
        agree(incident.series, alarm.series)
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
        if agree(incident.series, item.series)
    ]
    return Finding(
        incident,
        model,
        min(finds, key=lambda alarm: alarm.start, default=None),
        max((peak for peak in peaks if not np.isnan(peak)), default=np.nan),
    )


def _max_between(item: ScoredSeries, start: int, end: int) -> float:
    inside = (item.timestamps >= start) & (item.timestamps <= end)
    score = item.output(item.score_name)[inside]
    score = score[~np.isnan(score)]
    return float(score.max()) if score.size else np.nan


def _days(timestamps: IntArray) -> float:
    return float(timestamps[-1] - timestamps[0]) / _DAY if len(timestamps) else 0.0
