"""Listeners on the addresses that the configuration names."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry

from vmanomaly.config.monitoring import MonitoringSection
from vmanomaly.config.server import ServerSection
from vmanomaly.errors import VmanomalyError
from vmanomaly.server.app import create_app

logger = logging.getLogger(__name__)

_BACKLOG = 128


class AddressInUseError(VmanomalyError):
    """An address cannot be listened on."""


class Server:
    """Serves the application on `server.addr:port`, and on `monitoring.pull` where it differs.

    Parameters
    ----------
    section
        The section `server`.
    monitoring
        The section `monitoring`.
    registry
        The service's own metrics.
    health_reasons
        Gives one line for each thing that is wrong.

    Raises
    ------
    AddressInUseError
        An address is taken or not this machine's.
    """

    def __init__(
        self,
        section: ServerSection,
        monitoring: MonitoringSection,
        registry: CollectorRegistry,
        health_reasons: Callable[[], list[str]],
    ) -> None:
        app = create_app(registry, health_reasons, section.path_prefix, section.auth)
        # Without a log_config of its own uvicorn logs as everything else does.
        settings: dict[str, Any] = {
            "log_level": "warning",
            "log_config": None,
            **section.uvicorn_config,
        }
        config = uvicorn.Config(
            app,
            ssl_certfile=section.tls_cert_file,
            ssl_keyfile=section.tls_key_file,
            **settings,
        )
        self._listeners = [_Listener("server", section.addr, section.port, config)]
        pull = monitoring.pull
        if pull is not None and pull.port != section.port:
            plain = uvicorn.Config(create_app(registry, health_reasons), **settings)
            try:
                listener = _Listener("monitoring.pull", pull.addr, pull.port, plain)
            except AddressInUseError:
                self.stop()
                raise
            self._listeners.append(listener)

    @property
    def port(self) -> int:
        """The port that `server` listens on; a free one when the configuration says 0."""
        return self._listeners[0].port

    def start(self) -> None:
        """Answer requests, in the background."""
        for listener in self._listeners:
            listener.start()

    def stop(self) -> None:
        """Answer no more requests, and close the addresses."""
        for listener in self._listeners:
            listener.stop()


class _Listener:
    def __init__(self, place: str, addr: str, port: int, config: uvicorn.Config) -> None:
        self._place = place
        self._socket = _bind(place, addr, port)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name=place, daemon=True
        )

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        self._thread.start()
        logger.info("Listening on port %d (%s)", self.port, self._place)

    def stop(self) -> None:
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=2)
        self._socket.close()


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
