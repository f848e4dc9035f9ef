"""The time, behind an interface that tests can replace."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits for it."""

    def now(self) -> int:
        """Return the Unix time in milliseconds. It may be set forward or back."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some point in the past; never goes back."""
        ...

    def wait(self, wake_up: threading.Event, until: int | None) -> None:
        """Return when `wake_up` is set, the time is `until`, or the clock was set back.

        Parameters
        ----------
        wake_up
            Ends the wait.
        until
            Unix milliseconds; None waits for the event only.
        """
        ...

    def wait_for_change(self, changed: threading.Condition, seconds: float | None) -> None:
        """Return when `changed`, which the caller holds, is notified or the time is over.

        Parameters
        ----------
        changed
            Ends the wait.
        seconds
            By `monotonic`; None waits for the condition only.
        """
        ...


class SystemClock:
    """The clock of the operating system."""

    # A wall clock that is set, forward or back, must not be slept through.
    _longest_sleep_s = 1.0

    def now(self) -> int:
        """Return the Unix time in milliseconds. It may be set forward or back."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds since some point in the past; never goes back."""
        return time.monotonic()

    def wait(self, wake_up: threading.Event, until: int | None) -> None:
        """Return when `wake_up` is set, the time is `until`, or the clock was set back."""
        if until is None:
            wake_up.wait()
            return
        before = self.now()
        while before <= (now := self.now()) < until:
            if wake_up.wait(min((until - now) / 1000, self._longest_sleep_s)):
                return
            before = now

    def wait_for_change(self, changed: threading.Condition, seconds: float | None) -> None:
        """Return when `changed`, which the caller holds, is notified or the time is over."""
        changed.wait(seconds)
