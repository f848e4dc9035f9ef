"""What libraries print, log and warn of while they work, all of which is for debugging only."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

logger = logging.getLogger(__name__)

_counting = threading.Lock()
_n_inside = 0
_before: Any = None


@contextmanager
def warnings_logged() -> Iterator[None]:
    """Log warnings at DEBUG inside, for all threads: the filters of Python are those of a process.

    `warnings.catch_warnings` alone would leave them changed if two threads overlap.
    """
    global _n_inside, _before  # noqa: PLW0603 - what they describe is global, too
    with _counting:
        if _n_inside == 0:
            _before = (warnings.filters[:], warnings.showwarning)
            warnings.simplefilter("always")
            warnings.showwarning = _log
        _n_inside += 1
    try:
        yield
    finally:
        with _counting:
            _n_inside -= 1
            if _n_inside == 0:
                warnings.filters[:], warnings.showwarning = _before  # type: ignore[index]
                warnings._filters_mutated()  # type: ignore[attr-defined]


def _log(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    logger.debug("%s: %s", category.__name__, message)


class _AsDebug(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logger.debug("%s: %s", record.name, record.getMessage())


def log_as_debug(*names: str) -> None:
    """Have what these loggers of a library say logged at DEBUG, whatever they think of it."""
    for name in names:
        of_library = logging.getLogger(name)
        of_library.handlers = [_AsDebug()]
        of_library.propagate = False
