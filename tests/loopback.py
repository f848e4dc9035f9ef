"""A scripted HTTP server on loopback."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias
from urllib.parse import parse_qs


@dataclass
class Asked:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode(), strict_parsing=True)


class Handler(BaseHTTPRequestHandler):
    """Lets a function answer, by `reply` or byte by byte."""

    protocol_version = "HTTP/1.1"
    # Head and body are two packets; the second must not wait for the first to be acknowledged.
    disable_nagle_algorithm = True
    respond: Responder
    requests: list[Asked]
    released: threading.Event

    def reply(
        self, status: int = 200, body: bytes = b"", *, mime: str = "application/json", **more: str
    ) -> None:
        headers = {"Content-Type": mime, "Content-Length": str(len(body))}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def reply_in_chunks(self, chunks: list[bytes], *, end: bool = True) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if end:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def hang(self) -> None:
        """Keep the client waiting until the server is stopped."""
        self.wfile.flush()
        self.released.wait()
        self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, self.path, dict(self.headers), body)
        self.requests.append(asked)
        type(self).respond(self, asked)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


Responder: TypeAlias = Callable[[Handler, Asked], None]


@dataclass
class Loopback:
    """A running server."""

    url: str
    requests: list[Asked] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that break off and failing handshakes are part of the tests."""


@contextmanager
def serve(
    respond: Responder, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Loopback]:
    """Start a server that answers with `respond`; stop it at the end."""
    requests: list[Asked] = []
    released = threading.Event()
    members = {"respond": staticmethod(respond), "requests": requests, "released": released}
    handler = type("ScriptedHandler", (Handler,), members)
    with _Server((host, 0), handler) as server:
        scheme = "http"
        if context is not None:
            scheme = "https"
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Loopback(f"{scheme}://localhost:{server.server_address[1]}", requests)
        finally:
            released.set()
            server.shutdown()
            thread.join()
