from __future__ import annotations

import itertools
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import InlineExecutor, eventually
from vmanomaly.config.scheduler import BacktestingSection, OneoffSection
from vmanomaly.context import RunContext
from vmanomaly.scheduler.backtesting import BacktestingScheduler, backtesting_runs
from vmanomaly.scheduler.oneoff import OneoffScheduler
from vmanomaly.scheduler.run import Run, RunResult
from vmanomaly.series import TimeRange

DONE = RunResult(fitted=True, inferred=True)
FAILED = RunResult(fitted=True, inferred=True, reasons=("no data",))
ONCE = OneoffSection(fit_start=1, fit_end=10, infer_start=11, infer_end=20)
HOUR = 3_600_000


class Job:
    """Notes its runs, each with the copy of the job that carried it out."""

    def __init__(self, name: str, outcome: RunResult = DONE) -> None:
        self.name = name
        self.outcome = outcome
        self.runs: list[tuple[int, Run]] = []
        self.copies = itertools.count(1)
        self.number = 0

    def unlearned(self) -> Job:
        job = Job(self.name, self.outcome)
        job.runs, job.number = self.runs, next(self.copies)
        return job

    def n_steps(self, run: Run) -> int:
        return 2

    def execute(self, run: Run, context: RunContext | None = None) -> RunResult:
        self.runs.append((self.number, run))
        return self.outcome


def nothing() -> None: ...


