from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.fakes import FakeClock, InlineExecutor
from vmanomaly.clock import SystemClock
from vmanomaly.config.scheduler import PeriodicSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.scheduler import create_scheduler
from vmanomaly.scheduler.periodic import PeriodicScheduler
from vmanomaly.scheduler.run import Job, Run, RunResult
from vmanomaly.scheduler.schedule import Progress
from vmanomaly.series import TimeRange

DONE = RunResult(fitted=True, inferred=True)
MINUTE = 60_000
HOUR = 60 * MINUTE


class RecordingJob:
    def __init__(
        self, name: str, clock: FakeClock, on_run: Callable[[int], RunResult] = lambda n: DONE
    ) -> None:
        self.name = name
        self.clock = clock
        self.on_run = on_run
        self.progress = Progress()
        self.unfitted = False
        self.kept: list[int | None] = []
        self.runs: list[tuple[int, Run]] = []

    def n_steps(self, run: Run) -> int:
        return 1

    def execute(self, run: Run, context: RunContext | None = None) -> RunResult:
        self.runs.append((self.clock.now(), run))
        return self.on_run(len(self.runs))

    def keep(self) -> None:
        self.kept.append(self.progress.covered)

    def unlearned(self) -> RecordingJob:
        return self


def nothing() -> None: ...


def test_a_run_begins_after_the_delay_and_is_that_of_the_time_it_is_due() -> None:
    clock = FakeClock(100 * MINUTE)
    section = PeriodicSection.model_validate(
        {"class": "periodic", "fit_window": "10m", "infer_every": "1m", "fit_every": "1h"}
    )

    def on_run(n: int) -> RunResult:
        if n == 3:
            scheduler.stop()
        return DONE

    job = RecordingJob("q", clock, on_run)
    scheduler = create_scheduler(section, [job], clock, InlineExecutor(), HOUR, eval_delay=5000)
    scheduler.run(nothing)
    began = [at for at, _ in job.runs]
    assert began == [100 * MINUTE, 101 * MINUTE, 102 * MINUTE]
    ends = [run.infer.end for _, run in job.runs if run.infer is not None]
    assert ends == [at - 5000 for at in began]


def test_with_a_time_to_start_from_a_run_is_due_then_and_begins_after_the_delay() -> None:
    clock = FakeClock(100 * MINUTE)
    section = PeriodicSection.model_validate(
        {
            "class": "periodic",
            "fit_window": "10m",
            "infer_every": "1m",
            "fit_every": "1h",
            "start_from": "1970-01-01T02:00:00Z",
        }
    )

    def on_run(n: int) -> RunResult:
        scheduler.stop()
        return DONE

    job = RecordingJob("q", clock, on_run)
    scheduler = create_scheduler(section, [job], clock, InlineExecutor(), HOUR, eval_delay=5000)
    scheduler.run(nothing)
    ((began, run),) = job.runs
    assert began == 120 * MINUTE + 5000
    assert run.infer == TimeRange(119 * MINUTE, 120 * MINUTE)


def every_10_ms(clock: FakeClock, *jobs: RecordingJob) -> PeriodicScheduler:
    """Return a scheduler with intervals that are shorter than a configuration may have them."""
    section = PeriodicSection.model_construct(
        fit_window=Duration(100), infer_every=Duration(10), fit_every=Duration(10_000)
    )
    for job in jobs:
        job.progress.first_run = job.progress.first_run or 1000
    return PeriodicScheduler(section, jobs, clock, InlineExecutor(), 1000, RunContext())


def run_until(end: int, clock: FakeClock, *jobs: RecordingJob) -> None:
    scheduler = every_10_ms(clock, *jobs)

    def stop_at_end(now: int) -> None:
        if now > end:
            scheduler.stop()

    clock.on_tick = stop_at_end
    assert scheduler.run(nothing) == ()


def infers(job: RecordingJob) -> list[TimeRange]:
    return [run.infer for _, run in job.runs if run.infer is not None]


def test_runs_on_the_grid() -> None:
    clock = FakeClock(1000)
    job = RecordingJob("a", clock)
    run_until(1050, clock, job)
    assert [now for now, _ in job.runs] == [1000, 1010, 1020, 1030, 1040, 1050]


def test_a_job_that_takes_longer_than_its_interval_covers_all_of_them() -> None:
    clock = FakeClock(1000)

    def take_long(n: int) -> RunResult:
        clock.time += 25 if n == 2 else 0
        return DONE

    slow, quick = RecordingJob("slow", clock, take_long), RecordingJob("quick", clock)
    run_until(1060, clock, slow, quick)
    assert infers(slow) == [
        TimeRange(990, 1000),
        TimeRange(1000, 1010),
        TimeRange(1010, 1030),
        TimeRange(1030, 1040),
        TimeRange(1040, 1050),
        TimeRange(1050, 1060),
    ]
    assert infers(quick)[-1].end == 1060


