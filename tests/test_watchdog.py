from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.fakes import eventually
from vmanomaly.watchdog import Alarm, Watchdog


@contextmanager
def calling(
    watchdog: Watchdog, callback: Callable[[], object], due_s: float = math.inf
) -> Iterator[Alarm]:
    alarm = Alarm(lambda: void(callback()), due_s)
    watchdog.set(alarm)
    try:
        yield alarm
    finally:
        watchdog.unset(alarm)


def void(_: object) -> None: ...


def test_what_takes_too_long_is_called_again_and_again_and_not_after_it() -> None:
    watchdog, called = Watchdog(), threading.Semaphore(0)
    with calling(watchdog, called.release, time.monotonic()):
        for _ in range(3):
            assert called.acquire(timeout=60)
    while called.acquire(blocking=False):
        pass
    assert eventually(lambda: watchdog._thread is None)
    assert not called.acquire(blocking=False)


def test_what_is_done_in_time_is_let_alone() -> None:
    watchdog, called = Watchdog(), threading.Event()
    with calling(watchdog, called.set, time.monotonic() + 1000):
        pass
    with calling(watchdog, called.set):
        pass
    with watchdog._lock:  # The thread looks once more, and finds nothing.
        watchdog._changed.notify()
    assert eventually(lambda: watchdog._thread is None)
    assert not called.is_set()


def test_an_earlier_time_is_not_slept_through() -> None:
    watchdog, first, second = Watchdog(), threading.Event(), threading.Event()
    with (
        calling(watchdog, first.set, time.monotonic() + 1000),
        calling(watchdog, second.set, time.monotonic() + 0.01),
    ):
        assert second.wait(60)
        assert not first.is_set()


def test_a_call_made_now_is_made_by_the_caller_and_repeated_by_the_thread() -> None:
    watchdog = Watchdog()
    callers: list[threading.Thread] = []
    with calling(watchdog, lambda: callers.append(threading.current_thread())) as alarm:
        watchdog.ring(alarm)
        assert callers == [threading.current_thread()]
        assert eventually(lambda: len(callers) > 1)
    n_calls = len(callers)
    watchdog.ring(alarm)
    assert len(callers) == n_calls


def test_a_call_that_raises_is_logged_and_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    watchdog, called = Watchdog(), threading.Event()
    due_s = time.monotonic()
    with calling(watchdog, fail, due_s), calling(watchdog, called.set, due_s):
        assert called.wait(60)
        assert eventually(lambda: bool(caplog.records))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
