from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fakes import FakeClock, InlineExecutor
from vmanomaly.scheduler.clock import SystemClock
from vmanomaly.scheduler.oneoff import OneoffScheduler
from vmanomaly.scheduler.periodic import PeriodicScheduler
from vmanomaly.scheduler.run import Outcome, Run
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


def schedule(first: int = 1000) -> PeriodicSchedule:
    return PeriodicSchedule(first, 10, 10_000, 100, longest_catch_up=1000)


def run_until(end: int, clock: FakeClock, *jobs: tuple[RecordingJob, PeriodicSchedule]) -> None:
    scheduler = PeriodicScheduler(list(jobs), clock, InlineExecutor())

    def stop_at_end(now: int) -> None:
        if now > end:
            scheduler.stop()

    clock.on_tick = stop_at_end
    assert scheduler.run() is False


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

    first = clock.now()
    plan = PeriodicSchedule(first, 3_600_000, 3_600_000, 3_600_000, 3_600_000)
    with ThreadPoolExecutor(1) as executor:
        scheduler = PeriodicScheduler([(Job(), plan)], clock, executor)
        thread = threading.Thread(target=scheduler.run)
        thread.start()
        assert started.wait(10)
        scheduler.stop()
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("failed", [False, True])
def test_oneoff_runs_every_job_once_and_tells_of_failures(failed: bool) -> None:
    clock = FakeClock(0)
    jobs = [
        RecordingJob("a", clock),
        RecordingJob("b", clock, lambda n: Outcome(True, True, failed)),
    ]
    run = Run(TimeRange(0, 10), TimeRange(10, 20))
    assert OneoffScheduler(jobs, run, InlineExecutor()).run() is failed
    assert [job.runs for job in jobs] == [[(0, run)], [(0, run)]]
