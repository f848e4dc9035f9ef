from __future__ import annotations

import itertools
import logging
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.config.scheduler import PeriodicSection
from vmanomaly.scheduler.run import Run, RunResult, micro_batch_starts
from vmanomaly.scheduler.schedule import (
    PeriodicSchedule,
    Progress,
    first_run,
    fit_is_due,
    periodic_schedules,
)
from vmanomaly.series import TimeRange

DONE = RunResult(fitted=True, inferred=True)
HOUR = 3_600_000


def schedule(
    first: int = 1000, infer_every: int = 10, fit_every: int = 50, fit_window: int = 200
) -> PeriodicSchedule:
    return PeriodicSchedule(first, infer_every, fit_every, fit_window, longest_catch_up=10_000)


def carry_out(plan: PeriodicSchedule, indices: list[int]) -> list[Run]:
    progress = Progress()
    runs = []
    for index in indices:
        for run in plan.runs(index, progress):
            plan.advance(progress, index, run, DONE)
            runs.append(run)
    return runs


def test_the_first_run_fits_and_scores_the_interval_before_it() -> None:
    (run,) = carry_out(schedule(), [0])
    assert run.fit == TimeRange(790, 990)
    assert run.infer == TimeRange(990, 1000)
    assert run.micro_batch == 10


def test_fits_every_fit_every_on_the_window_before_the_scored_interval() -> None:
    runs = carry_out(schedule(), list(range(11)))
    fits = [(run.infer.end, run.fit) for run in runs if run.fit is not None and run.infer]
    assert fits == [
        (1000, TimeRange(790, 990)),
        (1050, TimeRange(840, 1040)),
        (1100, TimeRange(890, 1090)),
    ]


def test_fit_every_equal_to_infer_every_fits_at_every_run() -> None:
    runs = carry_out(schedule(fit_every=10), [0, 1, 2])
    assert [run.fit for run in runs] == [
        TimeRange(790, 990),
        TimeRange(800, 1000),
        TimeRange(810, 1010),
    ]


def test_a_fit_every_that_is_no_multiple_waits_for_the_next_run() -> None:
    runs = carry_out(schedule(fit_every=25), list(range(6)))
    assert [run.infer.end for run in runs if run.fit and run.infer] == [1000, 1030, 1050]


def test_fit_every_longer_than_the_fit_window_is_normal() -> None:
    runs = carry_out(schedule(fit_every=1_000_000), list(range(20)))
    assert sum(run.fit is not None for run in runs) == 1


def test_a_late_run_covers_the_missed_intervals() -> None:
    runs = carry_out(schedule(fit_every=1000), [0, 4])
    assert runs[1].infer == TimeRange(1000, 1040)
    assert runs[1].fit is None


def test_a_late_run_scores_up_to_a_missed_fit_with_the_old_state_first() -> None:
    runs = carry_out(schedule(), [0, 7])
    assert runs[1] == Run(None, TimeRange(1000, 1040), 10, 1000)
    assert runs[2] == Run(TimeRange(840, 1040), TimeRange(1040, 1070), 10, 1000)


def test_a_failed_first_fit_is_made_up_with_every_interval_since() -> None:
    plan, progress = schedule(), Progress()
    (failed,) = plan.runs(0, progress)
    plan.advance(progress, 0, failed, RunResult(False, False, ("no data",)))
    (run,) = plan.runs(3, progress)
    assert run.fit == TimeRange(790, 990)
    assert run.infer == TimeRange(990, 1030)


def test_a_failed_refit_is_tried_again_where_scoring_has_come_to() -> None:
    plan, progress = schedule(), Progress()
    for index in range(5):
        (run,) = plan.runs(index, progress)
        plan.advance(progress, index, run, DONE)
    (run,) = plan.runs(5, progress)
    plan.advance(progress, 5, run, RunResult(False, True, ("no data",)))
    (run,) = plan.runs(6, progress)
    assert run.fit == TimeRange(850, 1050)
    assert run.infer == TimeRange(1050, 1060)


def test_a_backlog_is_made_up_only_so_far_back(caplog: pytest.LogCaptureFixture) -> None:
    plan = PeriodicSchedule(1000, 10, 10_000, 200, longest_catch_up=30)
    progress = Progress(covered=1000, last_fit=0)
    with caplog.at_level(logging.WARNING):
        (run,) = plan.runs(10, progress)
    assert run.infer == TimeRange(1070, 1100)
    assert "1970-01-01T00:00:01Z to 1970-01-01T00:00:01.070Z" in caplog.text


