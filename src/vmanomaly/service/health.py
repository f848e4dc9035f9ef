"""Whether the service can do its work, and if not, why."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from vmanomaly.episodes import Episodes
from vmanomaly.errors import DatasourceError

logger = logging.getLogger(__name__)

_PROBE_EVERY_S = 5.0


class Health:
    """What is wrong at the moment, by component.

    A component that fails is probed until it answers again, so that the service does not call
    itself unhealthy until its next run, which may be hours away.

    Parameters
    ----------
    probes
        By component, what raises `DatasourceError` while its datasource cannot be reached.
    probe_every
        Seconds between two probes of a component that fails.

    Notes
    -----
    Whoever reports a failure has logged it. What a probe finds is logged by the next one, unless
    it was reported by then.

    Examples
    --------
    >>> health = Health({})
    >>> health.report("scheduler daily", "died: out of range")
    >>> health.reasons()
    ['scheduler daily: died: out of range']
    """

    def __init__(
        self, probes: Mapping[str, Callable[[], None]], probe_every: float = _PROBE_EVERY_S
    ) -> None:
        self._probes = dict(probes)
        self._probe_every = probe_every
        self._reasons: dict[str, str] = {}
        self._episodes = Episodes(logger)
        self._lock = threading.Lock()
        self._failing = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="health", daemon=True)

    def start(self) -> None:
        """Probe every component once, then those that fail, in the background."""
        self._failing.set()
        self._thread.start()

    def stop(self) -> None:
        """Probe no more."""
        self._stopped.set()
        self._failing.set()

    def reasons(self) -> list[str]:
        """Return one line a component that fails; empty when all is well."""
        with self._lock:
            return [f"{component}: {reason}" for component, reason in self._reasons.items()]

    def report(self, component: str, reason: str | None) -> None:
        """Note that a component fails for a reason, or works (None)."""
        with self._lock:
            if reason is not None:
                self._reasons[component] = reason
                self._episodes.begin(component, f"{component}: {reason}", logging.DEBUG)
                self._failing.set()
                return
            self._reasons.pop(component, None)
            self._episodes.end(component, f"{component.capitalize()} is well again")

    def report_datasource(self, component: str, error: DatasourceError | None) -> None:
        """Note the outcome of a request: only a datasource out of reach counts as a failure.

        A server that refuses one query is there.
        """
        if error is None:
            self.report(component, None)
        elif error.out_of_reach:
            self.report(component, str(error))

    def _watch(self) -> None:
        to_probe = list(self._probes)
        while self._failing.wait() and not self._stopped.is_set():
            for component in to_probe:
                self._probe(component)
            with self._lock:
                to_probe = [component for component in self._probes if component in self._reasons]
                if not to_probe:
                    self._failing.clear()
            if to_probe:
                self._stopped.wait(self._probe_every)

    def _probe(self, component: str) -> None:
        try:
            self._probes[component]()
        except DatasourceError as error:
            with self._lock:
                if component in self._reasons:
                    message = f"The {component} cannot reach its datasource: {error}"
                    self._episodes.begin(component, message)
                self._reasons[component] = str(error)
        else:
            self.report(component, None)


def scheduler_component(alias: str) -> str:
    """Return the name under which a scheduler is reported."""
    return f"scheduler '{alias}'"
