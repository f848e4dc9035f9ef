"""When the work is done: periodically on the live edge, or once over given ranges."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Protocol

from vmanomaly.config.scheduler import OneoffSection, PeriodicSection, SchedulerSection
from vmanomaly.scheduler.clock import Clock
from vmanomaly.scheduler.oneoff import OneoffScheduler, oneoff_run
from vmanomaly.scheduler.periodic import PeriodicScheduler
from vmanomaly.scheduler.run import Job
from vmanomaly.scheduler.schedule import periodic_schedules


class Scheduler(Protocol):
    """Decides when its jobs run."""

    def run(self) -> bool:
        """Have the jobs run until all is done or `stop` is called. Return whether one failed."""
        ...

    def stop(self) -> None:
        """Start no more runs, and let `run` return. Safe in a signal handler."""
        ...


def create_scheduler(
    section: SchedulerSection,
    jobs: Sequence[Job],
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
            schedules = periodic_schedules(section, len(jobs), clock.now(), longest_catch_up)
            return PeriodicScheduler(list(zip(jobs, schedules, strict=True)), clock, executor)
        case OneoffSection():
            return OneoffScheduler(jobs, oneoff_run(section), executor)
        case _:
            raise TypeError(f"no scheduler for {type(section).__name__}")
