"""The metrics of a head and of all its members as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from vmanomaly.monitoring.metrics import Metrics

MEMBER = "member"


class ClusterCollector(Collector):
    """Combines what a head and its members say; that of a member has the label `member`.

    Parameters
    ----------
    head
        The metrics of the head.
    members
        Asks the members that answer for their metrics; by number.
    up
        Returns whether each member answers; by number.
    restarts
        Returns how often each member was restarted; by number.
    """

    def __init__(
        self,
        head: CollectorRegistry,
        members: Callable[[], Mapping[int, Iterable[Metric]]],
        up: Callable[[], Mapping[int, bool]],
        restarts: Callable[[], Mapping[int, int]],
    ) -> None:
        self._head = head
        self._members = members
        self._up = up
        self._restarts = restarts

    def describe(self) -> Iterable[Metric]:
        """Return every metric there can be, without values."""
        return [*Metrics().registry.collect(), *_of_cluster({}, {})]

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all, each name once."""
        merged: dict[str, Metric] = {}
        for metric in self._head.collect():
            _add(merged, metric, {})
        for number, metrics in sorted(self._members().items()):
            for metric in metrics:
                _add(merged, metric, {MEMBER: str(number)})
        return [*merged.values(), *_of_cluster(self._up(), self._restarts())]


def _add(merged: dict[str, Metric], metric: Metric, labels: Mapping[str, str]) -> None:
    if metric.name not in merged:
        merged[metric.name] = Metric(metric.name, metric.documentation, metric.type, metric.unit)
    merged[metric.name].samples += [
        sample._replace(labels={**sample.labels, **labels}) for sample in metric.samples
    ]


def _of_cluster(up: Mapping[int, bool], restarts: Mapping[int, int]) -> list[Metric]:
    is_up = GaugeMetricFamily(
        "vmanomaly_member_up", "Whether the member of the cluster answers.", labels=[MEMBER]
    )
    for number, answers in up.items():
        is_up.add_metric([str(number)], answers)
    n_restarts = CounterMetricFamily(
        "vmanomaly_member_restarts", "Restarts of the member by Ray.", labels=[MEMBER]
    )
    for number, n in restarts.items():
        n_restarts.add_metric([str(number)], n)
    return [is_up, n_restarts]
