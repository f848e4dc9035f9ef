"""When work is done: periodically on live data, or once over given ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

from vmanomaly.clock import Clock
from vmanomaly.config.registry import SCHEDULERS
from vmanomaly.config.scheduler import SchedulerSection
from vmanomaly.context import RunContext
from vmanomaly.scheduler.periodic import PeriodicJob
from vmanomaly.scheduler.run import Run
from vmanomaly.scheduler.schedule import Progress


class Scheduler(Protocol):
    """Decides when its jobs run."""

    def run(self, on_run_ended: Callable[[], None]) -> tuple[str, ...]:
        """Run the jobs until all is done or `stop` is called. Return what failed, in words.

        Parameters
        ----------
        on_run_ended
            Called after each run of a job, in the thread of the caller.
        """
        ...

    def stop(self) -> None:
        """Start no more runs, and let `run` return. Safe in a signal handler."""
        ...


class SchedulerClass(Protocol):
    """What a class of schedulers has in addition.

    Its parameters are any of `section`, `jobs`, `clock`, `executor`,
    `longest_catch_up`, `eval_delay` and `context`, as in `create_scheduler`.
    """

    @staticmethod
    def planned_runs(section: Any) -> Sequence[Run]:
        """Return the runs of a job that are known in advance, in order; none if there is no end."""
        ...

    @staticmethod
    def fit_is_due(section: Any, progress: Progress, now: int) -> bool:
        """Tell whether a job with this progress has to fit its models now."""
        ...


def create_scheduler(
    section: SchedulerSection,
    jobs: Sequence[PeriodicJob],
    clock: Clock,
    executor: Executor,
    longest_catch_up: int,
    context: RunContext | None = None,
    eval_delay: int = 0,
) -> Scheduler:
    """Return the scheduler that a section of the configuration describes.

    Parameters
    ----------
    section
        The section.
    jobs
        The jobs to start.
    clock
        Tells the time.
    executor
        Where jobs run.
    longest_catch_up
        How much of a backlog is made up, milliseconds.
    context
        Tells the runs whether to stop; counts their steps.
    eval_delay
        How long after it is due a live run begins, milliseconds.
    """
    scheduler: Scheduler = SCHEDULERS.create(
        section.class_name,
        section=section,
        jobs=jobs,
        clock=clock,
        executor=executor,
        longest_catch_up=longest_catch_up,
        context=context or RunContext(),
        eval_delay=eval_delay,
    )
    return scheduler


def planned_runs(section: SchedulerSection) -> Sequence[Run]:
    """Return the runs of each job that are known in advance, in order; none if there is no end."""
    return _class_of(section).planned_runs(section)


def fit_is_due(section: SchedulerSection, progress: Progress, now: int) -> bool:
    """Tell whether a job has to fit its models now.

    Parameters
    ----------
    section
        The section of its scheduler.
    progress
        How far it has come.
    now
        Unix milliseconds.
    """
    return _class_of(section).fit_is_due(section, progress, now)


def _class_of(section: SchedulerSection) -> SchedulerClass:
    scheduler_class: SchedulerClass = SCHEDULERS.implementation(section.class_name)
    return scheduler_class
