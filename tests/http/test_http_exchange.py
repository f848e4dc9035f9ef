"""One deadline covers all of a request and its answer, and a cancel ends it at any point."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import trustme

from tests.drips import DRIPS, TLS_DRIPS, Drip, dripping, not_accepting
from tests.fakes import eventually
from tests.loopback import Asked, Handler, serve
from vmanomaly.config.http import HttpSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError, DatasourceError, DeadlineExceededError
from vmanomaly.http import HttpClient, StatusError
from vmanomaly.http.names import look_up

SHORT, LONG = Duration(300), Duration(600_000)
# Far more than any of it takes, far less than `LONG`.
BOUND_S = 60


def client_of(url: str, timeout: Duration, **keys: Any) -> HttpClient:
    return HttpClient(HttpSection(datasource_url=url, timeout=timeout, **keys), "reader")


def ok(handler: Handler, _asked: Asked) -> None:
    handler.reply(body=b"{}")


def ask(client: HttpClient, context: RunContext | None = None, body: bytes = b"q") -> bytes:
    with client.stream("POST", client.url("x"), form=body, context=context) as chunks:
        return b"".join(chunks)


@contextmanager
def asking(
    client: HttpClient, context: RunContext | None = None, body: bytes = b"q"
) -> Iterator[Callable[[], BaseException | None]]:
    """Ask in another thread; gives what waits for the end and returns what was raised."""
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask, client, context, body)
        yield lambda: asked.exception(BOUND_S)


def assert_timeout(error: BaseException | None) -> None:
    assert isinstance(error, DatasourceError)
    assert error.code == "timeout"
    assert "`reader.timeout`" in str(error)


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_never_ends_is_given_up_and_holds_up_no_other(
    drip: Drip, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(ok) as good, dripping(drip) as (address, _):
        client = client_of(f"http://{address}", SHORT)
        with asking(client) as failure:
            assert client.request("GET", good.url, timeout_s=BOUND_S).body == b"{}"
            assert_timeout(failure())
        client.close()
    assert [each for each in caplog.records if each.name.startswith("vmanomaly")] == []


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_never_ends_can_be_cancelled(drip: Drip) -> None:
    with dripping(drip) as (address, is_asked):
        client, context = client_of(f"http://{address}", LONG), RunContext()
        with asking(client, context) as failure:
            assert is_asked.wait(BOUND_S)
            context.cancel()
            assert isinstance(failure(), CancelledError)
        client.close()


@pytest.mark.parametrize("drip", TLS_DRIPS.values(), ids=TLS_DRIPS)
@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_handshake_that_never_ends(drip: Drip, is_cancelled: bool) -> None:
    with dripping(drip) as (address, is_asked):
        client = client_of(f"https://{address}", LONG if is_cancelled else SHORT)
        context = RunContext()
        with asking(client, context) as failure:
            if is_cancelled:
                assert is_asked.wait(BOUND_S)
                context.cancel()
                assert isinstance(failure(), CancelledError)
            else:
                assert_timeout(failure())


@pytest.mark.parametrize("name", ["status line", "body until the end", "empty blocks of gzip"])
@pytest.mark.parametrize("is_cancelled", [True, False])
def test_an_answer_through_tls_that_never_ends(name: str, is_cancelled: bool) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server)
    with dripping(DRIPS[name], context=server) as (address, is_asked):
        timeout = LONG if is_cancelled else Duration(1000)
        client, context = client_of(f"https://{address}", timeout, verify_tls=False), RunContext()
        with asking(client, context) as failure:
            if is_cancelled:
                assert is_asked.wait(BOUND_S)
                context.cancel()
                assert isinstance(failure(), CancelledError)
            else:
                assert_timeout(failure())


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_connection_that_is_not_accepted(is_cancelled: bool) -> None:
    with not_accepting() as address:
        client = client_of(f"http://{address}", LONG if is_cancelled else SHORT)
        context = RunContext()
        with asking(client, context) as failure:
            if is_cancelled:
                context.cancel()
                assert isinstance(failure(), CancelledError)
            else:
                assert_timeout(failure())


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_server_that_does_not_read_the_request(is_cancelled: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = client_of(url, LONG if is_cancelled else SHORT)
        context = RunContext()
        with asking(client, context, body=bytes(64 << 20)) as failure:
            if is_cancelled:
                with listener.accept()[0] as connection:
                    assert connection.recv(1)
                    context.cancel()
                    assert isinstance(failure(), CancelledError)
            else:
                assert_timeout(failure())


def test_redirects_share_the_deadline() -> None:
    def respond(handler: Handler, _asked: Asked) -> None:
        handler.released.wait(0.2)
        handler.reply(307, Location="/x")

    with serve(respond) as server:
        client = client_of(server.url, SHORT)
        with asking(client) as failure:
            assert_timeout(failure())
    assert len(server.requests) <= 3


@pytest.mark.parametrize(
    "rest", [Drip(b"no", b""), Drip(b"", b""), DRIPS["file name in gzip"]], ids=str
)
def test_the_status_of_an_error_whose_body_never_ends(rest: Drip) -> None:
    head = b"HTTP/1.1 500 No\r\nContent-Length: 1000000\r\nContent-Encoding: "
    encoding = b"gzip" if rest.again else b"identity"
    body = rest.at_once.partition(b"\r\n\r\n")[2] or rest.at_once
    drip = Drip(head + encoding + b"\r\n\r\n" + body, rest.again)
    with dripping(drip) as (address, _):
        client = client_of(f"http://{address}", Duration(2000))
        with asking(client) as failure:
            error = failure()
    assert isinstance(error, StatusError)
    assert error.status == 500


def test_the_deadline_of_the_work_is_not_blamed_on_the_key() -> None:
    with dripping(DRIPS["body"]) as (address, _):
        client = client_of(f"http://{address}", LONG)
        with asking(client, RunContext().child(0.3)) as failure:
            assert isinstance(failure(), DeadlineExceededError)
        with pytest.raises(DeadlineExceededError):
            ask(client, RunContext().child(0))


def test_work_that_is_cancelled_asks_nothing() -> None:
    context = RunContext()
    context.cancel()
    with serve(ok) as server, pytest.raises(CancelledError):
        ask(client_of(server.url, LONG), context)
    assert server.requests == []


def test_a_connection_that_was_given_back_is_not_broken_off() -> None:
    first = RunContext()
    ports = []

    def respond(handler: Handler, asked: Asked) -> None:
        ports.append(handler.client_address[1])
        if len(ports) == 2:
            first.cancel()
        handler.reply(body=asked.body)

    with serve(respond) as server:
        client = client_of(server.url, LONG)
        with client.stream("POST", client.url("x"), form=b"1", context=first) as chunks:
            assert b"".join(chunks) == b"1"
            assert ask(client, body=b"2") == b"2"
        assert ask(client, body=b"3") == b"3"
        client.close()
    assert len(set(ports)) == 1


def test_a_cut_in_a_kept_connection_is_of_the_exchange_that_uses_it() -> None:
    hang = threading.Event()

    def respond(handler: Handler, asked: Asked) -> None:
        if asked.body == b"hang":
            hang.set()
            handler.hang()
        handler.reply(body=asked.body)

    with serve(respond) as server:
        client, context = client_of(server.url, LONG), RunContext()
        assert ask(client, RunContext(), b"1") == b"1"
        with asking(client, context, b"hang") as failure:
            assert hang.wait(BOUND_S)
            context.cancel()
            assert isinstance(failure(), CancelledError)
        assert ask(client, RunContext(), b"2") == b"2"
        client.close()


class Resolver:
    """Looks up names only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()
        self._get = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def _look_up(self, host: str, port: int, family: int, kind: int, proto: int, flags: int) -> Any:
        if flags & socket.AI_NUMERICHOST:
            return self._get(host, port, family, kind, proto, flags)
        self.asked.append(host)
        assert self.answers.wait(BOUND_S)
        return self._get("127.0.0.1", port, family, kind, proto, flags)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver(monkeypatch)
    yield resolver
    resolver.answers.set()
    assert eventually(lambda: not look_ups())


