"""What schedulers that end by themselves share: they work through a list of runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from itertools import islice
from queue import SimpleQueue

from vmanomaly.config.scheduler import SchedulerSection
from vmanomaly.context import RunContext
from vmanomaly.scheduler.run import Job, Run, RunResult
from vmanomaly.scheduler.schedule import Progress

_MAX_REASONS = 5


class FiniteScheduler:
    """Carries out given runs of every job, and ends.

    Every run starts from nothing: no model keeps what it learned in another one. So the result
    does not depend on the order of the runs, nor on how many are in progress at a time.

    Parameters
    ----------
    jobs
        The jobs.
    runs
        What each of them has to do.
    executor
        Where runs are carried out.
    side_by_side
        How many runs are in progress at a time, over all jobs.
    context
        Tells the runs whether to stop; counts their steps.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        runs: Sequence[Run],
        executor: Executor,
        side_by_side: int,
        context: RunContext,
    ) -> None:
        self._tasks = [(job, run) for run in runs for job in jobs]
        self._executor = executor
        self._side_by_side = side_by_side
        self._context = context
        self._ended: SimpleQueue[tuple[Job, Run, Future[RunResult]] | None] = SimpleQueue()

    def run(self, on_run_ended: Callable[[], None]) -> tuple[str, ...]:
        """Return, when all runs are done or `stop` was called, what failed, in words.

        Raises
        ------
        Exception
            Whatever a job raises. That is a bug: a job contains the failures it can meet.
        """
        reasons: list[str] = []
        waiting = iter(self._tasks)
        for task in islice(waiting, self._side_by_side):
            self._start(*task)
        for n_done in range(1, self.n_runs + 1):
            ended = self._ended.get()
            if ended is None:
                break
            job, run, future = ended
            result = future.result()
            reasons += result.reasons
            self._note(job, run, result, n_done)
            on_run_ended()
            for task in islice(waiting, 1):
                self._start(*task)
        return _at_most(_MAX_REASONS, reasons)

    def stop(self) -> None:
        """Start no more runs, and stop waiting for those in progress, which continue."""
        self._ended.put(None)

    @property
    def n_runs(self) -> int:
        """The number of runs, over all jobs."""
        return len(self._tasks)

    @staticmethod
    def fit_is_due(section: SchedulerSection, progress: Progress, now: int) -> bool:
        """Tell that each run fits."""
        return True

    def _start(self, job: Job, run: Run) -> None:
        future = self._executor.submit(job.unlearned().execute, run, self._context)
        future.add_done_callback(lambda done: self._ended.put((job, run, done)))

    def _note(self, job: Job, run: Run, result: RunResult, n_done: int) -> None:
        """Say something about a run that has ended."""


def _at_most(n: int, reasons: list[str]) -> tuple[str, ...]:
    """Return the first reasons, each once, and how many there are in addition.

    Examples
    --------
    >>> _at_most(1, ["a", "a", "b"])
    ('a', '1 more')
    """
    different = tuple(dict.fromkeys(reasons))
    n_more = len(different) - n
    return different if n_more <= 0 else (*different[:n], f"{n_more} more")
