"""One task: what it does, how far it is, and what came of it."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

from vmanomaly.config.values.time import format_time
from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError, VmanomalyError

logger = logging.getLogger(__name__)

Note: TypeAlias = Callable[[float, str, Mapping[str, int]], None]
"""Takes the share of the work that is done, 0 to 1, its stage in words, and counts by name."""

Work: TypeAlias = Callable[[RunContext, Note], bytes]
"""Does the work of a task and returns its result, JSON in UTF-8."""


class TaskError(VmanomalyError):
    """The work of a task cannot be done, for a reason that the client can do something about."""


class TaskStatus(StrEnum):
    """What a task is doing; all but the first are final."""

    RUNNING = "running"
    DONE = "done"
    ERROR = "error"
    CANCELED = "canceled"


class Task:
    """A piece of work and its state. Safe to use from several threads.

    Parameters
    ----------
    kind
        What it does, such as `detection`.
    work
        Does it. Forgotten when it has ended, with the credentials that it may hold.
    clock_s
        Gives Unix seconds.

    Attributes
    ----------
    id : str
        Unguessable.
    kind : str
        What it does.
    result : bytes or None
        JSON, once it is done.

    Examples
    --------
    >>> task = Task("example", lambda context, note: b"[1]")
    >>> task.run()
    >>> task.status, task.result
    (<TaskStatus.DONE: 'done'>, b'[1]')
    """

    def __init__(self, kind: str, work: Work, clock_s: Callable[[], float] = time.time) -> None:
        self.id = secrets.token_hex(16)
        self.kind = kind
        self.result: bytes | None = None
        self._work: Work | None = work
        self._clock_s = clock_s
        self._context = RunContext()
        self._lock = threading.Lock()
        self._status = TaskStatus.RUNNING
        self._error: str | None = None
        self._progress = 0
        self._message = "started"
        self._metrics: dict[str, int] = {}
        self._started_s = self._updated_s = clock_s()

    @property
    def status(self) -> TaskStatus:
        """What the task is doing."""
        return self._status

    @property
    def has_ended(self) -> bool:
        """Whether the state is final."""
        return self._status is not TaskStatus.RUNNING

    @property
    def ended_s(self) -> float:
        """When it ended, Unix seconds."""
        return self._updated_s

    def run(self) -> None:
        """Do the work. Never raises."""
        work = self._work
        assert work is not None  # noqa: S101 - a task runs once
        try:
            result = work(self._context, self._note)
            self._context.check()
        except CancelledError:
            self._end(TaskStatus.CANCELED, "canceled")
        except VmanomalyError as error:
            self._end(TaskStatus.ERROR, "failed", error=str(error))
        except BaseException as error:
            logger.exception("Error in a task of kind '%s'", self.kind)
            reason = f"{type(error).__name__}; see the log of the service"
            self._end(TaskStatus.ERROR, "failed", error=reason)
        else:
            self._end(TaskStatus.DONE, "done", result)

    def cancel(self, reason: str = "canceled") -> bool:
        """Have the task stop, unless it has ended. Returns whether it had not; does not wait."""
        with self._lock:
            if self.has_ended:
                return False
            self._set(TaskStatus.CANCELED, reason)
        self._context.cancel()
        return True

    def snapshot(self) -> dict[str, Any]:
        """Return what a client sees of the state, without the result and the error."""
        with self._lock:
            elapsed_s = round(self._updated_or_now_s() - self._started_s, 3)
            return {
                "task_id": self.id,
                "status": self._status.value,
                "progress": self._progress,
                "message": self._message,
                "started_at": format_time(round(self._started_s * 1000)),
                "updated_at": format_time(round(self._updated_s * 1000)),
                "metrics": {**self._metrics, "elapsed_s": elapsed_s},
            }

    @property
    def error(self) -> str | None:
        """Why it failed, in one line; None unless it did."""
        return self._error

    def _updated_or_now_s(self) -> float:
        return self._updated_s if self.has_ended else self._clock_s()

    def _note(self, share: float, message: str, metrics: Mapping[str, int]) -> None:
        with self._lock:
            if self.has_ended:
                return
            self._metrics.update(metrics)
            # Only what is done is at 100.
            self._progress = max(self._progress, min(99, int(share * 100)))
            self._message = message
            self._updated_s = self._clock_s()

    def _end(
        self,
        status: TaskStatus,
        message: str,
        result: bytes | None = None,
        error: str | None = None,
    ) -> None:
        with self._lock:
            self._work = None
            if self.has_ended:
                return
            self.result, self._error = result, error
            if status is TaskStatus.DONE:
                self._progress = 100
            self._set(status, message)

    def _set(self, status: TaskStatus, message: str) -> None:
        self._status, self._message = status, message
        self._updated_s = self._clock_s()
