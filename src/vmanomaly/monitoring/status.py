"""How the service is, in words: what its own metrics say, and what to do about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry

from vmanomaly.config import Config
from vmanomaly.printable import shown_size

Severity: TypeAlias = Literal["error", "warning"]

MOST_ROWS = 500
"""Queries and models that are listed: those with trouble first."""

_LATE_S = 120.0
_MUCH_MEMORY = 0.85
_STAGES = ("fit", "infer")

_OF_READER = {
    "401": "check the login in the section reader",
    "403": "check the login in the section reader, and what it may read",
    "404": "check reader.datasource_url: nothing answers queries at this address",
    "422": "the datasource refuses the query: try it with `vmanomaly query`",
    "400": "the datasource refuses the query: try it with `vmanomaly query`",
    "429": "the datasource is overloaded: lower reader.workers, or raise infer_every",
    "503": "the datasource is overloaded: lower reader.workers, or raise infer_every",
    "timeout": "raise reader.timeout, or make the query cheaper",
    "connection_error": "check that the datasource runs and can be reached from here",
    "ssl_error": "check reader.verify_tls and the certificates",
    "too_large": "select fewer series, or raise reader.max_response_size",
    "io_error": "check the file and its permissions",
}
_OF_HEALTH = {
    "reader": "what was missed is scored once the query works again, as far back as the fit window",
    "writer": "scores wait in the queue and are delivered later",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that needs attention.

    Attributes
    ----------
    severity : {"error", "warning"}
        Whether scores are missing because of it.
    subject : str
        What it is about, such as `query cpu`.
    message : str
        What happened.
    remedy : str
        What to do.
    """

    severity: Severity
    subject: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class SchedulerStatus:
    """A scheduler.

    Attributes
    ----------
    alias, class_name : str
        From the configuration.
    alive : bool
        Whether it runs.
    n_restarts : int
        How often it was restarted because it died.
    last_run : float or None
        When the last run of one of its models ended, Unix seconds; None before the first.
    """

    alias: str
    class_name: str
    alive: bool
    n_restarts: int
    last_run: float | None


@dataclass(frozen=True, slots=True)
class QueryStatus:
    """The reads of a query under a scheduler, since the start.

    Attributes
    ----------
    query, scheduler : str
        Aliases.
    n_requests : int
        Requests to the datasource that were answered.
    failures : mapping of str to int
        Those that failed, by code: an HTTP status, or what went wrong.
    n_samples : int
        Samples received.
    mean_duration_s : float or None
        Of a request.
    """

    query: str
    scheduler: str
    n_requests: int
    failures: Mapping[str, int]
    n_samples: int
    mean_duration_s: float | None


