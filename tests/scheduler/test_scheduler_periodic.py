from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fakes import FakeClock, InlineExecutor
from vmanomaly.scheduler.clock import SystemClock
from vmanomaly.scheduler.periodic import PeriodicScheduler
from vmanomaly.scheduler.run import Job, Outcome, Run
from vmanomaly.scheduler.schedule import PeriodicSchedule
from vmanomaly.series import TimeRange

DONE = Outcome(fitted=True, inferred=True, failed=False)


class RecordingJob:
    def __init__(
        self, name: str, clock: FakeClock, on_run: Callable[[int], Outcome] = lambda n: DONE
    ) -> None:
        self.name = name
        self.clock = clock
        self.on_run = on_run
        self.runs: list[tuple[int, Run]] = []

    def execute(self, run: Run) -> Outcome:
        self.runs.append((self.clock.now(), run))
        return self.on_run(len(self.runs))

    def unlearned(self) -> RecordingJob:
        return self


def nothing() -> None: ...


def schedule(first: int = 1000) -> PeriodicSchedule:
    return PeriodicSchedule(first, 10, 10_000, 100, longest_catch_up=1000)


def run_until(end: int, clock: FakeClock, *jobs: tuple[RecordingJob, PeriodicSchedule]) -> None:
    scheduler = PeriodicScheduler(list(jobs), clock, InlineExecutor())

    def stop_at_end(now: int) -> None:
        if now > end:
            scheduler.stop()

    clock.on_tick = stop_at_end
    assert scheduler.run(nothing) is False


def infers(job: RecordingJob) -> list[TimeRange]:
    return [run.infer for _, run in job.runs if run.infer is not None]


def test_runs_on_the_grid() -> None:
    clock = FakeClock(1000)
    job = RecordingJob("a", clock)
    run_until(1050, clock, (job, schedule()))
    assert [now for now, _ in job.runs] == [1000, 1010, 1020, 1030, 1040, 1050]


def test_a_job_that_takes_longer_than_its_interval_covers_all_of_them() -> None:
    clock = FakeClock(1000)

    def take_long(n: int) -> Outcome:
        clock.time += 25 if n == 2 else 0
        return DONE

    slow, quick = RecordingJob("slow", clock, take_long), RecordingJob("quick", clock)
    run_until(1060, clock, (slow, schedule()), (quick, schedule()))
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
    lost = Outcome(fitted=True, inferred=False, failed=True)
    job = RecordingJob("a", clock, lambda n: lost if n in (2, 3) else DONE)
    run_until(1040, clock, (job, schedule()))
    assert infers(job)[-2:] == [TimeRange(1000, 1030), TimeRange(1030, 1040)]


def test_a_clock_set_forward_is_followed_and_nothing_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock(1000)

    def jump(n: int) -> Outcome:
        clock.time += 500 if n == 1 else 0
        return DONE

    job = RecordingJob("a", clock, jump)
    with caplog.at_level(logging.INFO):
        run_until(1520, clock, (job, schedule()))
    assert infers(job)[1] == TimeRange(1000, 1500)
    assert "a is late" in caplog.text


def test_jobs_wait_for_their_own_time() -> None:
    clock = FakeClock(1000)
    early, late = RecordingJob("early", clock), RecordingJob("late", clock)
    run_until(1020, clock, (early, schedule(1000)), (late, schedule(1005)))
    assert [now for now, _ in late.runs] == [1005, 1015]


def test_a_job_that_raises_ends_the_scheduler() -> None:
    clock = FakeClock(1000)

    def fail(n: int) -> Outcome:
        raise ZeroDivisionError

    job = RecordingJob("a", clock, fail)
    with pytest.raises(ZeroDivisionError):
        run_until(1020, clock, (job, schedule()))


def test_stop_wakes_a_scheduler_that_waits_on_the_system_clock() -> None:
    clock = SystemClock()
    started = threading.Event()

    class Job:
        name = "a"

        def execute(self, run: Run) -> Outcome:
            started.set()
            return DONE

        def unlearned(self) -> Job:
            return self

    first = clock.now()
    plan = PeriodicSchedule(first, 3_600_000, 3_600_000, 3_600_000, 3_600_000)
    with ThreadPoolExecutor(1) as executor:
        scheduler = PeriodicScheduler([(Job(), plan)], clock, executor)
        thread = threading.Thread(target=scheduler.run, args=(nothing,))
        thread.start()
        assert started.wait(10)
        scheduler.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_a_scheduler_that_raised_goes_on_where_it_was() -> None:
    clock = FakeClock(1000)
    ended: list[int] = []

    def fail_once(n: int) -> Outcome:
        if n == 2:
            raise ZeroDivisionError
        return DONE

    job, other = RecordingJob("a", clock, fail_once), RecordingJob("b", clock)
    scheduler = PeriodicScheduler([(job, schedule()), (other, schedule())], clock, InlineExecutor())
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
    scheduler = PeriodicScheduler([(job, schedule())], clock, InlineExecutor())

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
    scheduler = PeriodicScheduler([(job, schedule())], clock, InlineExecutor())

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

    def set_back(n: int) -> Outcome:
        clock.time -= 500 if n == 3 else 0
        return DONE

    job = RecordingJob("a", clock, set_back)
    scheduler = PeriodicScheduler([(job, schedule())], clock, InlineExecutor())
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
