"""Which run is due when: the grid of a scheduler that follows live data.

Runs are due on a grid of `infer_every`. The run that is due at time `d` scores the interval
`(d - infer_every, d]`; one in every `fit_every` first fits the models on the `fit_window` that
ends where this interval begins. So every timestamp is scored once, by a model that has not seen
it, and the first score is written as soon as the first fit is done.

A late run covers all intervals since the last one: nothing is skipped, and no more than one run of
a job waits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Self
from zlib import crc32
from zoneinfo import ZoneInfo

from vmanomaly.config.scheduler import PeriodicSection
from vmanomaly.config.values.time import format_time, parse_clock, parse_time
from vmanomaly.scheduler.run import Run, RunResult
from vmanomaly.series import TimeRange

logger = logging.getLogger(__name__)

# How many intervals may pass between the start and the first run.
_SLACK_INTERVALS = 10


@dataclass(frozen=True, slots=True)
class Replay:
    """What was done before and has to be learned again, since it is not in the stored states.

    Attributes
    ----------
    start : int
        The end of the last interval in the stored states, Unix milliseconds.
    fits : bool
        Whether it begins with a fit, on the window that ends at `start`.
    written_to : int
        Up to this time every score is written, Unix milliseconds.
    """

    start: int
    fits: bool
    written_to: int


@dataclass(slots=True)
class Progress:
    """How far a job has come.

    Attributes
    ----------
    first_run : int or None
        When the run with the index 0 was due, Unix milliseconds; None before the job has a grid.
    covered : int or None
        The end of the last interval that was scored, Unix milliseconds; None before the first.
    last_fit : int or None
        The index of the run that fitted last; None before the first.
    replay : Replay or None
        What has to be replayed before the next run; None if the models have learned everything
        up to `covered`.
    """

    first_run: int | None = None
    covered: int | None = None
    last_fit: int | None = None
    replay: Replay | None = None

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self | None:
        """Return the progress that `asdict` gave; None if it is something else.

        Examples
        --------
        >>> Progress.of({"first_run": 0, "covered": 60_000, "last_fit": 0})
        Progress(first_run=0, covered=60000, last_fit=0, replay=None)
        >>> Progress.of({"covered": 60_000}) is None
        True
        """
        names = {field.name for field in fields(cls)}
        if not names - {"replay"} <= stored.keys():
            return None
        values = {name: stored[name] for name in names & stored.keys()}
        replay = values.pop("replay", None)
        if not all(value is None or type(value) is int for value in values.values()):
            return None
        if replay is None:
            return cls(**values)
        if not isinstance(replay, Mapping) or {
            name: type(value) for name, value in replay.items()
        } != {"start": int, "fits": bool, "written_to": int}:
            return None
        return cls(**values, replay=Replay(**replay))

    def forget_fit(self) -> None:
        """Make the next run fit, since what was learned is lost."""
        self.last_fit = None
        self.replay = None


@dataclass(frozen=True, slots=True)
class PeriodicSchedule:
    """The grid of runs of one job. All times are Unix milliseconds, all lengths milliseconds.

    Attributes
    ----------
    first_run : int
        When the run with the index 0 is due; it fits.
    infer_every, fit_every, fit_window : int
        As in the configuration.
    longest_catch_up : int
        How much of a backlog is scored; what is older is dropped, with a warning.

    Examples
    --------
    >>> minute = 60_000
    >>> schedule = PeriodicSchedule(
    ...     first_run=100 * minute, infer_every=minute, fit_every=10 * minute,
    ...     fit_window=30 * minute, longest_catch_up=30 * minute,
    ... )
    >>> (run,) = schedule.runs(0, Progress())
    >>> run.fit == TimeRange(69 * minute, 99 * minute)
    True
    >>> run.infer == TimeRange(99 * minute, 100 * minute)
    True
    """

    first_run: int
    infer_every: int
    fit_every: int
    fit_window: int
    longest_catch_up: int

    def due(self, index: int) -> int:
        """Return when the run `index` is due."""
        return self.first_run + index * self.infer_every

    def latest_index(self, now: int) -> int:
        """Return the index of the last run that is due at `now`; negative if none is."""
        return (now - self.first_run) // self.infer_every

    def latest_fit_index(self, index: int) -> int:
        """Return the index of the last run up to `index` that fits."""
        fits = index * self.infer_every // self.fit_every
        return -(-fits * self.fit_every // self.infer_every)

    def next_index(self, progress: Progress) -> int:
        """Return the index of the first run that is not done yet."""
        return 0 if progress.covered is None else self.latest_index(progress.covered) + 1

    def fit_is_due(self, index: int, progress: Progress) -> bool:
        """Tell whether the models have to be refitted at the run `index`."""
        return progress.last_fit is None or self.latest_fit_index(index) > progress.last_fit

    def runs(self, index: int, progress: Progress, *, unfitted: bool = False) -> list[Run]:
        """Return what is to be done at the run `index`, given what was done before.

        Intervals from before a fit that is due are scored first, with the state they would have
        met on time. Of several fits that were missed only the last is made up.

        Parameters
        ----------
        index
            Of the run.
        progress
            What was done before.
        unfitted
            Whether a model waits for its first fit: when no fit is due, that model alone gets one,
            as if everything began with this run.
        """
        due = self.due(index)
        covered = progress.covered
        if covered is None:
            covered = self.first_run - self.infer_every
        oldest = due - max(self.longest_catch_up, self.infer_every)
        if covered < oldest:
            logger.warning(
                "The interval from %s to %s is not scored: it is further back than is made up",
                format_time(covered),
                format_time(oldest),
            )
            covered = oldest

        fit_is_due = self.fit_is_due(index, progress)
        if not fit_is_due and not unfitted:
            return [self._run(None, covered, due)]
        fit_index = self.latest_fit_index(index) if fit_is_due else index
        boundary = max(self.due(fit_index) - self.infer_every, covered)
        runs = []
        if progress.last_fit is None:
            boundary = covered
        elif covered < boundary:
            runs.append(self._run(None, covered, boundary))
        window = TimeRange(boundary - self.fit_window, boundary)
        runs.append(self._run(window, boundary, due, refits=fit_is_due))
        return runs

    def replay(self, progress: Progress) -> Run | None:
        """Return what is to be replayed next; None if nothing is.

        A replay is one run, unless it is longer than a `fit_window`: no run needs more memory for
        its data than a fit does.
        """
        replay, covered = progress.replay, progress.covered
        if replay is None or covered is None:
            return None
        length = max(self.fit_window // self.infer_every, 1) * self.infer_every
        window = TimeRange(replay.start - self.fit_window, replay.start) if replay.fits else None
        run = self._run(window, replay.start, min(replay.start + length, covered))
        return replace(run, written_to=replay.written_to)

    def advance(self, progress: Progress, index: int, run: Run, result: RunResult) -> None:
        """Record in `progress` the result of the run that was due at `index`."""
        if run.written_to is not None:
            self._advance_replay(progress, run, result)
            return
        if run.fit is not None and run.refits and result.fitted:
            progress.last_fit = self.latest_fit_index(index)
        if run.infer is not None and result.inferred:
            progress.covered = run.infer.end

    def set_back(self, progress: Progress, index: int) -> None:
        """Remove from `progress` what came after the run `index`, which is in the future again."""
        if progress.covered is not None:
            progress.covered = min(progress.covered, self.due(index))
            if progress.replay is not None and progress.replay.start >= progress.covered:
                progress.replay = None
        if progress.last_fit is not None:
            progress.last_fit = min(progress.last_fit, self.latest_fit_index(index))

    def _advance_replay(self, progress: Progress, run: Run, result: RunResult) -> None:
        if progress.replay is None or run.infer is None or not result.inferred:
            return
        done = progress.covered is None or run.infer.end >= progress.covered
        left = replace(progress.replay, start=run.infer.end, fits=False)
        progress.replay = None if done else left

    def _run(self, fit: TimeRange | None, start: int, end: int, *, refits: bool = True) -> Run:
        return Run(
            fit=fit,
            infer=TimeRange(start, end),
            micro_batch=self.infer_every,
            micro_batch_end=self.first_run,
            refits=refits,
        )


def periodic_schedules(
    section: PeriodicSection,
    progresses: Sequence[Progress],
    now: int,
    longest_catch_up: int,
    names: Sequence[str] = (),
) -> list[PeriodicSchedule]:
    """Return the schedule of each job of a periodic scheduler.

    Parameters
    ----------
    section
        The section of the scheduler.
    progresses
        How far each job has come. One that already has a grid keeps it; the others get one.
    now
        Unix milliseconds.
    longest_catch_up
        Milliseconds.
    names
        The names of the jobs, from which their places follow if the section is aligned.
    """
    if section.aligned:
        return [
            _aligned_schedule(section, progress, now, longest_catch_up, name)
            for progress, name in zip(progresses, names, strict=True)
        ]
    first = first_run(section.start_from, section.tz, int(section.fit_every), now)
    infer_every = int(section.infer_every)
    schedules = []
    for number, progress in enumerate(progresses):
        if progress.first_run is None:
            place = infer_every * number // len(progresses) if section.scatter_infer_jobs else 0
            # Without `start_from` all jobs fit at once, being late, and keep to their places from
            # then on.
            progress.first_run = first - place if section.start_from is None else first + place
        schedules.append(
            PeriodicSchedule(
                first_run=progress.first_run,
                infer_every=infer_every,
                fit_every=int(section.fit_every),
                fit_window=int(section.fit_window),
                longest_catch_up=longest_catch_up,
            )
        )
    return schedules


def _aligned_schedule(
    section: PeriodicSection, progress: Progress, now: int, longest_catch_up: int, name: str
) -> PeriodicSchedule:
    """Return a schedule whose times follow from the section and the name of the job.

    A job that has done nothing yet begins with the last fit that it would have made if it had
    always run, and scores what has passed since then: so it has learned the same as a replica that
    has always run. Where that is further back than is made up, it begins with the last infer.
    """
    infer_every, fit_every = int(section.infer_every), int(section.fit_every)
    origin = _origin(section.start_from, section.tz)
    if progress.first_run is None or not 0 <= progress.first_run - origin < infer_every:
        place = crc32(name.encode()) * infer_every >> 32 if section.scatter_infer_jobs else 0
        progress.first_run = origin + place
        progress.covered = progress.last_fit = progress.replay = None
    makes_up_fit = fit_every <= longest_catch_up
    if makes_up_fit:
        longest_catch_up = max(longest_catch_up, fit_every + _SLACK_INTERVALS * infer_every)
    schedule = PeriodicSchedule(
        first_run=progress.first_run,
        infer_every=infer_every,
        fit_every=fit_every,
        fit_window=int(section.fit_window),
        longest_catch_up=longest_catch_up,
    )
    index = schedule.latest_index(now)
    if progress.covered is None and index >= 0:
        begin = schedule.latest_fit_index(index) if makes_up_fit else index
        progress.covered = schedule.due(begin) - infer_every
    return schedule


def _origin(start_from: str | None, tz: str) -> int:
    """Return a time from which all runs are counted, Unix milliseconds.

    Examples
    --------
    >>> _origin(None, "UTC"), _origin("02:00", "UTC"), _origin("1970-01-02T00:00:00Z", "UTC")
    (0, 7200000, 86400000)
    """
    if start_from is None:
        return 0
    if (clock := parse_clock(start_from)) is not None:
        epoch = datetime(1970, 1, 1, tzinfo=ZoneInfo(tz))
        return round(datetime.combine(epoch, clock, epoch.tzinfo).timestamp() * 1000)
    return parse_time(start_from, tz)


def fit_is_due(section: PeriodicSection, progress: Progress, now: int) -> bool:
    """Tell whether a job that has come so far has to fit its models now."""
    (schedule,) = periodic_schedules(section, [replace(progress)], now, 0, [""])
    return schedule.fit_is_due(schedule.latest_index(now), progress)


def first_run(start_from: str | None, tz: str, fit_every: int, now: int) -> int:
    """Return when the first run is due, Unix milliseconds.

    Parameters
    ----------
    start_from
        None for at once; a time in ISO 8601, from which on every multiple of `fit_every` will
        do; or `HH:MM`, today or else tomorrow.
    tz
        IANA time zone of a `start_from` that names none.
    fit_every
        Milliseconds.
    now
        Unix milliseconds.

    Examples
    --------
    >>> first_run("1970-01-01T01:00:00Z", "UTC", 3_600_000, now=9_000_000)
    10800000
    >>> first_run("02:00", "Europe/Berlin", 3_600_000, now=0) // 3_600_000
    1
    """
    if start_from is None:
        return now
    if (clock := parse_clock(start_from)) is not None:
        zone = ZoneInfo(tz)
        today = datetime.fromtimestamp(now / 1000, zone).date()
        starts = (datetime.combine(today + timedelta(days=n), clock, zone) for n in (0, 1, 2))
        return next(at for start in starts if (at := round(start.timestamp() * 1000)) >= now)
    start_at = parse_time(start_from, tz)
    missed = max(0, -(-(now - start_at) // fit_every))
    return start_at + missed * fit_every
