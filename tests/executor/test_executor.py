"""Pieces of work come back in order, whatever executes them and whatever happens to them."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_info

from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError, DeadlineExceededError, SkippedError, WorkerDiedError
from vmanomaly.executor import Executor
from vmanomaly.executor.backends import Processes
from vmanomaly.failures import RemoteError

HERE = Executor()
THREADS = Executor("threads", 2)
PROCESSES = Executor("processes", 2)
APART = Executor(n_workers=2, apart=True)
each_executor = pytest.mark.parametrize(
    "executor", [HERE, THREADS, PROCESSES, APART], ids=["here", "threads", "processes", "apart"]
)
each_kind_of_processes = pytest.mark.parametrize(
    "executor", [PROCESSES, APART], ids=["processes", "apart"]
)


def scaled(values: np.ndarray, factor: float) -> np.ndarray:
    return values * factor


def process_of(_: int) -> int:
    return os.getpid()


def fails(number: int) -> int:
    if number % 3 == 0:
        raise NeedsTwoArgumentsError("number", str(number))
    if number % 3 == 1:
        raise SkippedError("no data")
    return number


def size_of_empty(n: int) -> int:
    return np.empty(n).nbytes


class NeedsTwoArgumentsError(Exception):
    """Cannot be rebuilt from what it says."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


def kills(number: int, deadly: int) -> int:
    if number == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def sleeps(seconds: float) -> None:
    time.sleep(seconds)


def native_threads(_: int) -> int:
    return max((each["num_threads"] for each in threadpool_info()), default=0)


def oom_score_adj(_: int) -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


@each_executor
def test_results_come_in_the_order_of_the_pieces(executor: Executor) -> None:
    rng = np.random.default_rng(1)
    pieces = [(rng.normal(size=3), float(number)) for number in range(12)]
    results = executor.map(scaled, pieces, RunContext())
    for (values, factor), found in zip(pieces, results, strict=True):
        np.testing.assert_array_equal(found, values * factor)


@each_executor
def test_each_result_is_told_as_it_comes(executor: Executor) -> None:
    told: dict[int, object] = {}
    results = executor.map(
        fails, [(number,) for number in range(6)], RunContext(), on_result=told.__setitem__
    )
    assert [told[number] for number in range(6)] == results


@each_executor
def test_no_pieces_are_no_results(executor: Executor) -> None:
    assert executor.map(scaled, [], RunContext()) == []


def test_what_executes_is_what_is_set_or_else_what_the_work_prefers() -> None:
    pieces = [(number,) for number in range(4)]
    assert set(HERE.map(process_of, pieces, RunContext())) == {os.getpid()}
    assert set(THREADS.map(process_of, pieces, RunContext(), "processes")) == {os.getpid()}
    preferring = Executor(n_workers=2)
    assert set(preferring.map(process_of, pieces, RunContext(), "threads")) == {os.getpid()}
    assert os.getpid() not in preferring.map(process_of, pieces, RunContext(), "processes")


@each_executor
def test_an_exception_is_the_result_of_its_piece_only(executor: Executor) -> None:
    results = executor.map(fails, [(number,) for number in range(6)], RunContext())
    assert [results[2], results[5]] == [2, 5]
    assert isinstance(results[1], SkippedError)
    assert str(results[4]) == "no data"
    assert isinstance(results[0], Exception)
    assert "number: 0" in str(results[0])
    if executor in {PROCESSES, APART}:
        assert isinstance(results[0], RemoteError)
        assert 'raise NeedsTwoArgumentsError("number", str(number))' in str(results[0].__cause__)


