"""What the sections of all schedulers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from pydantic import Field

from vmanomaly.config.effect import LEARNED_FROM
from vmanomaly.config.problems import Findings, Path
from vmanomaly.config.section import Section, read_section
from vmanomaly.config.values.fields import TimeZone


class SchedulerSection(Section):
    """What every scheduler takes.

    Attributes
    ----------
    ends_by_itself
        Whether there is a last run. Models of a scheduler without one keep what they have learned,
        across restarts too.
    runs
        Whether it runs anything.
    tz
        Time zone of times without an offset.
    """

    default_effect = LEARNED_FROM
    ends_by_itself: ClassVar[bool] = True
    runs: ClassVar[bool] = True

    class_name: str = Field(alias="class")
    tz: TimeZone = "UTC"

    @property
    def longest_catch_up(self) -> int:
        """How much of a backlog is made up where the reader does not set it, milliseconds."""
        return 0

    @property
    def look_back(self) -> int:
        """How far before its range a run looks for samples that came late, milliseconds."""
        return 0

    @property
    def n_runs_at_once(self) -> int:
        """How many runs are in progress at a time, however many queries are read at a time."""
        return 1

    def for_replicas(self) -> Self:
        """Return the section with which every member that runs the same has the same runs."""
        return self

    @classmethod
    def read(
        cls,
        raw: Mapping[str, Any],
        path: Path,
        findings: Findings,
        known_elsewhere: Callable[[str], str | None] = lambda key: None,
    ) -> Self | None:
        """Make the section from a mapping.

        Parameters
        ----------
        raw
            What the YAML holds.
        path
            Its place in the YAML.
        findings
            Takes every problem and warning.
        known_elsewhere
            As for `read_section`.

        Returns
        -------
        SchedulerSection or None
            None if there was a problem.
        """
        return read_section(cls, raw, path, findings, known_elsewhere=known_elsewhere)
