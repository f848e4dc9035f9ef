"""An HTTP proxy on loopback that forwards and tunnels, and notes what it is asked."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

import urllib3


@dataclass
class Proxy:
    """A running proxy.

    Attributes
    ----------
    address
        Host and port.
    asked
        Method, target and the proxy's own credentials of each request, in order.
    """

    address: str
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    login: str | None

    def _is_let_in(self) -> bool:
        given = self.headers.get("Proxy-Authorization")
        self.proxy.asked.append((self.command, self.path, given))
        if self.login is None or given == self.login:
            return True
        body = f"who is {given}?".encode()
        self.send_response(407)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._is_let_in():
            return
        assert urlsplit(self.path).netloc, "a forwarding proxy is told the whole address"
        headers = {k: v for k, v in self.headers.items() if k != "Proxy-Authorization"}
        with urllib3.PoolManager() as pools:
            answer = pools.request(
                self.command, self.path, body=body, headers=headers, redirect=False
            )
        self.send_response(answer.status)
        for name in ("Content-Type", "Location"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(answer.data)))
        self.end_headers()
        self.wfile.write(answer.data)

    do_GET = do_POST  # noqa: N815

    def do_CONNECT(self) -> None:
        if not self._is_let_in():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as target:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_copy, args=(target, self.connection))
            back.start()
            _copy(self.connection, target)
            back.join()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that break off are part of the tests."""


@contextmanager
def proxying(login: str | None = None, context: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """Start a proxy that lets in whoever gives this login; stop it at the end."""
    proxy = Proxy("")
    handler = type("ProxyHandler", (_Handler,), {"proxy": proxy, "login": login})
    with _Server(("127.0.0.1", 0), handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        proxy.address = f"localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
