"""Clients that go away in the middle of what they have asked for."""

from __future__ import annotations

import socket
import time

from tests.loopback import Asked, Handler, serve
from tests.server.api_client import serving

N_CLIENTS = 60
"""More than there are threads for requests."""


def leave(port: int, request: bytes, wait_s: float = 0.0) -> None:
    """Send a request, or a part of it, and go."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        if wait_s:
            time.sleep(wait_s)


def test_a_body_that_breaks_off_starts_no_task() -> None:
    with serving() as client:
        for _ in range(N_CLIENTS):
            head = (
                b"POST /api/v1/anomaly_detection/tasks HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
            )
            leave(client.port, head + b'{"query": "up", "step": ')
        assert client.ok("GET", "/api/v1/anomaly_detection/tasks") == {"tasks": []}
        assert client.ok("GET", "/api/v1/anomaly_detection/limits")["running"] == 0


def test_health_answers_while_a_datasource_hangs_and_nobody_waits_for_it() -> None:
    def hang(handler: Handler, asked: Asked) -> None:
        handler.hang()

    with serve(hang) as server, serving({"reader.datasource_url": server.url}) as client:
        for _ in range(N_CLIENTS):
            leave(client.port, b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: x\r\n\r\n", 0.005)
        # The client waits less long than the datasource is waited for.
        assert client.ok("GET", "/health")["status"]
