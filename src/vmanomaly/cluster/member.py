"""One member of a cluster, as it runs in a process that Ray starts."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import Metric
from ray.util import get_node_ip_address

import vmanomaly
from vmanomaly.application import Application, RunningService
from vmanomaly.cluster.lines import Line, Lines
from vmanomaly.config import Config
from vmanomaly.context import RunContext
from vmanomaly.errors import RollbackError, VmanomalyError
from vmanomaly.logs import LogFormat, configure_logging, set_logger_levels
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler.schedule import Progress
from vmanomaly.series import JobKey
from vmanomaly.service import Service
from vmanomaly.service.health import HealthStatus

logger = logging.getLogger(__name__)

_FAILED = 1
_LONGEST_STOP_S = 15.0


@dataclass(frozen=True)
class Report:
    """How a member is.

    Attributes
    ----------
    has_started
        Whether it has a configuration. A process that Ray has restarted has none.
    exit_status
        Of its service; None until that has ended.
    health
        What is wrong at the moment.
    unready_reasons
        One line for each thing that is missing before it is ready.
    progress
        How far each of its jobs has come.
    lines
        What it has logged since the last report.
    """

    has_started: bool = False
    exit_status: int | None = None
    health: HealthStatus = field(default_factory=lambda: HealthStatus([], False))
    unready_reasons: tuple[str, ...] = ()
    progress: Mapping[JobKey, Progress] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()


class MemberProcess:
    """The ordinary service as one member, started, watched and stopped by calls.

    Ray makes it in a process of its own, and another one when that dies.

    Parameters
    ----------
    logger_level, log_format
        As on the command line.
    """

    def __init__(self, logger_level: str, log_format: LogFormat) -> None:
        configure_logging(logger_level, log_format)
        self._lines = Lines()
        logging.getLogger().addHandler(self._lines)
        self._logger_level = logger_level
        self._application: Application | None = None
        self._service: Service | None = None
        self._thread: threading.Thread | None = None
        self._exit_status: int | None = None
        self._is_stopping = False

    def about(self) -> tuple[str, str]:
        """Return the version of vmanomaly on this node, and the address of the node."""
        return vmanomaly.__version__, str(get_node_ip_address())  # type: ignore[no-untyped-call]

    def start(self, config: Config, progress: Mapping[JobKey, Progress]) -> str | None:
        """Start the service of a configuration; return why that is not possible, if so.

        Parameters
        ----------
        config
            What this member runs, from `part_of`.
        progress
            Where the process before this one has come.
        """
        set_logger_levels(config.settings.logger_levels, self._logger_level)

        def create(config: Config, metrics: Metrics, context: RunContext) -> RunningService:
            self._service = Service(config, metrics=metrics, context=context, progress=progress)
            return self._service

        try:
            self._application = Application(config, self._logger_level, create)
        except VmanomalyError as error:
            return str(error)
        ends_by_itself = bool(config.schedulers) and all(
            section.ends_by_itself for section in config.schedulers.values()
        )
        self._thread = threading.Thread(
            target=self._run, args=(self._application, ends_by_itself), name="member"
        )
        self._thread.start()
        return None

    def apply(self, config: Config) -> str | None:
        """Continue with another configuration; return why that is not possible, if so."""
        if self._application is None or self._exit_status is not None:
            return None
        try:
            self._application.apply(config)
        except RollbackError as error:
            logger.critical("Rollback failed, this member starts again: %s", error)
            self._end_process()
        except VmanomalyError as error:
            return str(error)
        return None

    def stop(self) -> tuple[int, tuple[Line, ...]]:
        """End the service in order, and return its exit status and what it has logged."""
        self._is_stopping = True
        if self._application is not None and self._thread is not None:
            self._application.stop()
            self._thread.join(_LONGEST_STOP_S)
        return self._exit_status or 0, self._lines.take()

    def report(self) -> Report:
        """Return how it is."""
        application, service = self._application, self._service
        if application is None or service is None:
            return Report(lines=self._lines.take())
        return Report(
            True,
            self._exit_status,
            service.status(),
            tuple(service.unready_reasons()),
            service.progress(),
            self._lines.take(),
        )

    def metrics(self) -> list[Metric]:
        """Return the metrics of the service, as they are now."""
        return [] if self._service is None else list(self._service.registry.collect())

    def _run(self, application: Application, ends_by_itself: bool) -> None:
        status = _FAILED
        try:
            status = application.run()
        except VmanomalyError as error:
            logger.error("%s", error)
        except Exception:
            logger.exception("The service ended with an error")
        if not ends_by_itself and not self._is_stopping:
            self._end_process()
        self._exit_status = status

    def _end_process(self) -> None:
        """End the process at once, so that Ray starts another one."""
        logging.shutdown()
        os._exit(_FAILED)