@pytest.mark.slow
@each_kind_of_processes
def test_a_worker_that_dies_costs_the_piece_that_killed_it(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        results = executor.map(kills, [(number, 5) for number in range(12)], RunContext())
    assert isinstance(results[5], WorkerDiedError)
    assert [each for each in results if each is not results[5]] == [*range(5), *range(6, 12)]
    assert "A worker died; executing" in caplog.text
    assert executor.map(kills, [(1, 5)], RunContext()) == [1]


def test_work_apart_has_a_process_of_its_own_which_is_kept() -> None:
    alone = Executor(apart=True)
    (first,) = alone.map(process_of, [(0,)], RunContext())
    assert first != os.getpid()
    assert alone.map(process_of, [(0,)] * 3, RunContext()) == [first] * 3
    assert alone.map(process_of, [(0,)], RunContext(), "here") == [os.getpid()]
    assert Executor("threads", apart=True).map(process_of, [(0,)], RunContext()) == [os.getpid()]
    assert first not in PROCESSES.map(process_of, [(0,)] * 4, RunContext())


def test_work_apart_fails_where_it_takes_more_memory_than_it_may() -> None:
    limited = Executor(apart=True, memory_bytes=1)
    # Never touched, so that it takes nothing.
    (failed,) = limited.map(size_of_empty, [(3 << 27,)], RunContext())
    assert isinstance(failed, RemoteError)
    assert str(failed) == "it needs more memory than the 2.0 GiB that it may take"
    assert limited.map(np.size, [(np.ones(1 << 20),)], RunContext()) == [1 << 20]
    (size,) = Executor(apart=True).map(size_of_empty, [(3 << 27,)], RunContext())
    assert size == 3 << 30


@pytest.mark.slow
def test_fewer_workers_use_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "_n_processes", 0)
    pieces = [(number,) for number in range(8)]
    Executor("processes", 3).map(process_of, pieces, RunContext())
    before = set(get_reusable_executor(reuse=True)._processes)
    assert set(PROCESSES.map(process_of, pieces, RunContext())) <= before
    assert set(get_reusable_executor(reuse=True)._processes) == before


def test_native_threads_are_limited_in_worker_processes() -> None:
    before = native_threads(0)
    assert Executor("processes", 2, native_threads=1).map(native_threads, [(0,)], RunContext()) == [
        1
    ]
    assert native_threads(0) == before


def test_the_kernel_kills_a_worker_rather_than_the_service() -> None:
    (found,) = Executor("processes", 2).map(oom_score_adj, [(0,)], RunContext())
    assert found == 500
    assert oom_score_adj(0) < found


@pytest.mark.slow
@each_kind_of_processes
def test_a_cancelled_call_ends_the_work_in_progress(executor: Executor) -> None:
    executor.map(process_of, [(0,)], RunContext())
    context = RunContext()
    timer = threading.Timer(0.3, context.cancel)
    timer.start()
    with pytest.raises(CancelledError):
        executor.map(sleeps, [(3600.0,)] * 6, context)
    timer.join()
    # And the next one has workers again.
    assert executor.map(kills, [(3, 5), (4, 5)], RunContext()) == [3, 4]


def test_a_deadline_ends_the_work_in_progress() -> None:
    context = RunContext(time.monotonic() + 0.3)
    with pytest.raises(DeadlineExceededError):
        PROCESSES.map(sleeps, [(3600.0,)] * 6, context)


@pytest.mark.parametrize("executor", [HERE, THREADS], ids=["here", "threads"])
def test_threads_finish_their_piece_and_begin_no_other(executor: Executor) -> None:
    context = RunContext()
    begun: list[int] = []

    def stops(number: int) -> None:
        begun.append(number)
        context.cancel()

    with pytest.raises(CancelledError):
        executor.map(stops, [(number,) for number in range(20)], context)
    assert len(begun) <= 2


@pytest.mark.slow
def test_work_of_another_thread_survives_a_cancellation() -> None:
    """Both use the same worker processes, which the cancellation kills."""
    PROCESSES.map(process_of, [(0,)], RunContext())
    cancelled = RunContext()
    results: list[object] = []
    pieces = [(number, -1) for number in range(300)]
    other = threading.Thread(
        target=lambda: results.extend(PROCESSES.map(kills, pieces, RunContext()))
    )
    other.start()
    timer = threading.Timer(0.1, cancelled.cancel)
    timer.start()
    with pytest.raises(CancelledError):
        PROCESSES.map(sleeps, [(3600.0,)] * 2, cancelled)
    other.join()
    timer.join()
    assert results == list(range(300))
