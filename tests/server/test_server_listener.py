"""Clients that are slow, silent, broken or many, and the log that they leave behind."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
from fastapi import APIRouter, Request, Response

from tests.fakes import eventually
from vmanomaly.server import connection
from vmanomaly.server.app import create_app
from vmanomaly.server.listener import Listener

GOOD = b"GET /ok HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
KEPT = b"GET /ok HTTP/1.1\r\nHost: here\r\n\r\n"
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n"


class World:
    """A listener, and what it was asked for."""

    def __init__(self) -> None:
        self.uploaded: list[int | type[Exception]] = []
        self.may_end = threading.Event()
        self.has_begun = threading.Semaphore(0)
        self.listeners: list[Listener] = []

    def start(
        self,
        max_connections: int | None = None,
        settings: dict[str, Any] | None = None,
    ) -> int:
        app = create_app([self.routes()])
        listener = Listener("server", "127.0.0.1", 0, app, settings or {}, max_connections)
        listener.start()
        self.listeners.append(listener)
        return listener.port

    def routes(self) -> APIRouter:
        router = APIRouter()

        @router.get("/ok")
        async def ok() -> Response:
            return Response(b"fine")

        @router.get("/large")
        async def large() -> Response:
            return Response(b"x" * (64 << 20))

        @router.get("/slow")
        def slow() -> Response:
            self.has_begun.release()
            self.may_end.wait(60)
            return Response(b"fine")

        @router.post("/upload")
        async def upload(request: Request) -> Response:
            try:
                self.uploaded.append(len(await request.body()))
            except Exception as error:
                self.uploaded.append(type(error))
                raise
            return Response(b"fine")

        return router


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.may_end.set()
    for listener in world.listeners:
        listener.stop()


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def connect(port: int, sent: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(sent)
    return client


def rest_of(client: socket.socket) -> bytes:
    """Return what comes until the server closes the connection; fail if it does not."""
    received = b""
    try:
        while chunk := client.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    client.close()
    return received


def has_fine_answer(client: socket.socket) -> bool:
    """Return whether an answer comes on a connection that is kept."""
    received = b""
    while not received.endswith(b"fine"):
        chunk = client.recv(65536)
        if not chunk:
            return False
        received += chunk
    return True


def is_answered(port: int) -> bool:
    return rest_of(connect(port, GOOD)).endswith(b"fine")


def noise(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno > logging.INFO]


def test_a_good_request(world: World, log: pytest.LogCaptureFixture) -> None:
    port = world.start()
    assert is_answered(port)
    assert noise(log) == []


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET /ok HTTP/1.1\r\nHost: here\r\n"])
def test_a_client_that_says_nothing_more_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, sent: bytes
) -> None:
    monkeypatch.setattr(connection, "HEADERS_WITHIN_S", 0.1)
    port = world.start()
    assert rest_of(connect(port, sent)) == b""
    assert is_answered(port)
    assert noise(log) == []


def is_left_while_dripping(client: socket.socket) -> bool:
    """Send byte after byte. Return whether the server has enough at some time."""
    pause = threading.Event()
    with client:
        for _ in range(1000):
            try:
                client.sendall(b"x")
            except OSError:
                return True
            pause.wait(0.02)
    return False


@pytest.mark.parametrize("begun", [b"GET /ok HTTP/1.1\r\nX: ", UPLOAD])
def test_a_client_that_sends_byte_by_byte_is_disconnected(
    world: World, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, begun: bytes
) -> None:
    monkeypatch.setattr(connection, "HEADERS_WITHIN_S", 0.2)
    monkeypatch.setattr(connection, "BODY_WITHIN_S", 0.2)
    port = world.start()
    assert is_left_while_dripping(connect(port, begun))
    assert is_answered(port)
    assert noise(log) == []
    if begun is UPLOAD:
        assert eventually(lambda: len(world.uploaded) == 1)
        assert world.uploaded != [100]


def test_the_time_for_headers_starts_with_each_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADERS_WITHIN_S", 0.2)
    port = world.start()
    client = connect(port, KEPT)
    assert has_fine_answer(client)
    client.sendall(KEPT[:20])
    assert rest_of(client) == b""


def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    missing = KEPT.replace(b"/ok", b"/missing")
    answers = rest_of(connect(world.start(), UPLOAD + b"x" * 100 + KEPT + missing + GOOD))
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200", b"404", b"200"]


def test_requests_sent_before_an_answer_wait_their_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SECONDS_PER_PIPELINED", 3600.0)
    port = world.start()
    with connect(port, KEPT * 1000) as client:
        assert has_fine_answer(client)
        for _ in range(20):
            assert is_answered(port)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1 << 16)


def test_a_kept_connection_is_closed_when_it_is_not_used(world: World) -> None:
    port = world.start(settings={"timeout_keep_alive": 0})
    assert rest_of(connect(port, KEPT)).endswith(b"fine")


def test_idle_time_between_requests_is_not_that_for_headers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADERS_WITHIN_S", 0.1)
    port = world.start(settings={"timeout_keep_alive": 20})
    with connect(port, KEPT) as client:
        assert has_fine_answer(client)
        threading.Event().wait(0.3)
        client.sendall(KEPT)
        assert has_fine_answer(client)


def test_a_client_that_does_not_take_its_answer_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "ANSWER_TAKEN_WITHIN_S", 0.2)
    port = world.start(max_connections=1)
    client = connect(port, GOOD.replace(b"/ok", b"/large"))
    assert eventually(lambda: is_answered(port))  # There is room again.
    assert len(rest_of(client)) < 64 << 20
    assert noise(log) == []


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # A TLS client
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000,
        b"\0" * 100_000,
    ],
)
def test_what_is_no_http_is_told_so_and_not_logged(
    world: World, log: pytest.LogCaptureFixture, sent: bytes
) -> None:
    port = world.start()
    for _ in range(3):
        try:
            answer = rest_of(connect(port, sent))
        except ConnectionError:  # Closed while all of that was still being sent.
            continue
        assert answer == b"" or (
            answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            and answer.endswith(
                b'{"status":"error","errorType":"400","error":"not an HTTP/1.1 request",'
                b'"detail":[]}'
            )
        )
    assert is_answered(port)
    assert noise(log) == []


def test_a_body_that_turns_to_junk_is_not_logged(
    world: World, log: pytest.LogCaptureFixture
) -> None:
    port = world.start()
    head = b"POST /upload HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    for _ in range(3):
        assert rest_of(connect(port, head + b"zz\r\njunk\r\n")) == b""
    assert is_answered(port)
    assert eventually(lambda: len(world.uploaded) == 3)
    assert noise(log) == []


def test_an_upgrade_to_web_sockets_is_a_request_like_another(
    world: World, log: pytest.LogCaptureFixture
) -> None:
    port = world.start()
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n"
    answer = rest_of(connect(port, GOOD[: GOOD.index(b"Connection")] + upgrade))
    assert answer.endswith(b"fine")
    assert noise(log) == []


def test_a_client_that_goes_away_is_not_logged(world: World, log: pytest.LogCaptureFixture) -> None:
    port = world.start()
    for _ in range(5):
        connect(port, UPLOAD).close()
        client = connect(port, GOOD.replace(b"/ok", b"/large"))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert is_answered(port)
    assert eventually(lambda: len(world.uploaded) == 5)
    assert noise(log) == []


def test_the_connection_that_waits_longest_makes_room(world: World) -> None:
    port = world.start(max_connections=4)
    with ExitStack() as clients:
        idle = [clients.enter_context(connect(port)) for _ in range(40)]
        assert is_answered(port)
        assert [rest_of(client) for client in idle[:36]] == [b""] * 36


def test_a_connection_that_is_worked_on_makes_no_room(world: World) -> None:
    port = world.start(max_connections=2)
    slow = connect(port, GOOD.replace(b"/ok", b"/slow"))
    assert world.has_begun.acquire(timeout=60)
    for _ in range(5):
        assert is_answered(port)
    world.may_end.set()
    assert rest_of(slow).endswith(b"fine")


def test_connections_wait_while_all_are_worked_on(world: World) -> None:
    port = world.start(max_connections=2)
    slow = [connect(port, GOOD.replace(b"/ok", b"/slow")) for _ in range(2)]
    for _ in slow:
        assert world.has_begun.acquire(timeout=60)
    waiting = connect(port, GOOD)
    world.may_end.set()
    assert rest_of(waiting).endswith(b"fine")
    assert [rest_of(client)[-4:] for client in slow] == [b"fine"] * 2


def test_a_stop_waits_for_no_client(world: World, log: pytest.LogCaptureFixture) -> None:
    port = world.start()
    clients = [connect(port), connect(port, b"GET"), connect(port, UPLOAD), connect(port, KEPT)]
    assert has_fine_answer(clients[-1])
    (listener,) = world.listeners
    listener.stop()
    assert [rest_of(client) for client in clients] == [b""] * 4
    assert eventually(lambda: not any(each.name == "server" for each in threading.enumerate()))
    assert "Traceback" not in log.text
    with pytest.raises(ConnectionRefusedError):
        connect(port)


class TestTls:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> dict[str, Any]:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        file = tmp_path / "server.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(str(file))
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        return {"ssl_certfile": file}

    @pytest.fixture
    def secure(self, settings: dict[str, Any], tmp_path: Path) -> Callable[[int], bytes]:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))

        def ask(port: int) -> bytes:
            client = context.wrap_socket(connect(port), server_hostname="localhost")
            client.sendall(GOOD)
            return rest_of(client)

        return ask

    def test_clients_that_do_not_shake_hands_make_room(
        self,
        world: World,
        settings: dict[str, Any],
        secure: Callable[[int], bytes],
        log: pytest.LogCaptureFixture,
    ) -> None:
        port = world.start(4, settings)
        with ExitStack() as clients:
            for sent in (b"", b"\x16\x03\x01", GOOD, b"junk" * 1000) * 5:
                clients.enter_context(connect(port, sent))
            assert secure(port).endswith(b"fine")
        assert noise(log) == []

    def test_clients_that_do_not_shake_hands_are_left(
        self,
        world: World,
        settings: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
        log: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr("vmanomaly.server.listener._HANDSHAKE_WITHIN_S", 0.2)
        port = world.start(None, settings)
        assert rest_of(connect(port)) == b""
        assert noise(log) == []


FEW_DESCRIPTORS = """
import logging, resource, sys, threading
from fastapi import APIRouter, Response
from vmanomaly.server.app import create_app
from vmanomaly.server.listener import Listener
from vmanomaly.logs import configure_logging

