"""Following the configuration while the service runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from vmanomaly.config import Config
from vmanomaly.errors import ConfigError, RollbackError, VmanomalyError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.printable import sentence

logger = logging.getLogger(__name__)


class Reloader:
    """Loads the configuration again when it has changed, and has it applied.

    A configuration that is invalid, or cannot be applied, changes nothing: the old one stays.

    Parameters
    ----------
    load
        Reads and validates the configuration.
    apply
        Applies it, or raises and leaves everything as it was.
    give_up
        Called when not even that is possible.
    metrics
        Where reloads are counted.
    has_changed
        Tells whether there is something new to load; None to load only on request.
    interval_s
        Seconds between two checks.
    """

    def __init__(
        self,
        load: Callable[[], Config],
        apply: Callable[[Config], None],
        give_up: Callable[[], None],
        metrics: Metrics,
        has_changed: Callable[[], bool] | None,
        interval_s: float,
    ) -> None:
        self._load = load
        self._apply = apply
        self._give_up = give_up
        self._metrics = metrics
        self._has_changed = has_changed
        self._interval_s = interval_s if has_changed else None
        self._asked = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)
        metrics.config_reload_enabled.set(1 if has_changed else 0)

    def start(self) -> None:
        """Look for changes from now on, in the background."""
        self._thread.start()
        if self._interval_s is not None:
            logger.info("Hot reload enabled: checking for changes every %g s", self._interval_s)

    def stop(self) -> None:
        """Stop looking for changes. A reload in progress continues."""
        self._stopped.set()
        self._asked.set()

    def reload_soon(self) -> None:
        """Load the configuration again, changed or not. Safe in a signal handler."""
        self._asked.set()

    def look(self) -> None:
        """Load the configuration again if it has changed."""
        if self._has_changed is not None and self._has_changed():
            self.reload()

    def reload(self) -> None:
        """Load the configuration again, and apply it."""
        try:
            config = self._load()
        except ConfigError as error:
            logger.error(
                "Reload aborted: new configuration is invalid; keeping the current one",
                extra={"problems": error.problems},
            )
            self._note(False)
            return
        try:
            self._apply(config)
        except RollbackError as error:
            logger.critical("Rollback failed, shutting down: %s", error)
            self._note(False)
            self._give_up()
        except VmanomalyError as error:
            reason = sentence(str(error))
            logger.error("Reload aborted: %s Keeping the current configuration", reason)
            self._note(False)
        except Exception:
            logger.exception(
                "Reload aborted by an internal error; keeping the current configuration"
            )
            self._note(False)
        else:
            self._note(True)

    def _run(self) -> None:
        while True:
            is_asked = self._asked.wait(self._interval_s)
            self._asked.clear()
            if self._stopped.is_set():
                return
            if is_asked:
                self.reload()
            else:
                self.look()

    def _note(self, is_successful: bool) -> None:
        metrics = self._metrics
        metrics.config_last_reload_successful.set(is_successful)
        metrics.config_reloads.labels(status="success" if is_successful else "failure").inc()
        if is_successful:
            metrics.config_last_reload_success_timestamp_seconds.set(time.time())
