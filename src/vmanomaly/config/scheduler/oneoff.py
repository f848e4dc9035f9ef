"""The section of the scheduler `oneoff`."""

from __future__ import annotations

from pydantic import Field

from vmanomaly.config.scheduler.timed import TimedSection


class OneoffSection(TimedSection):
    """Fit once, infer once, end. All times are Unix milliseconds, UTC.

    Attributes
    ----------
    fit_start, fit_end
        The history the fit reads.
    infer_start, infer_end
        What is scored.
    """

    stretches = (
        (("fit_start", "fit_start"), ("fit_end", "fit_end")),
        (("infer_start", "infer_start"), ("infer_end", "infer_end")),
    )
    suffixes = ("_iso", "_s")
    single_times = True
    derived = frozenset({"fit_start", "fit_end", "infer_start", "infer_end"})

    class_name: str = Field("oneoff", alias="class")
    fit_start: int
    fit_end: int
    infer_start: int
    infer_end: int
