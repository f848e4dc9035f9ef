"""What executes work, and the ways of joblib to do it on this machine."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool, ShutdownExecutorError

from vmanomaly.errors import VmanomalyError
from vmanomaly.executor.worker import Outcome, attempt


class Backend(ABC):
    """Executes tasks with some workers at a time.

    Parameters
    ----------
    n_workers
        Tasks at a time.
    native_threads
        Threads that BLAS and the like may use in a worker process.
    """

    def __init__(self, n_workers: int, native_threads: int) -> None:
        self._n_workers = n_workers
        self._native_threads = native_threads

    @abstractmethod
    def execute(
        self, function: Callable[..., Any], tasks: Iterator[tuple[int, tuple[Any, ...]]]
    ) -> Iterator[Outcome]:
        """Yield the outcomes of calls of a function, in any order.

        Parameters
        ----------
        function
            Can be pickled.
        tasks
            The number of a piece and its arguments; taken one by one, as workers become free.
        """

    def is_death(self, error: Exception) -> bool:
        """Tell whether an exception of `execute` says that a worker died."""
        return False

    def interrupt(self) -> None:  # noqa: B027 - optional
        """End the tasks in progress as soon as possible; may be called again and again."""


def unusable(cluster: str, address: str | None, error: Exception) -> VmanomalyError:
    """Return what is raised where a cluster can be neither reached nor started.

    Examples
    --------
    >>> unusable("Ray", None, OSError("no room"))
    VmanomalyError('settings.executor: the Ray cluster on this machine cannot be used: no room')
    """
    where = f"at {address}" if address else "on this machine"
    return VmanomalyError(
        f"settings.executor: the {cluster} cluster {where} cannot be used: {error}"
    )


class _Joblib(Backend):
    """Yields each outcome as soon as there is one."""

    def execute(
        self, function: Callable[..., Any], tasks: Iterator[tuple[int, tuple[Any, ...]]]
    ) -> Iterator[Outcome]:
        with self._backend():
            parallel = Parallel(
                return_as="generator_unordered", batch_size=1, pre_dispatch=self._n_workers
            )
        call = delayed(attempt)
        yield from parallel(
            call(os.getpid(), self._native_threads, function, *task) for task in tasks
        )

    @abstractmethod
    def _backend(self) -> Any:
        """Return a context in which joblib uses this backend."""


class Threads(_Joblib):
    """Threads of this process. They cannot be interrupted."""

    def _backend(self) -> Any:
        return parallel_config("threading", n_jobs=self._n_workers)


class Processes(_Joblib):
    """Processes of this machine, which joblib keeps for the next use.

    There is one pool of them. It grows, but never shrinks: that would wait for the work of others.
    """

    _n_processes: ClassVar[int] = 0

    def __init__(self, n_workers: int, native_threads: int) -> None:
        super().__init__(n_workers, native_threads)
        self._interrupted = False

    def is_death(self, error: Exception) -> bool:
        """Tell whether an exception of `execute` says that a worker died."""
        died = (BrokenProcessPool, ShutdownExecutorError)
        return isinstance(error, died) or isinstance(error.__context__, died)

    def interrupt(self) -> None:
        """Kill the workers. Other threads that use them notice, and execute their work again."""
        if not self._interrupted:
            self._interrupted = True
            get_reusable_executor(reuse=True).shutdown(wait=False, kill_workers=True)

    def _backend(self) -> Any:
        Processes._n_processes = max(Processes._n_processes, self._n_workers)
        return parallel_config(
            "loky",
            n_jobs=Processes._n_processes,
            # By default it depends on their number, and another one makes joblib replace the pool.
            inner_max_num_threads=self._native_threads,
        )
