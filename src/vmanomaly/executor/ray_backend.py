"""Executing work as tasks of Ray."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any

from vmanomaly.errors import VmanomalyError
from vmanomaly.executor.backends import Backend, unusable
from vmanomaly.executor.ray_connection import connect_ray, import_ray, start_ray
from vmanomaly.executor.worker import Outcome, attempt, death_of

_RETRIES = 1
"""How often Ray executes a piece again, on any node, if its worker dies."""

_NOTICES_A_STOP_S = 0.2

_starting = threading.Lock()


class Ray(Backend):
    """Tasks of Ray, without joblib.

    joblib's backend keeps a pool of actors, and takes all results of a call at once: the death of
    one actor costs every piece of the call, and the actors of a call that was given up hold their
    CPUs until they have ended. A task is retried by itself, and what it fails with is its own; it
    can be killed.
    """

    def __init__(self, n_workers: int, native_threads: int, address: str | None) -> None:
        super().__init__(n_workers, native_threads)
        self._ray = _connected(address, n_workers)
        self._is_interrupted = False
        self._in_progress: dict[Any, int] = {}

    def execute(
        self, function: Callable[..., Any], tasks: Iterator[tuple[int, tuple[Any, ...]]]
    ) -> Iterator[Outcome]:
        """Yield the outcomes of pieces as they come; `WorkerDiedError` where retries are used up.

        Raises
        ------
        VmanomalyError
            The nodes cannot execute the function at all.
        """
        remote = _remote_attempt()
        # Sent once to each node, with what it holds.
        shared = self._ray.put(function)

        def send(n: int) -> None:
            for number, piece in islice(tasks, n):
                task = remote.remote(os.getpid(), self._native_threads, shared, number, piece)
                self._in_progress[task] = number

        try:
            send(self._n_workers)
            while self._in_progress and not self._is_interrupted:
                done, _ = self._ray.wait(list(self._in_progress), timeout=_NOTICES_A_STOP_S)
                for task in done:
                    number = self._in_progress.pop(task)
                    send(1)
                    yield self._outcome(task, number)
        finally:
            self._kill()

    def interrupt(self) -> None:
        """Kill the workers of the pieces in progress."""
        self._is_interrupted = True
        self._kill()

    def _kill(self) -> None:
        for task in list(self._in_progress):
            self._ray.cancel(task, force=True)

    def _outcome(self, task: Any, number: int) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            reason = str(error.cause).splitlines()[0]
            raise VmanomalyError(
                f"settings.executor: a node of Ray cannot execute the work: {reason}: all of them "
                "need the same versions of Python, vmanomaly and its extras"
            ) from error
        except self._ray.exceptions.RayError:
            return death_of(number)
        return outcome


@cache
def _remote_attempt() -> Any:
    """Return what makes a task of a piece; exported to a cluster once."""
    return import_ray(None).remote(max_retries=_RETRIES)(attempt)


def _connected(address: str | None, n_workers: int) -> Any:
    """Return the module `ray`, connected to a cluster, or to one that it starts on this machine."""
    ray = import_ray(address)
    with _starting:
        if not ray.is_initialized():
            try:
                if address is None:
                    start_ray(ray, num_cpus=max(n_workers, os.cpu_count() or 1))
                else:
                    connect_ray(ray, address)
            except Exception as error:
                raise unusable("Ray", address, error) from error
    return ray
