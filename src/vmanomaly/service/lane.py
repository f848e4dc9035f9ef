"""A scheduler's share of the pool of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Any


class Lane(Executor):
    """Passes work on to a pool, and knows what is under way.

    Parameters
    ----------
    pool
        Where the work is done.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor() as pool:
    ...     lane = Lane(pool)
    ...     future = lane.submit(pow, 2, 3)
    ...     lane.drain(), future.done()
    (True, True)
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._under_way: set[Future[Any]] = set()
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have the pool do a piece of work."""
        with self._lock:
            future = self._pool.submit(fn, *args, **kwargs)
            self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def move(self, pool: Executor) -> None:
        """Use another pool from now on."""
        with self._lock:
            self._pool = pool

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is under way. Return whether that is so.

        Nothing may be submitted meanwhile.

        Parameters
        ----------
        timeout_s
            Wait no longer than this; None waits as long as it takes.
        """
        return not wait(set(self._under_way), timeout_s).not_done
