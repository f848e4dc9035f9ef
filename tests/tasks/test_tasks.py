"""Tasks: slots, states, progress, cancelling, and what is forgotten when."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.tasks import NoFreeSlotError, Note, Task, Tasks, TaskStatus

BOUND_S = 60.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def create(n_slots: int = 2, clock: Clock | None = None) -> tuple[Tasks, Metrics]:
    metrics = Metrics()
    return Tasks(lambda: n_slots, metrics, clock or Clock()), metrics


def quick(context: RunContext, note: Note) -> bytes:
    return b"{}"


def endless(context: RunContext, note: Note) -> bytes:
    context.sleep(BOUND_S)
    return b"{}"


def wait(tasks: Tasks, n_running: int = 0) -> None:
    until = time.monotonic() + BOUND_S
    while tasks.limits["running"] != n_running:
        assert time.monotonic() < until
        time.sleep(0.001)


@contextmanager
def deaf(tasks: Tasks) -> Iterator[Task]:
    """A task that hears of nothing until the block is left."""
    released = threading.Event()

    def work(context: RunContext, note: Note) -> bytes:
        released.wait(BOUND_S)
        return b"{}"

    task = tasks.start("detection", work)
    try:
        yield task
    finally:
        released.set()


def test_a_task_is_done() -> None:
    tasks, metrics = create()
    task = tasks.start("detection", lambda context, note: b"[1]")
    wait(tasks)
    assert tasks.get(task.id, "detection") is task
    assert (task.status, task.result, task.error) == (TaskStatus.DONE, b"[1]", None)
    assert task.snapshot()["progress"] == 100
    labels = {"kind": "detection", "status": "done"}
    assert metrics.registry.get_sample_value("vmanomaly_tasks_total", labels) == 1
    running = metrics.registry.get_sample_value("vmanomaly_tasks_running", {"kind": "detection"})
    assert running == 0


def test_ids_are_not_alike_and_kinds_are_apart() -> None:
    tasks, _ = create()
    first, second = (tasks.start("detection", quick) for _ in range(2))
    wait(tasks)
    assert first.id != second.id
    assert len(first.id) == 32
    assert tasks.get(first.id, "autotune") is None
    assert tasks.newest("autotune", 10) == []


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (DatasourceError("no connection to http://vm", "connection_error"), "no connection"),
        (ZeroDivisionError("secret"), "ZeroDivisionError; see the log"),
        (SystemExit(3), "SystemExit; see the log"),
    ],
)
def test_what_fails_says_why(
    raised: BaseException, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    def work(context: RunContext, note: Note) -> bytes:
        raise raised

    tasks, _ = create()
    task = tasks.start("detection", work)
    wait(tasks)
    assert task.status is TaskStatus.ERROR
    assert task.error is not None
    assert error in task.error
    assert "secret" not in task.error
    assert task.snapshot()["progress"] < 100


def test_one_task_more_than_slots_is_refused() -> None:
    tasks, _ = create(n_slots=1)
    with deaf(tasks) as task:
        assert tasks.limits == {"max_concurrent": 1, "running": 1, "available": 0}
        with pytest.raises(NoFreeSlotError, match=r"1 of 1 tasks are running; .*max_concurrent_ta"):
            tasks.start("autotune", quick)
        # A slot is free when the work has ended, not when that is asked for.
        assert task.cancel()
        assert task.status is TaskStatus.CANCELED
        with pytest.raises(NoFreeSlotError):
            tasks.start("detection", quick)
    wait(tasks)
    assert tasks.limits["available"] == 1
    assert task.status is TaskStatus.CANCELED
    assert task.result is None


def test_cancelling_ends_the_work_and_is_no_error_again() -> None:
    tasks, _ = create()
    task = tasks.start("detection", endless)
    assert task.cancel()
    wait(tasks)
    assert task.snapshot()["status"] == "canceled"
    assert not task.cancel()


def test_progress_is_whole_never_falls_and_is_100_only_in_the_end() -> None:
    seen = []

    def work(context: RunContext, note: Note) -> bytes:
        for share in (0.0, 0.333, 0.2, 1.0):
            note(share, "inferring", {"points": round(10 * share)})
            seen.append(task.snapshot())
        return b"{}"

    task = Task("detection", work)
    task.run()
    assert [each["progress"] for each in seen] == [0, 33, 33, 99]
    assert seen[-1]["message"] == "inferring"
    assert seen[-1]["metrics"]["points"] == 10
    assert task.snapshot()["progress"] == 100


@pytest.mark.slow
def test_what_a_task_worked_with_is_forgotten_when_it_has_ended() -> None:
    class Credentials:
        pass

    held = Credentials()
    gone = weakref.ref(held)

    def fail(credentials: Credentials) -> bytes:
        raise DatasourceError(f"with {type(credentials).__name__}", "401")

    tasks, _ = create()
    task = tasks.start("detection", lambda context, note, held=held: fail(held))  # type: ignore[misc]
    del held
    wait(tasks)
    gc.collect()
    assert task.status is TaskStatus.ERROR
    assert gone() is None


def test_old_and_many_tasks_are_forgotten() -> None:
    clock = Clock()
    tasks, _ = create(clock=clock)
    first = tasks.start("detection", quick)
    wait(tasks)
    clock.now_s += 1800
    for _ in range(100):
        tasks.start("detection", quick)
        wait(tasks)
    assert tasks.get(first.id, "detection") is None
    assert len(tasks.newest("detection", 1000)) == 100
    clock.now_s += 3601
    assert tasks.newest("detection", 1000) == []


def test_large_results_are_forgotten_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmanomaly.tasks.tasks._MAX_RESULT_BYTES", 25)
    tasks, _ = create()
    started = []
    for _ in range(4):
        started.append(tasks.start("detection", lambda context, note: b"0123456789"))
        wait(tasks)
    assert tasks.newest("detection", 10) == started[:1:-1]


def test_the_newest_come_first_and_can_be_chosen_by_status() -> None:
    tasks, _ = create(n_slots=3)
    done = tasks.start("detection", quick)
    wait(tasks)
    with deaf(tasks) as first, deaf(tasks) as second:
        assert tasks.newest("detection", 10) == [second, first, done]
        assert tasks.newest("detection", 1) == [second]
        assert tasks.newest("detection", 10, TaskStatus.DONE) == [done]
        assert tasks.newest("detection", 10, TaskStatus.RUNNING) == [second, first]
    wait(tasks)


def test_a_stop_cancels_all_and_starts_no_others() -> None:
    tasks, _ = create()
    started = [tasks.start("detection", endless) for _ in range(2)]
    tasks.stop(BOUND_S)
    assert {task.status for task in started} == {TaskStatus.CANCELED}
    assert {task.snapshot()["message"] for task in started} == {"the service stops"}
    assert tasks.limits["running"] == 0
    with pytest.raises(NoFreeSlotError, match="stopping"):
        tasks.start("detection", quick)


def test_a_stop_does_not_wait_long_for_a_task_that_does_not_hear() -> None:
    tasks, _ = create()
    with deaf(tasks) as task:
        tasks.stop(0.0)
        assert task.status is TaskStatus.CANCELED
        assert tasks.limits["running"] == 1
    wait(tasks)


@pytest.mark.slow
def test_a_thousand_tasks_leave_nothing_behind() -> None:
    tasks, _ = create()
    before = threading.active_count()
    for _ in range(1000):
        tasks.start("detection", quick)
        wait(tasks)
    assert len(tasks.newest("detection", 5000)) == 100
    assert threading.active_count() <= before + 1


def test_threads_wait_less_for_the_interpreter_while_a_task_runs() -> None:
    usual = sys.getswitchinterval()
    tasks, _ = create()
    with deaf(tasks):
        other = tasks.start("autotune", quick)
        wait(tasks, n_running=1)
        assert other.has_ended
        assert sys.getswitchinterval() < usual / 10
    wait(tasks)
    assert sys.getswitchinterval() == usual
