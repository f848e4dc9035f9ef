"""What a worker does with a piece of work."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from vmanomaly.errors import SkippedError, WorkerDiedError
from vmanomaly.failures import as_remote

_prepared = threading.local()
_limited: list[int] = []

_OOM_SCORE_ADJ = "500"
"""As if it used half of the memory more than it does."""


class Outcome(NamedTuple):
    """What came of a piece of work.

    Attributes
    ----------
    number : int
        Of the piece.
    result : object
        What the function returned.
    error : BaseException or None
        What it raised.
    """

    number: int
    result: Any
    error: BaseException | None = None


def limit_memory(n_bytes: int | None) -> None:
    """Have this process, and those that it starts, fail to allocate more than that; None for all.

    Parameters
    ----------
    n_bytes
        Of memory that it can write, files mapped from disk not included.
    """
    if n_bytes is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    known = [each for each in (n_bytes, soft, hard) if each != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(known), hard))
    _limited.append(min(known))


def attempt(
    home: int,
    native_threads: int,
    function: Callable[..., Any],
    number: int,
    piece: tuple[Any, ...],
) -> Outcome:
    """Call a function, and return what it raises: an exception would end the other pieces too.

    Parameters
    ----------
    home
        The id of the process that wants the result.
    native_threads
        Threads that BLAS and the like may use here, if this is another process.
    function, number, piece
        What to call, the number of the piece, and the arguments.
    """
    is_elsewhere = os.getpid() != home
    if is_elsewhere:
        _prepare(native_threads)
    try:
        return Outcome(number, function(*piece))
    except SkippedError as error:
        return Outcome(number, None, SkippedError(str(error)))
    except MemoryError as error:
        if not (is_elsewhere and _limited):
            return Outcome(number, None, as_remote(error) if is_elsewhere else error)
        reason = f"it needs more memory than the {_limited[-1] / 2**30:.1f} GiB that it may take"
        return Outcome(number, None, as_remote(error, reason))
    except BaseException as error:  # noqa: BLE001 - returned
        return Outcome(number, None, as_remote(error) if is_elsewhere else error)


def death_of(number: int) -> Outcome:
    """Return what came of a piece if its worker died of it."""
    return Outcome(
        number,
        None,
        WorkerDiedError(
            "the worker process died of it; if it was killed for want of memory, reduce "
            "settings.n_workers or the data"
        ),
    )


def _prepare(native_threads: int) -> None:
    """Limit native threads, and leave Ctrl+C to the service, which ends its workers itself.

    Where memory runs out, the kernel is to kill a worker, not the service.
    """
    if getattr(_prepared, "native_threads", None) == native_threads:
        return
    _prepared.native_threads = native_threads
    threadpool_limits(native_threads)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_ADJ)
    # Only the main thread may do that; others are not interrupted anyway.
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
