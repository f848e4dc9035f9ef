"""What accompanies every read and run: whether it is cancelled, its deadline, its progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from vmanomaly.errors import CancelledError, DeadlineExceededError

OnProgress: TypeAlias = Callable[[int, int, str], None]
"""Takes the steps done, the steps expected, and the name of the last one."""


class RunContext:
    """The way to stop a piece of work, and to know how far it is. Safe to use from threads.

    Parameters
    ----------
    deadline_s
        When the work has to be done, by `time.monotonic`; None for no such time.
    on_progress
        Told about every step.
    parent
        Cancelling it cancels this one too, its deadline holds too, and steps are counted there.

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
        deadlines = [deadline_s, parent.deadline_s if parent is not None else None]
        self.deadline_s: float | None = min(
            (each for each in deadlines if each is not None), default=None
        )
        self._on_progress = on_progress
        self._parent = parent
        self._done = self._expected = 0
        self._is_cancelled = False
        self._on_cancel: dict[object, Callable[[], None]] = {}
        self._lock = threading.RLock()

    @property
    def is_cancelled(self) -> bool:
        """Whether the work is to stop."""
        return self._is_cancelled or (self._parent is not None and self._parent.is_cancelled)

    @property
    def remaining_s(self) -> float | None:
        """The seconds that are left until the deadline, not negative; None without one."""
        return None if self.deadline_s is None else max(0.0, self.deadline_s - time.monotonic())

    def child(self, timeout_s: float | None = None) -> RunContext:
        """Return the context of a part of the work, which may take at most `timeout_s` seconds."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        return RunContext(deadline_s, parent=self)

    def cancel(self) -> None:
        """Have the work stop. Returns at once; calling it again does nothing."""
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

    @contextmanager
    def calling_on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Have `callback` called, in the thread that cancels, if that happens in the block.

        It is called at once where the work is cancelled already. It must neither block nor raise.
        """
        key = object()
        with self._lock:
            self._on_cancel[key] = callback
            is_late = self._is_cancelled
        try:
            if is_late:
                callback()
            if self._parent is None or is_late:
                yield
            else:
                with self._parent.calling_on_cancel(callback):
                    yield
        finally:
            with self._lock:
                del self._on_cancel[key]

    def expect(self, n_steps: int) -> None:
        """Note that the work has so many steps more."""
        if self._parent is not None:
            self._parent.expect(n_steps)
            return
        with self._lock:
            self._expected += n_steps

    def step(self, name: str) -> None:
        """Note that a step is done."""
        if self._parent is not None:
            self._parent.step(name)
            return
        with self._lock:
            self._done += 1
            if self._on_progress is not None:
                self._on_progress(self._done, self._expected, name)
