"""A Ray cluster on this machine, and `vmanomaly cluster` on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.cluster_utils
import yaml

from tests.integration.servers import Process, Samples, answers, request
from vmanomaly.series import Labels

N_NODES = 3
# A loopback address of its own for each node. Ray replaces 127.0.0.1 by one that others can reach.
FIRST = 2
STORE_BYTES = 80 * 2**20
# So that the death of a node is noticed in seconds, and a busy one is not taken for dead.
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}


class Nodes:
    """A Ray cluster on this machine."""

    def __init__(self, detection: Mapping[str, int]) -> None:
        self._cluster = ray.cluster_utils.Cluster(
            initialize_head=True,
            head_node_args=self._arguments(0) | {"_system_config": dict(detection)},
        )
        self._others: dict[str, Any] = {}
        self._n_added = 0
        self.address = self._cluster.address
        for _ in range(1, N_NODES):
            self.add()

    def add(self) -> None:
        """Add a node; it joins a little later."""
        self._n_added += 1
        self._others[self._address(self._n_added)] = self._cluster.add_node(
            wait=False, **self._arguments(self._n_added)
        )

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
        """Return when all nodes have joined."""
        self._cluster.wait_for_nodes(120)

    @property
    def others(self) -> list[str]:
        """The addresses of the nodes without the services of the whole cluster."""
        return list(self._others)

    def can_be_killed(self, address: str) -> bool:
        """Tell whether a node is not the one with the services of the whole cluster."""
        return address in self._others

    def kill(self, address: str) -> None:
        """End a node and all processes on it at once."""
        self._cluster.remove_node(self._others.pop(address), allow_graceful=False)

    def stop(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def started_nodes(detection: Mapping[str, int] = QUICK) -> Iterator[Nodes]:
    """Run three nodes.

    Parameters
    ----------
    detection
        How the death of a node is noticed.
    """
    nodes = Nodes(detection)
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
        self.wait_until(lambda: answers(f"{self.url}/ready"), "readiness of all members")

    def wait_until_healthy(self) -> None:
        self.wait_until(lambda: self.health()["status"] == "ok", "health")


def missing(found: Mapping[Labels, Samples]) -> dict[str, list[int]]:
    """Return the seconds without a score between the first and the last one, by query."""
    gaps = {}
    for labels, points in found.items():
        seconds = {timestamp // 1000 for timestamp, _ in points}
        lacking = set(range(min(seconds), max(seconds))) - seconds
        if lacking:
            gaps[labels["for"]] = sorted(lacking)
    return gaps
