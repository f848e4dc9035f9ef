"""The exceptions that a user or an operator can cause."""

from __future__ import annotations

from collections.abc import Sequence


class VmanomalyError(Exception):
    """Base of every error whose message is meant for the user; it is shown without a trace."""


class UsageError(VmanomalyError):
    """The command line is wrong. Exit status 2."""


class ConfigError(VmanomalyError):
    """The configuration is wrong. Exit status 2.

    Parameters
    ----------
    problems
        One line per problem: its path in the YAML, the bad value, and the remedy.
    n_problems
        How many there are, where not all are listed; the last line says so then.
    details
        The path and the message of each, where they are known apart.
    """

    def __init__(
        self,
        problems: list[str],
        n_problems: int | None = None,
        details: Sequence[tuple[tuple[str | int, ...], str]] = (),
    ) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.details = tuple(details)
        self.n_problems = len(problems) if n_problems is None else n_problems


class RollbackError(VmanomalyError):
    """Neither a new configuration nor the one before it can be used any more."""


_OUT_OF_REACH = frozenset({"connection_error", "timeout", "ssl_error", "io_error", "401", "403"})


class DatasourceError(VmanomalyError):
    """A server or database could not be reached, or answered with an error.

    Parameters
    ----------
    message
        What happened, with the server's own words where it gave any. Never holds a secret.
    code
        `connection_error`, `timeout`, `ssl_error`, `io_error`, `too_large` or the HTTP status:
        the value of the label `code` in the metrics.
    out_of_reach
        True if the datasource is out of reach although the code does not say so.

    Attributes
    ----------
    code : str
        As given.
    out_of_reach : bool
        Whether the datasource answers no request at all. A server that refuses one query is within
        reach.
    """

    def __init__(self, message: str, code: str, out_of_reach: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.out_of_reach = out_of_reach or code in _OUT_OF_REACH or code.startswith("5")


class TooLargeError(DatasourceError):
    """A server answered with more than is taken; the code is `too_large`.

    Parameters
    ----------
    message
        What is too large, and where.
    by_range
        Whether it may be small enough for a shorter range.
    """

    def __init__(self, message: str, by_range: bool = False) -> None:
        super().__init__(message, "too_large")
        self.by_range = by_range


class ForbiddenAddressError(DatasourceError):
    """A client may not connect to the address that a host name stands for, or be sent there."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "forbidden")


class TableError(VmanomalyError):
    """A table cannot be used as it is; the message names the column and the remedy."""


class StoppedError(VmanomalyError):
    """Work was stopped before it was done."""


class CancelledError(StoppedError):
    """Work was stopped by whoever had asked for it."""


class DeadlineExceededError(StoppedError):
    """Work was not done in the time that it was given."""


class SkippedError(VmanomalyError):
    """A series cannot be learned as it is now, and that is no failure; the message says why."""


class WorkerDiedError(VmanomalyError):
    """The worker that computed something was killed, or crashed."""
