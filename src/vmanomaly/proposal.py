"""Queries for what a database holds, and a configuration with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from vmanomaly.config.reader import VmReaderSection
from vmanomaly.errors import DatasourceError
from vmanomaly.http import HttpClient, data_of, redact_url


@dataclass(frozen=True, slots=True)
class ProposedQuery:
    """A query that says something about a system, where its metrics are there.

    Attributes
    ----------
    alias
        Its name.
    purpose
        What it watches, in words.
    metrics
        All of these must be there.
    expr
        MetricsQL, PromQL as well.
    keys
        Further keys of the query, as YAML.
    """

    alias: str
    purpose: str
    metrics: tuple[str, ...]
    expr: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a database holds, and the queries for that.

    Attributes
    ----------
    jobs
        The values of the label `job`.
    n_metrics
        How many names of metrics there are.
    queries
        At least one.
    """

    jobs: tuple[str, ...]
    n_metrics: int
    queries: tuple[ProposedQuery, ...]

    @property
    def summary(self) -> str:
        """What the database holds, in one line."""
        named = ", ".join(self.jobs[:8]) + (" ..." if len(self.jobs) > 8 else "")
        return f"Found {self.n_metrics} metrics of {len(self.jobs)} jobs: {named}"


_MAX_BYTES = 16 << 20
_UP = "detection_direction: above_expected"
_SHARE = "data_range: [0, 1]"
_NOT_NEGATIVE = 'data_range: [0, "inf"]'

CATALOGUE = (
    ProposedQuery(
        "cpu_used",
        "share of the CPU that is in use, per instance",
        ("node_cpu_seconds_total",),
        'avg(1 - rate(node_cpu_seconds_total{mode="idle"}[5m])) by (instance)',
        (_SHARE, _UP, "min_dev_from_expected: 0.05"),
    ),
    ProposedQuery(
        "memory_used",
        "share of the memory that is in use, per instance",
        ("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"),
        "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
        (_SHARE, _UP, "min_dev_from_expected: 0.05"),
    ),
    ProposedQuery(
        "network_received",
        "bytes received per second, per instance",
        ("node_network_receive_bytes_total",),
        "sum(rate(node_network_receive_bytes_total[5m])) by (instance)",
        (_NOT_NEGATIVE,),
    ),
    ProposedQuery(
        "network_sent",
        "bytes sent per second, per instance",
        ("node_network_transmit_bytes_total",),
        "sum(rate(node_network_transmit_bytes_total[5m])) by (instance)",
        (_NOT_NEGATIVE,),
    ),
    ProposedQuery(
        "disk_busy",
        "share of the time in which a disk works",
        ("node_disk_io_time_seconds_total",),
        "max(rate(node_disk_io_time_seconds_total[5m])) by (instance)",
        (_SHARE, _UP, "min_dev_from_expected: 0.05"),
    ),
    ProposedQuery(
        "containers_cpu",
        "CPUs that containers use, per namespace",
        ("container_cpu_usage_seconds_total",),
        'sum(rate(container_cpu_usage_seconds_total{container!=""}[5m])) by (namespace)',
        (_NOT_NEGATIVE,),
    ),
    ProposedQuery(
        "containers_memory",
        "memory that containers use, per namespace",
        ("container_memory_working_set_bytes",),
        'sum(container_memory_working_set_bytes{container!=""}) by (namespace)',
        (_NOT_NEGATIVE,),
    ),
    ProposedQuery(
        "restarts",
        "restarts of containers in ten minutes, per namespace",
        ("kube_pod_container_status_restarts_total",),
        "sum(increase(kube_pod_container_status_restarts_total[10m])) by (namespace)",
        (_NOT_NEGATIVE, _UP),
    ),
    ProposedQuery(
        "requests",
        "HTTP requests per second, per job",
        ("http_requests_total",),
        "sum(rate(http_requests_total[5m])) by (job)",
        (_NOT_NEGATIVE,),
    ),
    ProposedQuery(
        "request_seconds",
        "mean time of an HTTP request, per job",
        ("http_request_duration_seconds_sum", "http_request_duration_seconds_count"),
        "sum(rate(http_request_duration_seconds_sum[5m])) by (job)"
        " / sum(rate(http_request_duration_seconds_count[5m])) by (job)",
        (_NOT_NEGATIVE, _UP),
    ),
    ProposedQuery(
        "rows_inserted",
        "samples that VictoriaMetrics takes in per second, per job",
        ("vm_rows_inserted_total",),
        "sum(rate(vm_rows_inserted_total[5m])) by (job)",
        (_NOT_NEGATIVE,),
    ),
    ProposedQuery(
        "process_cpu",
        "CPUs that a process uses, per job",
        ("process_cpu_seconds_total",),
        "sum(rate(process_cpu_seconds_total[5m])) by (job)",
        (_NOT_NEGATIVE,),
    ),
    ProposedQuery(
        "process_memory",
        "resident memory of processes, per job",
        ("process_resident_memory_bytes",),
        "sum(process_resident_memory_bytes) by (job)",
        (_NOT_NEGATIVE,),
    ),
    ProposedQuery(
        "targets_up",
        "share of the targets that can be scraped, per job",
        ("up",),
        "avg(up) by (job)",
        (_SHARE, "detection_direction: below_expected"),
    ),
)
"""What is proposed, the most telling first."""


