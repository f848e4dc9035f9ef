"""The scheduler that fits and infers once over given ranges."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Executor, Future

from vmanomaly.config.scheduler import OneoffSection
from vmanomaly.scheduler.run import Job, Outcome, Run
from vmanomaly.series import TimeRange


def oneoff_run(section: OneoffSection) -> Run:
    """Return the only run of a `oneoff` scheduler; both ends of its ranges belong to them.

    Online models predict one step of the query at a time and then learn it, as a periodic
    scheduler whose `infer_every` is that step would have had them do.
    """
    return Run(
        fit=TimeRange(section.fit_start - 1, section.fit_end),
        infer=TimeRange(section.infer_start - 1, section.infer_end),
    )


class OneoffScheduler:
    """Carries out one run of every job, side by side as far as the executor allows.

    Parameters
    ----------
    jobs
        The jobs.
    run
        What each of them has to do.
    executor
        Where jobs run.
    """

    def __init__(self, jobs: Sequence[Job], run: Run, executor: Executor) -> None:
        self._jobs = jobs
        self._run = run
        self._executor = executor
        self._wake_up = threading.Event()

    def run(self) -> bool:
        """Return, when all jobs are done or `stop` was called, whether one of them failed.

        Raises
        ------
        Exception
            Whatever a job raises. That is a bug: a job contains the failures it can meet.
        """
        futures = [self._executor.submit(job.execute, self._run) for job in self._jobs]
        lock = threading.Lock()
        n_left = len(futures)

        def count(_: Future[Outcome]) -> None:
            nonlocal n_left
            with lock:
                n_left -= 1
            if n_left == 0:
                self._wake_up.set()

        for future in futures:
            future.add_done_callback(count)
        self._wake_up.wait()
        return any(future.result().failed for future in futures if future.done())

    def stop(self) -> None:
        """Wait for the jobs no longer. Those that are under way go on."""
        self._wake_up.set()
