"""What the sections of schedulers with fixed times share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from vmanomaly.config.problems import Findings, Path, expectation
from vmanomaly.config.scheduler.base import SchedulerSection
from vmanomaly.config.section import Section, is_left_out, read_section
from vmanomaly.config.values.fields import TimeZone, as_text
from vmanomaly.config.values.time import format_time, parse_iso, parse_time, parse_unix

_YEAR_ONE = parse_iso("0001-01-01T00:00:00Z")


class TimedSection(SchedulerSection):
    """A scheduler with fixed times.

    Attributes
    ----------
    stretches
        Start and end of each stretch of time: the name in the YAML, and the field.
    suffixes
        What follows the name in the YAML.
    single_times
        Whether a stretch may begin and end at the same time: both ends belong to it.
    """

    stretches: ClassVar[tuple[tuple[tuple[str, str], tuple[str, str]], ...]] = ()
    suffixes: ClassVar[tuple[str, ...]] = ()
    single_times: ClassVar[bool] = False

    @classmethod
    def time_keys(cls) -> list[str]:
        """Return the keys of the YAML that hold times."""
        ends = [end for stretch in cls.stretches for end in stretch]
        return [name + suffix for name, _ in ends for suffix in cls.suffixes]

    @classmethod
    def yaml_keys(cls) -> list[str]:
        """Return the keys that the YAML may hold, times first."""
        return cls.time_keys() + super().yaml_keys()

    @classmethod
    def read(
        cls,
        raw: Mapping[str, Any],
        path: Path,
        findings: Findings,
        known_elsewhere: Callable[[str], str | None] = lambda key: None,
    ) -> Self | None:
        """Make the section from a mapping, its times resolved."""
        zone = read_section(_Zone, {"tz": raw.get("tz")}, path, Findings())
        times: dict[str, int | None] = {}
        for start, end in cls.stretches:
            for name, field in (start, end):
                written = {name + suffix: raw.get(name + suffix) for suffix in cls.suffixes}
                given = {key: value for key, value in written.items() if not is_left_out(value)}
                times[field] = _read_time(given, list(written), zone or _Zone(), path, findings)
            first, last = times[start[1]], times[end[1]]
            if first is None or last is None:
                continue
            if last < first or (last == first and not cls.single_times):
                findings.error((*path, end[0]), f"the end must be after the start ({start[0]})")
                times[end[1]] = None
        derived = {field: 0 if time is None else time for field, time in times.items()}
        rest = {key: value for key, value in raw.items() if key not in cls.time_keys()}
        section = read_section(cls, rest, path, findings, derived, known_elsewhere)
        return None if None in times.values() else section

    def written(self) -> dict[str, Any]:
        """Return what a YAML file with this section would hold, by key; times first."""
        ends = [end for stretch in self.stretches for end in stretch]
        times = {f"{name}_iso": format_time(getattr(self, field)) for name, field in ends}
        return times | super().written()


class _Zone(Section):
    tz: TimeZone = "UTC"


def _read_time(
    given: Mapping[str, object], keys: list[str], zone: _Zone, path: Path, findings: Findings
) -> int | None:
    times: dict[str, int] = {}
    for key, value in given.items():
        try:
            times[key] = _parse(key, value, zone.tz)
        except ValueError as error:
            findings.error((*path, key), expectation(str(error), (*path, key), value))
            return None
    if len(times) > 1:
        times = {key: time for key, time in times.items() if not _is_zero(key, time)}
    if not times:
        findings.error((*path, keys[0]), f"required, but not set; or set {' or '.join(keys[1:])}")
        return None
    (key, time), *more = times.items()
    for other, other_time in more:
        if other_time != time:
            findings.error((*path, other), f"{key} already sets another time; keep one")
            return None
    return time


def _is_zero(key: str, time: int) -> bool:
    """Tell whether a time is what programs in Go write for a key that is not set."""
    return time == _YEAR_ONE or (time == 0 and not key.endswith("_iso"))


def _parse(key: str, value: object, tz: str) -> int:
    text = as_text(value)
    if key.endswith("_iso"):
        return parse_iso(text, tz)
    if key.endswith("_s"):
        return parse_unix(text)
    return parse_time(text, tz)
