"""A connection that does not wait for its client forever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from vmanomaly.server.errors import error_response

HEADERS_WITHIN_S = 10.0
BODY_WITHIN_S = 30.0
ANSWER_TAKEN_WITHIN_S = 30.0
SECONDS_PER_PIPELINED = 0.01
"""Of each connection, between an answer and a request that was sent before that."""


class Connection(H11Protocol):
    """Speaks HTTP/1.1 with one client, and closes the connection if it is too slow.

    A client has 10 seconds for the headers of a request, 30 more for its body, and may leave an
    answer unread for 30 seconds. Between two requests uvicorn's `timeout_keep_alive` applies.
    Requests that are sent before the last answer take turns with those of all connections, a
    hundred per second together: one packet holds thousands of them, and a client that sends such
    packets on every connection would keep all others waiting.

    Parameters
    ----------
    config, server_state, app_state, _loop
        As for the protocol of uvicorn.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.on_lost: Callable[[], None] = lambda: None
        self.waits_since = self.loop.time()
        self.has_opened = False
        self._awaited: str | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._pipelined: asyncio.TimerHandle | None = None
        self._is_next_pipelined = False

    @property
    def is_between_requests(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def waits_for_client(self) -> bool:
        """Whether nothing can proceed before the client sends or receives something."""
        return (
            self.is_between_requests
            or self.conn.their_state is h11.SEND_BODY
            or self._writing is not None
        )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self.has_opened = True
        self._await("headers", HEADERS_WITHIN_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """End everything."""
        self._await(None)
        self._stop_writing_timer()
        if self._pipelined is not None:
            self._pipelined.cancel()
        super().connection_lost(exc)
        self.on_lost()

    def data_received(self, data: bytes) -> None:
        """Accept what the client has sent."""
        super().data_received(data)
        self._look_at_request(is_begun=True)

    def handle_events(self) -> None:
        """Answer what has arrived; a pipelined request in its turn."""
        if not self._is_next_pipelined:
            super().handle_events()
            return
        self.flow.pause_reading()
        within_s = SECONDS_PER_PIPELINED * len(self.connections)
        self._pipelined = self.loop.call_later(within_s, self._handle_pipelined)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.waits_since = self.loop.time()
        self._is_next_pipelined = bool(self.conn.trailing_data[0])
        super().on_response_complete()
        self._is_next_pipelined = False
        if self.transport.is_closing():
            self._await("end", ANSWER_TAKEN_WITHIN_S)
        else:
            self._look_at_request(is_begun=bool(self.conn.trailing_data[0]))

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is no longer used."""
        if not self.transport.is_closing():
            super().timeout_keep_alive_handler()
            self._await("end", ANSWER_TAKEN_WITHIN_S)

    def pause_writing(self) -> None:
        """Wait for the client to receive what it has requested."""
        super().pause_writing()
        self.waits_since = self.loop.time()
        self._writing = self.loop.call_later(ANSWER_TAKEN_WITHIN_S, self.abort)

    def resume_writing(self) -> None:
        """Continue to answer."""
        self._stop_writing_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Tell the client that this is not HTTP, unless an answer is on its way."""
        if not self.is_between_requests or self.conn.our_state is not h11.IDLE:
            self.abort()
            return
        answer = error_response(400, "not an HTTP/1.1 request")
        headers = [*answer.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._await("end", ANSWER_TAKEN_WITHIN_S)

    def abort(self) -> None:
        """End the connection at once."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        if self.has_opened:
            self.transport.abort()

    def _handle_pipelined(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.handle_events()
            self._look_at_request(is_begun=True)

    def _look_at_request(self, *, is_begun: bool) -> None:
        """Check how much of a request has arrived, and wait for the rest."""
        state = self.conn.their_state
        if state is h11.IDLE and is_begun:
            self._await("headers", HEADERS_WITHIN_S)
        elif state is h11.SEND_BODY:
            self._await("body", BODY_WITHIN_S)
        elif not self.transport.is_closing():
            self._await(None)

    def _stop_writing_timer(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _await(self, awaited: str | None, within_s: float = 0.0) -> None:
        """Give the client some time; time already given for the same purpose still counts."""
        if awaited == self._awaited:
            return
        if self._reading is not None:
            self._reading.cancel()
        self._awaited = awaited
        self._reading = self.loop.call_later(within_s, self.abort) if awaited else None
