"""The section of the scheduler `periodic`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PlainValidator

from vmanomaly.config.effect import RESTARTS
from vmanomaly.config.scheduler.base import SchedulerSection
from vmanomaly.config.values.fields import Flag, SchedulerDuration, as_text
from vmanomaly.config.values.time import parse_clock, parse_iso


def _start(value: object) -> str:
    text = as_text(value)
    try:
        if parse_clock(text) is None:
            parse_iso(text)
    except ValueError as error:
        raise ValueError("expected HH:MM, or a time such as 2025-05-08T03:00:00Z") from error
    return text


class PeriodicSection(SchedulerSection):
    """Fit and infer repeatedly, without end.

    Attributes
    ----------
    fit_window
        The history a fit reads.
    infer_every, fit_every
        Time between two infers, and between two fits.
    start_from
        When the first fit is due: an ISO 8601 time, or `HH:MM`, both in `tz`. None: at once.
    scatter_infer_jobs
        Whether infers are spread over `infer_every`.
    aligned
        Whether the times of runs follow from the section alone, and not from when it is started.
    """

    ends_by_itself = False
    derived = frozenset({"aligned"})

    class_name: str = Field("periodic", alias="class")
    fit_window: SchedulerDuration
    infer_every: SchedulerDuration
    fit_every: SchedulerDuration = Field(default_factory=lambda data: data["infer_every"])
    start_from: Annotated[str, PlainValidator(_start)] | None = None
    scatter_infer_jobs: Flag = False
    aligned: Annotated[bool, RESTARTS] = False

    def for_replicas(self) -> Self:
        """Return the section with runs at the same times, whenever it is started."""
        return self.model_copy(update={"aligned": True})

    @property
    def look_back(self) -> int:
        """The previous interval, milliseconds."""
        return int(self.infer_every)

    @property
    def longest_catch_up(self) -> int:
        """The fit window, which is known to fit into memory, milliseconds."""
        return int(self.fit_window)
