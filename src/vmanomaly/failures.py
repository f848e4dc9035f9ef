"""What an exception says, here and after it has come from another process."""

from __future__ import annotations

from traceback import format_exception
from types import TracebackType

from vmanomaly.errors import VmanomalyError
from vmanomaly.exhaustion import exhausted


class RemoteError(Exception):
    """Represents an exception that was raised in another process; its trace is the cause.

    Parameters
    ----------
    reason
        What `reason_of` gave there.
    trace
        The trace, as text.
    kind
        Equal for exceptions of the same type from the same line of code.
    """

    def __init__(self, reason: str, trace: str, kind: object = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.__cause__ = _RemoteTrace(trace.strip())

    def __reduce__(self) -> tuple[object, ...]:
        return RemoteError, (str(self), str(self.__cause__), self.kind)


class _RemoteTrace(Exception):  # noqa: N818 - it is only shown
    """A trace as text."""

    def __str__(self) -> str:
        return f"\n{str(self.args[0]).strip()}"


def as_remote(error: BaseException, reason: str | None = None) -> RemoteError:
    """Return what represents an exception in another process: not every one can be rebuilt.

    Parameters
    ----------
    error
        The exception.
    reason
        What is said instead of its own words.
    """
    if isinstance(error, RemoteError):
        return error
    return RemoteError(reason or reason_of(error), "".join(format_exception(error)), kind_of(error))


def kind_of(error: BaseException) -> object:
    """Return something equal for exceptions of the same type from the same line of code."""
    if isinstance(error, RemoteError) and error.kind is not None:
        return error.kind
    return type(error).__qualname__, _raised_at(error.__traceback__)


def reason_of(error: BaseException) -> str:
    """Return an exception on one line, with its type unless the message is meant for the user.

    Examples
    --------
    >>> reason_of(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero'
    >>> reason_of(VmanomalyError("cancelled"))
    'cancelled'
    """
    if isinstance(error, VmanomalyError | RemoteError):
        return str(error)
    if remedy := exhausted(error):
        return remedy
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _raised_at(trace: TracebackType | None) -> tuple[str, int] | None:
    """Return the file and the line that raised."""
    if trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno
