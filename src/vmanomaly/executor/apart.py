"""Executing work in processes of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool, ShutdownExecutorError

from vmanomaly.executor.backends import Backend
from vmanomaly.executor.worker import Outcome, attempt, limit_memory

_IDLE_S = 300
_LEAST_BYTES = 2 << 30
"""A library takes a quarter of it before there is any data."""

_lock = threading.Lock()
_idle: dict[tuple[int, int | None], list[ProcessPoolExecutor]] = {}


class Apart(Backend):
    """Processes that nobody else uses at the time.

    Work that may be stopped at any moment, and that others must not wait for, does not share the
    processes of `Processes`: to stop it is to kill them. They are kept for the next use for five
    minutes, since they take seconds to start.

    Parameters
    ----------
    n_workers, native_threads
        As for every backend.
    memory_bytes
        What they may take together, but each at least 2 GiB; None for no limit. Work that needs
        more fails, and takes neither the service nor other work with it.
    """

    def __init__(
        self, n_workers: int, native_threads: int, memory_bytes: int | None = None
    ) -> None:
        super().__init__(n_workers, native_threads)
        self._bytes_each = (
            None if memory_bytes is None else max(_LEAST_BYTES, memory_bytes // n_workers)
        )
        self._pool: ProcessPoolExecutor | None = None

    def execute(
        self, function: Callable[..., Any], tasks: Iterator[tuple[int, tuple[Any, ...]]]
    ) -> Iterator[Outcome]:
        """Yield the outcomes of pieces as they come.

        Raises
        ------
        BrokenProcessPool
            A worker died.
        ShutdownExecutorError
            `interrupt` has killed the workers.
        """
        with _lock:
            idle = _idle.setdefault((self._n_workers, self._bytes_each), [])
            pool = idle.pop() if idle else self._start()
            self._pool = pool
        in_progress: set[Future[Outcome]] = set()

        def send(n: int) -> None:
            for task in islice(tasks, n):
                in_progress.add(
                    pool.submit(attempt, os.getpid(), self._native_threads, function, *task)
                )

        try:
            send(self._n_workers)
            while in_progress:
                done, _ = wait(in_progress, return_when=FIRST_COMPLETED)
                for future in done:
                    in_progress.remove(future)
                    send(1)
                    yield future.result()
        except BaseException:
            self.interrupt()
            raise
        with _lock:
            if self._pool is not None:
                self._pool = None
                idle.append(pool)

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._n_workers,
            timeout=_IDLE_S,
            initializer=limit_memory,
            initargs=(self._bytes_each,),
        )

    def is_death(self, error: Exception) -> bool:
        """Tell whether an exception of `execute` says that a worker died."""
        return isinstance(error, (BrokenProcessPool, ShutdownExecutorError))

    def interrupt(self) -> None:
        """Kill the workers."""
        with _lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, kill_workers=True)
