"""The sections of the schedulers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator

from vmanomaly.config.problems import Findings, Path, expectation
from vmanomaly.config.section import Section, read_section
from vmanomaly.config.values.fields import Flag, SchedulerDuration, TimeZone, as_text, whole
from vmanomaly.config.values.time import parse_clock, parse_iso, parse_time, parse_unix


def _start(value: object) -> str:
    text = as_text(value)
    try:
        if parse_clock(text) is None:
            parse_iso(text)
    except ValueError as error:
        raise ValueError("expected HH:MM, or a time such as 2025-05-08T03:00:00Z") from error
    return text


class SchedulerSection(Section):
    """What every scheduler takes.

    Attributes
    ----------
    tz
        Time zone of times without an offset.
    """

    class_name: str = Field(alias="class")
    tz: TimeZone = "UTC"


class PeriodicSection(SchedulerSection):
    """Fit and infer again and again.

    Attributes
    ----------
    fit_window
        The history a fit reads.
    infer_every, fit_every
        Distance of two infers and of two fits.
    start_from
        Of the first fit: an ISO 8601 time, or `HH:MM`, both in `tz`. None: at once.
    scatter_infer_jobs
        Whether infers are spread over `infer_every`.
    """

    class_name: str = Field("periodic", alias="class")
    fit_window: SchedulerDuration
    infer_every: SchedulerDuration
    fit_every: SchedulerDuration = Field(default_factory=lambda data: data["infer_every"])
    start_from: Annotated[str, PlainValidator(_start)] | None = None
    scatter_infer_jobs: Flag = False


class TimedSection(SchedulerSection):
    """A scheduler of fixed times.

    Attributes
    ----------
    stretches
        Start and end of each stretch of time: the name in the YAML, and the field.
    suffixes
        What follows the name in the YAML.
    """

    stretches: ClassVar[tuple[tuple[tuple[str, str], tuple[str, str]], ...]] = ()
    suffixes: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def time_keys(cls) -> list[str]:
        """Return the keys of the YAML that hold times."""
        ends = [end for stretch in cls.stretches for end in stretch]
        return [name + suffix for name, _ in ends for suffix in cls.suffixes]

    @classmethod
    def yaml_keys(cls) -> list[str]:
        """Return the keys that the YAML may hold, times first."""
        return cls.time_keys() + super().yaml_keys()


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
    derived = frozenset({"fit_start", "fit_end", "infer_start", "infer_end"})

    class_name: str = Field("oneoff", alias="class")
    fit_start: int
    fit_end: int
    infer_start: int
    infer_end: int


class BacktestingSection(TimedSection):
    """Fit and infer over a stretch of history, then end. Times are Unix milliseconds, UTC.

    Attributes
    ----------
    from_time, to_time
        The stretch; what stands at its start does not belong to it, what stands at its end does.
    fit_window, fit_every, infer_every
        As for `periodic`; `infer_every` is None for the step of the query.
    exact
        Whether online models learn in steps of `infer_every`.
    inference_only
        Whether the whole stretch is scored, the history for the fits lying before it.
    n_jobs
        Pieces worked on side by side.
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


def read_scheduler(
    cls: type[SchedulerSection], raw: Mapping[str, Any], path: Path, findings: Findings
) -> SchedulerSection | None:
    """Make the section of a scheduler, its times resolved.

    Parameters
    ----------
    cls
        The section's class.
    raw
        What the YAML holds.
    path
        Its place in the YAML.
    findings
        Takes every problem.
    """
    if not issubclass(cls, TimedSection):
        return read_section(cls, raw, path, findings)
    zone = read_section(_Zone, {"tz": raw.get("tz")}, path, Findings())
    times: dict[str, int | None] = {}
    for start, end in cls.stretches:
        for name, field in (start, end):
            written = {name + suffix: raw.get(name + suffix) for suffix in cls.suffixes}
            given = {key: value for key, value in written.items() if value is not None}
            times[field] = _read_time(given, list(written), zone or _Zone(), path, findings)
        first, last = times[start[1]], times[end[1]]
        if first is not None and last is not None and last <= first:
            findings.error((*path, end[0]), f"the end must be after the start ({start[0]})")
            times[end[1]] = None
    derived = {field: 0 if time is None else time for field, time in times.items()}
    rest = {key: value for key, value in raw.items() if key not in cls.time_keys()}
    section = read_section(cls, rest, path, findings, derived)
    if None in times.values():
        return None
    if isinstance(section, BacktestingSection) and not section.has_room:
        findings.warn(
            path,
            "nothing is scored: fit_window and fit_every together are longer than the stretch; "
            "with inference_only: true the history for the fits lies before it",
        )
    return section


class _Zone(Section):
    tz: TimeZone = "UTC"


def _read_time(
    given: Mapping[str, object], keys: list[str], zone: _Zone, path: Path, findings: Findings
) -> int | None:
    if not given:
        findings.error((*path, keys[0]), f"required, but not set; or set {' or '.join(keys[1:])}")
        return None
    (key, value), *more = given.items()
    if more:
        findings.error((*path, more[0][0]), f"the same time is set by {key} already; keep one")
        return None
    try:
        text = as_text(value)
        if key.endswith("_iso"):
            return parse_iso(text, zone.tz)
        if key.endswith("_s"):
            return parse_unix(text)
        return parse_time(text, zone.tz)
    except ValueError as error:
        findings.error((*path, key), expectation(str(error), (*path, key), value))
        return None
