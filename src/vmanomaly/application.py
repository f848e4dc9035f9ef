"""What one process runs: the service, its listeners, and the pushes of its metrics."""

from __future__ import annotations

import socket
from collections.abc import Callable

from vmanomaly.config import Config
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.monitoring.push import Pusher
from vmanomaly.server.server import Server
from vmanomaly.service import Service


class Application:
    """The service of a configuration, with its face to the outside.

    Parameters
    ----------
    config
        A validated configuration.

    Raises
    ------
    VmanomalyError
        Something of it cannot be used, such as a port that is taken.
    """

    def __init__(self, config: Config) -> None:
        metrics = Metrics()
        self._service = Service(config, metrics=metrics, on_stage_done=self._push_soon)
        self._server = Server(
            config.server, config.monitoring, metrics.registry, self._service.health.reasons
        )
        push = config.monitoring.push
        instance = f"{socket.gethostname()}:{self._server.port}"
        self._pusher = None if push is None else Pusher(push, metrics.registry, instance)

    @property
    def abandoned(self) -> bool:
        """Whether some work did not end in time after a stop."""
        return self._service.abandoned

    def run(self, on_progress: Callable[[int, int, str], None] | None = None) -> int:
        """Work until every scheduler has ended or `stop` is called. Return the exit status.

        Parameters
        ----------
        on_progress
            As for `Service.run`.
        """
        self._server.start()
        if self._pusher is not None:
            self._pusher.start()
        try:
            return self._service.run(on_progress)
        finally:
            if self._pusher is not None:
                self._pusher.stop()
            self._server.stop()

    def stop(self) -> None:
        """Take no new work, and let `run` return soon. Safe in a signal handler."""
        self._service.stop()

    def _push_soon(self) -> None:
        if self._pusher is not None:
            self._pusher.push_soon()
