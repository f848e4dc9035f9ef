"""Self-monitoring: how the service itself is doing."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.layout import Section, assemble
from dashboards.panels import Column, Query, bucket_heatmap, line_chart, number, value_table
from dashboards.variables import PROMETHEUS, datasource, datasource_choice, label_values

_INSTANCES = 'job=~"$job",instance=~"$instance"'
_SCHEDULERS = f'{_INSTANCES},preset=~"$preset",scheduler_alias=~"$scheduler_alias"'
_QUERIES = f'{_SCHEDULERS},query_key=~"$query_key"'
_MODELS = f'{_QUERIES},model_alias=~"$model_alias"'
_BY_INSTANCE = "job, instance"
_WINDOW = "$__rate_interval"
_INFER = 'stage=~"infer|fit_infer"'
_GOOD = 'code=~"2.."'


def _metric(name: str, matchers: str, *more: str) -> str:
    return f"vmanomaly_{name}{{{','.join((matchers, *more))}}}"


def _increase(name: str, matchers: str, *more: str, by: str = "", window: str = _WINDOW) -> str:
    """Return how much the counters of a name have grown together, by labels."""
    return _sum(f"increase({_metric(name, matchers, *more)}[{window}])", by)


def _sum(expr: str, by: str) -> str:
    return f"sum({expr}) by ({by})" if by else f"sum({expr})"


def _mean(histogram: str, matchers: str, by: str) -> str:
    """Return the mean of what a histogram has observed."""
    total, count = (_increase(f"{histogram}_{part}", matchers, by=by) for part in ("sum", "count"))
    return f"{total} / {count}"


def _p99(histogram: str, matchers: str, by: str) -> str:
    buckets = _increase(f"{histogram}_bucket", matchers, by=f"le, {by}")
    return f"histogram_quantile(0.99, {buckets})"


def _success(name: str, matchers: str, by: str = "", window: str = _WINDOW) -> str:
    """Return the share of the answers that have a code 2xx."""
    counter = f"{name}_responses_total"
    good = _increase(counter, matchers, _GOOD, by=by, window=window)
    return f"{good} / {_increase(counter, matchers, by=by, window=window)}"


def _success_of_all(by: str, window: str) -> str:
    """Return the share of the answers to reads and writes that have a code 2xx."""
    name = '{{__name__=~"vmanomaly_(reader|writer)_responses_total",{}}}'
    good = _sum(f"increase({name.format(f'{_QUERIES},{_GOOD}')}[{window}])", by)
    return f"{good} / {_sum(f'increase({name.format(_QUERIES)}[{window}])', by)}"


def _acceptance(by: str, window: str = _WINDOW) -> str:
    """Return the share of the valid points that were scored."""
    scored = _increase("model_datapoints_produced_total", _MODELS, _INFER, by=by, window=window)
    given = _increase("model_datapoints_accepted_total", _MODELS, _INFER, by=by, window=window)
    return f"{scored} / {given}"


def _problematic(by: str) -> str:
    """Return the share of the runs that were skipped or failed."""
    done, skipped, failed = (
        _increase(name, _MODELS, by=by)
        for name in ("model_runs_total", "model_runs_skipped_total", "model_run_errors_total")
    )
    return f"({skipped} + {failed}) / ({done} + {skipped} + {failed})"


def _count(label: str, metric: str) -> str:
    return f"count(count({metric}) by ({label}))"


def _since(counter: str, matchers: str) -> str:
    """Return the seconds since a counter has changed."""
    changed = f"tlast_change_over_time({_metric(counter, matchers)}[$__range])"
    return f"time() - max({changed})"


def _per_instance(name: str, *more: str) -> str:
    """Return a gauge, one series for each instance."""
    return f"max({name}{{{','.join((_INSTANCES, *more))}}}) by ({_BY_INSTANCE})"


_CPU = f"rate(process_cpu_seconds_total{{{_INSTANCES}}}[{_WINDOW}])"
_RAM = _per_instance("process_resident_memory_bytes")
_RAM_LIMIT = _per_instance("vmanomaly_available_memory_bytes")
_CPU_USED = f"max({_CPU}) by ({_BY_INSTANCE})"
_CPU_LIMIT = _per_instance("vmanomaly_cpu_cores_available")
_FILES = _per_instance("process_open_fds")
_FILES_LIMIT = _per_instance("process_max_fds")
_BY = "{{instance}}"


def _overview() -> Section:
    def over_range(name: str, *more: str) -> str:
        return _increase(name, _MODELS, *more, by=_BY_INSTANCE, window="$__range")

    columns = [
        Column("Info", f"max(vmanomaly_version_info{{{_INSTANCES}}}) by ({_BY_INSTANCE}, version)"),
        Column("Uptime", f"time() - {_per_instance('vmanomaly_start_time_seconds')}", "s"),
        Column("RAM", _RAM, "bytes"),
        Column("RAM used", f"{_RAM} / {_RAM_LIMIT}", "percentunit", bad_from=0.85),
        Column("CPU used", f"{_CPU_USED} / {_CPU_LIMIT}", "percentunit", bad_from=0.9),
        Column("Models", _sum(_metric("models_active", _MODELS), _BY_INSTANCE)),
        Column("Runs", over_range("model_runs_total")),
        Column("Skipped", over_range("model_runs_skipped_total"), bad_from=1),
        Column("Errors", over_range("model_run_errors_total"), bad_from=1),
        Column(
            "Reads",
            _success("reader", _QUERIES, _BY_INSTANCE, "$__range"),
            "percentunit",
            good_from=0.95,
        ),
        Column(
            "Writes",
            _success("writer", _QUERIES, _BY_INSTANCE, "$__range"),
            "percentunit",
            good_from=0.95,
        ),
        Column("I/O", _success_of_all(_BY_INSTANCE, "$__range"), "percentunit", good_from=0.95),
        Column("Acceptance", _acceptance(_BY_INSTANCE, "$__range"), "percentunit", good_from=0.95),
    ]
    return Section(
        "Instances",
        [
            value_table(
                "Instances",
                "Runs, I/O and acceptance are those in the time range. Reads, writes, I/O: share "
                "of the requests that succeeded. Acceptance: share of the valid points that were "
                "scored.",
                columns,
                hidden=["Value #A"],
                sort_by="Errors",
            ),
        ],
    )


def _run_charts(span: int) -> list[timeseries.Panel]:
    duration = "model_run_duration_seconds"
    return [
        line_chart(
            "Runs",
            "Runs of models, by stage.",
            "short",
            Query(_increase("model_runs_total", _MODELS, by="stage"), "{{stage}}"),
            span=span,
        ),
        line_chart(
            "Skipped runs",
            "For lack of data or of a fitted model, or because the query failed; the log says "
            "which.",
            "short",
            Query(_increase("model_runs_skipped_total", _MODELS, by="stage"), "{{stage}}"),
            span=span,
        ),
        line_chart(
            "Failed runs",
            "Runs in which a model raised an exception. The trace is in the log.",
            "short",
            Query(_increase("model_run_errors_total", _MODELS, by="stage"), "{{stage}}"),
            span=span,
        ),
        line_chart(
            "Skipped or failed",
            "Share of all runs.",
            "percentunit",
            Query(_problematic("stage"), "{{stage}}"),
            span=span,
        ),
        line_chart(
            "Mean duration of a run",
            "Without reading and writing.",
            "s",
            Query(_mean(duration, _MODELS, "stage"), "{{stage}}"),
            span=span,
        ),
        line_chart(
            "99 % of the runs are faster",
            "Interpolated between the buckets of a histogram.",
            "s",
            Query(_p99(duration, _MODELS, "stage"), "{{stage}}"),
            span=span,
        ),
        line_chart(
            "Time spent in runs",
            "Seconds of runs per second; above 1, runs overlap.",
            "short",
            Query(
                _sum(f"rate({_metric(f'{duration}_sum', _MODELS)}[{_WINDOW}])", "stage"),
                "{{stage}}",
            ),
            span=span,
        ),
        line_chart(
            "Acceptance",
            "Share of the valid points that were scored. Below 1 where values are infinite, or "
            "were scored before.",
            "percentunit",
            Query(_acceptance("model_alias"), "{{model_alias}}"),
            span=span,
        ),
    ]


def _models() -> Section:
    active = _metric("models_active", _MODELS)
    return Section(
        "Models",
        [
            number("Models", "Aliases of models.", "short", _count("model_alias", active)),
            number("Queries", "Aliases of queries.", "short", _count("query_key", active)),
            number("Schedulers", "Aliases.", "short", _count("scheduler_alias", active)),
            number("Instances", "That report metrics.", "short", _count("instance", active)),
            number(
                "Fitted", "Series or groups that have a fitted model.", "short", _sum(active, "")
            ),
            number(
                "Units of work",
                "A model on a query under a scheduler, on the chosen instances.",
                "short",
                f'sum(vmanomaly_config_entities{{{_INSTANCES},scope="shard"}})',
            ),
            *_run_charts(6),
        ],
    )


def _io() -> Section:
    def per_query(title: str, description: str, name: str, unit: str) -> timeseries.Panel:
        expr = _sum(f"rate({_metric(name, _QUERIES)}[{_WINDOW}])", "query_key")
        return line_chart(title, description, unit, Query(expr, "{{query_key}}"), span=8)

    def per_series(by: str, points: str, series: str) -> str:
        return f"{_increase(points, _QUERIES, by=by)} / {_increase(series, _QUERIES, by=by)}"

    return Section(
        "Reading and writing",
        [
            number(
                "Last read",
                "Time since the last answer to a query.",
                "s",
                _since("reader_responses_total", _QUERIES),
                span=6,
            ),
            number(
                "Last write",
                "Time since the last answer to a write.",
                "s",
                _since("writer_responses_total", _QUERIES),
                span=6,
            ),
            number(
                "Reads that succeed",
                "Share of the answers with a code 2xx.",
                "percentunit",
                _success("reader", _QUERIES),
                span=6,
                good_from=0.95,
            ),
            number(
                "Writes that succeed",
                "Share of the answers with a code 2xx.",
                "percentunit",
                _success("writer", _QUERIES),
                span=6,
                good_from=0.95,
            ),
            line_chart(
                "Answers to reads",
                "By code: an HTTP status, or what went wrong.",
                "short",
                Query(_increase("reader_responses_total", _QUERIES, by="code"), "{{code}}"),
            ),
            line_chart(
                "Answers to writes",
                "By code: an HTTP status, or what went wrong.",
                "short",
                Query(_increase("writer_responses_total", _QUERIES, by="code"), "{{code}}"),
            ),
            per_query("Series read", "Per second.", "reader_timeseries_received_total", "short"),
            per_query("Points read", "Per second.", "reader_datapoints_received_total", "short"),
            per_query("Bytes read", "As sent.", "reader_received_bytes_total", "Bps"),
            per_query("Series written", "Per second.", "writer_timeseries_sent_total", "short"),
            per_query("Points written", "Per second.", "writer_datapoints_sent_total", "short"),
            per_query("Bytes written", "As sent.", "writer_sent_bytes_total", "Bps"),
            line_chart(
                "Points per series read",
                "Mean; many in a fit, few in an infer.",
                "short",
                Query(
                    per_series(
                        "query_key",
                        "reader_datapoints_received_total",
                        "reader_timeseries_received_total",
                    ),
                    "{{query_key}}",
                ),
            ),
            line_chart(
                "Points per series written",
                "Mean.",
                "short",
                Query(
                    per_series(
                        "query_key",
                        "writer_datapoints_sent_total",
                        "writer_timeseries_sent_total",
                    ),
                    "{{query_key}}",
                ),
            ),
        ],
    )


def _latency() -> Section:
    def charts(title: str, histogram: str, by: str) -> list[timeseries.Panel]:
        legend = f"{{{{{by}}}}}"
        return [
            line_chart(
                f"{title}, mean",
                "By what the legend names.",
                "s",
                Query(_mean(histogram, _QUERIES, by), legend),
                span=8,
            ),
            line_chart(
                f"{title}, 99 % are faster",
                "Interpolated between the buckets of a histogram.",
                "s",
                Query(_p99(histogram, _QUERIES, by), legend),
                span=8,
            ),
        ]

    def buckets(histogram: str) -> str:
        return _increase(f"{histogram}_bucket", _QUERIES, by="le")

    read, parse, write = (
        "reader_request_duration_seconds",
        "reader_response_parsing_seconds",
        "writer_request_duration_seconds",
    )
    return Section(
        "Latency",
        [
            *charts("Reading", read, "query_key"),
            bucket_heatmap("Reading", "Requests by duration.", buckets(read)),
            *charts("Processing of answers", parse, "step"),
            bucket_heatmap("Processing of answers", "By duration.", buckets(parse)),
            *charts("Writing", write, "query_key"),
            bucket_heatmap("Writing", "Requests by duration.", buckets(write)),
            *charts("Encoding of writes", "writer_request_serialize_seconds", "query_key"),
            line_chart(
                "Queries that wait for a worker",
                "Above 0 all the time: raise reader.workers.",
                "short",
                Query(
                    _sum(_metric("reader_processing_tasks_queued", _QUERIES), "query_key"),
                    "{{query_key}}",
                ),
                span=8,
            ),
        ],
        collapsed=True,
    )


def _resources() -> Section:
    def pair(
        title: str, unit: str, used: str, limit: str, bad_from: float
    ) -> list[timeseries.Panel]:
        return [
            line_chart(
                title,
                "All chosen instances together, and what they may use.",
                unit,
                Query(f"sum({used})", "used"),
                Query(f"sum({limit})", "limit"),
                span=8,
            ),
            line_chart(f"{title} by instance", "What each uses.", unit, Query(used, _BY), span=8),
            line_chart(
                f"{title}, share of the limit",
                "By instance.",
                "percentunit",
                Query(f"{used} / {limit}", _BY),
                span=8,
                limit=bad_from,
            ),
        ]

    return Section(
        "Resources",
        [
            *pair("RAM", "bytes", _RAM, _RAM_LIMIT, 0.85),
            *pair("CPU", "short", _CPU_USED, _CPU_LIMIT, 0.9),
            *pair("Open files", "short", _FILES, _FILES_LIMIT, 0.9),
        ],
        collapsed=True,
    )


def _reliability() -> Section:
    return Section(
        "Queue, state, schedulers and configuration",
        [
            number(
                "Configuration",
                "Whether the last reload was applied.",
                "short",
                f"min(vmanomaly_config_last_reload_successful{{{_INSTANCES}}})",
                good_from=1,
                names={0: "reload failed", 1: "in effect"},
            ),
            number(
                "In effect since",
                "The last time a configuration was applied.",
                "s",
                "time() - max("
                f"vmanomaly_config_last_reload_success_timestamp_seconds{{{_INSTANCES}}})",
            ),
            number(
                "Schedulers alive",
                "Share of the schedulers that run.",
                "percentunit",
                f"avg({_metric('scheduler_alive', _SCHEDULERS)})",
                good_from=1,
            ),
            number(
                "Restarts of schedulers",
                "In the time range. Any is a bug worth reporting.",
                "short",
                _increase("scheduler_restarts_total", _SCHEDULERS, window="$__range"),
                bad_from=1,
            ),
            number(
                "Points dropped",
                "In the time range: scores that are lost.",
                "short",
                _increase("writer_dropped_datapoints_total", _INSTANCES, window="$__range"),
                bad_from=1,
            ),
            number(
                "States not stored",
                "In the time range: runs after which what was learned could not be stored.",
                "short",
                _increase("state_save_errors_total", _INSTANCES, window="$__range"),
                bad_from=1,
            ),
            line_chart(
                "Queue of the writer",
                "What waits for the database.",
                "bytes",
                Query(_per_instance("vmanomaly_writer_queue_bytes"), _BY),
                span=8,
            ),
            line_chart(
                "Age of the queue",
                "Age of the oldest point that waits; 0 where none does.",
                "s",
                Query(
                    f"(time() - {_per_instance('vmanomaly_writer_queue_oldest_timestamp_seconds')})"
                    f" * ({_per_instance('vmanomaly_writer_queue_oldest_timestamp_seconds')}"
                    " > bool 0)",
                    _BY,
                ),
                span=8,
            ),
            line_chart(
                "Points dropped, by reason",
                "Scores that are lost.",
                "short",
                Query(
                    _increase("writer_dropped_datapoints_total", _INSTANCES, by="reason"),
                    "{{reason}}",
                ),
                span=8,
            ),
            line_chart(
                "Stored states",
                "Size of the files.",
                "bytes",
                Query(_per_instance("vmanomaly_state_bytes"), _BY),
                span=6,
            ),
            line_chart(
                "States written",
                "Bytes per second.",
                "Bps",
                Query(
                    f"sum(rate({_metric('state_written_bytes_total', _INSTANCES)}[{_WINDOW}])) "
                    f"by ({_BY_INSTANCE})",
                    _BY,
                ),
                span=6,
            ),
            line_chart(
                "Age of the checkpoints",
                "What would be replayed after a crash, of the job that is furthest behind.",
                "s",
                Query(
                    f"time() - min({_metric('state_checkpoint_timestamp_seconds', _SCHEDULERS)}) "
                    f"by ({_BY_INSTANCE})",
                    _BY,
                ),
                span=6,
            ),
            line_chart(
                "Reloads",
                "Reloads of the configuration, by outcome.",
                "short",
                Query(_increase("config_reloads_total", _INSTANCES, by="status"), "{{status}}"),
                span=6,
            ),
        ],
    )


def _one_model() -> Section:
    active = _metric("models_active", _MODELS)
    return Section(
        "Model $model_alias",
        [
            number("Queries", "That it scores.", "short", _count("query_key", active), span=6),
            number(
                "Schedulers", "It runs under.", "short", _count("scheduler_alias", active), span=6
            ),
            number("Instances", "It runs on.", "short", _count("instance", active), span=6),
            number("Fitted", "Series or groups.", "short", _sum(active, ""), span=6),
            *_run_charts(6),
        ],
        collapsed=True,
        repeat="model_alias",
    )


def build() -> Dashboard:
    """Return the dashboard."""
    started = "vmanomaly_start_time_seconds"
    alive = _metric("scheduler_alive", f'{_INSTANCES},preset=~"$preset"')
    active = "vmanomaly_models_active"
    variables = [
        datasource_choice(PROMETHEUS),
        label_values("job", "Job", f"label_values({started}, job)", "Jobs of vmanomaly."),
        label_values(
            "instance",
            "Instance",
            f'label_values({started}{{job=~"$job"}}, instance)',
            "Instances of vmanomaly.",
        ),
        label_values(
            "preset",
            "Preset",
            f"label_values(vmanomaly_scheduler_alive{{{_INSTANCES}}}, preset)",
            "Presets of the configurations.",
        ),
        label_values(
            "scheduler_alias",
            "Scheduler",
            f"label_values({alive}, scheduler_alias)",
            "Schedulers. Instances and resources are not filtered by this.",
        ),
        label_values(
            "query_key",
            "Query",
            f"label_values({active}{{{_SCHEDULERS}}}, query_key)",
            "Queries; those scored jointly are one.",
        ),
        label_values(
            "model_alias",
            "Model",
            f"label_values({active}{{{_QUERIES}}}, model_alias)",
            "Models. There is one row for each at the end.",
        ),
    ]
    return assemble(
        "vmanomaly: self-monitoring",
        "vmanomaly-self-monitoring",
        "How vmanomaly itself is doing.",
        datasource(PROMETHEUS),
        variables,
        [
            _overview(),
            _models(),
            _io(),
            _reliability(),
            _latency(),
            _resources(),
            _one_model(),
        ],
    )