def propose(section: VmReaderSection) -> Proposal:
    """Ask a database what it holds, and return the queries for that.

    Parameters
    ----------
    section
        How to connect to it.

    Raises
    ------
    DatasourceError
        It does not answer, or holds nothing that a query is known for.
    """
    client = HttpClient(section, "reader")
    try:
        metrics = _values(client, section, "__name__")
        jobs = _values(client, section, "job")
    finally:
        client.close()
    there = set(metrics)
    queries = tuple(query for query in CATALOGUE if there.issuperset(query.metrics))
    if not queries:
        held = ", ".join(sorted(metrics)[:5])
        what = f"it holds {len(metrics)} metrics, such as {held}" if metrics else "it holds no data"
        raise DatasourceError(
            f"{redact_url(section.datasource_url)}: nothing that a query is known for; {what}. "
            "Write queries by hand: see docs/quickstart.md",
            "422",
        )
    return Proposal(tuple(jobs), len(metrics), queries)


def written_config(proposal: Proposal, section: VmReaderSection, writer_url: str) -> str:
    """Return a configuration with the queries of a proposal, and comments.

    Parameters
    ----------
    proposal
        What was found.
    section
        How the database is connected to. No secret is written.
    writer_url
        Where scores go.
    """
    lines = [
        f"# {proposal.summary}.",
        "# Every key is described in docs/config.md.",
        "",
        "schedulers:",
        "  every_minute:",
        "    class: periodic",
        "    fit_window: 14d  # the history that a model learns from",
        "    fit_every: 14d  # the model learns with every point, so this is rare",
        "    infer_every: 1m",
        "",
        "models:",
        "  envelope:",
        "    class: temporal_envelope  # trend, hours, weekdays, holidays, level shifts",
        "    queries: all",
        "    schedulers: all",
        "    # incident_score is evidence over time: alert on incident_score > 1",
        "    provide_series: [anomaly_score, incident_score, y, yhat, yhat_lower, yhat_upper]",
        "    clip_predictions: true  # the expected range stays within data_range",
        "",
        "reader:",
        "  class: vm",
        f"  datasource_url: {_quoted(redact_url(section.datasource_url))}",
        *_login(section),
        "  sampling_period: 1m",
        "  queries:",
    ]
    for query in proposal.queries:
        lines += [
            f"    {query.alias}:  # {query.purpose}",
            f"      expr: {_quoted(query.expr)}",
            *(f"      {key}" for key in query.keys),
        ]
    lines += [
        "",
        "writer:",
        "  class: vm",
        f"  datasource_url: {_quoted(redact_url(writer_url))}",
        *_login(section),
    ]
    return "\n".join(lines) + "\n"


def _login(section: VmReaderSection) -> Sequence[str]:
    """Return the keys of the login; secrets come from the environment."""
    lines = []
    if section.tenant_id is not None:
        lines.append(f"  tenant_id: {_quoted(section.tenant_id)}")
    if section.user is not None:
        lines += [f"  user: {_quoted(section.user)}", '  password: "%{VMANOMALY_PASSWORD}"']
    if section.bearer_token is not None:
        lines.append('  bearer_token: "%{VMANOMALY_BEARER_TOKEN}"')
    if section.verify_tls is not True:
        lines.append(f"  verify_tls: {_quoted(str(section.verify_tls))}")
    return lines


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _values(client: HttpClient, section: VmReaderSection, label: str) -> list[str]:
    path = f"api/v1/label/{label}/values"
    url = f"{client.url(path, section.tenant_id)}?{urlencode({'limit': 100_000})}"
    values = data_of(client.request("GET", url, max_bytes=_MAX_BYTES), redact_url(url)) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise DatasourceError(
            f"{redact_url(url)} answered with something other than label values. Is "
            "`reader.datasource_url` right?",
            "io_error",
        )
    return values
