from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import urllib3

from vmanomaly.config.monitoring import MonitoringSection
from vmanomaly.config.server import ServerSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.server.server import AddressInUseError, Server


@contextmanager
def serving(
    server: dict[str, Any] | None = None,
    monitoring: dict[str, Any] | None = None,
    reasons: list[str] | None = None,
) -> Iterator[Server]:
    metrics = Metrics()
    metrics.config_reload_enabled.set(0)
    running = Server(
        ServerSection.model_validate({"addr": "127.0.0.1", "port": 0, **(server or {})}),
        MonitoringSection.model_validate(monitoring or {}),
        metrics.registry,
        lambda: reasons or [],
    )
    running.start()
    try:
        yield running
    finally:
        running.stop()


def get(port: int, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request(
        "GET", f"http://127.0.0.1:{port}{path}", headers=headers, retries=10, timeout=10
    )


def test_health() -> None:
    with serving() as server:
        answer = get(server.port, "/health")
    assert (answer.status, answer.data) == (200, b'{"status":"ok"}')


def test_health_gives_the_reasons() -> None:
    with serving(reasons=["reader: connection refused"]) as server:
        answer = get(server.port, "/health")
    assert answer.status == 503
    assert json.loads(answer.data)["reasons"] == ["reader: connection refused"]


def test_metrics_and_their_filter() -> None:
    with serving() as server:
        everything = get(server.port, "/metrics").data.decode()
        one = get(server.port, "/metrics?name[]=vmanomaly_config_reload_enabled").data.decode()
    assert "process_cpu_seconds_total" in everything
    assert "python_info" in everything
    assert "vmanomaly_config_reload_enabled 0.0" in everything
    assert [line for line in one.splitlines() if not line.startswith("#")] == [
        "vmanomaly_config_reload_enabled 0.0"
    ]


def test_path_prefix_and_openapi() -> None:
    with serving({"path_prefix": "my-app/"}) as server:
        assert get(server.port, "/my-app/health").status == 200
        assert get(server.port, "/health").status == 404
        assert get(server.port, "/my-app/docs").status == 200
        paths = json.loads(get(server.port, "/my-app/openapi.json").data)["paths"]
    assert set(paths) == {"/my-app/health", "/my-app/metrics"}


def test_metrics_can_ask_for_a_password_while_health_stays_open() -> None:
    with serving({"auth": {"user": "me", "password": "sesame"}}) as server:
        assert get(server.port, "/health").status == 200
        refused = get(server.port, "/metrics")
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic")
        wrong = urllib3.make_headers(basic_auth="me:open")
        assert get(server.port, "/metrics", **wrong).status == 401
        right = urllib3.make_headers(basic_auth="me:sesame")
        assert get(server.port, "/metrics", **right).status == 200


def test_metrics_can_ask_for_a_token() -> None:
    with serving({"auth": {"bearer_token": "sesame"}}) as server:
        assert get(server.port, "/metrics").status == 401
        assert get(server.port, "/metrics", Authorization="Bearer sesame").status == 200


def test_pull_has_a_port_of_its_own() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with serving(monitoring={"pull": {"addr": "127.0.0.1", "port": port}}) as server:
        assert server.port != port
        assert get(port, "/metrics").status == 200
        assert get(port, "/health").status == 200


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUseError, match=rf"127\.0\.0\.1:{port}.*server\.port"):
            Server(
                ServerSection.model_validate({"addr": "127.0.0.1", "port": port}),
                MonitoringSection.model_validate({}),
                Metrics().registry,
                list,
            )
