"""Executing work as tasks of Dask."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from queue import SimpleQueue
from typing import Any

from vmanomaly.errors import VmanomalyError
from vmanomaly.executor.backends import Backend, unusable
from vmanomaly.executor.worker import Outcome, attempt

_WORKERS_COME_WITHIN_S = 30
_ALLOWED_FAILURES = 1
"""Of a task on this machine, where what kills a worker is likely to kill them all."""

_starting = threading.Lock()
_clients: dict[str | None, Any] = {}


class Dask(Backend):
    """Tasks of Dask, without joblib.

    joblib's backend executes the work here while the cluster has a single worker, others having
    died or not: a piece that kills its worker would kill the service then.
    """

    def __init__(self, n_workers: int, native_threads: int, address: str | None) -> None:
        super().__init__(n_workers, native_threads)
        self._client = _connected(address, n_workers)
        self._killed_worker = import_module("distributed").scheduler.KilledWorker
        self._done: SimpleQueue[Any] = SimpleQueue()

    def execute(
        self, function: Callable[..., Any], tasks: Iterator[tuple[int, tuple[Any, ...]]]
    ) -> Iterator[Outcome]:
        """Yield the outcomes of pieces as they come.

        Raises
        ------
        KilledWorker
            As often as Dask allows, a worker died that had a piece: executing it, or about to.
        VmanomalyError
            The workers cannot execute the function at all.
        """
        in_progress: dict[str, Any] = {}

        def send(n: int) -> None:
            for task in islice(tasks, n):
                future = self._client.submit(
                    attempt, os.getpid(), self._native_threads, function, *task, pure=False
                )
                in_progress[future.key] = future
                future.add_done_callback(self._done.put)

        try:
            send(self._n_workers)
            death: Exception | None = None
            while in_progress and (future := self._done.get()) is not None:
                if in_progress.pop(future.key, None) is None:
                    continue
                try:
                    outcome = self._outcome(future)
                except self._killed_worker as error:
                    # The others are waited for: they could kill the worker of what comes next.
                    death = error
                    continue
                if death is None:
                    send(1)
                yield outcome
            if death is not None:
                raise death
        finally:
            if in_progress:
                self._client.cancel(list(in_progress.values()))

    def is_death(self, error: Exception) -> bool:
        """Tell whether an exception of `execute` says that a worker died."""
        return isinstance(error, self._killed_worker)

    def interrupt(self) -> None:
        """Have nothing waited for. What the workers have begun, they finish."""
        self._done.put(None)

    def _outcome(self, future: Any) -> Outcome:
        try:
            outcome: Outcome = future.result()
        except self._killed_worker:
            raise
        except Exception as error:
            raise VmanomalyError(
                f"settings.executor: a worker of Dask cannot execute the work: {error}; all of "
                "them need the same versions of Python, vmanomaly and its extras"
            ) from error
        return outcome


def _connected(address: str | None, n_workers: int) -> Any:
    """Return a client of a Dask cluster, or of one that it starts on this machine."""
    distributed = import_module("distributed")
    # At INFO it logs every connection.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    with _starting:
        client = _clients.get(address)
        if client is None or client.status != "running":
            try:
                cluster = address or _local_cluster(distributed, n_workers)
                client = distributed.Client(cluster, set_as_default=False)
                client.wait_for_workers(1, _WORKERS_COME_WITHIN_S)
            except Exception as error:
                raise unusable("Dask", address, error) from error
            _clients[address] = client
        elif address is None and n_workers > len(client.cluster.workers):
            client.cluster.scale(n_workers)
            client.wait_for_workers(n_workers, _WORKERS_COME_WITHIN_S)
    return client


def _local_cluster(distributed: Any, n_workers: int) -> Any:
    return distributed.LocalCluster(
        host="127.0.0.1",
        n_workers=n_workers,
        threads_per_worker=1,
        dashboard_address=None,
        scheduler_kwargs={"allowed_failures": _ALLOWED_FAILURES},
    )
