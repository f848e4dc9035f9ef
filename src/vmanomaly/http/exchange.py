"""Requests that can be interrupted at any point: connections whose sockets are watched."""

from __future__ import annotations

import contextlib
import http
import http.client
import logging
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)

from vmanomaly.context import RunContext
from vmanomaly.http.guard import Guard
from vmanomaly.http.names import look_up

# It warns of malformed headers with a trace and the whole URL, secrets included.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

_POOLS = 4
# urllib3 takes no timeout of 0.
_SHORTEST_S = 0.001
_CONNECTIONS_KEPT = 64


class Exchange:
    """A request and its answer, redirects included, from the first DNS lookup to the last byte.

    Timeouts of sockets limit the wait for the next bytes only, however few these are. So an
    exchange is interrupted from outside: its socket is shut down, and whoever sends or receives
    finds the connection closed.

    Parameters
    ----------
    url
        What is asked, as messages name it.
    context
        Says when to break off.
    guard
        Says which addresses may be connected to; None allows all.

    Attributes
    ----------
    urls : list of str
        What is asked, and where redirects have led since.
    """

    def __init__(self, url: str, context: RunContext, guard: Guard | None = None) -> None:
        self.urls = [url]
        self.context = context
        self.guard = guard
        self._lock = threading.Lock()
        # A duplicate: the original may be closed, and its number be reused for an unrelated file.
        self._descriptor: int | None = None

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Interrupt what happens in the block, in any thread, when the context says so."""
        try:
            with self.context.calling_when_over(self._break_off):
                yield
        finally:
            self.unwatch()

    def send(
        self, pools: urllib3.PoolManager, method: str, url: str, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """Send a request of this exchange, and return the answer as soon as it begins.

        Parameters
        ----------
        pools
            Made by `create_pools`.
        method, url, options
            As for `PoolManager.request`. Nothing is sent twice, nor where a redirect leads.
        """
        timeout = urllib3.Timeout(total=max(self.context.remaining_s or 0.0, _SHORTEST_S))
        _of_thread.exchange = self
        try:
            return pools.request(
                method,
                url,
                preload_content=False,
                timeout=timeout,
                redirect=False,
                retries=False,
                **options,
            )
        finally:
            _of_thread.exchange = None

    def watch(self, sock: socket.socket) -> None:
        """Note that `sock` is used now, and no other one.

        Raises
        ------
        CancelledError, DeadlineExceededError
            It is too late.
        """
        self._replace(os.dup(sock.fileno()))
        self.context.check()

    def unwatch(self) -> None:
        """Note that no socket is used now."""
        self._replace(None)

    def _replace(self, descriptor: int | None) -> None:
        with self._lock:
            before, self._descriptor = self._descriptor, descriptor
        if before is not None:
            os.close(before)

    def _break_off(self) -> None:
        with self._lock:
            if self._descriptor is None:
                return
            sock = socket.socket(fileno=self._descriptor)
            # It may be closed by the other side.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.detach()


class _OfThread(threading.local):
    exchange: Exchange | None = None


_of_thread = _OfThread()


def create_pools(
    context: ssl.SSLContext,
    proxy_url: str | None = None,
    proxy_headers: Mapping[str, str] | None = None,
) -> urllib3.PoolManager:
    """Return pools of kept connections, to be used by `Exchange.send`.

    Parameters
    ----------
    context
        How connections are encrypted, those to the proxy too.
    proxy_url
        The proxy between; None for none. Variables of the environment say nothing about it.
    proxy_headers
        What the proxy is sent, and nobody else.
    """
    if proxy_url is None:
        pools = urllib3.PoolManager(_POOLS, maxsize=_CONNECTIONS_KEPT, ssl_context=context)
    else:
        pools = urllib3.ProxyManager(
            proxy_url,
            _POOLS,
            proxy_headers=proxy_headers,
            proxy_ssl_context=context,
            maxsize=_CONNECTIONS_KEPT,
            ssl_context=context,
        )
    pools.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pools


class _FinalResponse(http.client.HTTPResponse):
    """An answer, without those before it that only inform (103 Early Hints).

    `http.client` skips only status 100. It also leaves an answer open when the connection is lost
    before its first line.
    """

    def begin(self) -> None:
        try:
            super().begin()
        except BaseException:
            self.close()
            raise

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 < status < 200 or status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _Watched:
    """What connections of both schemes add to those of urllib3."""

    exchange: Exchange | None = None
    response_class: Any = _FinalResponse

    def _new_conn(self: Any) -> socket.socket:
        return _connect(self)

    def request(self: Any, *arguments: Any, **options: Any) -> None:
        _watch_kept(self)
        if self.sock is None:
            self.connect()
        if not _is_on_this_machine(self):
            options["headers"] = {**(options.get("headers") or {}), "Accept-Encoding": "gzip"}
        super().request(*arguments, **options)  # type: ignore[misc]


class _HttpConnection(_Watched, HTTPConnection):
    pass


class _HttpsConnection(_Watched, HTTPSConnection):
    pass


class _Releasing:
    """What pools of both schemes add to those of urllib3."""

    def _put_conn(self, conn: Any) -> None:
        _release(conn)
        super()._put_conn(conn)  # type: ignore[misc]


class _HttpPool(_Releasing, HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(_Releasing, HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


def _connect(connection: Any) -> socket.socket:
    """Return a new socket, connected to the host of a connection, that is watched already."""
    exchange = _of_thread.exchange
    assert exchange is not None, "connections are used by `Exchange.send`"  # noqa: S101
    connection.exchange = exchange
    host = connection._dns_host.strip("[]")
    try:
        host.encode("idna")
    except UnicodeError:
        raise LocationParseError(f"'{host}', label empty or too long") from None
    try:
        addresses = look_up(host, connection.port, exchange.context)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    failure = OSError("the host has no address")
    for family, kind, protocol, _, address in addresses:
        if exchange.guard is not None:
            exchange.guard.check(address[0], address[1])
        try:
            return _connect_to(family, kind, protocol, address, connection, exchange)
        except OSError as error:
            exchange.context.check()
            failure = error
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(connection, f"Connection to {connection.host} timed out")
    raise NewConnectionError(
        connection, f"Failed to establish a new connection: {failure}"
    ) from failure


def _connect_to(
    family: int,
    kind: int,
    protocol: int,
    address: Any,
    connection: Any,
    exchange: Exchange,
) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        for option in connection.socket_options or ():
            sock.setsockopt(*option)
        sock.settimeout(exchange.context.remaining_s)
        exchange.watch(sock)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_on_this_machine(connection: Any) -> bool:
    """Return whether bytes cost nothing on the way, so that it does not pay to compress them."""
    if connection.proxy is not None:
        return False
    own, peer = connection.sock.getsockname(), connection.sock.getpeername()
    return bool(own[0] == peer[0])


def _watch_kept(connection: Any) -> None:
    """Watch the socket of a connection that was kept from another exchange."""
    exchange = _of_thread.exchange
    if exchange is not None and connection.exchange is not exchange and connection.sock:
        connection.exchange = exchange
        exchange.watch(connection.sock)


def _release(connection: Any) -> None:
    """Watch no longer what goes back to its pool: from there another exchange may take it."""
    if connection is not None and connection.exchange is not None:
        connection.exchange.unwatch()
        connection.exchange = None
