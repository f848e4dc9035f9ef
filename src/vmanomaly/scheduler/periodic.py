"""The scheduler that starts jobs again and again, when they are due."""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from vmanomaly.scheduler.clock import Clock
from vmanomaly.scheduler.run import Job
from vmanomaly.scheduler.schedule import PeriodicSchedule, Progress

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Task:
    job: Job
    schedule: PeriodicSchedule
    progress: Progress = field(default_factory=Progress)
    next_index: int = 0


class PeriodicScheduler:
    """Starts every job whenever one of its runs is due.

    Jobs run side by side as far as the executor allows; a job never runs beside itself. One that
    is still running when its next run is due is started again as soon as it ends, once, for all
    the intervals that have passed.

    Parameters
    ----------
    jobs
        The jobs, each with its schedule.
    clock
        Tells the time.
    executor
        Where jobs run.
    """

    def __init__(
        self, jobs: Sequence[tuple[Job, PeriodicSchedule]], clock: Clock, executor: Executor
    ) -> None:
        self._tasks = [_Task(job, schedule) for job, schedule in jobs]
        self._clock = clock
        self._executor = executor
        self._ended: list[tuple[int, Future[None]]] = []
        self._lock = threading.Lock()
        self._wake_up = threading.Event()
        self._stopped = False

    def run(self) -> bool:
        """Start jobs until `stop` is called. Return whether the scheduler failed: it did not.

        Raises
        ------
        Exception
            Whatever a job raises. That is a bug: a job contains the failures it can meet.
        """
        waiting = [(task.schedule.due(0), number) for number, task in enumerate(self._tasks)]
        heapq.heapify(waiting)
        while not self._stopped:
            self._wake_up.clear()
            for number in self._collect():
                task = self._tasks[number]
                heapq.heappush(waiting, (task.schedule.due(task.next_index), number))
            while waiting and waiting[0][0] <= self._clock.now() and not self._stopped:
                self._start(heapq.heappop(waiting)[1])
            if not self._stopped:
                self._clock.wait(self._wake_up, waiting[0][0] if waiting else None)
        return False

    def stop(self) -> None:
        """Start no more runs. Those that are under way go on; the caller waits for them."""
        self._stopped = True
        self._wake_up.set()

    def _start(self, number: int) -> None:
        future = self._executor.submit(self._execute, self._tasks[number])
        future.add_done_callback(lambda done: self._finish(number, done))

    def _finish(self, number: int, future: Future[None]) -> None:
        with self._lock:
            self._ended.append((number, future))
        self._wake_up.set()

    def _collect(self) -> list[int]:
        with self._lock:
            ended, self._ended = self._ended, []
        for _, future in ended:
            future.result()
        return [number for number, _ in ended]

    def _execute(self, task: _Task) -> None:
        index = task.schedule.latest_index(self._clock.now())
        if index > task.next_index:
            logger.info(
                "%s is late: this run covers the intervals of %d missed runs too",
                task.job.name,
                index - task.next_index,
            )
        for run in task.schedule.runs(index, task.progress):
            if self._stopped:
                return
            outcome = task.job.execute(run)
            task.schedule.advance(task.progress, index, run, outcome)
            if not outcome.inferred:
                break
        task.next_index = index + 1
