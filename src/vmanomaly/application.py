"""What one process runs: the service, its listeners, and the pushes of its metrics."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from prometheus_client import CollectorRegistry

from vmanomaly.config import Config
from vmanomaly.config.effect import LEARNED_FROM, RESTARTS
from vmanomaly.config.settings import SettingsSection
from vmanomaly.context import OnProgress, RunContext
from vmanomaly.errors import RollbackError, VmanomalyError
from vmanomaly.logs import set_logger_levels
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.monitoring.push import Pusher
from vmanomaly.printable import sentence
from vmanomaly.server.api import Api
from vmanomaly.server.server import Server
from vmanomaly.service import Service
from vmanomaly.service.health import HealthStatus
from vmanomaly.tasks import Tasks

logger = logging.getLogger(__name__)

_TASK_STOP_S = 2.0


class RunningService(Protocol):
    """What does the work of a configuration: the service in this process, or a cluster."""

    @property
    def abandoned(self) -> bool:
        """Whether some work did not end in time after a stop."""
        ...

    @property
    def registry(self) -> CollectorRegistry:
        """The metrics that describe it."""
        ...

    def run(self) -> int:
        """Work until everything has ended or `stop` is called. Return the exit status."""
        ...

    def stop(self) -> None:
        """Take no new work. Safe in a signal handler."""

    def hold(self, settings: SettingsSection) -> None:
        """Apply the settings that need nothing to be rebuilt."""

    def apply(self, config: Config) -> None:
        """Continue with another configuration or, if it cannot be applied, as before."""

    def status(self) -> HealthStatus:
        """Return what is wrong at the moment."""
        ...

    def unready_reasons(self) -> list[str]:
        """Return one line for each thing that is missing before it is ready."""
        ...


CreateService = Callable[[Config, Metrics, RunContext], RunningService]


def _create_service(config: Config, metrics: Metrics, context: RunContext) -> RunningService:
    return Service(config, metrics=metrics, context=context)


class Application:
    """The service of a configuration, with its listeners and the pushes of its metrics.

    Parameters
    ----------
    config
        A validated configuration.
    logger_level
        Level of the loggers that the configuration does not name.
    create_service
        Makes what does the work, from the configuration, the metrics and the context that stops
        it.

    Attributes
    ----------
    metrics : Metrics
        The service's own metrics.

    Raises
    ------
    VmanomalyError
        A part of it cannot be used, such as a port that is taken.
    """

    def __init__(
        self,
        config: Config,
        logger_level: str = "INFO",
        create_service: CreateService = _create_service,
    ) -> None:
        self.metrics = Metrics()
        self._on_progress: OnProgress | None = None
        self._config = config
        self._logger_level = logger_level
        self._has_failed = False
        # Held while listeners or pushes are replaced, and while they end for good.
        self._replacing = threading.Lock()
        self._is_over = False
        self._service = create_service(
            config, self.metrics, RunContext(on_progress=self._note_step)
        )
        self._tasks = Tasks(self._max_concurrent_tasks, self.metrics)
        self._server = self._create_server(config)
        self._pusher = self._create_pusher(config)

    @property
    def abandoned(self) -> bool:
        """Whether some work did not end in time after a stop."""
        return self._service.abandoned

    def run(self, on_progress: OnProgress | None = None) -> int:
        """Work until every scheduler has ended or `stop` is called. Return the exit status.

        Parameters
        ----------
        on_progress
            Called after every fit and every infer.
        """
        self._on_progress = on_progress
        self._server.start()
        if self._pusher is not None:
            self._pusher.start()
        try:
            status = self._service.run()
        finally:
            self._tasks.stop(_TASK_STOP_S)
            with self._replacing:
                self._is_over = True
                if self._pusher is not None:
                    self._pusher.stop()
                self._server.stop()
        return 1 if self._has_failed else status

    def stop(self) -> None:
        """Take no new work, and let `run` return soon. Safe in a signal handler."""
        self._service.stop()

    def give_up(self) -> None:
        """Stop, and have `run` return a failure."""
        self._has_failed = True
        self.stop()

    def apply(self, config: Config) -> None:
        """Continue with another configuration or, if it cannot be applied, as before.

        Parameters and errors are those of `Service.apply`.
        """
        before = self._config
        if config == before:
            logger.info("Configuration is equivalent; nothing to apply")
            return
        set_logger_levels(
            config.settings.logger_levels, self._logger_level, before.settings.logger_levels
        )
        if _decisive(config) == _decisive(before):
            self._service.hold(config.settings)
            has_new_levels = config.settings.logger_levels != before.settings.logger_levels
            what = "component log level" if has_new_levels else "settings"
            logger.info("Applied %s changes without restarting services", what)
        else:
            self._replace(before, config)
            logger.info("Config has been reloaded successfully")
        self._config = config

    def _replace(self, before: Config, config: Config) -> None:
        has_new_listeners = _listeners(config) != _listeners(before)
        try:
            if has_new_listeners:
                self._replace_server(before, config)
            try:
                self._service.apply(config)
            except Exception as error:
                if has_new_listeners:
                    with _or_no_way_back(error):
                        self._replace_server(config, before)
                raise
        except Exception as error:
            logger.error("Reload apply failed; attempting rollback: %s", error)
            set_logger_levels(
                before.settings.logger_levels, self._logger_level, config.settings.logger_levels
            )
            raise
        if has_new_listeners or config.monitoring.push != before.monitoring.push:
            self._replace_pusher(config)

    def _replace_server(self, before: Config, config: Config) -> None:
        """Listen as a configuration says or, if that is not possible, as before."""
        with self._replacing:
            if not self._is_over:
                self._move_server(before, config)

    def _move_server(self, before: Config, config: Config) -> None:
        old = self._server
        is_in_the_way = bool(_ports(before) & _ports(config))
        if is_in_the_way:
            old.stop()
        try:
            self._server = self._create_server(config)
        except VmanomalyError as error:
            if is_in_the_way:
                with _or_no_way_back(error):
                    self._server = self._create_server(before)
                self._server.start()
            raise
        self._server.start()
        old.stop()

    def _replace_pusher(self, config: Config) -> None:
        with self._replacing:
            if self._is_over:
                return
            before, self._pusher = self._pusher, self._create_pusher(config)
            if before is not None:
                before.stop()
            if self._pusher is not None:
                self._pusher.start()

    def _max_concurrent_tasks(self) -> int:
        server = self._config.server
        return 0 if server is None else server.max_concurrent_tasks

    def _create_server(self, config: Config) -> Server:
        return Server(
            config.server,
            config.monitoring,
            self._service.registry,
            self._service.status,
            self._service.unready_reasons,
            lambda: self.metrics.preset,
            Api(lambda: self._config, self._tasks, self.metrics),
        )

    def _create_pusher(self, config: Config) -> Pusher | None:
        push = config.monitoring.push
        host, port = socket.gethostname(), self._server.port
        instance = host if port is None else f"{host}:{port}"
        return None if push is None else Pusher(push, self._service.registry, instance)

    def _note_step(self, done: int, expected: int, name: str) -> None:
        if self._pusher is not None:
            self._pusher.push_soon()
        if self._on_progress is not None:
            self._on_progress(done, expected, name)


@contextmanager
def _or_no_way_back(error: Exception) -> Iterator[None]:
    """Mark whatever goes wrong while an error is being handled as a failed rollback."""
    try:
        yield
    except VmanomalyError as no_way_back:
        raise RollbackError(
            f"{sentence(str(error))} The rollback failed too: {no_way_back}"
        ) from error


def _decisive(config: Config) -> object:
    """Return all of a configuration that something has to be made again for when it changes."""
    settings = config.settings.deciding(LEARNED_FROM, RESTARTS)
    return replace(config, settings=SettingsSection()), settings


def _listeners(config: Config) -> object:
    return config.server, config.monitoring.pull


def _ports(config: Config) -> set[int]:
    pull = config.monitoring.pull
    return {listener.port for listener in (config.server, pull) if listener is not None}
