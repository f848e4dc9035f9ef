"""A limit on how many do something at a time, for those who may be told to stop waiting."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from vmanomaly.context import RunContext


class Slots:
    """Lets a number of threads in at a time, the others in the order in which they came.

    Parameters
    ----------
    n
        How many.

    Examples
    --------
    >>> slots = Slots(1)
    >>> with slots.taken(RunContext()):
    ...     with slots.taken(RunContext().child(timeout_s=0)):
    ...         pass
    Traceback (most recent call last):
    ...
    vmanomaly.errors.DeadlineExceededError: not done in time
    """

    def __init__(self, n: int) -> None:
        self._n_free = n
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, context: RunContext) -> Iterator[None]:
        """Wait for a slot, and hold it for the time of a `with` block.

        Raises
        ------
        CancelledError, DeadlineExceededError
            The work is to stop before there is one.
        """
        self._take(context)
        try:
            yield
        finally:
            self._give_back()

    def _take(self, context: RunContext) -> None:
        with self._lock:
            if self._n_free:
                self._n_free -= 1
                return
            is_next = threading.Event()
            self._waiting.append(is_next)
        try:
            context.wait(is_next)
        except BaseException:
            with self._lock:
                is_waiting = is_next in self._waiting
                if is_waiting:
                    self._waiting.remove(is_next)
            if not is_waiting:
                self._give_back()
            raise

    def _give_back(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._n_free += 1
