"""The service's own metrics, under the names of the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics import MetricWrapperBase

from vmanomaly.series import Origin

# One more series for each counter, which no dashboard uses.
disable_created_metrics()  # type: ignore[no-untyped-call]

_DATASOURCE_LABELS = ("url", "query_key", "scheduler_alias", "preset")
_MODEL_LABELS = ("query_key", "model_alias", "scheduler_alias", "preset")
_STAGE_LABELS = ("stage", *_MODEL_LABELS)


class Metrics:
    """Every metric of one service, in a separate registry.

    Names are given without the suffix `_total`, which `prometheus_client` adds to counters.

    Parameters
    ----------
    preset
        Preset of the configuration: the label of that name. May be changed with the
        configuration.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.config_reload_enabled.set(0)
    >>> metrics.registry.get_sample_value("vmanomaly_config_reload_enabled")
    0.0
    """

    def __init__(self, preset: str = "default") -> None:
        self.preset = preset
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        def gauge(name: str, description: str, *labels: str) -> Gauge:
            return Gauge(f"vmanomaly_{name}", description, labels, registry=registry)

        def counter(name: str, description: str, *labels: str) -> Counter:
            return Counter(f"vmanomaly_{name}", description, labels, registry=registry)

        def histogram(name: str, description: str, *labels: str) -> Histogram:
            return Histogram(f"vmanomaly_{name}", description, labels, registry=registry)

        self.start_time_seconds = gauge(
            "start_time_seconds", "Unix time at which the service started."
        )
        self.version_info = gauge("version_info", "Version of the service.", "version")
        self.ui_version_info = gauge("ui_version_info", "Version of the web UI.", "version")
        self.available_memory_bytes = gauge(
            "available_memory_bytes", "Memory the service may use, limits of its cgroup included."
        )
        self.cpu_cores_available = gauge(
            "cpu_cores_available", "CPUs the service may use, limits of its cgroup included."
        )
        self.native_threads_per_worker = gauge(
            "native_threads_per_worker", "Native threads of numerical libraries a worker may use."
        )
        self.config_entities = gauge(
            "config_entities", "Units of work in the configuration.", "preset", "scope"
        )
        self.config_reload_enabled = gauge(
            "config_reload_enabled", "Whether the configuration files are watched for changes."
        )
        self.config_last_reload_successful = gauge(
            "config_last_reload_successful", "Whether the last reload was applied."
        )
        self.config_last_reload_success_timestamp_seconds = gauge(
            "config_last_reload_success_timestamp_seconds", "Unix time of the last good reload."
        )
        self.config_reloads = counter(
            "config_reloads", "Reloads of the configuration, by outcome.", "status"
        )
        self.scheduler_alive = gauge(
            "scheduler_alive", "Whether the scheduler is running.", "scheduler_alias", "preset"
        )
        self.scheduler_restarts = counter(
            "scheduler_restarts",
            "Restarts of a scheduler that died, by outcome.",
            "scheduler_alias",
            "preset",
            "status",
        )

        self.reader_request_duration_seconds = histogram(
            "reader_request_duration_seconds",
            "Time from sending a query to the end of its answer.",
            *_DATASOURCE_LABELS,
        )
        self.reader_responses = counter(
            "reader_responses", "Answers to queries, by code.", *_DATASOURCE_LABELS, "code"
        )
        self.reader_received_bytes = counter(
            "reader_received_bytes", "Bytes received in answers.", *_DATASOURCE_LABELS
        )
        self.reader_timeseries_received = counter(
            "reader_timeseries_received", "Series received in answers.", *_DATASOURCE_LABELS
        )
        self.reader_datapoints_received = counter(
            "reader_datapoints_received", "Samples received in answers.", *_DATASOURCE_LABELS
        )
        self.reader_response_parsing_seconds = histogram(
            "reader_response_parsing_seconds",
            "Time to turn an answer into arrays, by step.",
            "step",
            *_DATASOURCE_LABELS,
        )
        self.reader_processing_tasks_queued = gauge(
            "reader_processing_tasks_queued",
            "Queries waiting for a free worker.",
            *_DATASOURCE_LABELS,
        )

        self._create_model_metrics(gauge, counter, histogram)
        self._create_api_metrics(gauge, counter)
        self.state_save_duration_seconds = histogram(
            "state_save_duration_seconds", "Time to store what a job has learned in a run."
        )
        self.state_save_errors = counter(
            "state_save_errors", "States that could not be stored, by reason.", "reason"
        )
        self.state_bytes = gauge("state_bytes", "Bytes of the files of all stored states.")
        self.state_written_bytes = counter(
            "state_written_bytes", "Bytes of all files of states that were written."
        )
        self.state_checkpoint_timestamp_seconds = gauge(
            "state_checkpoint_timestamp_seconds",
            "Unix time up to which the stored states of a job have learned.",
            "query_key",
            "scheduler_alias",
            "preset",
        )

        self.writer_request_duration_seconds = histogram(
            "writer_request_duration_seconds",
            "Time from sending a batch to the end of the answer.",
            *_DATASOURCE_LABELS,
        )
        self.writer_request_serialize_seconds = histogram(
            "writer_request_serialize_seconds",
            "Time to turn predictions into the body of a request.",
            *_DATASOURCE_LABELS,
        )
        self.writer_responses = counter(
            "writer_responses", "Answers to writes, by code.", *_DATASOURCE_LABELS, "code"
        )
        self.writer_sent_bytes = counter(
            "writer_sent_bytes", "Bytes sent in bodies of requests.", *_DATASOURCE_LABELS
        )
        self.writer_datapoints_sent = counter(
            "writer_datapoints_sent", "Points sent.", *_DATASOURCE_LABELS
        )
        self.writer_timeseries_sent = counter(
            "writer_timeseries_sent", "Series sent.", *_DATASOURCE_LABELS
        )
        self.writer_queue_bytes = gauge(
            "writer_queue_bytes", "Bytes that wait in the writer's queue."
        )
        self.writer_queue_oldest_timestamp_seconds = gauge(
            "writer_queue_oldest_timestamp_seconds",
            "Unix time of the oldest point in the record that is sent next, 0 when none waits.",
        )
        self.writer_dropped_datapoints = counter(
            "writer_dropped_datapoints", "Points that could not be delivered, by reason.", "reason"
        )

    def _create_model_metrics(
        self,
        gauge: Callable[..., Gauge],
        counter: Callable[..., Counter],
        histogram: Callable[..., Histogram],
    ) -> None:
        self.model_runs = counter("model_runs", "Runs of a model, by stage.", *_STAGE_LABELS)
        self.model_run_duration_seconds = histogram(
            "model_run_duration_seconds", "Time of a model's run, by stage.", *_STAGE_LABELS
        )
        self.model_last_run_timestamp_seconds = gauge(
            "model_last_run_timestamp_seconds",
            "Unix time at which the last run of a model ended, by stage.",
            *_STAGE_LABELS,
        )
        self.model_datapoints_accepted = counter(
            "model_datapoints_accepted", "Points given to a model, by stage.", *_STAGE_LABELS
        )
        self.model_datapoints_produced = counter(
            "model_datapoints_produced",
            "Points scored by a model, each once, by stage.",
            *_STAGE_LABELS,
        )
        self.model_runs_skipped = counter(
            "model_runs_skipped", "Runs left out, for lack of data or state.", *_STAGE_LABELS
        )
        self.model_run_errors = counter(
            "model_run_errors", "Runs that failed with an error.", *_STAGE_LABELS
        )
        self.models_active = gauge(
            "models_active", "Series or groups that have a fitted model.", *_MODEL_LABELS
        )

    def _create_api_metrics(
        self, gauge: Callable[..., Gauge], counter: Callable[..., Counter]
    ) -> None:
        self.tasks_running = gauge("tasks_running", "Tasks of the API that run, by kind.", "kind")
        self.tasks = counter(
            "tasks", "Tasks of the API that have ended, by kind and final status.", "kind", "status"
        )
        self.api_requests = counter(
            "api_requests", "Requests to the API, by route.", "path", "method", "code"
        )

    def of_query(self, url: str, query_key: str, scheduler_alias: str) -> tuple[str, ...]:
        """Return the values of the labels of a reader's or writer's metrics, in their order."""
        return url, query_key, scheduler_alias, self.preset

    def of_model(self, origin: Origin) -> dict[str, str]:
        """Return the labels of a model's metrics, apart from `stage`."""
        return {
            "query_key": origin.query_key,
            "model_alias": origin.model_alias,
            "scheduler_alias": origin.scheduler_alias,
            "preset": origin.preset,
        }

    def of_scheduler(self, alias: str) -> dict[str, str]:
        """Return the labels of a scheduler's metrics."""
        return {"scheduler_alias": alias, "preset": self.preset}

    def forget(self, labels: Mapping[str, str]) -> None:
        """Remove whatever carries these labels, of all metrics that have them.

        Parameters
        ----------
        labels
            Values by label.
        """
        for metric in vars(self).values():
            if isinstance(metric, MetricWrapperBase) and labels.keys() <= set(metric._labelnames):
                metric.remove_by_labels(dict(labels))
