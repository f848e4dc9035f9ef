"""Whether what is restored may be unpickled, which runs whatever code the bytes name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_refusal: ContextVar[str | None] = ContextVar("refusal", default=None)


@contextmanager
def unpickling_refused(reason: str | None) -> Iterator[None]:
    """Have `check_unpickling` raise, in this thread and block, if there is a reason.

    Examples
    --------
    >>> with unpickling_refused("it may be another's"):
    ...     check_unpickling()
    Traceback (most recent call last):
    ...
    ValueError: it is a pickle, which could run any code, and is not loaded: it may be another's
    """
    token = _refusal.set(reason)
    try:
        yield
    finally:
        _refusal.reset(token)


def check_unpickling() -> None:
    """Check that something may be unpickled.

    Raises
    ------
    ValueError
        It may not.
    """
    reason = _refusal.get()
    if reason is not None:
        raise ValueError(f"it is a pickle, which could run any code, and is not loaded: {reason}")
