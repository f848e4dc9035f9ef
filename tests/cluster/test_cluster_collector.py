"""The metrics of a head and its members as one page."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from vmanomaly.cluster.collector import ClusterCollector
from vmanomaly.monitoring.metrics import Metrics


@pytest.fixture
def registry() -> CollectorRegistry:
    """A head, the members 0 and 2 that answer, and the member 1 that does not."""
    head, zero, two = Metrics(), Metrics(), Metrics()
    head.config_reloads.labels(status="success").inc(3)
    zero.writer_queue_bytes.set(7)
    two.writer_queue_bytes.set(9)
    two.model_run_duration_seconds.labels(
        stage="fit", query_key="q", model_alias="m", scheduler_alias="s", preset="default"
    ).observe(0.02)
    members = {2: two, 0: zero}
    registry = CollectorRegistry()
    registry.register(
        ClusterCollector(
            head.registry,
            lambda: {number: list(each.registry.collect()) for number, each in members.items()},
            lambda: {0: True, 1: False, 2: True},
            lambda: {0: 0, 1: 4, 2: 0},
        )
    )
    return registry


def test_each_metric_is_there_once_with_a_sample_of_each_member(
    registry: CollectorRegistry,
) -> None:
    text = generate_latest(registry).decode()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(names) == len(set(names))
    values = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["vmanomaly_writer_queue_bytes", (("member", "0"),)] == 7
    assert values["vmanomaly_writer_queue_bytes", (("member", "2"),)] == 9
    assert values["vmanomaly_config_reloads_total", (("status", "success"),)] == 3
    assert [values["vmanomaly_member_up", (("member", str(n)),)] for n in range(3)] == [1, 0, 1]
    assert values["vmanomaly_member_restarts_total", (("member", "1"),)] == 4
    labels = {
        "stage": "fit",
        "query_key": "q",
        "model_alias": "m",
        "scheduler_alias": "s",
        "preset": "default",
        "member": "2",
    }
    name = "vmanomaly_model_run_duration_seconds_count"
    assert values[name, tuple(sorted(labels.items()))] == 1


def test_a_request_for_one_name_gives_that_one(registry: CollectorRegistry) -> None:
    text = generate_latest(registry.restricted_registry(["vmanomaly_writer_queue_bytes"])).decode()
    assert text.count("# TYPE") == 1
    assert 'vmanomaly_writer_queue_bytes{member="2"} 9.0\n' in text
