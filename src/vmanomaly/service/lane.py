"""The threads of a scheduler, and what is in progress in them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Any

from vmanomaly.monitoring.resources import available_cpus

MAX_THREADS = 256
"""How many threads a lane has at most."""

_FEWEST_FITS = 2


class Lane(Executor):
    """Separate threads for a scheduler, so that it never waits for the work of another one.

    Parameters
    ----------
    n_threads
        How many, at most `MAX_THREADS`; each is started when it is needed.
    name
        What the names of the threads begin with.

    Examples
    --------
    >>> lane = Lane(2, "lane")
    >>> future = lane.submit(pow, 2, 3)
    >>> lane.drain(), future.done()
    (True, True)
    >>> lane.close()
    """

    def __init__(self, n_threads: int, name: str) -> None:
        n_threads = max(1, min(n_threads, MAX_THREADS))
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix=name)
        self._under_way: set[Future[Any]] = set()
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a thread do some work."""
        with self._lock:
            future = self._threads.submit(fn, *args, **kwargs)
            self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is in progress. Return whether that is so.

        Nothing may be submitted meanwhile.

        Parameters
        ----------
        timeout_s
            Wait no longer than this; None waits as long as it takes.
        """
        return not wait(set(self._under_way), timeout_s).not_done

    def close(self) -> None:
        """Take no more work, and drop what waits for a thread. Returns at once."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def n_fits_at_once() -> int:
    """Return how many fits hold their data at a time: as many as there are CPUs, at least 2."""
    return max(_FEWEST_FITS, math.ceil(available_cpus()))
