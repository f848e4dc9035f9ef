"""All tasks of the process: slots for those that run, a bounded memory for those that ended."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from vmanomaly.errors import VmanomalyError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.tasks.task import Task, TaskStatus, Work

_MAX_ENDED = 100
_KEPT_S = 3600.0
_MAX_RESULT_BYTES = 256 << 20
_CANCELED_END_WITHIN_S = 2.0
_NICE = 10
_SWITCH_INTERVAL_S = 0.00005


class NoFreeSlotError(VmanomalyError):
    """As many tasks run as may run at a time."""


class Tasks:
    """Starts tasks, finds them by their id, and forgets those that ended long ago.

    Tasks of all kinds share the slots. A slot is free again when the work has really ended, not
    when a task is canceled; the next one waits a moment for that.

    Live runs come first: tasks have a lower priority, and while one runs, a thread that waits for
    the interpreter gets it after 0.05 ms instead of 5 ms.

    Parameters
    ----------
    max_concurrent
        Gives how many may run at a time.
    metrics
        Where they are counted.
    clock_s
        Gives Unix seconds.
    """

    def __init__(
        self,
        max_concurrent: Callable[[], int],
        metrics: Metrics,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._max_concurrent = max_concurrent
        self._metrics = metrics
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._tasks: OrderedDict[str, Task] = OrderedDict()
        self._threads: dict[str, threading.Thread] = {}
        self._is_stopped = False
        self._usual_switch_interval_s = sys.getswitchinterval()

    @property
    def limits(self) -> dict[str, int]:
        """How many tasks may run, how many do, and for how many there is room."""
        with self._lock:
            largest, running = self._max_concurrent(), len(self._threads)
        available = max(0, largest - running)
        return {"max_concurrent": running + available, "running": running, "available": available}

    def start(self, kind: str, work: Work) -> Task:
        """Start a task in a thread of its own.

        Parameters
        ----------
        kind
            What it does, such as `detection`.
        work
            Does it.

        Raises
        ------
        NoFreeSlotError
            Too many tasks run, or the service is stopping.
        """
        task = Task(kind, work, self._clock_s)
        self._await_canceled()
        with self._lock:
            if self._is_stopped:
                raise NoFreeSlotError("the service is stopping")
            largest = self._max_concurrent()
            if len(self._threads) >= largest:
                raise NoFreeSlotError(
                    f"{len(self._threads)} of {largest} tasks are running; cancel one, wait for "
                    "one to end, or raise server.max_concurrent_tasks"
                )
            self._forget()
            thread = threading.Thread(
                target=self._run, args=(task,), name=f"task {kind}", daemon=True
            )
            self._tasks[task.id] = task
            self._threads[task.id] = thread
            self._count_running(kind)
            try:
                thread.start()
            except RuntimeError as error:
                del self._tasks[task.id], self._threads[task.id]
                self._count_running(kind)
                raise NoFreeSlotError("there is no thread left for a task") from error
        return task

    def get(self, task_id: str, kind: str) -> Task | None:
        """Return a task by its id, or None if there is none of this kind."""
        with self._lock:
            self._forget()
            task = self._tasks.get(task_id)
        return task if task is not None and task.kind == kind else None

    def newest(self, kind: str, limit: int, status: TaskStatus | None = None) -> list[Task]:
        """Return tasks of a kind, the newest first.

        Parameters
        ----------
        kind
            What they do.
        limit
            At most so many.
        status
            Only those; None for all.
        """
        with self._lock:
            self._forget()
            tasks = [task for task in reversed(self._tasks.values()) if task.kind == kind]
        return [task for task in tasks if status is None or task.status is status][:limit]

    def stop(self, timeout_s: float) -> None:
        """Cancel all tasks, start no others, and wait for their ends, but not for long."""
        with self._lock:
            self._is_stopped = True
            tasks = list(self._tasks.values())
            threads = list(self._threads.values())
        for task in tasks:
            task.cancel("the service stops")
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _await_canceled(self) -> None:
        """Wait, where all slots are taken, until the work of a canceled task has ended."""
        deadline = time.monotonic() + _CANCELED_END_WITHIN_S
        with self._lock:
            is_full = len(self._threads) >= self._max_concurrent()
            ending = [
                thread
                for task_id, thread in self._threads.items()
                if self._tasks[task_id].has_ended
            ]
        for thread in ending if is_full else ():
            thread.join(max(0.0, deadline - time.monotonic()))
            if not thread.is_alive():
                return

    def _run(self, task: Task) -> None:
        if hasattr(os, "setpriority"):
            # On Linux this is the priority of the thread: live runs come first.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            task.run()
        finally:
            with self._lock:
                del self._threads[task.id]
                self._tasks.move_to_end(task.id)
                self._count_running(task.kind)
                self._forget()
            self._metrics.tasks.labels(task.kind, task.status.value).inc()

    def _count_running(self, kind: str) -> None:
        # A run of a few milliseconds must not wait for a task time and again.
        sys.setswitchinterval(
            _SWITCH_INTERVAL_S if self._threads else self._usual_switch_interval_s
        )
        running = sum(self._tasks[task_id].kind == kind for task_id in self._threads)
        self._metrics.tasks_running.labels(kind).set(running)

    def _forget(self) -> None:
        """Forget the oldest of the ended tasks, as long as there are too many or too large ones."""
        ended = [task for task_id, task in self._tasks.items() if task_id not in self._threads]
        n_bytes = sum(len(task.result or b"") for task in ended)
        oldest_s = self._clock_s() - _KEPT_S
        for n_left, task in zip(range(len(ended), 0, -1), ended, strict=True):
            is_recent = task.ended_s >= oldest_s
            if is_recent and n_left <= _MAX_ENDED and n_bytes <= _MAX_RESULT_BYTES:
                break
            n_bytes -= len(task.result or b"")
            del self._tasks[task.id]
