"""Stand-ins that make time and threads obey the test."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from vmanomaly.config.reader import Query
from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError
from vmanomaly.series import Origin, Predictions, SeriesBatch, TimeRange
from vmanomaly.writer import Writer


class FakeClock:
    """A clock that is where it is asked to be as soon as somebody waits for it."""

    def __init__(self, now: int = 0, on_tick: Callable[[int], None] = lambda now: None) -> None:
        self.time = now
        self.on_tick = on_tick
        self.waited: list[float] = []
        """The seconds for which somebody waited for a change."""

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return self.time / 1000

    def wait(self, wake_up: threading.Event, until: int | None) -> None:
        if wake_up.is_set():
            return
        assert until is not None, "nothing is left to wait for"
        self.time = max(self.time, until)
        self.on_tick(self.time)

    def wait_for_change(self, changed: threading.Condition, seconds: float | None) -> None:
        if seconds is None:
            changed.wait()
            return
        self.waited.append(seconds)
        self.time += math.ceil(seconds * 1000)


class SteppedClock:
    """A clock that stands still until it is moved on; whoever waits for a time waits for that."""

    def __init__(self, now: int = 0) -> None:
        self._now = now
        self._moved = threading.Condition()

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / 1000

    def advance(self, milliseconds: int) -> None:
        with self._moved:
            self._now += milliseconds
            self._moved.notify_all()

    def wait(self, wake_up: threading.Event, until: int | None) -> None:
        with self._moved:
            while not wake_up.is_set() and (until is None or self._now < until):
                self._moved.wait(0.002)  # The event tells nobody.

    def wait_for_change(self, changed: threading.Condition, seconds: float | None) -> None:
        changed.wait(None if seconds is None else 0.002)  # A step tells nobody.


class InlineExecutor(Executor):
    """Runs what it is given at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


class FakeReader:
    """Answers with what a function gives, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Query, TimeRange, str], SeriesBatch]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, TimeRange, str]] = []

    def read(
        self,
        query: Query,
        time_range: TimeRange,
        scheduler_alias: str,
        *,
        stage: str,
        context: RunContext | None = None,
    ) -> SeriesBatch:
        self.asked.append((query.alias, time_range, stage))
        return self.answer(query, time_range, stage)

    def check_health(self) -> None: ...

    def close(self) -> None: ...


class FakeWriter(Writer):
    """Keeps what it is given."""

    last_error: DatasourceError | None = None
    n_dropped: int = 0
    n_in_memory: int = 0

    def __init__(self) -> None:
        self.written: list[tuple[Predictions, Origin]] = []

    def write(self, predictions: Predictions, origin: Origin) -> None:
        self.written.append((predictions, origin))

    def check_health(self) -> None: ...


def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> bool:
    """Return whether the condition comes true in time, looking again and again."""
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.002)
    return True
