"""Autotune tasks: one configuration of a class for many series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, WithJsonSchema

from vmanomaly.config import Config
from vmanomaly.config.loading.build import POLICIES
from vmanomaly.config.problems import Findings
from vmanomaly.config.reader import Query
from vmanomaly.config.section import read_section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import as_time_zone
from vmanomaly.context import RunContext
from vmanomaly.executor import Executor
from vmanomaly.series import SeriesBatch, TimeRange
from vmanomaly.server.api import Api, only_json
from vmanomaly.server.bodies import JsonRoute
from vmanomaly.server.datasource import Datasource, DatasourceFields, datasource_of
from vmanomaly.server.routes.characteristics import range_of_one_query, read_some
from vmanomaly.server.routes.detection import (
    Canceled,
    TaskResult,
    TaskStarted,
    find_task,
    in_its_terms,
    task_response,
)
from vmanomaly.server.values import (
    PositiveDuration,
    SmallList,
    SmallMapping,
    TimeMs,
    WrongValueError,
    read_argument,
)
from vmanomaly.tasks import TaskStatus
from vmanomaly.tasks.autotune import Autotune, autotune, read_autotune

KIND = "autotune"
_MOST_QUERIES = 50
_DEFAULT_TIMEOUT_S = 60.0
_ALIAS = "query"

# Read with all the others, so that every problem is in the answer.
_CLASS = {"type": "string", "examples": ["mad_online"]}
_SHARE = {"type": "number", "minimum": 0, "exclusiveMaximum": 0.5, "examples": [0.01]}


class AutotuneTaskRequest(DatasourceFields):
    """The body that starts an autotune task.

    Attributes
    ----------
    query
        In the language of the datasource; or `queries`.
    queries
        By alias: an expression, or `expr` and the policies of the query. 1 to 50.
    tuned_class_name
        The class that is tuned, by any name of it.
    anomaly_percentage
        The largest share of points that may be anomalies, 0 or more and below 0.5. A limit, not a
        goal.
    start, end
        What is read; by default the last 7 days.
    step
        Distance of the points, the same as in production.
    timezone
        IANA name of the zone of calendar patterns; that of the reader by default.
    short_gap_steps
        Gaps up to so many steps are no gaps in the profile.
    limit
        At most so many series of each query.
    use_profile_hints
        Whether what the series are like narrows the search.
    optimization_params
        As those of the model `auto`; `timeout` is 60 seconds by default, for the whole task.
    optimized_business_params
        Policies that are tuned too.
    frozen_params
        Keys of the class, and policies, that stay as they are given.
    """

    query: str | None = None
    queries: SmallMapping | None = None
    tuned_class_name: Annotated[Any, WithJsonSchema(_CLASS)] = None
    anomaly_percentage: Annotated[Any, WithJsonSchema(_SHARE)] = None
    start: TimeMs | None = None
    end: TimeMs | None = None
    step: PositiveDuration = Duration(60_000)
    timezone: str = ""
    short_gap_steps: int = Field(2, ge=0, le=1000)
    limit: int = Field(100, ge=1, le=1000)
    use_profile_hints: bool = True
    optimization_params: SmallMapping = Field(default_factory=dict)
    optimized_business_params: SmallList = Field(default_factory=list)
    frozen_params: SmallMapping = Field(default_factory=dict)


class AutotuneSuggestion(BaseModel):
    """What an autotune task found.

    Attributes
    ----------
    resultType
        `autotune_suggestion`.
    modelConfig
        A model spec, with all defaults.
    bestParams
        The keys that were tuned.
    bestScore
        From 0 to 1, where 1 is best.
    profile
        What the series are like, as `batch` of the characteristics.
    optimization
        How it was found.
    inputQueryCount, tunedInputCount
        The queries, and the series.
    """

    resultType: str  # noqa: N815 - the names of the API
    modelConfig: dict[str, Any]  # noqa: N815
    bestParams: dict[str, Any]  # noqa: N815
    bestScore: float  # noqa: N815
    profile: dict[str, Any]
    optimization: dict[str, Any]
    inputQueryCount: int  # noqa: N815
    tunedInputCount: int  # noqa: N815


def autotune_router(api: Api) -> APIRouter:
    """Return the routes of autotune tasks.

    Parameters
    ----------
    api
        What they work with.
    """
    router = APIRouter(prefix="/api/v1/autotune", tags=["autotune"], route_class=JsonRoute)

    @router.post(
        "/tasks",
        status_code=201,
        summary="Start an autotune task",
        dependencies=[Depends(only_json)],
    )
    def create(body: AutotuneTaskRequest, request: Request) -> TaskStarted:
        config = api.config()
        datasource = datasource_of(body, request, config)
        asked = _asked_for(body, datasource, config, api.executor())
        time_range = range_of_one_query(body.start, body.end, body.step)
        read = partial(_read, datasource, asked.queries, time_range, body.limit)
        task = api.tasks.start(KIND, in_its_terms(partial(autotune, asked, read), datasource))
        return TaskStarted(task_id=task.id, status=TaskStatus.RUNNING.value)

    @router.get(
        "/tasks/{task_id}", summary="An autotune task and its result", response_model=TaskResult
    )
    def get(task_id: str) -> Response:
        return task_response(find_task(api, task_id, KIND))

    @router.delete("/tasks/{task_id}", summary="Cancel an autotune task")
    def cancel(task_id: str) -> Canceled:
        return Canceled(ok=True, canceled=find_task(api, task_id, KIND).cancel())

    return router


def _asked_for(
    body: AutotuneTaskRequest, datasource: Datasource, config: Config, executor: Executor
) -> Autotune:
    """Return what a request asks for, checked as far as that can be done without reading."""
    zone = read_argument("timezone", as_time_zone, body.timezone or config.reader.tz)
    optimization = {"timeout": _DEFAULT_TIMEOUT_S, **body.optimization_params}
    for key in ("frozen_params", "optimized_business_params"):
        if key in optimization:
            raise WrongValueError(f"optimization_params.{key}", f"write {key} at the top level")
    optimization["optimized_business_params"] = body.optimized_business_params
    # An older client has it among the others.
    if body.anomaly_percentage is not None:
        optimization["anomaly_percentage"] = body.anomaly_percentage
    return read_autotune(
        body.tuned_class_name,
        optimization,
        body.frozen_params,
        _queries(body, datasource, zone),
        timezone=zone,
        short_gap_steps=body.short_gap_steps,
        use_profile_hints=body.use_profile_hints,
        executor=executor,
    )


def _queries(body: AutotuneTaskRequest, datasource: Datasource, zone: str) -> tuple[Query, ...]:
    given = body.queries
    if given is None:
        if body.query is None or not body.query.strip():
            raise WrongValueError("query", "required, and must not be empty; or set queries")
        given = {_ALIAS: body.query}
    elif body.query is not None:
        raise WrongValueError("queries", "set query or queries, not both")
    if not 1 <= len(given) <= _MOST_QUERIES:
        raise WrongValueError("queries", f"expected 1 to {_MOST_QUERIES} queries")
    findings = Findings()
    queries = []
    for alias, raw in given.items():
        written = {"expr": raw} if isinstance(raw, str) else raw
        place = ("query",) if body.queries is None else ("queries", alias)
        query = read_section(
            datasource.section.query,
            _only_known(written),
            place,
            findings,
            {
                "alias": alias,
                "step": body.step,
                "tz": zone,
                **_tenant(datasource),
            },
        )
        if query is not None:
            queries.append(query)
    if findings.problems:
        raise findings.as_error()
    return tuple(queries)


def _only_known(raw: object) -> object:
    """Leave out what a query of a configuration may say and what is no matter here."""
    if not isinstance(raw, Mapping):
        return raw
    known = ("expr", *POLICIES)
    unknown = [key for key in raw if key not in known]
    return {key: value for key, value in raw.items() if key in known} if unknown else raw


def _tenant(datasource: Datasource) -> dict[str, Any]:
    tenant_id = datasource.section.tenant_id
    return {"tenant_id": tenant_id} if "tenant_id" in datasource.section.query.model_fields else {}


def _read(
    datasource: Datasource,
    queries: Sequence[Query],
    time_range: TimeRange,
    limit: int,
    context: RunContext,
) -> list[tuple[SeriesBatch, int]]:
    return [
        read_some(datasource, query.expr, time_range, query.step, limit, context)
        for query in queries
    ]
