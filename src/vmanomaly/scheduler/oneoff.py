"""The scheduler that fits and infers once over given ranges."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from vmanomaly.config.scheduler import OneoffSection
from vmanomaly.context import RunContext
from vmanomaly.scheduler.finite import FiniteScheduler
from vmanomaly.scheduler.run import Job, Run
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


class OneoffScheduler(FiniteScheduler):
    """Carries out one run of every job, side by side as far as the executor allows.

    Parameters
    ----------
    jobs
        The jobs.
    section
        Says over which ranges.
    executor
        Where runs are carried out.
    context
        Tells the runs whether to stop; counts their steps.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        section: OneoffSection,
        executor: Executor,
        context: RunContext,
    ) -> None:
        super().__init__(jobs, self.planned_runs(section), executor, len(jobs), context)

    @staticmethod
    def planned_runs(section: OneoffSection) -> Sequence[Run]:
        """Return the only run of a job."""
        return [oneoff_run(section)]
