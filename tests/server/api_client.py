"""The API on loopback, and a client that decodes strictly."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import urllib3

from tests.config_helpers import MINIMAL, changed, load
from vmanomaly.config import Config
from vmanomaly.config.monitoring import MonitoringSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.server.api import Api
from vmanomaly.server.server import Server
from vmanomaly.service.health import HealthStatus
from vmanomaly.tasks import Tasks


@dataclass
class Client:
    """Asks a server as clients do."""

    port: int
    tasks: Tasks
    metrics: Metrics

    def raw(
        self,
        method: str,
        target: str,
        body: Any = None,
        kind: str = "application/json",
        **headers: str,
    ) -> urllib3.BaseHTTPResponse:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        # A connection that has been idle for long may be closed as a request is sent.
        with urllib3.PoolManager() as http:
            return http.request(
                method,
                f"http://127.0.0.1:{self.port}{target}",
                body=content,
                headers={"Content-Type": kind, **headers},
                retries=urllib3.Retry(3, redirect=False),
                timeout=60,
            )

    def ok(self, method: str, target: str, body: Any = None, **more: str) -> Any:
        answer = self.raw(method, target, body, **more)
        assert 200 <= answer.status < 300, answer.data
        return json.loads(answer.data, parse_constant=_refuse)

    def ended(self, tasks: str, task_id: str) -> Any:
        """Wait for the end of a task; return its state."""
        until = time.monotonic() + 300
        while (task := self.ok("GET", f"{tasks}/{task_id}"))["status"] == "running":
            assert time.monotonic() < until
            time.sleep(0.02)
        return task

    def error(self, status: int, method: str, target: str, body: Any = None, **more: str) -> str:
        answer = self.raw(method, target, body, **more)
        assert answer.status == status, answer.data
        content = json.loads(answer.data, parse_constant=_refuse)
        assert content.keys() == {"status", "errorType", "error", "detail"}
        assert (content["status"], content["errorType"]) == ("error", str(status))
        assert "\n" not in content["error"]
        return str(content["error"])


def _refuse(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not JSON")


@contextmanager
def serving(
    changes: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[Client]:
    """Serve the API of a configuration."""
    base = {"server.addr": "127.0.0.1", "server.port": 0}
    config: Config = load(changed({**base, **(changes or {})}, MINIMAL), environ)
    assert config.server is not None
    section = config.server
    metrics = Metrics()
    tasks = Tasks(lambda: section.max_concurrent_tasks, metrics)
    server = Server(
        section,
        MonitoringSection.model_validate({}),
        metrics.registry,
        lambda: HealthStatus([], needs_restart=False),
        list,
        lambda: config.preset,
        Api(lambda: config, tasks, metrics),
    )
    server.start()
    assert server.port is not None
    try:
        yield Client(server.port, tasks, metrics)
    finally:
        tasks.stop(10.0)
        server.stop()
