"""Whether the service can do its work, and if not, why."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from vmanomaly.episodes import Episodes
from vmanomaly.errors import DatasourceError
from vmanomaly.series import Origin

logger = logging.getLogger(__name__)

_NO_ANSWER = frozenset({"connection_error", "timeout", "ssl_error"})
_PROBE_EVERY_S = 5.0
_STOP_WITHIN_S = 2.0
_MAX_REASONS = 20
_MAX_QUERIES = 3
_MAX_CHARACTERS = 1000

_Request: TypeAlias = tuple[str, str, str, str]
"""The component, and the aliases of scheduler and query; then the stage or the model."""


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """How one member of a cluster is.

    Attributes
    ----------
    member : int
        Its number, from 0.
    state : str
        `starting`, `running`, `ended` or `down`.
    node : str or None
        The address of the machine it is on; None before it is on one.
    """

    member: int
    state: str
    node: str | None


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """What is wrong at the moment.

    Attributes
    ----------
    reasons : list of str
        One line for each thing that is wrong, at most 21; empty if all is well.
    needs_restart : bool
        Whether only a restart fixes one of them.
    members : tuple of MemberStatus
        How the members are; empty if this is not a cluster.
    """

    reasons: list[str]
    needs_restart: bool
    members: tuple[MemberStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str
    cause: str

    @classmethod
    def of(cls, error: DatasourceError) -> _Failure:
        # What a reader adds to the words of its client contains the range, which always differs.
        reason = error.__cause__ if isinstance(error.__cause__, DatasourceError) else error
        return cls(str(reason), "no answer" if error.code in _NO_ANSWER else error.code)


class Health:
    """What is wrong at the moment, and which of it a restart fixes.

    There are three kinds of reasons, each of which ends in its own way:

    - A datasource cannot be reached, according to its probe. It is probed at the start, after a
      request to it has failed, and then until it answers, so that the end of an outage is noticed
      before the next run, which may be hours away.
    - A read or a write fails. Only a success of the same read or write ends that: a datasource
      that answers its probe may still refuse a query. If the probe fails for the same cause,
      that is the only reason, and its end is the end of both.
    - Whatever a component reports about itself, until it reports that this is over.

    Parameters
    ----------
    probes
        By component, what raises `DatasourceError` while its datasource cannot be reached.
    probe_every
        Seconds between two probes.

    Notes
    -----
    Whoever reports a failure has logged it. What a probe finds is logged by the next probe, unless
    a request has failed by then.

    Examples
    --------
    >>> health = Health({})
    >>> health.report("scheduler 'daily'", "died: out of range", needs_restart=True)
    >>> health.status()
    HealthStatus(reasons=["scheduler 'daily': died: out of range"], needs_restart=True, members=())
    >>> health.report("scheduler 'daily'", None)
    >>> health.report_read("daily", "cpu", "infer", DatasourceError("answered 401", "401"))
    >>> health.status()
    HealthStatus(reasons=['reader: query cpu: answered 401'], needs_restart=False, members=())
    """

    def __init__(
        self, probes: Mapping[str, Callable[[], None]], probe_every: float = _PROBE_EVERY_S
    ) -> None:
        self._probes = dict(probes)
        self._probe_every = probe_every
        self._reported: dict[str, tuple[str, bool]] = {}
        self._unreachable: dict[str, _Failure] = {}
        self._failing: dict[_Request, _Failure] = {}
        self._answered: set[str] = set()
        self._to_probe: set[str] = set()
        self._episodes = Episodes(logger)
        self._lock = threading.Lock()
        self._wake_up = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="health", daemon=True)

    def start(self) -> None:
        """Probe every datasource once, then those that fail, in the background."""
        self.probe_again()
        self._thread.start()

    def stop(self) -> None:
        """Stop probing, and wait a moment for the probe in progress.

        A thread in the code of a database must not outlive the interpreter: C++ cannot be unwound.
        """
        self._stopped.set()
        self._wake_up.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_STOP_WITHIN_S)

    def probe_again(self) -> None:
        """Probe every datasource, which may be another one now."""
        with self._lock:
            self._to_probe.update(self._probes)
        self._wake_up.set()

    def status(self) -> HealthStatus:
        """Return what is wrong: first what a restart fixes."""
        with self._lock:
            reported = sorted(self._reported.items(), key=lambda item: not item[1][1])
            reasons = [f"{component}: {reason}" for component, (reason, _) in reported]
            needs_restart = any(needs_restart for _, needs_restart in self._reported.values())
            reasons += _reasons_of(self._unreachable)
            reasons += self._reasons_of_requests()
        return HealthStatus(bounded(reasons), needs_restart)

    def reasons(self) -> list[str]:
        """Return one line for each thing that is wrong; empty if all is well."""
        return self.status().reasons

    def reasons_to_restart(self) -> list[str]:
        """Return one line for each thing that only a restart fixes."""
        with self._lock:
            return bounded(
                [
                    f"{component}: {reason}"
                    for component, (reason, needs_restart) in self._reported.items()
                    if needs_restart
                ]
            )

    def reasons_of_datasources(self) -> list[str]:
        """Return one line for each datasource that does not answer, or has not answered yet."""
        with self._lock:
            waiting = self._probes.keys() - self._answered - self._unreachable.keys()
            reasons = [f"{component}: has not answered yet" for component in sorted(waiting)]
            return bounded(_reasons_of(self._unreachable) + reasons)

    def failing_fits(self) -> set[tuple[str, str]]:
        """Return the aliases of scheduler and query of reads for a fit that fail."""
        with self._lock:
            return {
                (scheduler, query)
                for component, scheduler, query, stage in self._failing
                if (component, stage) == ("reader", "fit")
            }

    def report(self, component: str, reason: str | None, *, needs_restart: bool = False) -> None:
        """Note that a component fails for a reason, or works (None).

        Parameters
        ----------
        component
            What fails. It has one reason at a time: the last one reported.
        reason
            What is wrong.
        needs_restart
            Whether only a restart of the process fixes it.
        """
        with self._lock:
            if reason is not None:
                self._reported[component] = (reason, needs_restart)
                self._episodes.begin(component, f"{component}: {reason}", logging.DEBUG)
                return
            self._reported.pop(component, None)
            self._episodes.end(component, f"{component.capitalize()} has recovered")

    def report_read(
        self, scheduler_alias: str, query_key: str, stage: str, error: DatasourceError | None
    ) -> None:
        """Note how a read of a query went; None if it succeeded."""
        if self._note(("reader", scheduler_alias, query_key, stage), error):
            self._note_answer("reader")

    def report_write(self, origin: Origin, error: DatasourceError | None) -> None:
        """Note how a write went; None if it succeeded, or if there was nothing to write."""
        self._note(("writer", origin.scheduler_alias, origin.query_key, origin.model_alias), error)

    def forget_scheduler(self, alias: str) -> None:
        """Forget what was reported about a scheduler, its reads and its writes."""
        self.forget_requests(alias)
        with self._lock:
            of_queries = self._of_queries(alias)
        for component in [scheduler_component(alias), *of_queries]:
            self.report(component, None)

    def forget_requests(self, alias: str) -> None:
        """Forget what was reported about the reads and the writes of a scheduler."""
        with self._lock:
            self._failing = {
                request: failure
                for request, failure in self._failing.items()
                if request[1] != alias
            }

    def stuck_reason(self, alias: str) -> str | None:
        """Return what was reported about a run of a scheduler that does not come back, if any."""
        with self._lock:
            for component in self._of_queries(alias):
                reason, needs_restart = self._reported[component]
                if needs_restart:
                    return f"{component}: {reason}"
        return None

    def _of_queries(self, alias: str) -> list[str]:
        prefix = f"{scheduler_component(alias)}, "
        return [component for component in self._reported if component.startswith(prefix)]

    def _note(self, request: _Request, error: DatasourceError | None) -> bool:
        """Note the outcome of a request. Return whether it went well."""
        with self._lock:
            if error is None:
                self._failing.pop(request, None)
                return True
            self._failing[request] = _Failure.of(error)
            self._to_probe |= {request[0]} & self._probes.keys()
        self._wake_up.set()
        return False

    def _note_answer(self, component: str) -> None:
        """Note that a datasource can be reached, and end what was due to its outage."""
        with self._lock:
            self._answered.add(component)
            failure = self._unreachable.pop(component, None)
            if failure is not None:
                self._failing = {
                    request: failing
                    for request, failing in self._failing.items()
                    if (request[0], failing.cause) != (component, failure.cause)
                }
                self._episodes.end(
                    _reach_of(component), f"The {component} reaches its datasource again"
                )

    def _watch(self) -> None:
        while self._wake_up.wait() and not self._stopped.is_set():
            with self._lock:
                to_probe = self._to_probe | self._unreachable.keys()
                self._to_probe = set()
            for component in sorted(to_probe):
                self._probe(component)
            with self._lock:
                if not self._to_probe and not self._unreachable:
                    self._wake_up.clear()
            # However many requests fail, and even where each probe is answered.
            self._stopped.wait(self._probe_every)

    def _probe(self, component: str) -> None:
        try:
            self._probes[component]()
        except DatasourceError as error:
            with self._lock:
                is_told = any(request[0] == component for request in self._failing)
                if is_told or component in self._unreachable:
                    self._episodes.begin(
                        _reach_of(component),
                        f"The {component} cannot reach its datasource: {error}",
                        logging.DEBUG if is_told else logging.WARNING,
                    )
                self._unreachable[component] = _Failure.of(error)
        else:
            self._note_answer(component)

    def _reasons_of_requests(self) -> list[str]:
        """Return a line for each reason for which reads or writes fail."""
        queries: dict[tuple[str, str], dict[str, None]] = {}
        for (component, _, query, _), failure in self._failing.items():
            unreachable = self._unreachable.get(component)
            if unreachable is None or unreachable.cause != failure.cause:
                queries.setdefault((component, failure.reason), {})[query] = None
        return [
            f"{component}: {_named(names)}: {reason}"
            for (component, reason), names in queries.items()
        ]


def scheduler_component(alias: str) -> str:
    """Return the name under which a scheduler is reported."""
    return f"scheduler '{alias}'"


def _reach_of(component: str) -> str:
    """Return the name of the episodes in which a component cannot reach its datasource."""
    return f"reach of {component}"


def _reasons_of(failures: Mapping[str, _Failure]) -> list[str]:
    return [f"{component}: {failure.reason}" for component, failure in failures.items()]


def _named(queries: Iterable[str]) -> str:
    names = list(queries)
    more = f" and {len(names) - _MAX_QUERIES} more" if len(names) > _MAX_QUERIES else ""
    return f"{'query' if len(names) == 1 else 'queries'} {', '.join(names[:_MAX_QUERIES])}{more}"


def bounded(reasons: list[str]) -> list[str]:
    """Return at most 21 reasons, each as a line of at most 1,000 characters."""
    lines = []
    for reason in reasons[:_MAX_REASONS]:
        line = " ".join(reason.split())
        lines.append(line if len(line) <= _MAX_CHARACTERS else f"{line[: _MAX_CHARACTERS - 1]}…")
    if len(reasons) > _MAX_REASONS:
        lines.append(f"and {len(reasons) - _MAX_REASONS} more")
    return lines
