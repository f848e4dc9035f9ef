"""Calls that are made at a given time unless the work that they concern is done before."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

_AGAIN_AFTER_S = 0.05
_LONGEST_WAIT_S = 3600.0


class Alarm:
    """A call that is to be made.

    Parameters
    ----------
    callback
        What to call. It must not block.
    due_s
        When it is due, by `time.monotonic`.
    """

    __slots__ = ("callback", "due_s")

    def __init__(self, callback: Callable[[], None], due_s: float = math.inf) -> None:
        self.callback = callback
        self.due_s = due_s


class Watchdog:
    """Interrupts what takes too long, from one thread for everything that is watched.

    The thread is started by the first alarm, and ends some time after the last one.

    Examples
    --------
    >>> watchdog, is_late = Watchdog(), threading.Event()
    >>> alarm = Alarm(is_late.set, time.monotonic() + 0.01)
    >>> watchdog.set(alarm)
    >>> is_late.wait(60)
    True
    >>> watchdog.unset(alarm)
    """

    def __init__(self) -> None:
        self._alarms: set[Alarm] = set()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._wakes_at_s = math.inf

    def set(self, alarm: Alarm) -> None:
        """Make the call once it is due, and then every twentieth of a second until `unset`.

        What it interrupts may not have begun yet, so once is not enough.
        """
        with self._lock:
            self._alarms.add(alarm)
            self._wake_by(alarm.due_s)

    def unset(self, alarm: Alarm) -> None:
        """Never make the call again, from the moment this returns."""
        with self._lock:
            self._alarms.discard(alarm)

    def ring(self, alarm: Alarm) -> None:
        """Make the call now, in the thread of the caller, unless the alarm is unset."""
        with self._lock:
            if alarm in self._alarms:
                _call(alarm)
                self._wake_by(alarm.due_s)

    def _wake_by(self, due_s: float) -> None:
        """Ensure that the thread checks the alarms at a time, or earlier."""
        if due_s >= self._wakes_at_s:
            return
        self._wakes_at_s = due_s
        # A thread does not survive a fork.
        if self._thread is not None and self._thread.is_alive():
            self._changed.notify()
            return
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._lock:
            while True:
                now = time.monotonic()
                for alarm in list(self._alarms):
                    if alarm.due_s <= now:
                        _call(alarm)
                self._wakes_at_s = min((each.due_s for each in self._alarms), default=math.inf)
                if self._wakes_at_s == math.inf:
                    self._thread = None
                    return
                self._changed.wait(min(self._wakes_at_s - time.monotonic(), _LONGEST_WAIT_S))


def _call(alarm: Alarm) -> None:
    alarm.due_s = time.monotonic() + _AGAIN_AFTER_S
    try:
        alarm.callback()
    except Exception:
        logger.exception("Could not interrupt an operation that exceeded its deadline")
        alarm.due_s = math.inf


WATCHDOG = Watchdog()
"""The watchdog of this process."""
