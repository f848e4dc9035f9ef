"""What accompanies every read and run: whether it is cancelled, its deadline, its progress."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from vmanomaly.errors import CancelledError, DeadlineExceededError
from vmanomaly.watchdog import WATCHDOG, Alarm

_Result = TypeVar("_Result")

OnProgress: TypeAlias = Callable[[int, int, str], None]
"""Takes the steps done, the steps expected, and the name of the last one."""


class RunContext:
    """How a piece of work is stopped, and how far it is. Safe to use from several threads.

    Pickled, it becomes one with the same deadline: who sends work to another process ends it there.

    Parameters
    ----------
    deadline_s
        When the work has to be done, by `time.monotonic`; None for no deadline.
    on_progress
        Called after every step.
    parent
        Cancelling it cancels this one too, its deadline applies too, and steps are counted there.

    Attributes
    ----------
    checked_s : float
        When the work last called `check`, by `time.monotonic`.

    Examples
    --------
    >>> context = RunContext(on_progress=lambda done, total, name: print(done, total, name))
    >>> context.expect(2)
    >>> context.step("fit")
    1 2 fit
    >>> part = context.child()
    >>> context.cancel()
    >>> part.check()
    Traceback (most recent call last):
    ...
    vmanomaly.errors.CancelledError: cancelled
    """

    def __init__(
        self,
        deadline_s: float | None = None,
        on_progress: OnProgress | None = None,
        parent: RunContext | None = None,
    ) -> None:
        self._parents: tuple[RunContext, ...] = ()
        if parent is not None:
            self._parents = (parent, *parent._parents)
            if parent.deadline_s is not None and (
                deadline_s is None or parent.deadline_s < deadline_s
            ):
                deadline_s = parent.deadline_s
        self.deadline_s: float | None = deadline_s
        self._on_progress = on_progress
        self._done = self._expected = 0
        self._counting = threading.RLock()
        self._is_cancelled = False
        self.checked_s = time.monotonic()
        self._on_cancel: dict[object, Callable[[], None]] = {}
        self._lock: threading.RLock = parent._lock if parent is not None else threading.RLock()

    def __reduce__(self) -> tuple[object, ...]:
        left = self.remaining_s
        return _context_until, (None if left is None else time.time() + left,)

    @property
    def is_cancelled(self) -> bool:
        """Whether the work is to stop."""
        return self._is_cancelled or any(parent._is_cancelled for parent in self._parents)

    @property
    def remaining_s(self) -> float | None:
        """The seconds that are left until the deadline, not negative; None without one."""
        return None if self.deadline_s is None else max(0.0, self.deadline_s - time.monotonic())

    def child(self, timeout_s: float | None = None) -> RunContext:
        """Return the context of a part of the work, which may take at most `timeout_s` seconds."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        return RunContext(deadline_s, parent=self)

    def cancel(self) -> None:
        """Ask the work to stop. Returns at once; calling it again does nothing."""
        with self._lock:
            if self._is_cancelled:
                return
            self._is_cancelled = True
            callbacks = list(self._on_cancel.values())
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raise when the work is to stop.

        Raises
        ------
        CancelledError
            It is cancelled.
        DeadlineExceededError
            Its deadline has passed.
        """
        if self.is_cancelled:
            raise CancelledError("cancelled")
        if self.remaining_s == 0.0:
            raise DeadlineExceededError("not done in time")
        self.checked_s = time.monotonic()

    @contextmanager
    def calling_on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Have `callback` called, in the thread that cancels, if that happens in the block.

        It is called at once where the work is cancelled already, and once more where a part and
        then the whole are cancelled. It must neither block nor raise.
        """
        key = object()
        self._register(key, callback)
        try:
            yield
        finally:
            self._unregister(key)

    @contextmanager
    def calling_when_over(self, callback: Callable[[], None]) -> Iterator[None]:
        """Have `callback` called if the work is cancelled, or its deadline passes, in the block.

        It is called again and again until the block is left, and never after that, in the thread
        that cancels or in another one. It must not block.
        """
        alarm = Alarm(callback, math.inf if self.deadline_s is None else self.deadline_s)
        WATCHDOG.set(alarm)
        self._register(alarm, lambda: WATCHDOG.ring(alarm))
        try:
            yield
        finally:
            self._unregister(alarm)
            WATCHDOG.unset(alarm)

    def wait(self, event: threading.Event) -> None:
        """Wait until `event` is set. Cancelling sets it.

        Raises
        ------
        CancelledError
            The work is cancelled, whether the event was set before or not.
        DeadlineExceededError
            Its deadline has passed, and the event is not set.
        """
        with self.calling_on_cancel(event.set):
            is_set = event.wait(self.remaining_s)
        if self.is_cancelled:
            raise CancelledError("cancelled")
        if not is_set:
            raise DeadlineExceededError("not done in time")

    def sleep(self, seconds: float) -> None:
        """Wait for some time.

        Raises
        ------
        CancelledError, DeadlineExceededError
            The work is to stop before that.
        """
        try:
            self.child(seconds).wait(threading.Event())
        except DeadlineExceededError:
            self.check()

    def result(self, future: Future[_Result]) -> _Result:
        """Wait for what `future` gives or raises.

        Raises
        ------
        CancelledError, DeadlineExceededError
            The work is to stop before that.
        """
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        self.wait(done)
        return future.result()

    def expect(self, n_steps: int) -> None:
        """Note that the work has that many more steps. Work without an end expects none."""
        whole = self._parents[-1] if self._parents else self
        with whole._counting:
            whole._expected += n_steps

    def step(self, name: str) -> None:
        """Note that a step is done."""
        whole = self._parents[-1] if self._parents else self
        with whole._counting:
            whole._done += 1
            if whole._on_progress is not None:
                whole._on_progress(whole._done, whole._expected, name)

    def _register(self, key: object, callback: Callable[[], None]) -> None:
        """Have `callback` called when this, or what it is a part of, is cancelled."""
        with self._lock:
            for context in (self, *self._parents):
                context._on_cancel[key] = callback
            is_late = self.is_cancelled
        if is_late:
            callback()

    def _unregister(self, key: object) -> None:
        with self._lock:
            for context in (self, *self._parents):
                del context._on_cancel[key]


def _context_until(until_s: float | None) -> RunContext:
    """Return a context with a deadline by the clock, which other processes and machines share."""
    return RunContext(None if until_s is None else time.monotonic() + until_s - time.time())
