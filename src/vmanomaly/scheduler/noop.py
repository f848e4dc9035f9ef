"""Scheduler `noop`: runs nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from vmanomaly.config.scheduler import NoopSchedulerSection
from vmanomaly.scheduler.run import Run
from vmanomaly.scheduler.schedule import Progress


class NoopScheduler:
    """Waits until it is stopped."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def run(self, on_run_ended: Callable[[], None]) -> tuple[str, ...]:
        """Wait until `stop` is called. Nothing can fail."""
        self._stopped.wait()
        return ()

    def stop(self) -> None:
        """Let `run` return. Safe in a signal handler."""
        self._stopped.set()

    @staticmethod
    def planned_runs(section: NoopSchedulerSection) -> Sequence[Run]:
        """Return no runs."""
        return ()

    @staticmethod
    def fit_is_due(section: NoopSchedulerSection, progress: Progress, now: int) -> bool:
        """Return False: nothing is ever fitted."""
        return False