def test_a_failing_read_is_made_up_by_the_next_run() -> None:
    clock = FakeClock(1000)
    lost = RunResult(fitted=True, inferred=False, reasons=("no data",))
    job = RecordingJob("a", clock, lambda n: lost if n in (2, 3) else DONE)
    run_until(1040, clock, job)
    assert infers(job)[-2:] == [TimeRange(1000, 1030), TimeRange(1030, 1040)]


def test_a_clock_set_forward_is_followed_and_nothing_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock(1000)

    def jump(n: int) -> RunResult:
        clock.time += 500 if n == 1 else 0
        return DONE

    job = RecordingJob("a", clock, jump)
    with caplog.at_level(logging.INFO):
        run_until(1520, clock, job)
    assert infers(job)[1] == TimeRange(1000, 1500)
    assert "a is late" in caplog.text


def of_section(end: int, n_jobs: int, start: int = 1_000_000, **keys: Any) -> list[RecordingJob]:
    """Run the scheduler of a section from one time to another; return its jobs."""
    clock = FakeClock(start)
    jobs = [RecordingJob(str(n), clock) for n in range(n_jobs)]
    section = PeriodicSection.model_validate({"fit_window": "5m", "infer_every": "1m", **keys})
    scheduler = create_scheduler(section, jobs, clock, InlineExecutor(), longest_catch_up=HOUR)
    clock.on_tick = lambda now: scheduler.stop() if now > end else None
    assert scheduler.run(nothing) == ()
    return jobs


def test_without_fit_every_each_run_fits_on_the_whole_window_and_then_infers() -> None:
    (job,) = of_section(1_000_000 + 3 * MINUTE, 1)
    assert [run for _, run in job.runs] == [
        Run(
            TimeRange(end - 6 * MINUTE, end - MINUTE), TimeRange(end - MINUTE, end), MINUTE, 1000000
        )
        for end in range(1_000_000, 1_000_001 + 3 * MINUTE, MINUTE)
    ]


def test_a_fit_every_of_a_thousand_days_fits_once() -> None:
    (job,) = of_section(1_000_000 + 3 * 24 * HOUR, 1, fit_every="1000d")
    assert sum(run.fit is not None for _, run in job.runs) == 1
    assert len(job.runs) == 3 * 24 * 60 + 1


def test_nothing_runs_before_start_from() -> None:
    start = round(datetime.fromisoformat("2026-10-24T18:00:00Z").timestamp() * 1000)
    at = round(datetime.fromisoformat("2026-10-25T00:30:00Z").timestamp() * 1000)
    (job,) = of_section(at, 1, start, start_from="02:30", tz="Europe/Berlin", fit_every="1d")
    (run,) = job.runs
    assert run[0] == at
    assert run[1].fit == TimeRange(at - 6 * MINUTE, at - MINUTE)
    assert run[1].infer == TimeRange(at - MINUTE, at)


@pytest.mark.parametrize("start_from", [None, "1970-01-01T00:20:00Z"])
def test_scattered_jobs_keep_to_their_places(start_from: str | None) -> None:
    first = 1_000_000 if start_from is None else 1_200_000
    jobs = of_section(
        first + 3 * MINUTE, 4, scatter_infer_jobs=True, fit_every="1d", start_from=start_from
    )
    places = [{now % MINUTE for now, _ in job.runs[1:]} for job in jobs]
    order = [0, 45, 30, 15] if start_from is None else [0, 15, 30, 45]
    assert places == [{(first + 1000 * place) % MINUTE} for place in order]
    starts = [job.runs[0][0] - first for job in jobs]
    assert starts == ([0] * 4 if start_from is None else [0, 15_000, 30_000, 45_000])
    for job in jobs:
        ranges = infers(job)
        assert all(b.start == a.end for a, b in itertools.pairwise(ranges))


def test_jobs_wait_for_their_own_time() -> None:
    clock = FakeClock(1000)
    early, late = RecordingJob("early", clock), RecordingJob("late", clock)
    late.progress.first_run = 1005
    run_until(1020, clock, early, late)
    assert [now for now, _ in late.runs] == [1005, 1015]


def test_a_job_that_raises_ends_the_scheduler() -> None:
    clock = FakeClock(1000)

    def fail(n: int) -> RunResult:
        raise ZeroDivisionError

    job = RecordingJob("a", clock, fail)
    with pytest.raises(ZeroDivisionError):
        run_until(1020, clock, job)


