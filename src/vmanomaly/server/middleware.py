"""What applies to every request, whoever answers it."""

from __future__ import annotations

from prometheus_client import Counter
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vmanomaly.server.errors import error_response

MAX_BODY_BYTES = 4 << 20
_SMALL_BODY_BYTES = 64 << 10
_MAX_BYTES_IN_PROGRESS = 64 << 20

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """Adds headers that restrict what browsers do with an answer.

    A header that an answer already has is left as it is.

    Parameters
    ----------
    app
        The application that answers requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class HeadAsGet:
    """Answers HEAD as GET; the server leaves out the body.

    Parameters
    ----------
    app
        The application that answers requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


class BodyLimit:
    """Answers 413 to a body that is too large, and 503 to one that is too much with all others.

    Small bodies always have room.

    The server reads the rest of it, for a while, and discards it: many clients look for an answer
    only after they have sent everything.

    Parameters
    ----------
    app
        The application that answers requests.
    max_bytes
        Size of the largest body that is accepted.
    """

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._bytes_in_progress = 0
        self._message = f"the body is larger than {max_bytes >> 20} MiB"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 413 or 503."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # HTTP parsers let only digits through.
        if int(Headers(scope=scope).get("content-length", "0")) > self._max_bytes:
            await error_response(413, self._message)(scope, receive, send)
            return
        n_bytes = n_counted = 0

        async def receive_some() -> Message:
            nonlocal n_bytes, n_counted
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._max_bytes:
                raise HTTPException(413, self._message)
            n_new = max(0, n_bytes - _SMALL_BODY_BYTES) - n_counted
            if n_new and self._bytes_in_progress + n_new > _MAX_BYTES_IN_PROGRESS:
                raise HTTPException(503, "there are too many large bodies now; try again")
            n_counted += n_new
            self._bytes_in_progress += n_new
            return message

        try:
            await self._app(scope, receive_some, send)
        finally:
            self._bytes_in_progress -= n_counted


class CountRequests:
    """Counts the requests to the API, by the pattern of their route.

    Requests to no route are counted together, so that a client cannot make up series.

    Parameters
    ----------
    app
        What answers requests.
    counter
        With the labels `path`, `method` and `code`.
    """

    def __init__(self, app: ASGIApp, counter: Counter) -> None:
        self._app = app
        self._counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or "/api/" not in scope["path"]:
            await self._app(scope, receive, send)
            return

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                path = getattr(route, "path", "unknown")
                method = scope["method"] if route is not None else "unknown"
                self._counter.labels(path, method, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, send_counted)
