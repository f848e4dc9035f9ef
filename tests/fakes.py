"""Stand-ins that make time and threads obey the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class FakeClock:
    """A clock that is where it is asked to be as soon as somebody waits for it."""

    def __init__(self, now: int, on_tick: Callable[[int], None] = lambda now: None) -> None:
        self.time = now
        self.on_tick = on_tick

    def now(self) -> int:
        return self.time

    def wait(self, wake_up: threading.Event, until: int | None) -> None:
        if wake_up.is_set():
            return
        assert until is not None, "nothing is left to wait for"
        self.time = max(self.time, until)
        self.on_tick(self.time)


class InlineExecutor(Executor):
    """Runs what it is given at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Return whether the condition comes true in time, looking again and again."""
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.002)
    return True
