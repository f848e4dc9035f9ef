"""Reports a model that does not return, which only a restart fixes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vmanomaly.context import RunContext
from vmanomaly.episodes import Episodes
from vmanomaly.service.health import Health
from vmanomaly.watchdog import WATCHDOG, Alarm

logger = logging.getLogger(__name__)

LIMITS_S = {"fit": 3600.0, "infer": 600.0}
"""How many seconds a model may take for a block of series, by stage."""


class StuckModels:
    """Watches the models of a job, of which one is at work at a time.

    A model shows a sign of life whenever it checks the context of its run, which it does before
    each block of series. Without one for too long it is stuck: that is logged, and reported as
    what only a restart fixes, until it returns after all.

    Parameters
    ----------
    component
        The name of the job.
    health
        Where a stuck model is reported.
    """

    def __init__(self, component: str, health: Health) -> None:
        self._component = component
        self._health = health
        self._episodes = Episodes(logger)
        self._lock = threading.Lock()

    @contextmanager
    def watched(
        self,
        stage: str,
        model_alias: str,
        context: RunContext,
        on_stuck: Callable[[], None] = lambda: None,
    ) -> Iterator[None]:
        """Watch the model that is at work in a `with` block.

        Parameters
        ----------
        stage
            `fit` or `infer`.
        model_alias
            Of the model.
        context
            That of its run, which it checks.
        on_stuck
            Called once if it is stuck, in another thread.
        """
        limit_s = LIMITS_S[stage]
        is_over = threading.Event()
        context.checked_s = time.monotonic()

        def tell() -> None:
            on_stuck()
            with self._lock:
                if not is_over.is_set():
                    self._begin(stage, model_alias, limit_s)

        def look() -> None:
            due_s = context.checked_s + limit_s
            if due_s > time.monotonic():
                alarm.due_s = due_s
                return
            alarm.due_s = float("inf")
            # The watchdog must not block, not even on the log.
            threading.Thread(target=tell, name="stuck", daemon=True).start()

        alarm = Alarm(look, context.checked_s + limit_s)
        WATCHDOG.set(alarm)
        try:
            yield
        finally:
            WATCHDOG.unset(alarm)
            with self._lock:
                is_over.set()
                if self._episodes.end(self._component, f"{self._component}: the model returned"):
                    self._health.report(self._component, None)

    def _begin(self, stage: str, model_alias: str, limit_s: float) -> None:
        reason = f"model '{model_alias}' has been stuck in its {stage} for {limit_s:.0f} s"
        self._episodes.begin(
            self._component,
            f"{self._component}: {reason}; all other work continues. Restart the service, and "
            f"check whether the model waits for something",
            logging.ERROR,
        )
        self._health.report(self._component, reason, needs_restart=True)
