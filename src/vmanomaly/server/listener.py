"""A listener that no client can bring down: bounded connections, deadlines and logs."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import threading
from functools import partial
from typing import Any

import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from vmanomaly.episodes import Episodes
from vmanomaly.errors import VmanomalyError
from vmanomaly.server.connection import Connection

logger = logging.getLogger(__name__)

_BACKLOG = 128
_MAX_CONNECTIONS = 256
_MIN_CONNECTIONS = 8
# The share of the process's file descriptors for the connections of a listener: there may be two,
# and readers, the writer and the state need some too.
_SHARE_OF_DESCRIPTORS = 4
_HANDSHAKE_WITHIN_S = 5.0
_TRY_AGAIN_AFTER_S = 1.0
_STOP_WITHIN_S = 1
_SAY_AGAIN_AFTER_S = 60.0
# The address of a request may hold queries and model sections.
_MAX_HEADER_BYTES = 64 << 10
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class AddressInUseError(VmanomalyError):
    """An address cannot be listened on."""


class ListenerError(VmanomalyError):
    """The settings of a listener cannot be used."""


class Listener:
    """Answers the requests to one address, in a separate thread.

    Parameters
    ----------
    place
        Where the address is in the configuration: `server` or `monitoring.pull`.
    addr, port
        Where to listen.
    app
        The application that answers.
    settings
        Settings of uvicorn.
    max_connections
        How many connections are open at a time; None for what the limit of open files allows, at
        most 256. If there is one more, the one that has waited longest for its client is closed.

    Raises
    ------
    AddressInUseError
        The address is in use or does not belong to this machine.
    ListenerError
        The certificate, its key, or a setting of uvicorn cannot be used.
    """

    def __init__(
        self,
        place: str,
        addr: str,
        port: int,
        app: ASGIApp,
        settings: dict[str, Any],
        max_connections: int | None = None,
    ) -> None:
        self._place = place
        self._socket = _bind(place, addr, port)
        try:
            config = _configuration(app, settings)
        except ListenerError:
            self._socket.close()
            raise
        self._server = _Server(config, place, max_connections or _n_connections())
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name=place, daemon=True
        )

    @property
    def port(self) -> int:
        """The port; a free one if 0 was requested."""
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        """Answer requests, in the background."""
        self._thread.start()
        logger.info("Listening on port %d (%s)", self.port, self._place)

    def stop(self) -> None:
        """Stop answering requests, and close the address."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=3 * _STOP_WITHIN_S)
        self._socket.close()


