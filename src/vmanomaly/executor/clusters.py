"""The ways of joblib to execute work on a cluster, and how each of them fails."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from typing import Any

from joblib import Parallel, parallel_config

from vmanomaly.errors import VmanomalyError
from vmanomaly.executor.backends import Backend
from vmanomaly.executor.worker import Outcome

_starting = threading.Lock()

_PIECES_AT_ONCE = 16
"""Of each worker: what is computed again, one by one, if a worker cannot be replaced."""


class Ray(Backend):
    """Actors of Ray.

    joblib gets all results of a call at once, or none if an actor dies. So actors are restarted,
    and their tasks retried, by Ray itself; and a call has not too many tasks.
    """

    def __init__(self, n_workers: int, native_threads: int, address: str | None) -> None:
        super().__init__(n_workers, native_threads)
        self._ray = _connected_ray(address)

    def execute(
        self, function: Callable[..., Outcome], tasks: Iterator[tuple[Any, ...]]
    ) -> Iterator[Outcome]:
        """Yield the outcomes of tasks, call by call."""
        calls = self._calls(function, tasks)
        remote_args = {"max_restarts": -1, "max_task_retries": 2}
        with (
            parallel_config("ray", n_jobs=self._n_workers, ray_remote_args=remote_args),
            Parallel(batch_size=1, pre_dispatch="n_jobs") as parallel,
        ):
            while outcomes := parallel(islice(calls, _PIECES_AT_ONCE * self._n_workers)):
                yield from outcomes

    def is_death(self, error: Exception) -> bool:
        """Tell whether an exception of `execute` says that a worker died."""
        return isinstance(error, self._ray.exceptions.RayError)


def _connected_ray(address: str | None) -> Any:
    """Return the module `ray`, connected to a cluster, or to one that it starts on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = import_module("ray")
    import_module("ray.util.joblib").register_ray()
    with _starting:
        if not ray.is_initialized():
            own = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
            try:
                ray.init(
                    address=address or "local",
                    log_to_driver=False,
                    configure_logging=False,
                    **({} if address else own),
                )
            except Exception as error:
                where = f"at {address}" if address else "on this machine"
                raise VmanomalyError(
                    f"settings.executor: the Ray cluster {where} cannot be used: {error}"
                ) from error
    return ray
