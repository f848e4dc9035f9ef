"""Says the same thing now and then, not again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_EVERY_S = 60.0
_MAX_TOPICS = 100


class Throttle:
    """Tells whether it is time to log something again.

    Parameters
    ----------
    every_s
        Seconds between two lines on a topic.
    clock
        Tells the time, in seconds.

    Examples
    --------
    >>> now = 0.0
    >>> throttle = Throttle(60, clock=lambda: now)
    >>> throttle.n_suppressed("disk full"), throttle.n_suppressed("disk full")
    (0, None)
    >>> now = 60.0
    >>> throttle.n_suppressed("disk full")
    1
    """

    def __init__(
        self, every_s: float = _EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._topics: dict[str, tuple[float, int]] = {}

    def n_suppressed(self, topic: str) -> int | None:
        """Return None if it is too early; else how often it has been since the last time."""
        now = self._clock()
        with self._lock:
            logged_at, n = self._topics.get(topic, (now - self._every_s, 0))
            if now - logged_at < self._every_s:
                self._topics[topic] = (logged_at, n + 1)
                return None
            if len(self._topics) >= _MAX_TOPICS:
                self._topics.clear()
            self._topics[topic] = (now, 0)
            return n
