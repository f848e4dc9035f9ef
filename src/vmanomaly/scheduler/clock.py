"""The time, behind a face that tests can replace."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits for it."""

    def now(self) -> int:
        """Return the Unix time in milliseconds."""
        ...

    def wait(self, wake_up: threading.Event, until: int | None) -> None:
        """Return when `wake_up` is set, the time is `until`, or the clock was set back.

        None waits for the event only.
        """
        ...


class SystemClock:
    """The clock of the operating system."""

    # A wall clock that is set, forward or back, must not be slept through.
    _longest_sleep_s = 1.0

    def now(self) -> int:
        """Return the Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def wait(self, wake_up: threading.Event, until: int | None) -> None:
        """Return when `wake_up` is set, the time is `until`, or the clock was set back.

        None waits for the event only.
        """
        if until is None:
            wake_up.wait()
            return
        before = self.now()
        while before <= (now := self.now()) < until:
            if wake_up.wait(min((until - now) / 1000, self._longest_sleep_s)):
                return
            before = now