def milliseconds(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


def section(start: int, end: int, **keys: Any) -> BacktestingSection:
    return BacktestingSection.model_validate({"from_time": start, "to_time": end, **keys})


def iso(time_range: TimeRange | None) -> tuple[str, str]:
    assert time_range is not None
    start, end = (
        datetime.fromtimestamp(moment / 1000, UTC) for moment in (time_range.start, time_range.end)
    )
    return f"{start:%m-%dT%H:%M}", f"{end:%m-%dT%H:%M}"


@pytest.mark.parametrize("outcome", [DONE, FAILED])
def test_oneoff_runs_every_job_once_and_tells_of_failures(outcome: RunResult) -> None:
    jobs = [Job("a"), Job("b", outcome)]
    ended: list[None] = []
    scheduler = OneoffScheduler(jobs, ONCE, InlineExecutor(), RunContext())
    assert scheduler.run(lambda: ended.append(None)) == outcome.reasons
    run = Run(TimeRange(0, 10), TimeRange(10, 20))
    assert [job.runs for job in jobs] == [[(1, run)], [(1, run)]]
    assert len(ended) == 2


def test_the_whole_stretch_is_cut_back_from_its_end() -> None:
    runs = backtesting_runs(
        section(
            milliseconds("2025-05-08T03:00:00Z"),
            milliseconds("2025-05-09T00:00:00Z"),
            fit_every="PT12H",
            fit_window="P7D",
            inference_only=True,
        )
    )
    assert [(iso(run.fit), iso(run.infer)) for run in runs] == [
        (("05-01T03:00", "05-08T03:00"), ("05-08T03:00", "05-08T12:00")),
        (("05-01T12:00", "05-08T12:00"), ("05-08T12:00", "05-09T00:00")),
    ]


def test_without_inference_only_the_stretch_holds_the_history_too() -> None:
    start, end = milliseconds("2025-05-01T05:00:00Z"), milliseconds("2025-05-10T00:00:00Z")
    runs = backtesting_runs(section(start, end, fit_every="1d", fit_window="7d"))
    assert [(iso(run.fit), iso(run.infer)) for run in runs] == [
        (("05-02T00:00", "05-09T00:00"), ("05-09T00:00", "05-10T00:00")),
    ]


def test_a_stretch_without_room_gives_no_runs() -> None:
    assert backtesting_runs(section(0, 24 * HOUR, fit_every="1h", fit_window="1d")) == []
    scheduler = BacktestingScheduler(
        [Job("a")],
        section(0, 24 * HOUR, fit_every="1h", fit_window="1d"),
        InlineExecutor(),
        RunContext(),
    )
    assert scheduler.run(nothing) == ()


@pytest.mark.parametrize(
    ("keys", "micro_batch"),
    [
        ({}, 4 * HOUR),
        ({"infer_every": "1h"}, 4 * HOUR),
        ({"exact": True}, None),
        ({"exact": True, "infer_every": "1h"}, HOUR),
    ],
)
def test_only_exact_pieces_have_micro_batches(
    keys: dict[str, Any], micro_batch: int | None
) -> None:
    (run,) = backtesting_runs(section(0, 8 * HOUR, fit_every="4h", fit_window="4h", **keys))
    assert run.micro_batch == micro_batch
    assert run.micro_batch_end == 4 * HOUR


@given(
    start=st.integers(-1000, 1000),
    length=st.integers(1, 3000),
    fit_every=st.integers(1, 400),
    fit_window=st.integers(1, 400),
    inference_only=st.booleans(),
)
def test_no_timestamp_is_missing_and_none_comes_twice(
    start: int, length: int, fit_every: int, fit_window: int, inference_only: bool
) -> None:
    start, end = 1000 * start, 1000 * (start + length)
    runs = backtesting_runs(
        section(
            start,
            end,
            fit_every=f"{fit_every}s",
            fit_window=f"{fit_window}s",
            inference_only=inference_only,
        )
    )
    pieces = [run.infer for run in runs if run.infer is not None]
    assert len(pieces) == len(runs)
    for run in runs:
        assert run.fit is not None
        assert run.infer is not None
        assert run.fit == TimeRange(run.infer.start - 1000 * fit_window, run.infer.start)
    for earlier, later in itertools.pairwise(pieces):
        assert earlier.end == later.start
    if inference_only:
        assert (pieces[0].start, pieces[-1].end) == (start, end)
        assert all(piece.end - piece.start == 1000 * fit_every for piece in pieces[1:])
    else:
        assert len(pieces) == max(0, (length - fit_window) // fit_every)
        assert all(piece.end - piece.start == 1000 * fit_every for piece in pieces)
        assert not pieces or pieces[-1].end == end


def test_every_piece_starts_from_nothing_and_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    jobs = [Job("a"), Job("b", FAILED)]
    backtest = section(0, 3 * HOUR, fit_every="1h", fit_window="1h")
    with caplog.at_level(logging.INFO):
        assert BacktestingScheduler(jobs, backtest, InlineExecutor(), RunContext()).run(
            nothing
        ) == ("no data",)
    for job in jobs:
        assert job.runs == list(enumerate(backtesting_runs(backtest), start=1))
    assert caplog.messages == [
        "a: 1970-01-01T01:00:00Z to 1970-01-01T02:00:00Z is scored (1 of 4)",
        "b: 1970-01-01T01:00:00Z to 1970-01-01T02:00:00Z failed (2 of 4): no data",
        "a: 1970-01-01T02:00:00Z to 1970-01-01T03:00:00Z is scored (3 of 4)",
        "b: 1970-01-01T02:00:00Z to 1970-01-01T03:00:00Z failed (4 of 4): no data",
    ]


class SlowJob(Job):
    """Ends a run only when it is let go."""

    under_way = 0
    most = 0

    def __init__(self) -> None:
        super().__init__("slow")
        self.go_on = threading.Semaphore(0)
        self.lock = threading.Lock()

    def unlearned(self) -> SlowJob:
        return self

    def execute(self, run: Run, context: RunContext | None = None) -> RunResult:
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self.go_on.acquire()
        with self.lock:
            self.under_way -= 1
        return super().execute(run)


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_n_jobs_pieces_are_under_way_at_a_time(n_jobs: int) -> None:
    backtest = section(0, 9 * HOUR, fit_every="1h", fit_window="1h", n_jobs=n_jobs)
    job = SlowJob()
    with ThreadPoolExecutor(8) as executor:
        scheduler = BacktestingScheduler([job], backtest, executor, RunContext())
        thread = threading.Thread(target=scheduler.run, args=(nothing,))
        thread.start()
        for _ in range(8):
            assert eventually(lambda: job.under_way == min(n_jobs, 8 - len(job.runs)))
            done = len(job.runs)
            job.go_on.release()
            assert eventually(lambda done=done: len(job.runs) == done + 1)  # type: ignore[misc]
        thread.join(60)
    assert not thread.is_alive()
    assert job.most == n_jobs


def test_stop_starts_no_more_pieces() -> None:
    job = SlowJob()
    with ThreadPoolExecutor(2) as executor:
        scheduler = BacktestingScheduler(
            [job], section(0, 9 * HOUR, fit_every="1h", fit_window="1h"), executor, RunContext()
        )
        thread = threading.Thread(target=scheduler.run, args=(nothing,))
        thread.start()
        assert eventually(lambda: job.under_way == 1)
        scheduler.stop()
        thread.join(60)
        assert not thread.is_alive()
        job.go_on.release(8)
    assert len(job.runs) == 1


def test_a_job_that_raises_is_a_bug() -> None:
    class BrokenJob(Job):
        def unlearned(self) -> BrokenJob:
            return self

        def execute(self, run: Run, context: RunContext | None = None) -> RunResult:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        OneoffScheduler([BrokenJob("a")], ONCE, InlineExecutor(), RunContext()).run(nothing)