def test_stop_wakes_a_scheduler_that_waits_on_the_system_clock() -> None:
    clock = SystemClock()
    started = threading.Event()

    class Job:
        name = "a"
        progress = Progress()
        unfitted = False

        def n_steps(self, run: Run) -> int:
            return 1

        def execute(self, run: Run, context: RunContext | None = None) -> RunResult:
            started.set()
            return DONE

        def keep(self) -> None: ...

        def unlearned(self) -> Job:
            return self

    section = PeriodicSection(fit_window="1h", infer_every="1h")
    with ThreadPoolExecutor(1) as executor:
        scheduler = PeriodicScheduler(section, [Job()], clock, executor, HOUR, RunContext())
        thread = threading.Thread(target=scheduler.run, args=(nothing,))
        thread.start()
        assert started.wait(60)
        scheduler.stop()
        thread.join(60)
        assert not thread.is_alive()


def test_a_scheduler_that_raised_goes_on_where_it_was() -> None:
    clock = FakeClock(1000)
    ended: list[int] = []

    def fail_once(n: int) -> RunResult:
        if n == 2:
            raise ZeroDivisionError
        return DONE

    job, other = RecordingJob("a", clock, fail_once), RecordingJob("b", clock)
    scheduler = every_10_ms(clock, job, other)
    clock.on_tick = lambda now: scheduler.stop() if now > 1030 else None
    with pytest.raises(ZeroDivisionError):
        scheduler.run(lambda: ended.append(clock.now()))
    scheduler.run(lambda: ended.append(clock.now()))
    assert infers(job) == [
        TimeRange(990, 1000),
        TimeRange(1000, 1010),
        TimeRange(1000, 1010),
        TimeRange(1010, 1020),
        TimeRange(1020, 1030),
    ]
    assert infers(other) == [TimeRange(end - 10, end) for end in (1000, 1010, 1020, 1030)]
    assert len(ended) == 8


def test_a_clock_that_is_set_back_is_followed(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(1000)
    job = RecordingJob("a", clock)
    scheduler = every_10_ms(clock, job)

    def set_back_once(now: int) -> None:
        if now == 1100 and "set back" not in caplog.text:
            clock.time = 1047
        elif now > 1060 and "set back" in caplog.text:
            scheduler.stop()

    clock.on_tick = set_back_once
    scheduler.run(nothing)
    assert infers(job)[-3:] == [
        TimeRange(1080, 1090),
        TimeRange(1040, 1050),
        TimeRange(1050, 1060),
    ]


def test_a_clock_that_is_set_back_a_little_repeats_nothing() -> None:
    clock = FakeClock(1000)
    job = RecordingJob("a", clock)
    scheduler = every_10_ms(clock, job)

    corrections = iter([12])

    def correct(now: int) -> None:
        if len(job.runs) == 3:
            clock.time -= next(corrections, 0)
        elif now > 1050:
            scheduler.stop()

    clock.on_tick = correct
    scheduler.run(nothing)
    assert infers(job) == [TimeRange(end - 10, end) for end in range(1000, 1051, 10)]


def test_a_job_under_way_while_the_clock_is_set_back_follows_when_it_ends() -> None:
    clock = FakeClock(1000)

    def set_back(n: int) -> RunResult:
        clock.time -= 500 if n == 3 else 0
        return DONE

    job = RecordingJob("a", clock, set_back)
    scheduler = every_10_ms(clock, job)
    clock.on_tick = lambda now: scheduler.stop() if len(job.runs) == 4 else None
    scheduler.run(nothing)
    assert infers(job)[-1] == TimeRange(520, 530)


def test_the_system_clock_returns_from_a_wait_when_it_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = iter([5_000, 5_000, 4_000])
    clock = SystemClock()
    monkeypatch.setattr(clock, "now", lambda: next(shown))
    monkeypatch.setattr(clock, "_longest_sleep_s", 0.001)
    clock.wait(threading.Event(), 10_000)
    assert next(shown, None) is None


def test_a_job_is_kept_after_every_run() -> None:
    clock = FakeClock(1000)
    lost = RunResult(fitted=True, inferred=False, reasons=("no data",))
    job = RecordingJob("a", clock, lambda n: lost if n == 2 else DONE)
    run_until(1030, clock, job)
    assert job.kept == [1000, 1000, 1020, 1030]


def test_a_job_that_has_come_far_goes_on_there() -> None:
    clock = FakeClock(1057)
    job = RecordingJob("a", clock)
    job.progress = Progress(first_run=1000, covered=1030, last_fit=0)
    run_until(1070, clock, job)
    assert infers(job) == [TimeRange(1030, 1050), TimeRange(1050, 1060), TimeRange(1060, 1070)]
    assert all(run.fit is None for _, run in job.runs)
