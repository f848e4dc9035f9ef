"""What was anomalous and what is: incidents in the scores that any run has written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from vmanomaly.config import Config
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.deviation import deviation_of
from vmanomaly.scores import (
    IncidentGroup,
    Member,
    ScoreFilter,
    Scorer,
    ScoreSource,
    group_incidents,
)
from vmanomaly.series import Labels, TimeRange
from vmanomaly.server.api import Api
from vmanomaly.server.datasource import DatasourceArguments
from vmanomaly.server.score_source import score_source
from vmanomaly.server.values import FiniteNumber, PositiveDuration, TimeMs, WrongValueError

_TIMEOUT_S = 25.0
"""Clients give up after 30 s."""

_DAY_MS = 86_400_000
_DAY = Duration(_DAY_MS)
_MINUTE_MS = 60_000
_MOST_STEPS = 720
_MOST_MEMBERS = 200
_STEPS_MS = tuple(
    round(seconds * 1000)
    for seconds in (1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600)
)


class IncidentSeries(BaseModel):
    """An incident of one series, according to one model.

    Attributes
    ----------
    query, model_alias, scheduler_alias, preset
        Aliases in the configuration that wrote the scores.
    labels
        The labels that the query gave the series.
    start, end
        First and last point above the threshold, Unix seconds.
    peak, peak_at
        The highest score, and when that was.
    n_points
        How many points were above the threshold.
    severity
        From 0 to 10: the mean score while the whole incident lasted, where those up to the
        threshold count as 0, and those above 10 as 10.
    """

    query: str
    model_alias: str
    scheduler_alias: str
    preset: str
    labels: dict[str, str]
    start: float
    end: float
    peak: float
    peak_at: float
    n_points: int
    severity: float


class IncidentAnswer(BaseModel):
    """Incidents of series that belong together.

    Attributes
    ----------
    start, end
        From the first to the last point of any of them, Unix seconds.
    ongoing
        Whether one of them reaches to the end of the range.
    peak
        The highest score.
    labels
        What all series have in common.
    queries
        Their queries.
    n_series
        How many series there are.
    series
        The most severe first, at most 200.
    """

    start: float
    end: float
    ongoing: bool
    peak: float
    labels: dict[str, str]
    queries: list[str]
    n_series: int
    series: list[IncidentSeries]


class Timeline(BaseModel):
    """How many series were above the threshold.

    Attributes
    ----------
    timestamps
        Unix seconds.
    n_series
        At each of them.
    """

    timestamps: list[float]
    n_series: list[int]


class Incidents(BaseModel):
    """The incidents in a range.

    Attributes
    ----------
    source
        Where the scores are, without credentials.
    start, end, step
        The range, after its start, up to and including its end; Unix seconds, seconds.
    threshold
        A score above it is one of an incident.
    n_scored
        How many series are scored at all, each by each model.
    timeline
        How many series were above the threshold.
    n_incidents
        How many incidents there are.
    incidents
        The newest first, at most `limit`.
    """

    source: str
    start: float
    end: float
    step: float
    threshold: float
    n_scored: int
    timeline: Timeline
    n_incidents: int
    incidents: list[IncidentAnswer]


class IncidentsAnswer(BaseModel):
    """The answer with incidents."""

    status: Literal["success"] = "success"
    data: Incidents


class Outputs(BaseModel):
    """What a model wrote about a series.

    Attributes
    ----------
    timestamps
        Unix seconds.
    outputs
        Values by output, such as `yhat`; null where there is none.
    deviation
        In which way the values left what was expected, as these points show it: spike, dip, higher
        level, lower level, rising, falling, wider spread, frozen value; null if it is not known.
    """

    timestamps: list[float]
    outputs: dict[str, list[float | None]]
    deviation: str | None = None


class OutputsAnswer(BaseModel):
    """The answer with the outputs of a series."""

    status: Literal["success"] = "success"
    data: Outputs


def _wanted(
    query: str | None = None,
    model_alias: str | None = None,
    scheduler_alias: str | None = None,
    preset: str | None = None,
    label: Annotated[
        list[str] | None,
        Query(description="Of the series, such as `host=db-1`; repeat it for more"),
    ] = None,
) -> ScoreFilter:
    series = {}
    for each in label or ():
        name, found, value = each.partition("=")
        if not found or not name:
            raise WrongValueError("label", "expected name=value, such as host=db-1")
        series[name] = value
    return ScoreFilter(query, model_alias, scheduler_alias, preset, series)


Wanted: TypeAlias = Annotated[ScoreFilter, Depends(_wanted)]


def incidents_router(api: Api) -> APIRouter:
    """Return the routes that tell of incidents.

    Parameters
    ----------
    api
        What they work with.
    """
    router = APIRouter(prefix="/api/v1/incidents", tags=["incidents"])

    @router.get("", summary="What was anomalous, and what belongs together")
    def incidents(
        fields: DatasourceArguments,
        request: Request,
        wanted: Wanted,
        start: Annotated[TimeMs | None, Query()] = None,
        end: Annotated[TimeMs | None, Query()] = None,
        since: Annotated[PositiveDuration, Query()] = _DAY,
        step: Annotated[PositiveDuration | None, Query()] = None,
        threshold: Annotated[FiniteNumber, Query(ge=0)] = 1.0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> IncidentsAnswer:
        config = api.config()
        source = score_source(fields, request, config)
        context = RunContext().child(_TIMEOUT_S)
        window, step_ms = _window(source, config, (start, end, since), step, context)
        above = source.above(window, step_ms, threshold, wanted, context)
        groups = group_incidents(above, step_ms, window.end, threshold)
        return IncidentsAnswer(
            data=Incidents(
                source=source.name,
                start=window.start / 1000,
                end=window.end / 1000,
                step=step_ms / 1000,
                threshold=threshold,
                n_scored=above.n_scored,
                timeline=Timeline(
                    timestamps=(above.timestamps / 1000).tolist(),
                    n_series=np.isfinite(above.scores).sum(axis=0).tolist(),
                ),
                n_incidents=len(groups),
                incidents=[_incident(group) for group in groups[:limit]],
            )
        )

    @router.get("/outputs", summary="What a model wrote about a series")
    def outputs(
        fields: DatasourceArguments,
        request: Request,
        query: str,
        model_alias: str,
        scheduler_alias: str,
        preset: str,
        labels: Annotated[str, Query(description="A JSON object: those of the series")],
        start: Annotated[TimeMs | None, Query()] = None,
        end: Annotated[TimeMs | None, Query()] = None,
        since: Annotated[PositiveDuration, Query()] = _DAY,
        step: Annotated[PositiveDuration | None, Query()] = None,
        incident_start: Annotated[
            TimeMs | None, Query(description="Of the incident that `deviation` is about")
        ] = None,
        incident_end: Annotated[TimeMs | None, Query()] = None,
    ) -> OutputsAnswer:
        config = api.config()
        source = score_source(fields, request, config)
        context = RunContext().child(_TIMEOUT_S)
        scorer = Scorer(query, model_alias, scheduler_alias, preset, _labels(labels))
        window, step_ms = _window(source, config, (start, end, since), step, context)
        found = source.outputs(scorer, window, step_ms, context)
        if found is None:
            return OutputsAnswer(data=Outputs(timestamps=[], outputs={}))
        first = window.start if incident_start is None else incident_start
        last = window.end if incident_end is None else incident_end
        of_incident = (found.timestamps >= first) & (found.timestamps <= last)
        return OutputsAnswer(
            data=Outputs(
                timestamps=(found.timestamps / 1000).tolist(),
                outputs={
                    name: [value if np.isfinite(value) else None for value in values.tolist()]
                    for name, values in found.outputs.items()
                },
                deviation=deviation_of(
                    {name: values[of_incident] for name, values in found.outputs.items()}
                ),
            )
        )

    return router


def _window(
    source: ScoreSource,
    config: Config,
    asked: tuple[int | None, int | None, Duration],
    step: Duration | None,
    context: RunContext,
) -> tuple[TimeRange, int]:
    """Return the range, from multiple to multiple of the step, and the step, milliseconds.

    What is asked for is the start, the end, and how far the one is before the other otherwise.
    """
    start, end, since = asked
    if end is None:
        last = source.last_timestamp(context)
        end = round(time.time() * 1000) if last is None else last
    if start is None:
        start = end - int(since)
    if end <= start:
        raise WrongValueError("end", "is not after start")
    shortest = max(-(-(end - start) // _MOST_STEPS), _longest_step(config))
    length = int(step or 0)
    if not length:
        days = -(-shortest // _DAY_MS) * _DAY_MS
        length = next((each for each in _STEPS_MS if each >= shortest), days)
    elif (end - start) // length > 10 * _MOST_STEPS:
        raise WrongValueError("step", f"gives more than {10 * _MOST_STEPS:,} points a series")
    return TimeRange(start // length * length, -(-end // length) * length), length


def _longest_step(config: Config) -> int:
    """Return the longest distance of points that a query has, milliseconds."""
    steps = [int(query.step) for query in config.reader.queries.values()]
    return max(steps, default=_MINUTE_MS)


def _labels(text: str) -> Labels:
    try:
        labels = orjson.loads(text)
    except orjson.JSONDecodeError:
        labels = None
    if not isinstance(labels, Mapping) or not all(
        isinstance(each, str) for each in labels.values()
    ):
        raise WrongValueError("labels", 'expected a JSON object such as {"host":"db-1"}')
    return Labels(labels)


def _incident(group: IncidentGroup) -> IncidentAnswer:
    return IncidentAnswer(
        start=group.start / 1000,
        end=group.end / 1000,
        ongoing=group.ongoing,
        peak=_shown(group.peak),
        labels=group.shared.as_dict(),
        queries=list(group.queries),
        n_series=group.n_series,
        series=[_series(member) for member in group.members[:_MOST_MEMBERS]],
    )


def _series(member: Member) -> IncidentSeries:
    scorer = member.scorer
    return IncidentSeries(
        query=scorer.query,
        model_alias=scorer.model,
        scheduler_alias=scorer.scheduler,
        preset=scorer.preset,
        labels=scorer.series.as_dict(),
        start=member.start / 1000,
        end=member.end / 1000,
        peak=_shown(member.peak),
        peak_at=member.peak_at / 1000,
        n_points=member.n_points,
        severity=member.severity,
    )


def _shown(score: float) -> float:
    # JSON has no infinity.
    return min(score, 1e308)