configure_logging("INFO")
router = APIRouter()
router.add_api_route("/ok", lambda: Response(b"fine"))
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
held = [open("/dev/null") for _ in range(int(sys.argv[1]))]
listener = Listener("server", "127.0.0.1", 0, create_app([router]), {})
listener.start()
print(listener.port, flush=True)
sys.stdin.readline()
del held[4:]
sys.stdin.readline()
listener.stop()
"""


class FewDescriptors:
    """A process that may open 40 files, of which it holds some."""

    def __init__(self, log: Path, n_held: int) -> None:
        self._log = log
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-c", FEW_DESCRIPTORS, str(n_held)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def log(self) -> list[str]:
        """What was logged, without the times."""
        return [line.split(" ", 1)[1] for line in self._log.read_text().splitlines()]

    def release(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        self._process.communicate("\n\n", timeout=60)
        assert self._process.returncode == 0


def test_few_descriptors_and_many_idle_clients(tmp_path: Path) -> None:
    server = FewDescriptors(tmp_path / "log", 0)
    with ExitStack() as clients:
        for _ in range(200):
            clients.enter_context(connect(server.port))
        assert is_answered(server.port)
    server.stop()
    assert server.log == [f"INFO server.listener Listening on port {server.port} (server)"]


def test_descriptors_that_others_have_used_up(tmp_path: Path) -> None:
    """Nothing can be accepted until some are given back, and the log says so once."""
    server = FewDescriptors(tmp_path / "log", 26)
    with ExitStack() as clients:
        for _ in range(60):
            clients.enter_context(connect(server.port))
        assert eventually(lambda: len(server.log) == 2)
        waiting = connect(server.port, GOOD)
        server.release()
        assert rest_of(waiting).endswith(b"fine")
    server.stop()
    _, warning = server.log
    assert warning.startswith(
        "WARNING server.listener Cannot accept connections on server: Too many open files"
    )
    assert "ulimit -n" in warning
