"""Detection tasks: a model on a query over a stretch of history."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field

from vmanomaly.config import Config
from vmanomaly.config.loading.model_spec import read_model_spec
from vmanomaly.config.problems import Findings
from vmanomaly.config.scheduler import BacktestingSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.errors import ConfigError
from vmanomaly.executor import Executor
from vmanomaly.http.terms import told_in_terms
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import Reader, create_reader
from vmanomaly.server.api import Api, only_json
from vmanomaly.server.bodies import JsonRoute
from vmanomaly.server.datasource import Datasource, DatasourceFields, datasource_of
from vmanomaly.server.values import (
    FilledText,
    FiniteNumber,
    PositiveDuration,
    SmallMapping,
    TimeMs,
    WrongValueError,
)
from vmanomaly.tasks import Note, Task, TaskStatus, Work
from vmanomaly.tasks.detection import Detection, detect, detector_of

KIND = "detection"
DAY_MS = 86_400_000
_MOST_PIECES = 100_000
_MOST_POINTS = 10_000_000
_SHORTEST = Duration(1000)


class DetectionTaskRequest(DatasourceFields):
    """The body that starts a detection task.

    Attributes
    ----------
    query
        In the language of the datasource.
    step
        Distance of the points.
    start_infer_s, end_infer_s
        What is scored: after the start, up to and including the end. By default the last day.
    fit_window, fit_every, infer_every
        As of the scheduler `backtesting`; `infer_every` is the step by default.
    exact
        Whether online models learn in steps of `infer_every`.
    anomaly_threshold
        Points with a score above it are counted.
    model_spec
        A class and its keys; the policies of a query may stand in it.
    """

    query: FilledText
    step: PositiveDuration = Duration(1000)
    start_infer_s: TimeMs | None = None
    end_infer_s: TimeMs | None = None
    fit_window: PositiveDuration = Duration(DAY_MS)
    fit_every: PositiveDuration = Duration(DAY_MS)
    infer_every: PositiveDuration | None = None
    exact: bool = False
    anomaly_threshold: FiniteNumber = 1.0
    model_spec: SmallMapping = Field(default_factory=lambda: {"class": "temporal_envelope"})


class TaskStarted(BaseModel):
    """A task that has been started.

    Attributes
    ----------
    task_id
        Its id.
    status
        `running`.
    """

    task_id: str
    status: str


class TaskLimits(BaseModel):
    """How many tasks may run at a time, how many do, and for how many there is room.

    Attributes
    ----------
    max_concurrent, running, available
        Numbers of tasks, of all kinds.
    """

    max_concurrent: int
    running: int
    available: int


class TaskState(BaseModel):
    """A task, without its result.

    Attributes
    ----------
    task_id
        Its id.
    status
        `running`, `done`, `error` or `canceled`.
    progress
        Percent; 100 only when it is done.
    message
        The stage in words.
    started_at, updated_at
        RFC 3339.
    metrics
        Counts, and the seconds that it took until now.
    """

    task_id: str
    status: TaskStatus
    progress: int
    message: str
    started_at: str
    updated_at: str
    metrics: dict[str, float]


class TaskList(BaseModel):
    """Tasks, the newest first.

    Attributes
    ----------
    tasks
        Without results.
    """

    tasks: list[TaskState]


class TaskResult(TaskState):
    """A task.

    Attributes
    ----------
    result_data
        What came of it; null unless it is done.
    error
        Why it failed; null unless it did.
    """

    result_data: dict[str, Any] | None
    error: str | None


class Canceled(BaseModel):
    """What came of canceling a task.

    Attributes
    ----------
    ok
        True.
    canceled
        Whether it was still running.
    """

    ok: bool
    canceled: bool


def detection_router(api: Api) -> APIRouter:
    """Return the routes of detection tasks.

    Parameters
    ----------
    api
        What they work with.
    """
    router = APIRouter(
        prefix="/api/v1/anomaly_detection", tags=["detection"], route_class=JsonRoute
    )

    @router.post(
        "/tasks",
        status_code=201,
        summary="Start a detection task",
        dependencies=[Depends(only_json)],
    )
    def create(body: DetectionTaskRequest, request: Request) -> TaskStarted:
        config = api.config()
        detection, datasource = _asked_for(body, request, config, api.executor())
        work = partial(detect, detection, partial(_reader, datasource))
        task = api.tasks.start(KIND, in_its_terms(work, datasource))
        return TaskStarted(task_id=task.id, status=TaskStatus.RUNNING.value)

    @router.get("/tasks", summary="List detection tasks", response_model=TaskList)
    def list_tasks(
        limit: Annotated[int, Query(ge=1, le=1000)] = 20, status: TaskStatus | None = None
    ) -> Response:
        tasks = api.tasks.newest(KIND, limit, status)
        return json_response({"tasks": [task.snapshot() for task in tasks]})

    @router.get("/limits", summary="How many tasks may run")
    def limits() -> TaskLimits:
        return TaskLimits(**api.tasks.limits)

    @router.get(
        "/tasks/{task_id}", summary="A detection task and its result", response_model=TaskResult
    )
    def get(task_id: str) -> Response:
        return task_response(find_task(api, task_id, KIND))

    @router.delete("/tasks/{task_id}", summary="Cancel a detection task")
    def cancel(task_id: str) -> Canceled:
        return Canceled(ok=True, canceled=find_task(api, task_id, KIND).cancel())

    return router


def in_its_terms(work: Work, datasource: Datasource) -> Work:
    """Return work that tells what is wrong with its datasource in terms of the request."""

    def told(context: RunContext, note: Note) -> bytes:
        with told_in_terms(datasource.in_terms):
            return work(context, note)

    return told


def find_task(api: Api, task_id: str, kind: str) -> Task:
    """Return a task of a kind, or raise a 404."""
    task = api.tasks.get(task_id, kind)
    if task is None:
        raise HTTPException(404, "no such task; ended tasks are kept for an hour at most")
    return task


def task_response(task: Task) -> Response:
    """Return a task with its result, which is JSON already."""
    # The result first: it is there before the status says so.
    state = orjson.dumps({**task.snapshot(), "error": task.error})
    result = task.result if task.status is TaskStatus.DONE else None
    content = state[:-1] + b',"result_data":' + (result or b"null") + b"}"
    return Response(content, media_type="application/json")


def json_response(content: Mapping[str, Any]) -> Response:
    """Return a mapping as JSON."""
    return Response(orjson.dumps(content), media_type="application/json")


def _asked_for(
    body: DetectionTaskRequest, request: Request, config: Config, executor: Executor
) -> tuple[Detection, Datasource]:
    """Return what a request asks for, checked as far as that can be done without reading."""
    datasource = datasource_of(body, request, config)
    query = datasource.section.query(
        alias="query",
        expr=body.query,
        step=body.step,
        tenant_id=datasource.section.tenant_id,
        tz=config.reader.tz,
    )
    model = read_model_spec(body.model_spec, ("model_spec",))
    try:
        detector_of(model, query)
    except ConfigError as error:
        findings = Findings()
        findings.errors_of(("model_spec",), error)
        raise findings.as_error() from error
    return (
        Detection(
            query=query,
            model=model,
            stretch=_stretch(body),
            anomaly_threshold=body.anomaly_threshold,
            executor=executor,
        ),
        datasource,
    )


def _stretch(body: DetectionTaskRequest) -> BacktestingSection:
    end = body.end_infer_s if body.end_infer_s is not None else round(time.time() * 1000)
    start = body.start_infer_s if body.start_infer_s is not None else end - DAY_MS
    if end < start:
        raise WrongValueError("end_infer_s", "is before start_infer_s")
    if start == end:
        start -= 1
    for name in ("step", "fit_window", "fit_every", "infer_every"):
        given = getattr(body, name)
        if given is not None and given < _SHORTEST:
            raise WrongValueError(name, f"expected a duration of at least {_SHORTEST}")
    n_points = (end - start + body.fit_window) // body.step
    if n_points > _MOST_POINTS:
        raise WrongValueError(
            "step",
            f"cuts fit_window and the interval into {n_points:,} points, more than "
            f"{_MOST_POINTS:,}; make it longer, or them shorter",
        )
    if (end - start) // body.fit_every >= _MOST_PIECES:
        raise WrongValueError(
            "fit_every", f"cuts the interval into more than {_MOST_PIECES} pieces; make it longer"
        )
    return BacktestingSection(
        from_time=start,
        to_time=end,
        fit_window=body.fit_window,
        fit_every=body.fit_every,
        infer_every=body.infer_every or body.step,
        exact=body.exact,
        inference_only=True,
    )


def _reader(datasource: Datasource) -> Reader:
    # In metrics of its own: those of the service count what its schedulers read.
    return create_reader(datasource.section, Metrics(), guard=datasource.guard)
