"""The HTTP client that reader, writer and monitoring share: pool, TLS, credentials, errors.

Every failure is raised as a `DatasourceError` whose message names the URL without credentials,
what happened in the server's own words, and the configuration key that remedies it. Requests are
never repeated here: whoever sends one knows whether it may be sent twice.

One deadline covers a whole exchange: looking up the name, connecting, TLS, redirects, status,
headers, body, trailers. A server that drips bytes gains nothing by it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import urllib3
from urllib3 import exceptions as failures

from vmanomaly import __version__
from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError, DeadlineExceededError, TooLargeError
from vmanomaly.http.answers import BrokenAnswerError, Response, StatusError
from vmanomaly.http.credentials import Credentials
from vmanomaly.http.exchange import Exchange
from vmanomaly.http.guard import Guard
from vmanomaly.http.pools import Pools
from vmanomaly.http.remedies import MAX_REDIRECTS, Remedies
from vmanomaly.http.urls import redact_url, with_arguments

if TYPE_CHECKING:
    from vmanomaly.config.http import HttpSection

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_MAX_BODY_BYTES = 1 << 20


class HttpClient:
    """A client of one datasource, with a connection pool; safe to use from several threads.

    Parameters
    ----------
    section
        The configuration of the datasource.
    role
        Where the section is in the configuration (`reader`, `writer`, `monitoring.push`),
        for messages. A `reader` reads under `/select/` of a cluster, others write under
        `/insert/`.
    guard
        Says which addresses may be connected to, where the section is not trusted; redirects are
        not followed then. None allows all.
    """

    def __init__(self, section: HttpSection, role: str, guard: Guard | None = None) -> None:
        self._section = section
        self._guard = guard
        self._pools = Pools(section, role)
        self._credentials = Credentials(section, role)
        self._remedies = Remedies(section, role)
        self._cluster_root = "select" if role == "reader" else "insert"
        parts = urlsplit(section.datasource_url)
        host = parts.netloc.rpartition("@")[2]
        self._base = parts._replace(netloc=host, path=parts.path.rstrip("/"), fragment="")

    def url(self, path: str, tenant: str | None = None) -> str:
        """Return the address of `path`, under the root of a tenant of a cluster if one is given.

        A `datasource_url` that already holds `/select/` or `/insert/` is used as it is. An empty
        path is the address of the datasource itself.
        """
        root = self._base.path
        if tenant is not None and not re.search(r"/(select|insert)/", root + "/"):
            root = f"{root}/{self._cluster_root}/{tenant}/prometheus"
        return urlunsplit(self._base._replace(path=f"{root}/{path.lstrip('/')}" if path else root))

    def server_url(self, path: str) -> str:
        """Return the address of `path` on the server itself, outside `/select/` and `/insert/`."""
        root = re.split(r"/(?:select|insert)/", self._base.path + "/")[0].rstrip("/")
        return urlunsplit(self._base._replace(path=f"{root}/{path.lstrip('/')}"))

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        context: RunContext | None = None,
        max_bytes: int = _MAX_BODY_BYTES,
    ) -> Response:
        """Send a request and return its complete answer.

        Parameters
        ----------
        method, url, body, headers
            The request.
        timeout_s
            Seconds for the whole exchange; by default those of the configuration.
        context
            Says whether the work that it is part of is to stop.
        max_bytes
            The longest answer that is taken, decompressed.

        Raises
        ------
        StatusError
            The status is not 2xx.
        TooLargeError
            The answer is longer than `max_bytes`.
        DatasourceError
            The server cannot be reached, is too slow, or closes the connection.
        CancelledError, DeadlineExceededError
            The work is to stop.
        """
        with self._exchange(url, timeout_s, context) as exchange:
            response = self._open(exchange, method, url, body, headers)
            try:
                content = self._read_whole(exchange, response, max_bytes)
            finally:
                response.close()
        return Response(response.status, response.headers, content)

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        form: bytes,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        context: RunContext | None = None,
    ) -> Iterator[Iterator[bytes]]:
        """Send a form and give the JSON answer in pieces, as they arrive.

        Parameters
        ----------
        method
            `POST` sends the form as the body, `GET` in the address.
        url, timeout_s, context
            As in `request`. The time ends when the block is left.
        form
            Made by `form_encode`.
        headers
            Sent in addition.

        A piece is at most 1 MiB, decompressed; whoever takes the pieces limits how many they are.

        Raises
        ------
        StatusError
            The status is not 2xx.
        BrokenAnswerError
            The answer begins and breaks off.
        DatasourceError
            The server cannot be reached, is too slow, closes the connection, or answers with HTML.
        CancelledError, DeadlineExceededError
            The work is to stop.
        """
        headers = {"Accept": "application/json", **(headers or {})}
        sent_to, body = url, None
        if method == "GET":
            sent_to = with_arguments(url, form)
        else:
            body = form
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        with self._exchange(url, timeout_s, context) as exchange:
            response = self._open(exchange, method, sent_to, body, headers)
            try:
                if response.headers.get("Content-Type", "").startswith("text/html"):
                    start = self._start(exchange, response)
                    raise self._remedies.html(exchange.urls, start)
                yield self._chunks(exchange, response)
            finally:
                response.close()

    def check_health(self, context: RunContext | None = None) -> None:
        """Request `health_path`; any HTTP answer means that the server is there.

        Raises
        ------
        DatasourceError
            There is no answer.
        CancelledError, DeadlineExceededError
            The work that this is part of is to stop.
        """
        path = self._section.health_path
        url = path if path.startswith(("http://", "https://")) else self.url(path)
        try:
            self.request("GET", url, context=context)
        except StatusError as error:
            logger.debug("%s is reachable: it answered %s", redact_url(url), error.status)
        except TooLargeError as error:
            logger.debug("%s is reachable: %s", redact_url(url), error)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._pools.close()

    @contextmanager
    def _exchange(
        self, url: str, timeout_s: float | None, context: RunContext | None
    ) -> Iterator[Exchange]:
        """Interrupt whatever happens in the block when its time is over, and say so."""
        work = context or RunContext()
        work.check()
        limited = work.child(timeout_s or self._section.timeout.seconds)
        exchange = Exchange(url, limited, self._guard)
        try:
            with exchange.under_way():
                yield exchange
        except DeadlineExceededError as error:
            work.check()
            raise self._remedies.timeout(exchange.urls) from error

    def _open(
        self,
        exchange: Exchange,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request, and again where redirects lead; credentials go to their host alone."""
        own = {"User-Agent": f"vmanomaly/{__version__}", **(headers or {})}
        for _ in range(MAX_REDIRECTS + 1):
            credentials = self._credentials.headers(url)
            response = self._send(exchange, method, url, body=body, headers=own | credentials)
            location = response.get_redirect_location()
            if not location or self._guard is not None:
                break
            with self._translated(exchange):
                try:
                    response.drain_conn()
                finally:
                    response.close()
                url = urljoin(url, location)
            exchange.urls.append(url)
            if response.status == HTTPStatus.SEE_OTHER:
                method, body = "GET", None
                own = {name: own[name] for name in own if not name.startswith("Content-")}
        else:
            raise self._remedies.too_many_redirects(exchange.urls)
        if 200 <= response.status < 300:
            return response
        try:
            content = self._start(exchange, response)
        except (DatasourceError, DeadlineExceededError):
            content = b""
        finally:
            response.close()
        raise self._remedies.status_error(response, content, exchange.urls, credentials)

    def _send(
        self, exchange: Exchange, method: str, url: str, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """Send one request, and return what begins to be answered."""
        pools = self._pools.current()
        response: urllib3.BaseHTTPResponse | None = None
        try:
            with self._translated(exchange):
                response = exchange.send(pools, method, url, **options)
        except BaseException:
            # What is broken off among its headers looks like an answer.
            if response is not None:
                response.close()
            raise
        return response

    def _start(self, exchange: Exchange, response: urllib3.BaseHTTPResponse) -> bytes:
        """Return the start of an answer of which no more is wanted."""
        return next(self._chunks(exchange, response), b"")

    def _chunks(self, exchange: Exchange, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        while True:
            try:
                with self._translated(exchange):
                    chunk = response.read1(_CHUNK_BYTES)
            except DatasourceError as error:
                raise BrokenAnswerError(str(error), error.code, error.out_of_reach) from error
            if not chunk:
                return
            yield chunk

    def _read_whole(
        self, exchange: Exchange, response: urllib3.BaseHTTPResponse, max_bytes: int
    ) -> bytes:
        content = bytearray()
        for chunk in self._chunks(exchange, response):
            content += chunk
            if len(content) > max_bytes:
                raise self._remedies.too_long(exchange.urls, max_bytes)
        return bytes(content)

    @contextmanager
    def _translated(self, exchange: Exchange) -> Iterator[None]:
        """Turn the failures of urllib3 into `DatasourceError`, unless they are of our own making.

        An interrupted answer may look like one that has ended or like one that is damaged.
        """
        try:
            yield
        except (failures.HTTPError, ValueError) as error:
            exchange.context.check()
            raise self._remedies.failure(exchange.urls, error) from error
        exchange.context.check()
