from __future__ import annotations

import threading
import time

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
