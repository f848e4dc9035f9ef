"""The section of the scheduler `backtesting`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self

from pydantic import Field

from vmanomaly.config.problems import Findings, Path
from vmanomaly.config.scheduler.timed import TimedSection
from vmanomaly.config.values.fields import Flag, SchedulerDuration, whole


class BacktestingSection(TimedSection):
    """Fit and infer over a stretch of history, then end. Times are Unix milliseconds, UTC.

    Attributes
    ----------
    from_time, to_time
        The stretch; its start is exclusive, its end inclusive.
    fit_window, fit_every, infer_every
        As for `periodic`; `infer_every` is None for the step of the query.
    exact
        Whether online models learn in steps of `infer_every`.
    inference_only
        Whether the whole stretch is scored, with the history for the fits before it.
    n_jobs
        How many pieces are processed at a time.
    """

    stretches = ((("from", "from_time"), ("to", "to_time")),)
    suffixes = ("_iso", "_s", "")
    derived = frozenset({"from_time", "to_time"})

    class_name: str = Field("backtesting", alias="class")
    from_time: int
    to_time: int
    fit_window: SchedulerDuration
    fit_every: SchedulerDuration
    infer_every: SchedulerDuration | None = None
    exact: Flag = False
    inference_only: Flag = False
    n_jobs: Annotated[int, whole(1)] = 1

    @property
    def has_room(self) -> bool:
        """Whether there is something to score."""
        needed = int(self.fit_window) + int(self.fit_every)
        return self.inference_only or self.to_time - self.from_time >= needed

    @property
    def n_runs_at_once(self) -> int:
        """How many pieces are processed at a time."""
        return self.n_jobs

    @classmethod
    def read(
        cls,
        raw: Mapping[str, Any],
        path: Path,
        findings: Findings,
        known_elsewhere: Callable[[str], str | None] = lambda key: None,
    ) -> Self | None:
        """Make the section from a mapping; warn if nothing would be scored."""
        section = super().read(raw, path, findings, known_elsewhere)
        if section is not None and not section.has_room:
            findings.warn(
                path,
                "nothing is scored: fit_window and fit_every together are longer than the stretch; "
                "with inference_only: true the history for the fits lies before it",
            )
        return section
