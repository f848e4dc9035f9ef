"""The ways of joblib to execute work on a cluster, and how each of them fails."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import islice
from typing import Any

from joblib import Parallel, parallel_config

from vmanomaly.errors import VmanomalyError
from vmanomaly.executor.backends import Backend
from vmanomaly.executor.local_ray import import_ray, start_ray
from vmanomaly.executor.worker import Outcome

_starting = threading.Lock()

_PIECES_AT_ONCE = 16
"""Of each worker: what is computed again, one by one, if a worker cannot be replaced."""


class Ray(Backend):
    """Actors of Ray.

    joblib gets all results of a call at once, or none if an actor dies. So actors are restarted,
    and their tasks retried, by Ray itself; and a call has not too many tasks. Actors take seconds
    to start, so those of a call that went well are kept for the next one.
    """

    def __init__(self, n_workers: int, native_threads: int, address: str | None) -> None:
        super().__init__(n_workers, native_threads)
        self._ray = _connected_ray(address, n_workers)

    def execute(
        self, function: Callable[..., Outcome], tasks: Iterator[tuple[Any, ...]]
    ) -> Iterator[Outcome]:
        """Yield the outcomes of tasks, call by call."""
        calls = self._calls(function, tasks)
        idle = _idle.setdefault(self._n_workers, [])
        parallel = idle.pop() if idle else self._started()
        try:
            while outcomes := parallel(islice(calls, _PIECES_AT_ONCE * self._n_workers)):
                yield from outcomes
        except BaseException:
            parallel.__exit__(None, None, None)
            raise
        idle.append(parallel)

    def is_death(self, error: Exception) -> bool:
        """Tell whether an exception of `execute` says that a worker died."""
        return isinstance(error, self._ray.exceptions.RayError)

    def _started(self) -> Parallel:
        remote_args = {"max_restarts": -1, "max_task_retries": 2}
        with parallel_config("ray", n_jobs=self._n_workers, ray_remote_args=remote_args):
            return Parallel(batch_size=1, pre_dispatch="n_jobs").__enter__()


class Dask(Backend):
    """Workers of Dask, which computes the tasks of those that die again elsewhere."""

    def __init__(self, n_workers: int, native_threads: int, address: str | None) -> None:
        super().__init__(n_workers, native_threads)
        self._client = _connected_dask(address, n_workers)

    def execute(
        self, function: Callable[..., Outcome], tasks: Iterator[tuple[Any, ...]]
    ) -> Iterator[Outcome]:
        """Yield the outcomes of tasks as they come."""
        with parallel_config(
            _dask_backend()(client=self._client, pure=False, wait_for_workers_timeout=60)
        ):
            parallel = Parallel(
                n_jobs=self._n_workers,
                return_as="generator_unordered",
                batch_size=1,
                pre_dispatch=self._n_workers,
            )
        yield from parallel(self._calls(function, tasks))

    def is_death(self, error: Exception) -> bool:
        """Tell whether an exception of `execute` says that a worker died."""
        return isinstance(error, import_module("distributed").scheduler.KilledWorker)


@cache
def _dask_backend() -> Any:
    """Return joblib's backend for Dask, which would wait forever for a task that Dask gave up."""

    class Noticing(import_module("joblib._dask").DaskDistributedBackend):  # type: ignore[misc]
        async def _collect(self) -> None:
            while self._continue:
                async for future, result in self.waiting_futures:
                    of_joblib, callback = self._results.pop(future), self._callbacks.pop(future)
                    # An exception is raised where the result is taken.
                    outcome = result[1] if future.status == "error" else result
                    of_joblib.set_result(outcome)
                    callback(outcome)
                await asyncio.sleep(0.01)

    return Noticing


_idle: dict[int, list[Parallel]] = {}
_clients: dict[tuple[str | None, int], Any] = {}


def _connected_dask(address: str | None, n_workers: int) -> Any:
    """Return a client of a Dask cluster, or of one that it starts on this machine."""
    distributed = import_module("distributed")
    with _starting:
        client = _clients.get((address, n_workers))
        if client is None or client.status != "running":
            own = {"host": "127.0.0.1", "n_workers": n_workers, "threads_per_worker": 1}
            try:
                client = (
                    distributed.Client(address, set_as_default=False)
                    if address
                    else distributed.Client(
                        distributed.LocalCluster(**own, dashboard_address=None),
                        set_as_default=False,
                    )
                )
            except Exception as error:
                where = f"at {address}" if address else "on this machine"
                raise VmanomalyError(
                    f"settings.executor: the Dask cluster {where} cannot be used: {error}"
                ) from error
            _clients[address, n_workers] = client
    return client


def _connected_ray(address: str | None, n_workers: int) -> Any:
    """Return the module `ray`, connected to a cluster, or to one that it starts on this machine."""
    ray = import_ray(address)
    import_module("ray.util.joblib").register_ray()
    with _starting:
        if not ray.is_initialized():
            try:
                if address is None:
                    # Its pool refuses more workers than there are CPUs.
                    start_ray(ray, num_cpus=max(n_workers, os.cpu_count() or 1))
                else:
                    ray.init(address=address, log_to_driver=False, configure_logging=False)
            except Exception as error:
                where = f"at {address}" if address else "on this machine"
                raise VmanomalyError(
                    f"settings.executor: the Ray cluster {where} cannot be used: {error}"
                ) from error
    return ray
