"""How the service is, in words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config_helpers import MINIMAL, changed, load
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.monitoring.status import Finding, Status, status_of

NOW = 1_750_000_000.0
QUERY = ("http://vm", "q", "live", "default")
UNIT = {"query_key": "q", "model_alias": "z", "scheduler_alias": "live", "preset": "default"}


@pytest.fixture
def metrics() -> Metrics:
    """Those of a service that has started."""
    metrics = Metrics()
    metrics.config_last_reload_successful.set(1)
    for stage in ("fit", "infer"):
        metrics.model_runs_skipped.labels(stage=stage, **UNIT)
        metrics.model_run_errors.labels(stage=stage, **UNIT)
    return metrics


def status(metrics: Metrics, *reasons: str) -> Status:
    return status_of(metrics.registry, load(changed({}, MINIMAL)), reasons, NOW)


def test_a_service_that_works_has_no_findings(metrics: Metrics) -> None:
    metrics.scheduler_alive.labels(**metrics.of_scheduler("live")).set(1)
    for stage, ended, took in (("fit", NOW - 60, 3.0), ("infer", NOW - 5, 0.5)):
        metrics.model_runs.labels(stage=stage, **UNIT).inc()
        metrics.model_run_duration_seconds.labels(stage=stage, **UNIT).observe(took)
        metrics.model_last_run_timestamp_seconds.labels(stage=stage, **UNIT).set(ended)
    metrics.models_active.labels(**UNIT).set(3)
    metrics.reader_responses.labels(*QUERY, "200").inc(2)
    metrics.reader_request_duration_seconds.labels(*QUERY).observe(0.2)
    metrics.reader_request_duration_seconds.labels(*QUERY).observe(0.4)
    metrics.reader_datapoints_received.labels(*QUERY).inc(100)
    metrics.writer_datapoints_sent.labels(*QUERY).inc(12)
    now = status(metrics)
    assert now.findings == []
    (scheduler,) = now.schedulers
    assert (scheduler.alive, scheduler.last_run) == (True, NOW - 5)
    (query,) = now.queries
    assert (query.n_requests, query.failures, query.n_samples) == (2, {}, 100)
    assert query.mean_duration_s == pytest.approx(0.3)
    (model,) = now.models
    assert (model.n_active, model.fit.n_runs, model.infer.mean_duration_s) == (3, 1, 0.5)
    assert (now.writer.n_sent, now.writer.waiting_since) == (12, None)
    assert now.memory_bytes > 2**20


def queue_waits(metrics: Metrics) -> None:
    metrics.writer_queue_bytes.set(3 << 20)
    metrics.writer_queue_oldest_timestamp_seconds.set(NOW - 600)


CASES: list[tuple[Any, str, str, str]] = [
    (
        lambda m: m.reader_responses.labels(*QUERY, "401").inc(4),
        "warning",
        "query q: 4 of 4 requests failed since the start: 401",
        "check the login in the section reader",
    ),
    (
        lambda m: m.reader_responses.labels(*QUERY, "418").inc(),
        "warning",
        "query q: 1 of 1 requests failed since the start: 418",
        "see the log of the service for the datasource's own words",
    ),
    (queue_waits, "warning", "writer: scores wait for the database (3 MiB)", "check that the"),
    (
        lambda m: m.writer_dropped_datapoints.labels("full").inc(5000),
        "error",
        "writer: 5,000 points are lost: full",
        "see the log",
    ),
    (
        lambda m: m.model_runs_skipped.labels(stage="fit", **UNIT).inc(),
        "error",
        "model z on query q: could not be fitted yet",
        "check that the query returns data in the fit window",
    ),
    (
        lambda m: m.model_run_errors.labels(stage="infer", **UNIT).inc(2),
        "error",
        "model z on query q: 2 runs failed with an error",
        "see the trace in the log",
    ),
    (
        lambda m: m.scheduler_restarts.labels(**m.of_scheduler("live"), status="success").inc(),
        "warning",
        "scheduler live: died and was restarted, 1 times since the start",
        "this is a bug",
    ),
    (
        lambda m: m.config_last_reload_successful.set(0),
        "warning",
        "configuration: the last reload was refused",
        "see the log",
    ),
    (lambda m: m.state_save_errors.labels("ENOSPC").inc(), "warning", "state: could not", "check"),
    (
        lambda m: m.available_memory_bytes.set(1 << 20),
        "warning",
        "memory: ",
        "raise the limit",
    ),
]


@pytest.mark.parametrize(("happens", "severity", "said", "remedy"), CASES)
def test_what_is_wrong_comes_with_a_remedy(
    metrics: Metrics, happens: Any, severity: str, said: str, remedy: str
) -> None:
    happens(metrics)
    (finding,) = status(metrics).findings
    assert finding.severity == severity
    assert f"{finding.subject}: {finding.message}".startswith(said)
    assert finding.remedy.startswith(remedy)


def test_cancelled_reads_are_no_failures(metrics: Metrics) -> None:
    metrics.reader_responses.labels(*QUERY, "cancelled").inc()
    now = status(metrics)
    assert (now.findings, now.queries[0].failures) == ([], {})


def test_what_is_wrong_now_comes_first(metrics: Metrics) -> None:
    metrics.config_last_reload_successful.set(0)
    first, second = status(metrics, "reader: query q: answered 401").findings
    assert first == Finding(
        "error",
        "reader",
        "query q: answered 401",
        "what was missed is scored once the query works again, as far back as the fit window",
    )
    assert second.subject == "configuration"


def test_queries_and_models_in_trouble_come_first(metrics: Metrics) -> None:
    for number in range(600):
        key = ("http://vm", f"q{number}", "s", "default")
        metrics.reader_responses.labels(*key, "200").inc()
        metrics.model_runs_skipped.labels(stage="fit", **{**UNIT, "query_key": f"q{number}"})
    metrics.reader_responses.labels("http://vm", "q599", "s", "default", "500").inc()
    metrics.model_run_errors.labels(stage="fit", **{**UNIT, "query_key": "q598"}).inc()
    now = status(metrics)
    assert (len(now.queries), now.n_queries, len(now.models), now.n_models) == (500, 600, 500, 601)
    assert now.queries[0].query == "q599"
    assert now.models[0].query == "q598"
