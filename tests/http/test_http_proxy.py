"""`proxy_url`: requests pass through a proxy, whose login nobody else gets."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.drips import DRIPS, dripping
from tests.loopback import Asked, Handler, Loopback, serve
from tests.proxies import proxying
from vmanomaly.config.http import HttpSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError, DatasourceError
from vmanomaly.http import HttpClient, StatusError

TIGER = "tiger"
LOGIN = "Basic " + base64.b64encode(b"me:p@ss word").decode()


def client_of(url: str, proxy_url: str, role: str = "reader", **keys: Any) -> HttpClient:
    return HttpClient(HttpSection(datasource_url=url, proxy_url=proxy_url, **keys), role)


def ok(handler: Handler, _asked: Asked) -> None:
    handler.reply(body=b"{}")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A certificate for `localhost`, and the bundle that it is verified with."""
    ca = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(server)
    bundle = tmp_path_factory.mktemp("tls") / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))
    return server, bundle


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serve(ok) as server:
        yield server


def test_a_plain_request_is_forwarded(server: Loopback) -> None:
    with proxying(LOGIN) as proxy:
        client = client_of(
            server.url, f"http://me:p%40ss%20word@{proxy.address}", user="scott", password=TIGER
        )
        for _ in range(2):
            assert client.request("POST", client.url("x"), body=b"b").body == b"{}"
        client.close()
    assert proxy.asked == [("POST", f"{server.url}/x", LOGIN)] * 2
    assert server.requests[0].body == b"b"
    assert server.requests[0].headers["Authorization"].startswith("Basic ")
    assert "Proxy-Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_an_encrypted_request_is_tunnelled(
    tls: tuple[ssl.SSLContext, Path], is_encrypted: bool
) -> None:
    context, bundle = tls
    scheme = "https" if is_encrypted else "http"
    with serve(ok, context) as server, proxying(LOGIN, context if is_encrypted else None) as proxy:
        client = client_of(
            server.url, f"{scheme}://me:p%40ss%20word@{proxy.address}", verify_tls=bundle
        )
        for _ in range(2):
            assert client.request("POST", client.url("x"), body=b"b").body == b"{}"
        client.close()
    # The connection is kept, and only who the request is for can read it.
    assert proxy.asked == [("CONNECT", server.url.removeprefix("https://"), LOGIN)]
    assert server.requests[0].body == b"b"
    assert "Proxy-Authorization" not in server.requests[0].headers


def test_the_environment_names_no_proxy(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://localhost:1")
    client = HttpClient(HttpSection(datasource_url=server.url), "reader")
    assert client.request("GET", client.url("x")).body == b"{}"
    client.close()


def test_redirects_through_a_proxy_keep_credentials_on_the_host(server: Loopback) -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        handler.reply(307, Location="/there" if asked.path == "/here" else f"{server.url}/x")

    with serve(respond) as first, proxying() as proxy:
        client = client_of(first.url, f"http://{proxy.address}", bearer_token=TIGER)
        assert client.request("GET", client.url("here")).body == b"{}"
        client.close()
    assert [asked.headers.get("Authorization") for asked in first.requests] == ["Bearer tiger"] * 2
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refused_login_of_the_proxy(scheme: str, tls: tuple[ssl.SSLContext, Path]) -> None:
    with proxying("another") as proxy:
        client = client_of(
            f"{scheme}://localhost:1", f"http://me:p%40ss%20word@{proxy.address}", "writer"
        )
        with pytest.raises(DatasourceError) as caught:
            client.request("GET", client.url("x"))
        client.close()
    message = str(caught.value)
    assert "407" in message
    assert "credentials: check those in `writer.proxy_url`" in message
    assert f"(through the proxy http://***@{proxy.address})" in message
    for secret in ("p%40ss", "p@ss", LOGIN.split()[1]):
        assert secret not in message


def test_a_refused_login_is_no_fault_of_the_server(server: Loopback) -> None:
    with proxying("another") as proxy:
        client = client_of(server.url, f"http://{proxy.address}", bearer_token=TIGER)
        with pytest.raises(StatusError, match=r"http://user:password@host:port") as caught:
            client.request("GET", client.url("x"))
        assert "reader.bearer_token" not in str(caught.value)
        client.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there(scheme: str) -> None:
    client = client_of(f"{scheme}://vm:8428", "http://me:tiger@localhost:1")
    with pytest.raises(DatasourceError) as caught:
        client.request("GET", client.url("x"))
    message = str(caught.value)
    assert message.startswith(f"{scheme}://vm:8428/x (through the proxy http://***@localhost:1): ")
    assert message.endswith("Is `reader.proxy_url` right?")
    assert "Connection refused" in message
    assert "tiger" not in message
    assert caught.value.code == "connection_error"
    client.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_proxy_that_never_answers(scheme: str, is_cancelled: bool) -> None:
    with dripping(DRIPS["status line"]) as (address, is_asked):
        client = client_of(
            f"{scheme}://vm:8428",
            f"http://{address}",
            timeout=Duration(600_000 if is_cancelled else 3000),
        )
        context = RunContext()
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(client.request, "GET", client.url("x"), context=context)
            assert is_asked.wait(60)
            if is_cancelled:
                context.cancel()
            error = asked.exception(60)
        client.close()
    if is_cancelled:
        assert isinstance(error, CancelledError)
    else:
        assert isinstance(error, DatasourceError)
        assert error.code == "timeout"
