"""Where a long computation of a library may be stopped, by whoever has it computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


def _never() -> None: ...


_check: ContextVar[Callable[[], None]] = ContextVar("check", default=_never)


def checkpoint() -> None:
    """Raise if the work that this thread does is to stop; called again and again in the middle."""
    _check.get()()


@contextmanager
def stopped_by(check: Callable[[], None]) -> Iterator[None]:
    """Have `checkpoint` call a function in the block, which raises if the work is to stop.

    Examples
    --------
    >>> with stopped_by(lambda: print("checked")):
    ...     checkpoint()
    checked
    >>> checkpoint()
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)
