"""The scheduler that starts jobs whenever they are due, without end."""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from vmanomaly.clock import Clock
from vmanomaly.config.scheduler import PeriodicSection
from vmanomaly.context import RunContext
from vmanomaly.episodes import counted
from vmanomaly.scheduler.run import Job, Run
from vmanomaly.scheduler.schedule import (
    PeriodicSchedule,
    Progress,
    fit_is_due,
    periodic_schedules,
)

logger = logging.getLogger(__name__)


class PeriodicJob(Job, Protocol):
    """A job that continues from run to run."""

    @property
    def progress(self) -> Progress:
        """How far it has come: only its schedule advances it."""
        ...

    @property
    def unfitted(self) -> bool:
        """Whether a model of the job waits for its first fit."""
        ...

    def keep(self) -> None:
        """Store what was learned and how far the job has come, if it is to outlive the process."""


@dataclass(slots=True)
class _PeriodicTask:
    job: PeriodicJob
    schedule: PeriodicSchedule
    next_index: int

    @property
    def due(self) -> int:
        return self.schedule.due(self.next_index)

    def follow(self, now: int) -> None:
        """Follow a clock that was set back, unless by less than an interval."""
        index = self.schedule.latest_index(now)
        if self.next_index == 0 or self.next_index - index <= 2:
            return
        logger.warning(
            "%s: the clock was set back; runs continue from the current time", self.job.name
        )
        self.schedule.set_back(self.job.progress, index)
        self.next_index = index + 1

    def runs(self, index: int) -> Iterator[Run]:
        """Give what is to be done at the run `index`, each when the one before it is done."""
        progress = self.job.progress
        while (replay := self.schedule.replay(progress)) is not None:
            yield replay
        yield from self.schedule.runs(index, progress, unfitted=self.job.unfitted)


class PeriodicScheduler:
    """Starts every job whenever one of its runs is due.

    Jobs run in parallel as far as the executor allows; a job never overlaps with itself. One that
    is still running when its next run is due is started again as soon as it ends, once, for all
    the intervals that have passed.

    `run` may be called again after it raised: it continues where it was.

    Parameters
    ----------
    section
        Says when runs are due.
    jobs
        The jobs.
    clock
        Tells the time.
    executor
        Where jobs run.
    longest_catch_up
        How much of a backlog is made up, milliseconds.
    context
        Tells the runs whether to stop; counts their steps.
    eval_delay
        How long after it is due a run begins, milliseconds. The first run, if no time is set for
        it, begins at once, and is due that much earlier.
    """

    def __init__(
        self,
        section: PeriodicSection,
        jobs: Sequence[PeriodicJob],
        clock: Clock,
        executor: Executor,
        longest_catch_up: int,
        context: RunContext,
        eval_delay: int = 0,
    ) -> None:
        self._clock = clock
        self._eval_delay = eval_delay
        progresses = [job.progress for job in jobs]
        names = [job.name for job in jobs]
        schedules = periodic_schedules(
            section, progresses, self._due_now(), longest_catch_up, names
        )
        self._tasks = [
            _PeriodicTask(job, schedule, schedule.next_index(job.progress))
            for job, schedule in zip(jobs, schedules, strict=True)
        ]
        self._executor = executor
        self._context = context
        self._under_way: set[int] = set()
        self._ended: SimpleQueue[tuple[int, Future[None]]] = SimpleQueue()
        self._wake_up = threading.Event()
        self._stopped = False

    def run(self, on_run_ended: Callable[[], None]) -> tuple[str, ...]:
        """Start jobs until `stop` is called. Always returns that nothing failed.

        Raises
        ------
        Exception
            Whatever a job raises. That is a bug: a job contains the failures it can meet.
        """
        waiting: list[tuple[int, int]] = []
        self._await(waiting, self._idle())
        last = self._due_now()
        while not self._stopped:
            self._wake_up.clear()
            for number, future in self._collect():
                self._await(waiting, [number])
                future.result()
                on_run_ended()
            now = self._due_now()
            if now < last:
                waiting.clear()
                self._await(waiting, self._idle())
            last = now
            while waiting and waiting[0][0] <= now and not self._stopped:
                self._start(heapq.heappop(waiting)[1])
            if not self._stopped:
                due = waiting[0][0] + self._eval_delay if waiting else None
                self._clock.wait(self._wake_up, due)
        return ()

    def stop(self) -> None:
        """Start no more runs. Those in progress continue; the caller waits for them."""
        self._stopped = True
        self._wake_up.set()

    @staticmethod
    def planned_runs(section: PeriodicSection) -> Sequence[Run]:
        """Return nothing: runs become due without end."""
        return ()

    @staticmethod
    def fit_is_due(section: PeriodicSection, progress: Progress, now: int) -> bool:
        """Tell whether a job with this progress has to fit its models now."""
        return fit_is_due(section, progress, now)

    def _due_now(self) -> int:
        """Return the latest due time of runs that may begin now, Unix milliseconds."""
        return self._clock.now() - self._eval_delay

    def _idle(self) -> list[int]:
        return [number for number in range(len(self._tasks)) if number not in self._under_way]

    def _await(self, waiting: list[tuple[int, int]], numbers: list[int]) -> None:
        """Add tasks to the heap of those that wait for their time."""
        for number in numbers:
            task = self._tasks[number]
            task.follow(self._due_now())
            heapq.heappush(waiting, (task.due, number))

    def _start(self, number: int) -> None:
        self._under_way.add(number)
        future = self._executor.submit(self._execute, self._tasks[number])
        future.add_done_callback(lambda done: self._finish(number, done))

    def _finish(self, number: int, future: Future[None]) -> None:
        self._ended.put((number, future))
        self._wake_up.set()

    def _collect(self) -> Iterator[tuple[int, Future[None]]]:
        """Yield the runs that have ended, one at a time: what is not taken stays for later."""
        while not self._ended.empty():
            number, future = self._ended.get()
            self._under_way.remove(number)
            yield number, future

    def _execute(self, task: _PeriodicTask) -> None:
        index = max(task.schedule.latest_index(self._due_now()), task.next_index)
        if index > task.next_index:
            logger.info(
                "%s is late: this run also covers %s",
                task.job.name,
                counted(index - task.next_index, "missed interval"),
            )
        job = task.job
        for run in task.runs(index):
            if self._stopped:
                return
            result = job.execute(run, self._context)
            task.schedule.advance(job.progress, index, run, result)
            job.keep()
            if not result.inferred:
                break
        task.next_index = index + 1
