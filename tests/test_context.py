from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import Future

import pytest

from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError, DeadlineExceededError


def test_cancelling_reaches_every_part() -> None:
    whole = RunContext()
    part = whole.child().child()
    part.check()
    whole.cancel()
    assert part.is_cancelled
    with pytest.raises(CancelledError):
        part.check()


def test_cancelling_a_part_leaves_the_whole() -> None:
    whole = RunContext()
    part = whole.child()
    part.cancel()
    assert part.is_cancelled
    whole.check()


def test_the_nearer_deadline_holds() -> None:
    whole = RunContext(time.monotonic() + 1000)
    assert (whole.child(5000).remaining_s or 0) <= 1000
    assert (whole.child(10).remaining_s or 0) <= 10
    assert RunContext().child().remaining_s is None
    with pytest.raises(DeadlineExceededError):
        whole.child(0).check()


def test_callbacks_are_called_once_and_only_in_their_block() -> None:
    called: list[str] = []
    whole = RunContext()
    part = whole.child()
    with part.calling_on_cancel(lambda: called.append("over")):
        pass
    with whole.calling_on_cancel(lambda: called.append("whole")):
        with part.calling_on_cancel(lambda: called.append("part")):
            whole.cancel()
            whole.cancel()
        assert sorted(called) == ["part", "whole"]
    with part.calling_on_cancel(lambda: called.append("late")):
        assert called.count("late") == 1


def test_a_thread_that_waits_is_woken() -> None:
    context, woken = RunContext(), threading.Event()

    def wait() -> None:
        event = threading.Event()
        with context.child().calling_on_cancel(event.set):
            event.wait(60)
            woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    context.cancel()
    thread.join(60)
    assert woken.is_set()


def test_steps_of_parts_are_counted_together() -> None:
    told: list[tuple[int, int, str]] = []
    whole = RunContext(on_progress=lambda *step: told.append(step))
    for name in ("a", "b"):
        whole.child().expect(2)
        whole.child().step(name)
    assert told == [(1, 2, "a"), (2, 4, "b")]


def test_waiting_ends_with_the_event_the_deadline_or_a_cancel() -> None:
    event = threading.Event()
    event.set()
    RunContext().child(60).wait(event)
    with pytest.raises(DeadlineExceededError):
        RunContext().child(0.01).wait(threading.Event())
    cancelled = RunContext()
    cancelled.cancel()
    with pytest.raises(CancelledError):
        cancelled.wait(event)


def test_sleeping_is_ended_by_a_cancel_and_by_the_deadline_of_the_whole() -> None:
    RunContext().sleep(0.01)
    with pytest.raises(DeadlineExceededError):
        RunContext().child(0.01).sleep(60)
    context = RunContext()
    timer = threading.Timer(0.01, context.cancel)
    timer.start()
    with pytest.raises(CancelledError):
        context.sleep(60)
    timer.join()


def test_a_result_is_waited_for_no_longer_than_allowed() -> None:
    future: Future[int] = Future()
    with pytest.raises(DeadlineExceededError):
        RunContext().child(0.01).result(future)
    future.set_result(3)
    assert RunContext().result(future) == 3
    failed: Future[int] = Future()
    failed.set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        RunContext().result(failed)


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_what_is_over_is_broken_off_until_its_block_is_left(is_cancelled: bool) -> None:
    called = threading.Semaphore(0)
    context = RunContext()
    part = context.child(1000 if is_cancelled else 0.01)
    with part.calling_when_over(called.release):
        if is_cancelled:
            assert not called.acquire(blocking=False)
            context.cancel()
        for _ in range(2):
            assert called.acquire(timeout=60)
    while called.acquire(blocking=False):
        pass
    context.cancel()
    assert not called.acquire(blocking=False)


def elsewhere(context: RunContext) -> RunContext:
    """Return what another process gets."""
    there: RunContext = pickle.loads(pickle.dumps(context))  # noqa: S301 - our own
    return there


def test_another_process_gets_the_deadline_and_nothing_else() -> None:
    context = RunContext(time.monotonic() + 100.0)
    context.cancel()
    assert elsewhere(context).remaining_s == pytest.approx(100.0, abs=5.0)
    elsewhere(context).check()
    assert elsewhere(RunContext()).remaining_s is None
    with pytest.raises(DeadlineExceededError):
        elsewhere(RunContext(time.monotonic() - 1.0)).check()
