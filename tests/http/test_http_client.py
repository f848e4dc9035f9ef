from __future__ import annotations

import base64
import gzip
import json
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tests.loopback import Asked, Handler, serve
from vmanomaly.config.http import HttpSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.errors import DatasourceError, TooLargeError
from vmanomaly.http import HttpClient, StatusError, redact_url
from vmanomaly.http.answers import seconds_to_wait

TIGER = "tiger"


def client_of(url: str, role: str = "reader", **keys: Any) -> HttpClient:
    return HttpClient(HttpSection(datasource_url=url, **keys), role)


def replace(path: Path, content: bytes) -> None:
    """Replace a file the way secrets are rotated: by renaming a new one over it."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    os.replace(fresh, path)


def ok(handler: Handler, _asked: Asked) -> None:
    handler.reply(body=b"{}")


@pytest.mark.parametrize(
    ("base", "role", "tenant", "url"),
    [
        ("http://vm:8428", "reader", None, "http://vm:8428/api/v1/x"),
        ("http://vm:8428/", "reader", None, "http://vm:8428/api/v1/x"),
        ("http://vm/pre/fix/", "writer", None, "http://vm/pre/fix/api/v1/x"),
        ("http://vm", "reader", "1:2", "http://vm/select/1:2/prometheus/api/v1/x"),
        ("http://vm/p", "writer", "7", "http://vm/p/insert/7/prometheus/api/v1/x"),
        (
            "http://vm",
            "monitoring.push",
            "multitenant",
            "http://vm/insert/multitenant/prometheus/api/v1/x",
        ),
        (
            "http://vm/select/0/prometheus",
            "reader",
            "1",
            "http://vm/select/0/prometheus/api/v1/x",
        ),
        ("http://u:p@vm?a=b", "reader", None, "http://vm/api/v1/x?a=b"),
    ],
)
def test_urls(base: str, role: str, tenant: str | None, url: str) -> None:
    client = client_of(base, role)
    assert client.url("/api/v1/x", tenant) == url
    assert client.url("api/v1/x", tenant) == url


def test_the_servers_own_root() -> None:
    client = client_of("http://vm/p/select/0/prometheus")
    assert client.server_url("flags") == "http://vm/p/flags"
    assert client_of("http://vm").server_url("flags") == "http://vm/flags"


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("http://vm:8428/x", "http://vm:8428/x"),
        ("http://u:p@vm/x", "http://***@vm/x"),
        ("http://vm/x?access_token=1&Signature=2&q=a%20b", None),
    ],
)
def test_redaction(url: str, redacted: str | None) -> None:
    expected = redacted or "http://vm/x?access_token=***&Signature=***&q=a+b"
    assert redact_url(url) == expected


def test_one_connection_serves_many_requests() -> None:
    ports = []

    def respond(handler: Handler, _asked: Asked) -> None:
        ports.append(handler.client_address[1])
        handler.reply(body=b"{}")

    with serve(respond) as server:
        client = client_of(server.url)
        for _ in range(3):
            assert client.request("POST", client.url("x"), body=b"hello").body == b"{}"
        client.close()
    assert len(set(ports)) == 1
    assert server.requests[0].body == b"hello"
    assert server.requests[0].headers["User-Agent"].startswith("vmanomaly/")


def test_credentials(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    password = tmp_path / "password"
    password.write_text("pä:ss\n")
    with serve(ok) as server:

        def sent(url: str = server.url, **keys: Any) -> str | None:
            client = client_of(url, **keys)
            client.request("GET", client.url("x"))
            client.close()
            return server.requests[-1].headers.get("Authorization")

        def basic(text: str) -> str:
            return "Basic " + base64.b64encode(text.encode()).decode()

        assert sent() is None
        assert sent(user="scott", password=TIGER) == basic(f"scott:{TIGER}")
        assert sent(user="scott", password_file=password) == basic("scott:pä:ss")
        assert sent(bearer_token=TIGER) == f"Bearer {TIGER}"
        assert sent(server.url.replace("//", "//us%40r:p%3A@")) == basic("us@r:p:")
        sent(headers={"X-Scope": "team"})
        assert server.requests[-1].headers["X-Scope"] == "team"

        client = client_of(server.url, bearer_token_file=token)
        client.request("GET", client.url("x"))
        assert server.requests[-1].headers["Authorization"] == "Bearer first"
        replace(token, b"second")
        client.request("GET", client.url("x"))
        assert server.requests[-1].headers["Authorization"] == "Bearer second"
        replace(token, b"\n")
        with pytest.raises(DatasourceError, match=r"`reader.bearer_token_file` .* is empty"):
            client.request("GET", client.url("x"))
        replace(token, b"a\nb")
        with pytest.raises(DatasourceError, match="header Authorization"):
            client.request("GET", client.url("x"))
        token.unlink()
        with pytest.raises(DatasourceError, match=r"Cannot read `reader.bearer_token_file`"):
            client.request("GET", client.url("x"))
        client.close()


def test_redirects_keep_credentials_on_the_host() -> None:
    with serve(ok) as other:

        def respond(handler: Handler, asked: Asked) -> None:
            if asked.path == "/here":
                handler.reply(307, Location="/x")
            elif asked.path == "/away":
                handler.reply(307, Location=f"{other.url}/x")
            elif asked.path == "/loop":
                handler.reply(302, Location="/loop")
            else:
                handler.reply(body=b"{}")

        with serve(respond) as server:
            client = client_of(server.url, user="scott", password=TIGER, headers={"X-Key": "k"})
            client.request("POST", client.url("here"), body=b"b")
            assert {"Authorization", "X-Key"} <= set(server.requests[-1].headers)
            assert server.requests[-1].body == b"b"
            client.request("POST", client.url("away"), body=b"b")
            assert not {"Authorization", "X-Key"} & set(other.requests[-1].headers)
            with pytest.raises(DatasourceError, match="redirects more than 5 times"):
                client.request("GET", client.url("loop"))
            client.request("GET", f"{other.url}/absolute")
            assert "Authorization" not in other.requests[-1].headers
            client.close()


def test_a_message_names_where_a_redirect_has_led() -> None:
    def log_in(handler: Handler, asked: Asked) -> None:
        if asked.path.startswith("/login"):
            page = b"<html><title>Log in</title></html>"
            handler.reply(200, page, mime="text/html")
        else:
            handler.reply(401, b"who are you?", mime="text/plain")

    with serve(log_in) as other:

        def respond(handler: Handler, asked: Asked) -> None:
            there = "http://localhost:1" if asked.path.startswith("/gone") else other.url
            handler.reply(302, Location=f"{there}{asked.path.partition('?')[0]}?token=tuna")

        with serve(respond) as server:
            client = client_of(server.url, user="scott", password=TIGER)

            def route(path: str, there: str = other.url) -> str:
                return f"{server.url}/{path} (redirected to {there}/{path})"

            remedy = (
                f"Credentials are not sent to another host. If {other.url[7:]} is the right one, "
                "write its address into `reader.datasource_url`"
            )
            with pytest.raises(StatusError) as denied:
                client.request("GET", client.url("x"))
            assert str(denied.value).startswith(f"{route('x')} answered 401 Unauthorized: ")
            assert remedy in str(denied.value)
            with (
                pytest.raises(DatasourceError) as page,
                client.stream("POST", client.url("login"), form=b"query=1"),
            ):
                pass
            assert str(page.value).startswith(f"{route('login')} answered with HTML (“Log in”)")
            assert remedy in str(page.value)
            with pytest.raises(DatasourceError, match="Connection refused") as gone:
                client.request("GET", client.url("gone"))
            assert str(gone.value).startswith(f"{route('gone', 'http://localhost:1')}: ")
            client.close()


def test_a_redirect_that_says_see_other_is_followed_by_get() -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        if asked.method == "POST":
            handler.reply(303, Location="/there")
        else:
            handler.reply(body=b"{}")

    with serve(respond) as server:
        client = client_of(server.url, bearer_token=TIGER)
        with client.stream("POST", client.url("x"), form=b"query=1") as chunks:
            assert b"".join(chunks) == b"{}"
        client.close()
    last = server.requests[-1]
    assert (last.method, last.path, last.body) == ("GET", "/there", b"")
    assert "Content-Type" not in last.headers
    assert last.headers["Authorization"] == f"Bearer {TIGER}"


def test_a_form_is_sent_in_the_address_by_get() -> None:
    with serve(ok) as server:
        client = client_of(f"{server.url}/?authKey=tuna")
        with client.stream("GET", client.url("x"), form=b"query=up%7B%7D&step=60") as chunks:
            assert b"".join(chunks) == b"{}"
        client.close()
    (asked,) = server.requests
    assert (asked.method, asked.body) == ("GET", b"")
    assert asked.path == "/x?authKey=tuna&query=up%7B%7D&step=60"
    assert "Content-Type" not in asked.headers


@pytest.mark.parametrize(
    ("status", "body", "mime", "words"),
    [
        (
            422,
            b'{"status":"error","errorType":"422","error":"cannot parse"}',
            "application/json",
            f"answered 422 {HTTPStatus(422).phrase}: cannot parse",
        ),
        (400, b"plain\n words", "text/plain", "answered 400 Bad Request: plain words"),
        (502, b"<html><title>Bad\nGateway</title>", "text/html", "HTML (“Bad Gateway”)"),
        (502, b'<HTML><TITLE lang="en">Oops</TITLE>', "text/html", "HTML (“Oops”)"),
        (502, b"<title" * 100_000, "text/html", "HTML"),
        (502, b"<title>" * 100_000, "text/html", "HTML"),
        (502, b" " * 5000 + b"<title>far away</title>", "text/html", "HTML"),
        (500, b"", "text/plain", "answered 500 Internal Server Error"),
        (401, b"no", "text/plain", "set `reader.user` and `reader.password`"),
        (404, b"no", "text/plain", "Is `reader.datasource_url` right?"),
        (413, b"no", "text/plain", "nginx: client_max_body_size"),
        (
            400,
            b'unsupported path requested: "/select/1/prometheus/api/v1/x"',
            "text/plain",
            "Is `reader.tenant_id` right, and `reader.datasource_url`?",
        ),
        (
            400,
            b'cannot determine targetURL: missing route for "/select/1/prometheus/api/v1/x"',
            "text/plain",
            "Is `reader.tenant_id` right, and `reader.datasource_url`?",
        ),
        (304, b"", "text/plain", "answered 304"),
        (422, b"query " + 1000 * b"x" + b": too long", "text/plain", "xx … xx"),
        (422, b"query " + 1000 * b"x" + b": too long", "text/plain", "xx: too long"),
    ],
)
def test_error_statuses(status: int, body: bytes, mime: str, words: str) -> None:
    with serve(
        lambda handler, _: handler.reply(status, body, mime=mime, Retry_After="7")
    ) as server:
        client = client_of(server.url)
        with pytest.raises(StatusError) as caught:
            client.request("GET", client.url("x"))
        client.close()
    assert words in str(caught.value)
    assert caught.value.code == str(status)
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        (lambda: "7", 7, 7),
        (lambda: formatdate(time.time() + 10_000, usegmt=True), 9_000, 10_000),
        (lambda: "Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        (lambda: "later", None, None),
        (lambda: "-1", None, None),
        (lambda: "²", None, None),
        (lambda: "9999999", 86_400, 86_400),
        (lambda: "9" * 5000, 86_400, 86_400),
        (lambda: "Wed, 21 Oct 9999999 07:28:00 GMT", None, None),
        (lambda: "Wed, 21 Oct 2015 07:28:00 +99999999999999999999", None, None),
    ],
)
def test_how_long_a_server_asks_to_wait(
    header: Callable[[], str], least: float | None, most: float | None
) -> None:
    with serve(lambda handler, _: handler.reply(503, Retry_After=header())) as server:
        client = client_of(server.url)
        with pytest.raises(StatusError) as caught:
            client.request("GET", client.url("x"))
        client.close()
    found = caught.value.retry_after
    if least is None or most is None:
        assert found is None
    else:
        assert found is not None
        assert least <= found <= most


@pytest.mark.parametrize(
    ("keys", "remedy"),
    [
        ({"user": "scott", "password": TIGER}, "Check `writer.user` and `writer.password`"),
        ({"user": "scott"}, "Check `writer.user` and `writer.password`"),
        ({"user": "scott", "password_file": "f"}, "`writer.user` and `writer.password_file`"),
        ({"bearer_token": TIGER}, "Check `writer.bearer_token`"),
        ({"bearer_token_file": "f"}, "Check the token in `writer.bearer_token_file`"),
        ({}, "If the server requires credentials, set `writer.user`"),
    ],
)
def test_a_refused_login(tmp_path: Path, keys: dict[str, Any], remedy: str) -> None:
    (tmp_path / "f").write_text(TIGER)
    keys = {name: tmp_path / "f" if value == "f" else value for name, value in keys.items()}
    with serve(lambda handler, _: handler.reply(403, b"no")) as server:
        client = client_of(server.url, "writer", **keys)
        with pytest.raises(StatusError) as caught:
            client.request("GET", client.url("x"))
        client.close()
    assert remedy in str(caught.value)
    assert caught.value.denied


def test_a_refused_login_in_the_url() -> None:
    with serve(lambda handler, _: handler.reply(403, b"no")) as server:
        client = client_of(server.url.replace("//", f"//scott:{TIGER}@"))
        with pytest.raises(StatusError, match=r"the credentials in `reader.datasource_url`"):
            client.request("GET", client.url("x"))
        client.close()


@pytest.mark.parametrize(
    "keys",
    [
        {"bearer_token": TIGER * 2},
        {"user": "scott", "password": TIGER},
        {"bearer_token": "a", "headers": {"X-Key": "0123456789"}},
    ],
)
def test_credentials_that_the_server_repeats(keys: dict[str, Any]) -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        login, key = asked.headers["Authorization"], asked.headers.get("X-Key")
        words = f"no auth token '{login}'; {login.split()[-1]}; key {key}; URI {asked.path}"
        handler.reply(400, words.encode() if asked.path.startswith("/login") else b"cannot parse")

    with serve(respond) as server:
        client = client_of(f"{server.url}/?authKey=tuna&a=b", "writer", **keys)
        with pytest.raises(StatusError, match=r"no auth token '\*\*\*'; .*key.*Check") as caught:
            client.request("GET", client.url("login"))
        assert caught.value.denied
        login = server.requests[-1].headers["Authorization"]
        for secret in ("tuna", TIGER, login, "0123456789"):
            assert secret not in str(caught.value)
            assert secret not in caught.value.words
        with pytest.raises(StatusError, match=r"cannot parse$") as caught:
            client.request("GET", client.url("x"))
        assert not caught.value.denied
        client.close()


def test_malformed_headers_put_no_secret_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def respond(handler: Handler, _asked: Asked) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nmalformed\r\n\r\n")
        handler.close_connection = True

    with serve(respond) as server:
        client = client_of(f"{server.url}/?authKey=tuna")
        client.request("GET", client.url("x"))
        client.close()
    assert "tuna" in server.requests[0].path
    assert "tuna" not in caplog.text


def test_html_where_json_was_expected() -> None:
    page = b"<html><title>Log in</title></html>"
    with serve(lambda handler, _: handler.reply(200, page, mime="text/html; charset=x")) as server:
        client = client_of(server.url)
        with (
            pytest.raises(DatasourceError, match=r"HTML \(“Log in”\).*datasource_url") as caught,
            client.stream("GET", client.url("x"), form=b""),
        ):
            pass
        client.close()
    assert caught.value.code == "io_error"


def test_gzip_and_chunks() -> None:
    content = json.dumps(list(range(10_000))).encode()

    def respond(handler: Handler, asked: Asked) -> None:
        if asked.path == "/gzip":
            handler.reply(200, gzip.compress(content), Content_Encoding="gzip")
        else:
            handler.reply_in_chunks([content[i : i + 777] for i in range(0, len(content), 777)])

    with serve(respond) as server:
        client = client_of(server.url)
        for path in ("gzip", "chunks"):
            with client.stream("GET", client.url(path), form=b"") as chunks:
                assert b"".join(chunks) == content
        client.close()


def test_broken_answers() -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        handler.close_connection = True
        if asked.path == "/length":
            handler.reply(200, b"{}", Content_Length="100")
        elif asked.path == "/chunk":
            handler.reply_in_chunks([b"{}"], end=False)
        elif asked.path == "/gzip":
            handler.reply(200, b"not gzip", Content_Encoding="gzip")
        elif asked.path == "/reset":
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.connection.close()

    with serve(respond) as server:
        client = client_of(server.url)
        for path, (code, said) in {
            "length": ("io_error", "the response broke off after 2 of 100 bytes. The log of"),
            "chunk": ("io_error", "the response broke off. The log of"),
            "gzip": ("io_error", "the response cannot be decompressed: "),
            "hang-up": ("connection_error", ": Remote end closed connection without response. "),
            "reset": ("connection_error", ": Connection reset by peer. The log of the server, or"),
        }.items():
            with pytest.raises(DatasourceError) as caught:
                client.request("GET", client.url(path))
            assert caught.value.code == code, path
            assert server.url in str(caught.value)
            assert said in str(caught.value)
            assert "IncompleteRead" not in str(caught.value)
        client.close()


def test_time_outs() -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        if asked.path == "/body":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            handler.wfile.write(b"{")
        handler.hang()

    with serve(respond) as server:
        client = client_of(server.url, timeout=Duration(50))
        for path in ("head", "body"):
            with pytest.raises(DatasourceError, match=r"`reader.timeout`") as caught:
                client.request("GET", client.url(path))
            assert caught.value.code == "timeout"
        client.close()


def test_no_server() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client = client_of(f"http://scott:{TIGER}@127.0.0.1:{port}")
    with pytest.raises(DatasourceError, match="refused") as caught:
        client.check_health()
    assert caught.value.code == "connection_error"
    assert TIGER not in str(caught.value)
    with pytest.raises(DatasourceError) as caught:
        client_of("http://does-not-exist.invalid").check_health()
    assert caught.value.code == "connection_error"


def test_health_is_any_answer() -> None:
    with serve(lambda handler, _: handler.reply(404)) as server:
        for path, asked in {
            "health": "/p/health",
            "/-/healthy": "/p/-/healthy",
            f"{server.url}/x": "/x",
        }.items():
            client = client_of(f"{server.url}/p", health_path=path)
            client.check_health()
            client.close()
            assert server.requests[-1].path == asked


def test_large_answers_are_refused() -> None:
    bodies = {"/small": b" " * (1 << 20), "/large": b" " * ((1 << 20) + 1)}

    def respond(handler: Handler, asked: Asked) -> None:
        body = gzip.compress(bodies[asked.path])
        handler.reply(200, body, Content_Encoding="gzip")

    with serve(respond) as server:
        client = client_of(server.url, health_path="large")
        assert client.request("GET", client.url("small")).body == bodies["/small"]
        with pytest.raises(TooLargeError, match="more than 1 MiB") as caught:
            client.request("GET", client.url("large"))
        assert client.request("GET", client.url("large"), max_bytes=2 << 20).body
        client.check_health()
        client.close()
    assert not caught.value.out_of_reach


def test_pieces_of_an_answer_are_small_however_well_it_is_compressed() -> None:
    body = gzip.compress(gzip.compress(bytes(64 << 20)))

    def respond(handler: Handler, _: Asked) -> None:
        handler.reply(200, body, Content_Encoding="gzip, gzip")

    with serve(respond) as server:
        client = client_of(server.url)
        with client.stream("GET", client.url("x"), form=b"") as chunks:
            sizes = [len(chunk) for chunk in chunks]
        client.close()
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 1 << 20


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def test_tls(authority: trustme.CA, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    with serve(ok, server_context(authority, "localhost")) as server:
        client = client_of(server.url)
        with pytest.raises(DatasourceError, match=r"`reader.verify_tls`") as caught:
            client.check_health()
        assert caught.value.code == "ssl_error"
        for verify_tls in (bundle, False):
            client = client_of(server.url, verify_tls=verify_tls)
            client.check_health()
            client.close()
        with pytest.raises(DatasourceError) as caught:
            client_of(server.url.replace("https", "http")).check_health()
    with serve(ok, server_context(authority, "other.example")) as server:
        client = client_of(server.url, "writer", verify_tls=bundle)
        with pytest.raises(DatasourceError, match=r"into `writer.datasource_url`") as caught:
            client.check_health()
        assert caught.value.code == "ssl_error"
    with serve(ok) as server:
        client = client_of(server.url.replace("http", "https"))
        with pytest.raises(DatasourceError, match="need http://") as caught:
            client.check_health()
        assert caught.value.code == "ssl_error"


def test_mutual_tls(authority: trustme.CA, tmp_path: Path) -> None:
    bundle, certificate, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(bundle)
    context = server_context(authority, "localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    subjects = []

    def respond(handler: Handler, _asked: Asked) -> None:
        assert isinstance(handler.connection, ssl.SSLSocket)
        subjects.append(json.dumps(handler.connection.getpeercert()))
        handler.reply(body=b"{}")

    def issue(name: str) -> tuple[bytes, bytes]:
        issued = authority.issue_cert(name)
        return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()

    with serve(respond, context) as server:
        client = client_of(server.url, verify_tls=bundle)
        with pytest.raises(DatasourceError) as caught:
            client.check_health()
        assert caught.value.code in {"ssl_error", "connection_error"}
        client.close()

        for path, content in zip((certificate, key), issue("first.example"), strict=True):
            path.write_bytes(content)
        client = client_of(
            server.url, verify_tls=bundle, tls_cert_file=certificate, tls_key_file=key
        )
        client.check_health()
        assert "first.example" in subjects[-1]
        new_certificate, new_key = issue("second.example")
        replace(certificate, new_certificate)
        client.check_health()
        assert "first.example" in subjects[-1], "the key is still the old one"
        replace(key, new_key)
        client.check_health()
        assert "second.example" in subjects[-1]
        client.close()

        replace(key, b"garbage")
        client = client_of(
            server.url, verify_tls=bundle, tls_cert_file=certificate, tls_key_file=key
        )
        with pytest.raises(DatasourceError, match=r"Cannot use .*`reader.tls_key_file`") as caught:
            client.check_health()
        assert caught.value.code == "ssl_error"


@given(
    st.text()
    | st.from_regex(
        r"\A[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,9} [0-9:]{1,9}( [+-]?[0-9A-Z]{1,22})?\Z"
    )
)
def test_no_wait_is_longer_than_a_day(header: str) -> None:
    found = seconds_to_wait(header)
    assert found is None or 0 <= found <= 86_400


def test_a_redirect_to_no_address_is_an_error() -> None:
    with serve(lambda handler, _: handler.reply(302, Location="http://[::1")) as server:
        client = client_of(server.url)
        with pytest.raises(DatasourceError, match="redirects to one that is not"):
            client.request("GET", client.url("x"))
        client.close()


def test_early_hints_are_not_the_answer() -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2)
        handler.reply(body=asked.path.encode())

    with serve(respond) as server:
        client = client_of(server.url)
        for path in ("/a", "/b"):
            assert client.request("GET", client.url(path)).body == path.encode()
        client.close()