class _Server(uvicorn.Server):
    """uvicorn, except for how it accepts connections."""

    def __init__(self, config: uvicorn.Config, place: str, max_connections: int) -> None:
        super().__init__(config)
        self._place = place
        self._max_connections = max_connections
        self._episodes = Episodes(logger, again_after_s=_SAY_AGAIN_AFTER_S)
        self._accepting: list[asyncio.Task[None]] = []
        # Counted from when they were accepted: a handshake may still be in progress.
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._has_room = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections from now on."""
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._log_loop_error)
        self.servers = []
        self._accepting = [loop.create_task(self._accept(each)) for each in sockets or []]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, let answers in progress be sent, and close what is left."""
        for task in self._accepting:
            task.cancel()
        await super().shutdown(sockets)
        for connection in list(self._connections):
            self._end(connection)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        while True:
            await asyncio.sleep(0)  # What was accepted before has its turn.
            try:
                accepted, _ = await loop.sock_accept(listening)
            except ConnectionError:
                continue  # The client is gone already.
            except OSError as error:
                self._log_refusal(error)
                if error.errno in _EXHAUSTED:
                    self._end_slowest()
                await asyncio.sleep(_TRY_AGAIN_AFTER_S)
                continue
            try:
                await self._make_room()
            except asyncio.CancelledError:
                accepted.close()
                raise
            connection = Connection(self.config, self.server_state, {}, loop)
            connection.on_lost = partial(self._forget, connection)
            self._connections[connection] = loop.create_task(self._open(connection, accepted))

    async def _open(self, connection: Connection, accepted: socket.socket) -> None:
        tls = self.config.ssl
        within_s = _HANDSHAKE_WITHIN_S if tls else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=tls,
                ssl_handshake_timeout=within_s,
                ssl_shutdown_timeout=within_s,
            )
        except OSError as error:
            logger.debug("A client of %s failed to connect: %s", self._place, error)
        finally:
            if not connection.has_opened:
                accepted.close()
                self._forget(connection)

    async def _make_room(self) -> None:
        """Wait until there may be one more connection."""
        while len(self._connections) >= self._max_connections and not self._end_slowest():
            self._has_room.clear()
            await self._has_room.wait()

    def _end_slowest(self) -> bool:
        """Close the connection that has waited longest; return whether there is one."""
        waiting = [each for each in self._connections if each.waits_for_client]
        if not waiting:
            return False
        self._end(min(waiting, key=lambda connection: connection.waits_since))
        return True

    def _end(self, connection: Connection) -> None:
        self._connections[connection].cancel()
        connection.abort()
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        self._has_room.set()

    def _log_refusal(self, error: OSError) -> None:
        self._episodes.begin(
            error.errno,
            f"Cannot accept connections on {self._place}: {error.strerror}. If too many "
            f"files are open, raise the limit (`ulimit -n`, or `LimitNOFILE` of systemd)",
        )

    def _log_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._episodes.begin(
            (context["message"], type(error)),
            f"Error on a connection of {self._place}: {context['message']}",
            logging.ERROR,
            error=error,
        )


def _configuration(app: ASGIApp, settings: dict[str, Any]) -> uvicorn.Config:
    try:
        config = uvicorn.Config(
            app,
            **{
                "timeout_graceful_shutdown": _STOP_WITHIN_S,
                "h11_max_incomplete_event_size": _MAX_HEADER_BYTES,
                **settings,
                # Without a log_config of its own uvicorn logs as everything else does.
                "log_config": None,
                "loop": "asyncio",
                "http": Connection,
                "ws": "none",
                "lifespan": "off",
                "server_header": False,
            },
        )
        config.load()
    except OSError as error:  # Those of TLS are some too.
        raise ListenerError(
            f"server.tls_cert_file, server.tls_key_file: cannot be used: {error}. "
            f"Both have to be PEM files, and the key has to be that of the certificate"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ListenerError(f"server.uvicorn_config: cannot be used: {error!r}") from error
    return config


def _n_connections() -> int:
    """Return how many connections the limit of open files allows for."""
    n_descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if n_descriptors == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    share = n_descriptors // _SHARE_OF_DESCRIPTORS
    return max(_MIN_CONNECTIONS, min(_MAX_CONNECTIONS, share))


def _bind(place: str, addr: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((addr, port))
        # From here on connections wait in the queue, even before the server takes them.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressInUseError(
            f"{place}: cannot listen on {addr}:{port}: {error.strerror}. "
            f"Stop what uses the port, or choose another with {place}.port (0 takes a free one)."
        ) from error
    return listener


class _ClientNoise(logging.Filter):
    """Keeps out of the log what clients could flood it with."""

    def __init__(self) -> None:
        super().__init__()
        self._episodes = Episodes(logger, again_after_s=_SAY_AGAIN_AFTER_S)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record of uvicorn is logged as it is."""
        if record.levelno == logging.WARNING:
            # About a request that is not HTTP, or asks for what does not exist.
            logger.debug("%s", record.getMessage())
            return False
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return True
        if isinstance(error, (asyncio.CancelledError, ClientDisconnect)):
            return False
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else None
        message = "A request failed with an error that is a bug"
        self._episodes.begin((type(error), place), message, logging.ERROR, error=error)
        return False


logging.getLogger("uvicorn.error").addFilter(_ClientNoise())