@dataclass(frozen=True, slots=True)
class StageStatus:
    """The fits, or the infers, of a model on a query, since the start.

    Attributes
    ----------
    n_runs, n_skipped, n_errors : int
        How many did something, could not be done, and failed.
    last_run : float or None
        When the last one ended, Unix seconds.
    mean_duration_s : float or None
        Of a run.
    """

    n_runs: int
    n_skipped: int
    n_errors: int
    last_run: float | None
    mean_duration_s: float | None


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model on a query under a scheduler.

    Attributes
    ----------
    model, query, scheduler : str
        Aliases.
    n_active : int
        Series or groups that have a fitted model.
    fit, infer : StageStatus
        Its runs.
    """

    model: str
    query: str
    scheduler: str
    n_active: int
    fit: StageStatus
    infer: StageStatus


@dataclass(frozen=True, slots=True)
class WriterStatus:
    """What happens to the scores.

    Attributes
    ----------
    class_name : str
        From the configuration.
    n_sent : int
        Points that were delivered.
    queue_bytes : int
        What waits to be delivered.
    waiting_since : float or None
        The oldest point that waits, Unix seconds; None where none waits.
    dropped : mapping of str to int
        Points that are lost, by reason.
    failures : mapping of str to int
        Requests that failed, by code.
    """

    class_name: str
    n_sent: int
    queue_bytes: int
    waiting_since: float | None
    dropped: Mapping[str, int]
    failures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Status:
    """How the service is.

    Attributes
    ----------
    started_at : float
        Unix seconds.
    memory_bytes, available_memory_bytes : int
        What the process uses, and what it may use; 0 where that is not known.
    findings : list of Finding
        What needs attention, errors first.
    schedulers : list of SchedulerStatus
        In the order of the configuration.
    queries : list of QueryStatus
        Those with failures first, at most 500.
    models : list of ModelStatus
        Those with trouble first, at most 500.
    n_queries, n_models : int
        How many there are.
    writer : WriterStatus
        What happens to the scores.
    state_bytes : int
        Size of the stored states.
    """

    started_at: float
    memory_bytes: int
    available_memory_bytes: int
    findings: list[Finding]
    schedulers: list[SchedulerStatus]
    queries: list[QueryStatus]
    models: list[ModelStatus]
    n_queries: int
    n_models: int
    writer: WriterStatus
    state_bytes: int


def status_of(
    registry: CollectorRegistry, config: Config, reasons: Sequence[str], now: float
) -> Status:
    """Return how the service is.

    Parameters
    ----------
    registry
        The service's own metrics.
    config
        The configuration that runs.
    reasons
        What is wrong at the moment, as `/health` says.
    now
        Unix seconds.
    """
    samples = Samples(registry)
    queries = sorted(_queries(samples), key=lambda each: -sum(each.failures.values()))
    models = sorted(_models(samples), key=_trouble, reverse=True)
    schedulers = _schedulers(samples, config, models)
    writer = _writer(samples, config)
    findings = [
        *_of_reasons(reasons),
        *_of_schedulers(schedulers),
        *_of_queries(queries),
        *_of_models(models),
        *_of_writer(writer, now),
        *_of_process(samples),
    ]
    return Status(
        started_at=samples.value("vmanomaly_start_time_seconds"),
        memory_bytes=int(samples.value("process_resident_memory_bytes")),
        available_memory_bytes=int(samples.value("vmanomaly_available_memory_bytes")),
        findings=sorted(findings, key=lambda each: each.severity),
        schedulers=schedulers,
        queries=queries[:MOST_ROWS],
        models=models[:MOST_ROWS],
        n_queries=len(queries),
        n_models=len(models),
        writer=writer,
        state_bytes=int(samples.value("vmanomaly_state_bytes")),
    )


Key: TypeAlias = tuple[str, ...]


@dataclass(slots=True)
class Samples:
    """All samples of a registry, by name.

    Parameters
    ----------
    registry
        Whose they are.
    """

    registry: CollectorRegistry
    _by_name: dict[str, list[tuple[Mapping[str, str], float]]] = field(init=False)

    def __post_init__(self) -> None:
        found: defaultdict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        for metric in self.registry.collect():
            for sample in metric.samples:
                found[sample.name].append((sample.labels, sample.value))
        self._by_name = dict(found)

    def value(self, name: str) -> float:
        """Return the sum of a metric over all labels; 0 where there is none."""
        return sum(value for _, value in self._by_name.get(name, ()))

    def by(self, name: str, *labels: str, **wanted: str) -> dict[Key, float]:
        """Return the sums of a metric by some labels, of the samples with the wanted ones."""
        sums: defaultdict[Key, float] = defaultdict(float)
        for found, value in self._by_name.get(name, ()):
            if wanted.items() <= found.items():
                sums[tuple(found.get(label, "") for label in labels)] += value
        return dict(sums)


def _schedulers(
    samples: Samples, config: Config, models: Iterable[ModelStatus]
) -> list[SchedulerStatus]:
    alive = samples.by("vmanomaly_scheduler_alive", "scheduler_alias")
    restarts = samples.by("vmanomaly_scheduler_restarts_total", "scheduler_alias")
    last: dict[str, float] = {}
    for model in models:
        for stage in (model.fit, model.infer):
            if stage.last_run is not None:
                last[model.scheduler] = max(stage.last_run, last.get(model.scheduler, 0.0))
    return [
        SchedulerStatus(
            alias=alias,
            class_name=section.class_name,
            alive=alive.get((alias,), 0.0) == 1.0,
            n_restarts=int(restarts.get((alias,), 0.0)),
            last_run=last.get(alias),
        )
        for alias, section in config.schedulers.items()
    ]


def _queries(samples: Samples) -> Iterator[QueryStatus]:
    labels = ("query_key", "scheduler_alias")
    responses = samples.by("vmanomaly_reader_responses_total", *labels, "code")
    seconds = samples.by("vmanomaly_reader_request_duration_seconds_sum", *labels)
    requests = samples.by("vmanomaly_reader_request_duration_seconds_count", *labels)
    received = samples.by("vmanomaly_reader_datapoints_received_total", *labels)
    by_query: defaultdict[Key, dict[str, int]] = defaultdict(dict)
    for (query, scheduler, code), count in responses.items():
        by_query[query, scheduler][code] = int(count)
    for key, codes in by_query.items():
        n_timed = requests.get(key, 0.0)
        yield QueryStatus(
            query=key[0],
            scheduler=key[1],
            n_requests=sum(codes.values()),
            failures=_failures(codes),
            n_samples=int(received.get(key, 0.0)),
            mean_duration_s=seconds.get(key, 0.0) / n_timed if n_timed else None,
        )


def _failures(codes: Mapping[str, int]) -> dict[str, int]:
    return {
        code: count
        for code, count in codes.items()
        if count and not code.startswith("2") and code != "cancelled"
    }


def _models(samples: Samples) -> Iterator[ModelStatus]:
    labels = ("query_key", "model_alias", "scheduler_alias")
    active = samples.by("vmanomaly_models_active", *labels)
    skipped = samples.by("vmanomaly_model_runs_skipped_total", *labels, "stage")
    errors = samples.by("vmanomaly_model_run_errors_total", *labels, "stage")
    runs = samples.by("vmanomaly_model_runs_total", *labels, "stage")
    last = samples.by("vmanomaly_model_last_run_timestamp_seconds", *labels, "stage")
    seconds = samples.by("vmanomaly_model_run_duration_seconds_sum", *labels, "stage")

    def stage_of(key: Key, stage: str) -> StageStatus:
        of_stage = (*key, stage)
        n_runs = runs.get(of_stage, 0.0)
        return StageStatus(
            n_runs=int(n_runs),
            n_skipped=int(skipped.get(of_stage, 0.0)),
            n_errors=int(errors.get(of_stage, 0.0)),
            last_run=last.get(of_stage),
            mean_duration_s=seconds.get(of_stage, 0.0) / n_runs if n_runs else None,
        )

    # Skipped runs are counted from 0 on, so every unit has them.
    for key in dict.fromkeys(of_stage[:3] for of_stage in skipped):
        query, model, scheduler = key
        fit, infer = (stage_of(key, stage) for stage in _STAGES)
        yield ModelStatus(model, query, scheduler, int(active.get(key, 0.0)), fit, infer)


def _trouble(model: ModelStatus) -> tuple[int, int]:
    stages = (model.fit, model.infer)
    return sum(stage.n_errors for stage in stages), sum(stage.n_skipped for stage in stages)


def _writer(samples: Samples, config: Config) -> WriterStatus:
    waiting = samples.value("vmanomaly_writer_queue_oldest_timestamp_seconds")
    dropped = samples.by("vmanomaly_writer_dropped_datapoints_total", "reason")
    responses = samples.by("vmanomaly_writer_responses_total", "code")
    return WriterStatus(
        class_name=config.writer.class_name,
        n_sent=int(samples.value("vmanomaly_writer_datapoints_sent_total")),
        queue_bytes=int(samples.value("vmanomaly_writer_queue_bytes")),
        waiting_since=waiting or None,
        dropped={reason: int(count) for (reason,), count in dropped.items() if count},
        failures=_failures({code: int(count) for (code,), count in responses.items()}),
    )


def _of_reasons(reasons: Iterable[str]) -> Iterator[Finding]:
    for reason in reasons:
        component, _, message = reason.partition(": ")
        remedy = _OF_HEALTH.get(component, "see the log of the service for more")
        yield Finding("error", component, message or reason, remedy)


def _of_schedulers(schedulers: Iterable[SchedulerStatus]) -> Iterator[Finding]:
    for scheduler in schedulers:
        if scheduler.n_restarts:
            yield Finding(
                "warning",
                f"scheduler {scheduler.alias}",
                f"died and was restarted, {scheduler.n_restarts} times since the start",
                "this is a bug: report it with the trace in the log",
            )


def _of_queries(queries: Iterable[QueryStatus]) -> Iterator[Finding]:
    for query in queries:
        for code, count in query.failures.items():
            yield Finding(
                "warning",
                f"query {query.query}",
                f"{count} of {query.n_requests} requests failed since the start: {code}",
                _OF_READER.get(code, "see the log of the service for the datasource's own words"),
            )


def _of_models(models: Iterable[ModelStatus]) -> Iterator[Finding]:
    for model in models:
        subject = f"model {model.model} on query {model.query}"
        n_errors = model.fit.n_errors + model.infer.n_errors
        if n_errors:
            yield Finding(
                "error",
                subject,
                f"{n_errors} runs failed with an error",
                "see the trace in the log",
            )
        has_fitted = model.fit.n_runs or model.n_active
        if model.fit.n_skipped and not has_fitted:
            yield Finding(
                "error",
                subject,
                "could not be fitted yet",
                "check that the query returns data in the fit window: `vmanomaly query`",
            )
        elif model.infer.n_skipped and not model.infer.n_runs:
            yield Finding(
                "warning",
                subject,
                f"has scored nothing yet: {model.infer.n_skipped} runs without new data or a fit",
                "check that the query returns current data: `vmanomaly query`",
            )


def _of_writer(writer: WriterStatus, now: float) -> Iterator[Finding]:
    for reason, count in writer.dropped.items():
        yield Finding(
            "error",
            "writer",
            f"{count:,} points are lost: {reason}",
            "see the log for the reason; a larger writer.queue_max_size bridges longer outages",
        )
    if writer.waiting_since is not None and now - writer.waiting_since > _LATE_S:
        yield Finding(
            "warning",
            "writer",
            f"scores wait for the database ({shown_size(writer.queue_bytes)})",
            "check that the database takes writes; they are delivered once it does",
        )


def _of_process(samples: Samples) -> Iterator[Finding]:
    if samples.by("vmanomaly_config_last_reload_successful").get((), 1.0) == 0.0:
        yield Finding(
            "warning",
            "configuration",
            "the last reload was refused, and the configuration before it runs on",
            "see the log, or check the files with `vmanomaly --dryRun`",
        )
    n_failed = int(samples.value("vmanomaly_state_save_errors_total"))
    if n_failed:
        yield Finding(
            "warning",
            "state",
            f"could not be stored {n_failed} times since the start",
            "check the space and the permissions of the folder; a restart replays what is missing",
        )
    used = samples.value("process_resident_memory_bytes")
    available = samples.value("vmanomaly_available_memory_bytes")
    if available and used > _MUCH_MEMORY * available:
        yield Finding(
            "warning",
            "memory",
            f"{shown_size(int(used))} of {shown_size(int(available))} are in use",
            "raise the limit, split the configuration over members, or keep states on disk",
        )
