"""Members on a Ray cluster of three nodes, of which one is killed."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray.cluster_utils
import yaml

from tests.integration.servers import (
    Process,
    VictoriaMetrics,
    answers,
    free_port,
    request,
    wait_until,
)
from tests.integration.test_integration_members import (
    FLAGS,
    QUERIES,
    config,
    fill,
    now_read,
    scores,
    wait_for_scores,
)

N_NODES = 3
# A loopback address of its own for each node. Ray replaces 127.0.0.1 by one that others can reach.
FIRST = 2
STORE_BYTES = 80 * 2**20
# So that the death of a node is noticed in two seconds instead of 16.
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}


class Nodes:
    """A Ray cluster on this machine."""

    def __init__(self) -> None:
        quick = {} if os.environ.get("RAY_TEST_SLOW_DETECTION") else QUICK
        self._cluster = ray.cluster_utils.Cluster(
            initialize_head=True,
            head_node_args=self._arguments(0) | {"_system_config": quick},
        )
        self._others = {
            self._address(number): self._cluster.add_node(wait=False, **self._arguments(number))
            for number in range(1, N_NODES)
        }
        self.address = self._cluster.address

    @staticmethod
    def _address(number: int) -> str:
        return f"127.0.0.{FIRST + number}"

    def _arguments(self, number: int) -> dict[str, Any]:
        return {
            "num_cpus": 1,
            "node_ip_address": self._address(number),
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        }

    def wait(self) -> None:
        self._cluster.wait_for_nodes(60)

    def can_be_killed(self, address: str) -> bool:
        """Tell whether a node is not the one with the services of the whole cluster."""
        return address in self._others

    def kill(self, address: str) -> None:
        self._cluster.remove_node(self._others.pop(address), allow_graceful=False)

    def stop(self) -> None:
        self._cluster.shutdown()


@contextmanager
def started_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    nodes = Nodes()
    try:
        nodes.wait()
        yield nodes
    finally:
        nodes.stop()


class Head(Process):
    """`vmanomaly cluster`, as a user starts it."""

    def __init__(self, folder: Path, content: dict[str, Any], *arguments: str) -> None:
        self.url = f"http://127.0.0.1:{content['server']['port']}"
        self.config = folder / "vmanomaly.yaml"
        self.write(content)
        super().__init__(
            [sys.executable, "-m", "vmanomaly", "cluster", str(self.config), *arguments],
            folder / "vmanomaly.log",
        )

    def write(self, content: dict[str, Any]) -> None:
        self.config.write_text(yaml.safe_dump(content))

    def health(self) -> dict[str, Any]:
        _, body = request("GET", f"{self.url}/health")
        answer: dict[str, Any] = json.loads(body)
        return answer

    def node_of(self, member: int) -> str:
        node: str = self.health()["members"][member]["node"]
        return node

    def metrics(self) -> str:
        return request("GET", f"{self.url}/metrics")[1].decode()

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: answers(f"{self.url}/ready"), "readiness of all members", 60)


@pytest.mark.slow
def test_a_node_is_killed_and_no_timestamp_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with VictoriaMetrics(tmp_path, *FLAGS) as vm, started_nodes(monkeypatch) as nodes:
        fill(vm)
        content = config(vm, {})
        content["server"]["port"] = free_port()
        head = Head(tmp_path, content, "--members", "3", "--address", nodes.address)
        began = time.monotonic()
        with head:
            head.wait_until_ready()
            print(f"ready after {time.monotonic() - began:.1f} s")
            members = head.health()["members"]
            assert [member["state"] for member in members] == ["running"] * 3
            assert len({member["node"] for member in members}) == N_NODES
            metrics = head.metrics()
            for number, shard in enumerate([2, 1, 1]):
                labels = f'member="{number}",preset="default",scope="shard"'
                assert f"vmanomaly_config_entities{{{labels}}} {shard}.0\n" in metrics
                assert f'vmanomaly_member_up{{member="{number}"}} 1.0\n' in metrics
            wait_for_scores(vm, now_read() + 3)

            killed = next(m for m in members if nodes.can_be_killed(m["node"]))
            nodes.kill(killed["node"])
            at, died = now_read(), time.monotonic()
            number = killed["member"]
            head.wait_until(lambda: head.health()["status"] == "degraded", "notice of it")
            wait_for_scores(vm, at + 4)
            print(f"scores again after {time.monotonic() - died:.1f} s")
            head.wait_until(lambda: head.health()["status"] == "ok", "health")
            assert head.node_of(number) != killed["node"]
            assert f'vmanomaly_member_restarts_total{{member="{number}"}} 1.0\n' in head.metrics()

            # One sub-config more, and a mistake after it.
            content["reader"]["queries"]["e"] = {"expr": "load{query='a'} * 2"}
            head.write(content)
            head.signal(signal.SIGHUP)
            head.wait_until(lambda: 'scope="total"} 5.0' in head.metrics(), "the new configuration")
            head.wait_until(lambda: "has been reloaded successfully" in head.output, "the reload")
            content["reader"]["queries"]["e"] = {"exp": "load"}
            head.write(content)
            head.signal(signal.SIGHUP)
            head.wait_until(lambda: "Reload aborted" in head.output, "the refusal")
            assert head.health()["status"] == "ok"
            wait_for_scores(vm, now_read() + 1)
            asked = time.monotonic()
            head.signal(signal.SIGTERM)
            assert head.wait(20) == 0
            print(f"stopped after {time.monotonic() - asked:.1f} s")
        found = scores(vm)
        print(head.output)
    by_query = {labels["for"]: points for labels, points in found.items()}
    assert by_query.keys() == {*QUERIES, "e"}
    for query, points in by_query.items():
        seconds = sorted({timestamp // 1000 for timestamp, _ in points})
        missing = set(range(seconds[0], seconds[-1] + 1)) - set(seconds)
        assert not missing, f"{query}: {len(missing)} seconds are missing around {at}: {missing}"