@given(
    fit_every=st.integers(1, 100),
    lateness=st.lists(st.integers(1, 6), min_size=1, max_size=30),
)
def test_every_timestamp_is_scored_once_and_never_after_it_was_learned(
    fit_every: int, lateness: list[int]
) -> None:
    indices = np.concatenate(([0], np.cumsum(lateness))).tolist()
    runs = carry_out(schedule(fit_every=fit_every), indices)
    infers = [run.infer for run in runs if run.infer is not None]
    assert infers[0].start == 990
    assert all(later.start == earlier.end for earlier, later in itertools.pairwise(infers))
    assert infers[-1].end == 1000 + 10 * indices[-1]
    for run in runs:
        if run.fit is not None and run.infer is not None:
            assert run.fit.end == run.infer.start


@pytest.mark.parametrize(
    ("start_from", "tz", "now", "expected"),
    [
        (None, "UTC", "2026-03-01T10:00:05Z", "2026-03-01T10:00:05Z"),
        ("20:00", "Europe/Kyiv", "2026-03-01T10:00:00Z", "2026-03-01T18:00:00Z"),
        ("20:00", "Europe/Kyiv", "2026-03-01T18:00:01Z", "2026-03-02T18:00:00Z"),
        ("2026-03-01T12:00:00Z", "UTC", "2026-03-01T10:00:00Z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T08:30:00Z", "UTC", "2026-03-01T10:00:00Z", "2026-03-01T10:30:00Z"),
        ("2026-03-01T08:30:00", "Europe/Berlin", "2026-03-01T05:00:00Z", "2026-03-01T07:30:00Z"),
        # The night in which Berlin's clocks go forward: the day is 23 hours long.
        ("01:30", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T00:30:00Z"),
        ("12:00", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T10:00:00Z"),
        # The night in which they go back: 02:30 comes twice, the first one is taken.
        ("02:30", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
        ("01:30", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-01T05:30:00Z"),
        # Between the two, the second one is not taken for another day's.
        ("02:30", "Europe/Berlin", "2026-10-25T01:00:00Z", "2026-10-26T01:30:00Z"),
        ("01:30", "America/New_York", "2026-11-01T06:00:00Z", "2026-11-02T06:30:00Z"),
        # A time that is left out is an hour later by the clock.
        ("02:30", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"),
        ("02:30", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-08T07:30:00Z"),
        ("2026-03-29T02:30:00", "Europe/Berlin", "2026-03-01T00:00:00Z", "2026-03-29T01:30:00Z"),
        ("2026-03-08T02:30:00", "America/New_York", "2026-03-01T00:00:00Z", "2026-03-08T07:30:00Z"),
        ("2026-10-25T02:30:00", "Europe/Berlin", "2026-10-01T00:00:00Z", "2026-10-25T00:30:00Z"),
        ("2026-11-01T01:30:00", "America/New_York", "2026-10-01T00:00:00Z", "2026-11-01T05:30:00Z"),
        # A time with an offset of its own needs no zone.
        ("2026-03-29T02:30:00-05:00", "Europe/Berlin", "2026-03-01T00:00:00Z", "2026-03-29T07:30Z"),
    ],
)
def test_first_run(start_from: str | None, tz: str, now: str, expected: str) -> None:
    at = first_run(start_from, tz, fit_every=3_600_000, now=milliseconds(now))
    assert datetime.fromtimestamp(at / 1000, UTC) == datetime.fromisoformat(expected)
    if start_from == "12:00":
        assert datetime.fromtimestamp(at / 1000, ZoneInfo(tz)).hour == 12


@pytest.mark.parametrize(
    ("tz", "start_from", "expected"),
    [
        ("Europe/Berlin", "2026-03-28T20:00:00", "2026-03-30T19:00:00Z"),
        ("America/New_York", "2026-10-31T20:00:00", "2026-11-03T00:00:00Z"),
    ],
)
def test_multiples_of_fit_every_are_lengths_of_time_across_a_change_of_the_clocks(
    tz: str, start_from: str, expected: str
) -> None:
    start = milliseconds(start_from + "Z")
    at = first_run(start_from, tz, fit_every=24 * HOUR, now=start + 36 * HOUR)
    assert datetime.fromtimestamp(at / 1000, UTC) == datetime.fromisoformat(expected)


def periodic(**keys: Any) -> PeriodicSection:
    defaults = {"fit_window": "1h", "infer_every": "1m", "fit_every": "1d"}
    return PeriodicSection.model_validate({**defaults, **keys})


@given(n_jobs=st.integers(1, 200), infer_every=st.integers(1, 100_000))
def test_scattered_jobs_are_spread_evenly_and_always_alike(n_jobs: int, infer_every: int) -> None:
    section = periodic(
        scatter_infer_jobs=True, infer_every=f"{infer_every}s", start_from="2026-03-01T00:00:00Z"
    )
    now = milliseconds("2026-02-01T00:00:00Z")
    start = milliseconds("2026-03-01T00:00:00Z")
    progresses = [Progress() for _ in range(n_jobs)]
    plans = periodic_schedules(section, progresses, now, longest_catch_up=HOUR)
    for others in (progresses, [Progress() for _ in range(n_jobs)]):
        assert plans == periodic_schedules(section, others, now + 1, longest_catch_up=HOUR)
    places = np.array([plan.first_run - start for plan in plans])
    even = 1000 * infer_every / n_jobs
    np.testing.assert_allclose(places, even * np.arange(n_jobs), atol=1)


def test_jobs_that_are_not_scattered_share_one_grid() -> None:
    progresses = [Progress(), Progress(), Progress()]
    plans = periodic_schedules(periodic(), progresses, now=5_000, longest_catch_up=HOUR)
    assert {plan.first_run for plan in plans} == {5_000}


def test_a_job_that_has_a_grid_goes_on_in_it() -> None:
    progresses = [Progress(), Progress(first_run=1_000, covered=61_000, last_fit=0)]
    plans = periodic_schedules(periodic(), progresses, now=90_000, longest_catch_up=HOUR)
    assert [plan.first_run for plan in plans] == [90_000, 1_000]
    assert [progress.first_run for progress in progresses] == [90_000, 1_000]
    indices = [plan.next_index(progress) for plan, progress in zip(plans, progresses, strict=True)]
    assert indices == [0, 2]
    assert not fit_is_due(periodic(), progresses[1], now=90_000)
    assert fit_is_due(periodic(), progresses[1], now=1_000 + 24 * HOUR)
    assert fit_is_due(periodic(), progresses[0], now=90_000)


def test_a_model_that_is_new_is_fitted_alone() -> None:
    plan, progress = schedule(), Progress(covered=1010, last_fit=0)
    (on_time,) = plan.runs(2, progress, unfitted=True)
    assert on_time == Run(TimeRange(810, 1010), TimeRange(1010, 1020), 10, 1000, refits=False)
    plan.advance(progress, 2, on_time, DONE)
    assert (progress.covered, progress.last_fit) == (1020, 0)
    before, late = plan.runs(4, progress, unfitted=True)
    assert before == Run(None, TimeRange(1020, 1030), 10, 1000)
    assert late == Run(TimeRange(830, 1030), TimeRange(1030, 1040), 10, 1000, refits=False)
    # A fit that is due anyway is for all.
    _, due = plan.runs(6, progress, unfitted=True)
    assert due.fit == TimeRange(840, 1040)
    assert due.refits


def milliseconds(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


@given(
    step=st.integers(1, 20),
    micro_batch=st.integers(1, 60),
    origin=st.integers(-1000, 1000),
    cuts=st.lists(st.integers(1, 199), max_size=4, unique=True),
)
def test_micro_batches_do_not_depend_on_where_the_grid_is_cut(
    step: int, micro_batch: int, origin: int, cuts: list[int]
) -> None:
    ends = [origin + micro_batch * cut for cut in sorted(cuts)]
    whole = TimeRange(origin, origin + micro_batch * 200)
    bounds = [whole.start, *ends, whole.end]
    pieces = [
        piece[micro_batch_starts(piece, micro_batch, origin)]
        for start, end in itertools.pairwise(bounds)
        if (piece := TimeRange(start, end).grid(step)).size
    ]
    grid = whole.grid(step)
    np.testing.assert_array_equal(
        np.concatenate(pieces), grid[micro_batch_starts(grid, micro_batch, origin)]
    )


ALIGNED = {"infer_every": "1m", "fit_every": "6h", "fit_window": "1d"}
DAY = 24 * HOUR
MINUTE_MS = 60_000


def aligned(**changes: Any) -> PeriodicSection:
    return periodic(**(ALIGNED | changes)).for_replicas()


def begun(section: PeriodicSection, now: int, name: str = "job") -> tuple[Progress, list[Run]]:
    """Return the progress of a new job, and its first runs."""
    progress = Progress()
    (schedule,) = periodic_schedules(section, [progress], now, int(section.fit_window), [name])
    return progress, schedule.runs(schedule.latest_index(now), progress)


class TestAligned:
    """The times of runs follow from the section, whenever a replica is started."""

    @given(since_fit=st.integers(0, 6 * HOUR - 1), days=st.integers(20_000, 21_000))
    def test_the_first_fit_is_the_one_that_others_made_last(
        self, since_fit: int, days: int
    ) -> None:
        fit_at = days * DAY + 6 * HOUR
        _, (run,) = begun(aligned(), fit_at + since_fit)
        boundary = fit_at - MINUTE_MS
        assert run.fit == TimeRange(boundary - DAY, boundary)
        last_due = (fit_at + since_fit) // MINUTE_MS * MINUTE_MS
        assert run.infer == TimeRange(boundary, last_due)
        assert run.micro_batch_end % MINUTE_MS == 0

    @given(
        fit_minutes=st.integers(1, 300),
        infer_minutes=st.integers(1, 60),
        started=st.integers(0, DAY),
        later=st.integers(0, DAY),
    )
    def test_a_replica_that_starts_later_makes_the_same_runs(
        self, fit_minutes: int, infer_minutes: int, started: int, later: int
    ) -> None:
        if infer_minutes > fit_minutes:
            return
        section = aligned(fit_every=f"{fit_minutes}m", infer_every=f"{infer_minutes}m")
        start = 20_000 * DAY + started
        progress = Progress()
        (schedule,) = periodic_schedules(section, [progress], start, DAY, ["job"])
        made: list[Run] = []
        for index in range(schedule.next_index(progress), schedule.latest_index(start + later) + 1):
            for run in schedule.runs(index, progress):
                made.append(run)
                schedule.advance(progress, index, run, RunResult(fitted=True, inferred=True))
        fresh, (run,) = begun(section, start + later)
        assert run.fit is not None
        assert run.infer is not None
        assert [each.fit for each in made if each.fit][-1] == run.fit
        assert progress.covered == run.infer.end
        assert {each.micro_batch_end for each in made} == {run.micro_batch_end}
        assert fresh.first_run == progress.first_run

    def test_where_a_fit_is_too_far_back_it_begins_at_once(self) -> None:
        now = 20_000 * DAY + 30_000
        _, (run,) = begun(aligned(fit_every="100d"), now)
        assert run.infer == TimeRange(20_000 * DAY - MINUTE_MS, 20_000 * DAY)
        assert run.fit == TimeRange(20_000 * DAY - MINUTE_MS - DAY, 20_000 * DAY - MINUTE_MS)

    def test_a_slow_start_still_makes_up_the_whole_interval(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        section = aligned(fit_every="1d")
        now = 20_001 * DAY - MINUTE_MS
        progress = Progress()
        (schedule,) = periodic_schedules(section, [progress], now, DAY, ["job"])
        (run,) = schedule.runs(schedule.latest_index(now + 30_000), progress)
        assert run.infer == TimeRange(20_000 * DAY - MINUTE_MS, now)
        assert caplog.messages == []

    @pytest.mark.parametrize(
        ("start_from", "first"),
        [
            ("02:30", "2026-03-01T02:30:00Z"),
            ("2026-02-28T20:15:00Z", "2026-03-01T02:15:00Z"),
            ("2026-03-05T00:00:00Z", None),
        ],
    )
    def test_start_from_is_the_origin_of_the_grid(self, start_from: str, first: str | None) -> None:
        now = milliseconds("2026-03-01T05:00:00Z")
        progress, runs = begun(aligned(start_from=start_from), now)
        if first is None:
            assert progress.first_run == milliseconds(start_from)
            assert progress.covered is None
        else:
            assert runs[0].fit is not None
            assert runs[0].fit.end == milliseconds(first) - MINUTE_MS

    def test_scattered_jobs_have_places_of_their_own_on_every_member(self) -> None:
        section = aligned(scatter_infer_jobs=True)
        now = 20_000 * DAY
        names = [f"job {n}" for n in range(100)]
        several = [Progress() for _ in names]
        periodic_schedules(section, several, now, DAY, names)
        for name, progress in zip(names, several, strict=True):
            assert begun(section, now + 5 * DAY, name)[0].first_run == progress.first_run
        places = [progress.first_run for progress in several]
        assert all(place is not None and 0 <= place < MINUTE_MS for place in places)
        assert len(set(places)) > 90

    def test_a_job_with_another_grid_begins_again(self) -> None:
        now = 20_000 * DAY + HOUR
        progress = Progress(first_run=now - 7, covered=now - 7, last_fit=0)
        assert fit_is_due(aligned(), progress, now)
        periodic_schedules(aligned(), [progress], now, DAY, ["job"])
        assert progress == begun(aligned(), now)[0]

    def test_a_job_on_the_grid_continues(self) -> None:
        now = 20_000 * DAY + HOUR
        index = now // MINUTE_MS
        progress = Progress(first_run=0, covered=now, last_fit=index - 60)
        assert not fit_is_due(aligned(), progress, now)
        periodic_schedules(aligned(), [progress], now, DAY, ["job"])
        assert progress == Progress(first_run=0, covered=now, last_fit=index - 60)