def look_ups() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("look up ")]


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_name_that_is_looked_up_without_end(resolver: Resolver, is_cancelled: bool) -> None:
    client = client_of("http://somewhere.example", LONG if is_cancelled else SHORT)
    context = RunContext()
    with serve(ok) as good, asking(client, context) as failure:
        assert eventually(lambda: resolver.asked == ["somewhere.example"])
        numeric = good.url.replace("localhost", "127.0.0.1")
        assert client.request("GET", numeric, timeout_s=BOUND_S).body == b"{}"
        if is_cancelled:
            context.cancel()
            assert isinstance(failure(), CancelledError)
        else:
            assert_timeout(failure())


def test_a_host_is_looked_up_once_for_all_who_wait(resolver: Resolver) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = [threads.submit(look_up, "a.example", 1, RunContext()) for _ in range(8)]
        assert eventually(lambda: bool(resolver.asked))
        resolver.answers.set()
        assert {each.result(BOUND_S)[0][4] for each in found} == {("127.0.0.1", 1)}


def test_look_ups_without_an_answer_are_bounded(resolver: Resolver) -> None:
    for number in range(16):
        with pytest.raises(DeadlineExceededError):
            look_up(f"{number}.example", 1, RunContext().child(0.01))
    with pytest.raises(DatasourceError, match="lookups of other hosts") as caught:
        ask(client_of("http://another.example", LONG))
    assert caught.value.code == "connection_error"
    assert len(look_ups()) == 16
    resolver.answers.set()
    assert eventually(lambda: not look_ups())
    assert look_up("another.example", 1, RunContext())


@pytest.mark.parametrize(("host", "asked_for"), [("127.0.0.1", "identity"), ("127.0.0.2", "gzip")])
def test_gzip_is_asked_for_where_the_server_is_elsewhere(host: str, asked_for: str) -> None:
    content = b"[%s]" % b", ".join([b"1234"] * 100_000)

    def respond(handler: Handler, asked: Asked) -> None:
        if asked.headers["Accept-Encoding"] == "gzip":
            handler.reply(body=gzip.compress(content), Content_Encoding="gzip")
        else:
            handler.reply(body=content)

    # A connection to 127.0.0.2 comes from 127.0.0.1, as if that were another machine.
    with serve(respond, host=host) as server:
        client = client_of(server.url.replace("localhost", host), LONG)
        for _ in range(2):
            assert ask(client) == content
        client.close()
    assert [asked.headers["Accept-Encoding"] for asked in server.requests] == [asked_for] * 2
