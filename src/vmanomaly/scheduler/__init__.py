"""When the work is done: periodically on the live edge, or once over given ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Protocol

from vmanomaly.config.scheduler import (
    BacktestingSection,
    OneoffSection,
    PeriodicSection,
    SchedulerSection,
)
from vmanomaly.scheduler.backtesting import BacktestingScheduler
from vmanomaly.scheduler.clock import Clock
from vmanomaly.scheduler.oneoff import OneoffScheduler
from vmanomaly.scheduler.periodic import PeriodicJob, PeriodicScheduler
from vmanomaly.scheduler.schedule import periodic_schedules


class Scheduler(Protocol):
    """Decides when its jobs run."""

    def run(self, on_run_ended: Callable[[], None]) -> bool:
        """Have the jobs run until all is done or `stop` is called. Return whether one failed.

        Parameters
        ----------
        on_run_ended
            Called after each run of a job, in the thread of the caller.
        """
        ...

    def stop(self) -> None:
        """Start no more runs, and let `run` return. Safe in a signal handler."""
        ...


def create_scheduler(
    section: SchedulerSection,
    jobs: Sequence[PeriodicJob],
    clock: Clock,
    executor: Executor,
    longest_catch_up: int,
) -> Scheduler:
    """Return the scheduler that a section of the configuration asks for.

    Parameters
    ----------
    section
        The section.
    jobs
        What it has to start.
    clock
        Tells the time.
    executor
        Where jobs run.
    longest_catch_up
        How much of a backlog a periodic scheduler makes up, milliseconds.
    """
    match section:
        case PeriodicSection():
            progresses = [job.progress for job in jobs]
            schedules = periodic_schedules(section, progresses, clock.now(), longest_catch_up)
            return PeriodicScheduler(list(zip(jobs, schedules, strict=True)), clock, executor)
        case OneoffSection():
            return OneoffScheduler(jobs, section, executor)
        case BacktestingSection():
            return BacktestingScheduler(jobs, section, executor)
        case _:
            raise TypeError(f"no scheduler for {type(section).__name__}")
