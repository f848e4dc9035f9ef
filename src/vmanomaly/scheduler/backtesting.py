"""The scheduler that does over a stretch of history what `periodic` would have done in it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Executor

from vmanomaly.config.scheduler import BacktestingSection
from vmanomaly.config.values.time import format_time
from vmanomaly.context import RunContext
from vmanomaly.scheduler.finite import FiniteScheduler
from vmanomaly.scheduler.run import Job, Run, RunResult
from vmanomaly.series import TimeRange

logger = logging.getLogger(__name__)


def backtesting_runs(section: BacktestingSection) -> list[Run]:
    """Return the runs of a `backtesting` scheduler, in the order of time.

    Each scores a piece of the history, `fit_every` long and counted back from the end, and first
    fits the models on the `fit_window` before it. What is exactly at the start of a piece
    belongs to its history, as under `periodic`; so consecutive pieces, and consecutive backtests,
    score every timestamp once.

    With `inference_only` the pieces cover everything from `from` to `to`, and the first one may
    be shorter. Otherwise `from` bounds the history too, and there are as many pieces as have
    their whole `fit_window` after it.

    With `exact` the micro-batches of a piece are `infer_every` long, counted from its start as
    `periodic` would have after the same fit; otherwise a piece is one micro-batch.

    Examples
    --------
    >>> day = 86_400_000
    >>> section = BacktestingSection(
    ...     from_time=0, to_time=10 * day, fit_window="7d", fit_every="1d"
    ... )
    >>> [(run.fit.start // day, run.infer.end // day) for run in backtesting_runs(section)]
    [(0, 8), (1, 9), (2, 10)]
    """
    fit_window, fit_every = int(section.fit_window), int(section.fit_every)
    history = 0 if section.inference_only else fit_window
    earliest = section.from_time + history
    runs = []
    for end in range(section.to_time, earliest, -fit_every):
        start = end - fit_every
        if start < earliest:
            if not section.inference_only:
                break
            start = earliest
        runs.append(
            Run(
                fit=TimeRange(start - fit_window, start),
                infer=TimeRange(start, end),
                micro_batch=_micro_batch(section, end - start),
                micro_batch_end=start,
            )
        )
    return runs[::-1]


def _micro_batch(section: BacktestingSection, piece: int) -> int | None:
    if not section.exact:
        return piece
    return None if section.infer_every is None else int(section.infer_every)


class BacktestingScheduler(FiniteScheduler):
    """Carries out the runs of a stretch of history for every job, `n_jobs` of them at a time.

    Parameters
    ----------
    jobs
        The jobs.
    section
        Says over which stretch, and how it is cut.
    executor
        Where runs are carried out.
    context
        Tells the runs whether to stop; counts their steps.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        section: BacktestingSection,
        executor: Executor,
        context: RunContext,
    ) -> None:
        super().__init__(jobs, self.planned_runs(section), executor, section.n_jobs, context)

    @staticmethod
    def planned_runs(section: BacktestingSection) -> Sequence[Run]:
        """Return the runs of a job, in the order of time."""
        return backtesting_runs(section)

    def _note(self, job: Job, run: Run, result: RunResult, n_done: int) -> None:
        piece = run.infer or TimeRange(0, 0)
        logger.log(
            logging.WARNING if result.failed else logging.INFO,
            "%s: %s to %s %s (%d of %d)%s",
            job.name,
            format_time(piece.start),
            format_time(piece.end),
            "failed" if result.failed else "is scored",
            n_done,
            self.n_runs,
            f": {'; '.join(result.reasons)}" if result.failed else "",
        )
