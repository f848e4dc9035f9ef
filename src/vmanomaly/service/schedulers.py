"""The schedulers that run: each supervised in its own thread, with its own lane."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TypeAlias

from vmanomaly.clock import Clock
from vmanomaly.context import RunContext
from vmanomaly.errors import RollbackError, VmanomalyError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader.workers import n_reads_at_once
from vmanomaly.scheduler import create_scheduler, planned_runs
from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob
from vmanomaly.service.lane import Lane
from vmanomaly.service.plan import longest_catch_up
from vmanomaly.service.supervisor import MAX_RESTARTS, Supervisor
from vmanomaly.service.work import Work

# Whether a run is stuck is noticed elsewhere, after minutes.
_LOOK_EVERY_S = 1.0
_LONGEST_WAIT_S = 1.0

_OnEnd: TypeAlias = Callable[[str, tuple[str, ...]], None]


class _Running(threading.Thread):
    """A scheduler that was started, in its own thread.

    It reports itself when it has ended: its thread is still alive at that moment.
    """

    def __init__(
        self, alias: str, work: Work, lane: Lane, supervisor: Supervisor, on_end: _OnEnd
    ) -> None:
        super().__init__(name=f"scheduler {alias}")
        self.work = work
        self.lane = lane
        self.supervisor = supervisor
        self.has_ended = False
        self.ends_by_itself = work.config.schedulers[alias].ends_by_itself
        self._alias = alias
        self._on_end = on_end

    def run(self) -> None:
        """Run the scheduler to its end, whatever that is."""
        reasons: tuple[str, ...] = ("died",)
        try:
            reasons = self.supervisor.run()
        finally:
            self.has_ended = True
            self._on_end(self._alias, reasons)


class Schedulers:
    """Starts and ends schedulers, while others keep running.

    Parameters
    ----------
    clock
        Tells the time.
    health
        Where a dead scheduler is reported.
    metrics
        Where liveness and restarts are recorded.
    context
        Tells the runs whether to stop; counts their steps.

    Attributes
    ----------
    failures : dict of str to tuple of str
        What failed, in words, by the alias of each scheduler that ended with a failure.
    """

    def __init__(self, clock: Clock, health: Health, metrics: Metrics, context: RunContext) -> None:
        self.failures: dict[str, tuple[str, ...]] = {}
        self._context = context
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._running: dict[str, _Running] = {}
        self._stopped = threading.Event()
        self._is_over = False
        self._is_changing = False
        self._changed = threading.Condition()

    @property
    def aliases(self) -> list[str]:
        """Those that were started and not ended, whether they are still alive or not."""
        return list(self._running)

    @property
    def works(self) -> list[Work]:
        """What the schedulers were made from, one item per scheduler."""
        return [running.work for running in list(self._running.values())]

    @property
    def jobs(self) -> list[QueryJob]:
        """The jobs of all schedulers that were started and not ended."""
        return [
            job
            for alias, running in list(self._running.items())
            for job in running.work.jobs[alias]
        ]

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    @property
    def is_over(self) -> bool:
        """Whether no scheduler is to be started any more."""
        return self._is_over or self.is_stopped

    def start(self, work: Work, aliases: Collection[str]) -> None:
        """Start some of the schedulers of a configuration."""
        if self.is_over:
            return
        self._context.expect(_n_steps(work, aliases))
        for alias in aliases:
            lane = Lane(_n_threads(work, alias), f"worker of {alias}")
            # Only now, since the first run is due when its scheduler is made.
            supervisor = self._supervisor(alias, work, lane)
            self._running[alias] = _Running(alias, work, lane, supervisor, self._note_end)
            self._running[alias].start()
            if self.is_stopped:
                supervisor.stop()

    def stop(self) -> None:
        """Have all schedulers start no more runs. Safe in a signal handler."""
        self._stopped.set()
        for running in list(self._running.values()):
            running.supervisor.stop()
        # The lock is reentrant: a handler may interrupt its holder.
        with self._changed:
            self._changed.notify_all()

    def end(self, aliases: Collection[str]) -> None:
        """End some schedulers, each between two of its runs, and wait for that.

        Raises
        ------
        RollbackError
            A run that is waited for is stuck.
        """
        ending = {alias: self._running[alias] for alias in aliases}
        for running in ending.values():
            running.supervisor.stop()
        for alias, running in ending.items():
            running.join()
            while not running.lane.drain(_LOOK_EVERY_S):
                if reason := self._health.stuck_reason(alias):
                    raise RollbackError(f"{reason}, and its run cannot be ended")
            running.lane.close()
        for alias in ending:
            del self._running[alias]
            self._health.forget_scheduler(alias)

    def check_not_stuck(self, aliases: Collection[str]) -> None:
        """Check that the runs of some schedulers can be waited for.

        Raises
        ------
        VmanomalyError
            One is stuck.
        """
        for alias in aliases:
            if reason := self._health.stuck_reason(alias):
                raise VmanomalyError(
                    f"{reason}, and its scheduler cannot be changed before it comes back; restart "
                    f"the service"
                )

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep `wait` from returning while all have ended because others will replace them."""
        with self._changed:
            self._is_changing = True
        try:
            yield
        finally:
            with self._changed:
                self._is_changing = False
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait until every scheduler has ended; if there is none, until `stop` is called.

        Signals are handled meanwhile, in the main thread. One that arrives just before a wait
        begins, or in another thread, does not interrupt it, and its handler runs only when the
        wait is over: so no wait is long.
        """
        with self._changed:
            while not self._changed.wait_for(lambda: self._has_ended, _LONGEST_WAIT_S):
                pass
            self._is_over = True

    def stop_reading(self) -> None:
        """Drop the runs that wait for a thread, and end the reads in progress.

        What has already been read is scored and written. Returns at once.
        """
        for alias, running in list(self._running.items()):
            running.lane.close()
            for job in running.work.jobs[alias]:
                job.stop_reading()

    def join(self, deadline_s: float) -> bool:
        """Wait for the runs in progress. Return whether all have ended in time.

        Parameters
        ----------
        deadline_s
            By `time.monotonic`.
        """
        lanes = [running.lane for running in list(self._running.values())]
        drained = [lane.drain(max(0.0, deadline_s - monotonic())) for lane in lanes]
        return all(drained)

    @property
    def _has_ended(self) -> bool:
        started = list(self._running.values())
        all_ended = all(running.has_ended for running in started)
        return all_ended and (self.is_stopped or not (self._is_changing or not started))

    def _supervisor(self, alias: str, work: Work, lane: Lane) -> Supervisor:
        section = work.config.schedulers[alias]
        scheduler = create_scheduler(
            section,
            work.jobs[alias],
            self._clock,
            lane,
            longest_catch_up(work.config, alias),
            self._context,
            int(work.config.reader.eval_delay),
        )
        # One that ends by itself would begin from the start again.
        max_restarts = 0 if section.ends_by_itself else MAX_RESTARTS
        return Supervisor(
            alias,
            scheduler,
            max_restarts,
            self._clock,
            self._health,
            self._metrics,
        )

    def _note_end(self, alias: str, reasons: tuple[str, ...]) -> None:
        with self._changed:
            if reasons:
                self.failures[alias] = reasons
            if self._running[alias].ends_by_itself:
                # Nothing will read or write again for it, and so end what failed last.
                self._health.forget_requests(alias)
            self._changed.notify_all()


def _n_threads(work: Work, alias: str) -> int:
    """Return how many runs of a scheduler may be in progress at a time."""
    section = work.config.schedulers[alias]
    if section.ends_by_itself:
        return max(n_reads_at_once(work.config.reader), section.n_runs_at_once)
    return len(work.jobs[alias])


def _n_steps(work: Work, aliases: Collection[str]) -> int:
    """Return how many steps the runs have that are known in advance."""
    return sum(
        job.n_steps(run)
        for alias in aliases
        for run in planned_runs(work.config.schedulers[alias])
        for job in work.jobs[alias]
    )
