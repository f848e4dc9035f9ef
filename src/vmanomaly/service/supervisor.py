"""What keeps a scheduler alive."""

from __future__ import annotations

import logging
import threading

from vmanomaly.clock import Clock
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler import Scheduler
from vmanomaly.service.health import Health, scheduler_component

logger = logging.getLogger(__name__)

MAX_RESTARTS = 5

_FIRST_BACKOFF_MS = 1_000
_FORGOTTEN_AFTER_MS = 3_600_000


class Supervisor:
    """Runs a scheduler, and restarts it when it dies.

    The first restart follows after one second, each further one after twice the time. A restart has
    succeeded once a run of a job has ended after it. Restarts are forgotten when the scheduler
    has been alive for an hour after the last one.

    Parameters
    ----------
    alias
        Alias of the scheduler.
    scheduler
        The scheduler.
    max_restarts
        How often it is restarted before it is given up.
    clock
        Tells the time.
    health
        Where a dead scheduler is reported.
    metrics
        Where its liveness and its restarts are recorded.
    """

    def __init__(
        self,
        alias: str,
        scheduler: Scheduler,
        max_restarts: int,
        clock: Clock,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._alias = alias
        self._scheduler = scheduler
        self._max_restarts = max_restarts
        self._clock = clock
        self._health = health
        labels = metrics.of_scheduler(alias)
        self._alive = metrics.scheduler_alive.labels(**labels)
        self._restarts = {
            status: metrics.scheduler_restarts.labels(**labels, status=status)
            for status in ("success", "failure")
        }
        self._stopped = threading.Event()
        self._n_restarts = 0
        self._is_restarting = False
        self._started_at = 0

    def run(self) -> tuple[str, ...]:
        """Run the scheduler to its end. Return what failed, in words."""
        while not self._stopped.is_set():
            self._started_at = self._clock.now()
            self._alive.set(1)
            try:
                return self._scheduler.run(self._note_progress)
            except BaseException as error:  # noqa: BLE001 - a job may raise SystemExit
                self._alive.set(0)
                reason = f"died ({type(error).__name__}: {error})"
                if not self._note_death(reason):
                    return (reason,)
            finally:
                self._alive.set(0)
        return ()

    def stop(self) -> None:
        """End the scheduler, and do not restart it. Safe in a signal handler."""
        self._stopped.set()
        self._scheduler.stop()

    def _note_death(self, reason: str) -> bool:
        """Wait for the next restart. Return False if there is none."""
        component = scheduler_component(self._alias)
        if self._is_restarting:
            self._restarts["failure"].inc()
            logger.error("Scheduler '%s': restart attempt %d failed", self._alias, self._n_restarts)
        if self._clock.now() - self._started_at > _FORGOTTEN_AFTER_MS:
            self._n_restarts = 0
        if self._n_restarts == self._max_restarts:
            logger.exception(
                "Scheduler '%s' is not alive, and is not restarted: "
                "max restart attempts reached (%d)",
                self._alias,
                self._max_restarts,
            )
            self._health.report(
                component, f"{reason} and is not restarted any more", needs_restart=True
            )
            return False
        backoff = _FIRST_BACKOFF_MS << self._n_restarts
        self._n_restarts += 1
        self._is_restarting = True
        logger.exception(
            "Scheduler '%s' is not alive; restart attempt %d of %d follows in %d s",
            self._alias,
            self._n_restarts,
            self._max_restarts,
            backoff // 1000,
        )
        self._health.report(component, reason)
        self._clock.wait(self._stopped, self._clock.now() + backoff)
        return True

    def _note_progress(self) -> None:
        if self._is_restarting:
            self._is_restarting = False
            self._restarts["success"].inc()
            logger.info("Scheduler '%s' restarted successfully", self._alias)
            self._health.report(scheduler_component(self._alias), None)
