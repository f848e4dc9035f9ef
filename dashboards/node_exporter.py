"""Node exporter: which nodes behave abnormally, and in which indicator of the preset."""

from __future__ import annotations

from typing import NamedTuple

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.builders.statetimeline import Panel as Timeline
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.layout import Section, assemble
from dashboards.panels import Query, line_chart, timeline
from dashboards.variables import PROMETHEUS, datasource, datasource_choice, label_values


def _agreed(more: str = "") -> str:
    """Return the score that all models exceed, of each series of the chosen nodes."""
    matchers = 'preset="node-exporter",instance=~"$node"' + more
    return f"min(anomaly_score{{{matchers}}}) without (model_alias, scheduler_alias)"


def _rate(counter: str, more: str = "") -> str:
    return f'rate({counter}{{instance=~"$node",job=~"$job"{more}}}[$__rate_interval])'


class _Indicator(NamedTuple):
    """An indicator of the preset.

    Attributes
    ----------
    alias
        The label `for` of its scores.
    title
        What it is.
    unit
        Of the raw values.
    raw
        The raw values.
    legend
        Names of the raw series.
    more
        Matchers of its scores in addition.
    """

    alias: str
    title: str
    unit: str
    raw: str
    legend: str = "{{instance}} {{device}}"
    more: str = ""

    @property
    def panels(self) -> tuple[Timeline, timeseries.Panel]:
        """The anomalies next to the values."""
        scores = _agreed(f',for="{self.alias}"{self.more}')
        return (
            timeline(
                f"Anomalies: {self.title}",
                "Number of series that all models find abnormal, by node.",
                Query(f"sum({scores} >= bool 1) by (instance)", "{{instance}}"),
            ),
            line_chart(self.title, "Raw values.", self.unit, Query(self.raw, self.legend)),
        )


def _ratio(part: str, whole: str) -> str:
    return f"{_rate(part)} / {_rate(whole)}"


_CPU_MODE = ',mode=~"$cpu_mode"'
_CPU = _Indicator(
    "cpu_seconds_total",
    "CPU time, $cpu_mode",
    "percentunit",
    f"avg({_rate('node_cpu_seconds_total', _CPU_MODE)}) by (instance, mode)",
    "{{instance}} {{mode}}",
    _CPU_MODE,
)
_SYSTEM = (
    _Indicator(
        "context_switch",
        "Context switches",
        "ops",
        _rate("node_context_switches_total"),
        "{{instance}}",
    ),
    _Indicator(
        "page_faults",
        "Major page faults",
        "ops",
        _rate("node_vmstat_pgmajfault"),
        "{{instance}}",
    ),
)
_NETWORK = (
    _Indicator("receive_bytes", "Bytes received", "Bps", _rate("node_network_receive_bytes_total")),
    _Indicator(
        "transmit_bytes", "Bytes transmitted", "Bps", _rate("node_network_transmit_bytes_total")
    ),
    _Indicator(
        "host_network_receive_errors",
        "Errors per packet received",
        "percentunit",
        _ratio("node_network_receive_errs_total", "node_network_receive_packets_total"),
    ),
    _Indicator(
        "host_network_transmit_errors",
        "Errors per packet transmitted",
        "percentunit",
        _ratio("node_network_transmit_errs_total", "node_network_transmit_packets_total"),
    ),
)
_DISK = (
    _Indicator(
        "read_latency",
        "Time per read",
        "s",
        _ratio("node_disk_read_time_seconds_total", "node_disk_reads_completed_total"),
    ),
    _Indicator(
        "write_latency",
        "Time per write",
        "s",
        _ratio("node_disk_write_time_seconds_total", "node_disk_writes_completed_total"),
    ),
)


def build() -> Dashboard:
    """Return the dashboard."""
    variables = [
        datasource_choice(PROMETHEUS),
        label_values(
            "job", "Job", "label_values(node_uname_info, job)", "Jobs of the node exporters."
        ),
        label_values(
            "node",
            "Node",
            'label_values(node_uname_info{job=~"$job"}, instance)',
            "Nodes that are shown.",
        ),
        label_values(
            "cpu_mode",
            "CPU mode",
            'label_values(anomaly_score{preset="node-exporter",for="cpu_seconds_total"}, mode)',
            "One row for each mode.",
        ),
    ]
    by_node = f"max({_agreed()}) by (instance)"
    by_indicator = f"sum({_agreed()} >= bool 1) by (for)"
    indicators = f"sum(max({_agreed()}) by (instance, for) >= bool 1) by (instance)"
    return assemble(
        "vmanomaly: node exporter",
        "vmanomaly-node-exporter",
        "Nodes that all models of the preset node-exporter find abnormal, and in what.",
        datasource(PROMETHEUS),
        variables,
        [
            Section(
                "Overview",
                [
                    line_chart(
                        "Share of abnormal nodes",
                        "Nodes of which all models find at least one series abnormal.",
                        "percentunit",
                        Query(f"avg({by_node} >= bool 1)", "abnormal nodes"),
                        span=24,
                    ),
                    timeline(
                        "Anomalies by indicator",
                        "Number of series that all models find abnormal.",
                        Query(by_indicator, "{{for}}"),
                    ),
                    line_chart(
                        "Abnormal indicators by node",
                        "The node with the most is the one to look at.",
                        "short",
                        Query(indicators, "{{instance}}"),
                    ),
                ],
            ),
            Section("CPU: $cpu_mode", _CPU.panels, repeat="cpu_mode"),
            Section("System", [panel for one in _SYSTEM for panel in one.panels]),
            Section("Network", [panel for one in _NETWORK for panel in one.panels]),
            Section("Disk", [panel for one in _DISK for panel in one.panels]),
        ],
    )
