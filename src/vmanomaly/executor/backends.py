"""What executes work, and the ways of joblib to do it on this machine."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool, ShutdownExecutorError

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

    def _calls(
        self, function: Callable[..., Any], tasks: Iterator[tuple[int, tuple[Any, ...]]]
    ) -> Iterator[Any]:
        """Return what joblib executes."""
        call = delayed(attempt)
        return (call(os.getpid(), self._native_threads, function, *task) for task in tasks)


class _Streaming(Backend):
    """Yields each outcome as soon as there is one."""

    name: ClassVar[str]

    def execute(
        self, function: Callable[..., Any], tasks: Iterator[tuple[int, tuple[Any, ...]]]
    ) -> Iterator[Outcome]:
        parallel = Parallel(
            n_jobs=self._n_workers,
            backend=self.name,
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch="n_jobs",
        )
        yield from parallel(self._calls(function, tasks))


class Threads(_Streaming):
    """Threads of this process. They cannot be interrupted."""

    name = "threading"


class Processes(_Streaming):
    """Processes of this machine, which joblib keeps for the next use."""

    name = "loky"

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
