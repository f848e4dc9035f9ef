"""What can go wrong with stored states."""

from __future__ import annotations

import errno
import sqlite3

from vmanomaly.errors import VmanomalyError
from vmanomaly.exhaustion import exhausted

REASONS = ("disk_full", "locked", "damaged", "io_error", "model_error")
"""Why a state could not be stored; the last one is a model that raises."""

_DAMAGED = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        # A table, a column or a type that is not ours, or too long a row.
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_CONSTRAINT,
    }
)
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class StateError(VmanomalyError):
    """A state could not be stored, found or read.

    Parameters
    ----------
    message
        What happened.
    reason
        `disk_full`, `locked`, `damaged` or `io_error`: the value of the label `reason` in the
        metrics.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    @classmethod
    def of(cls, error: OSError | sqlite3.Error | UnicodeDecodeError) -> StateError:
        """Return what an error of the system or of SQLite means.

        Of a schema with bytes that are not UTF-8, SQLite's messages cannot be decoded.
        """
        if isinstance(error, UnicodeDecodeError):
            return cls("it holds text that is not UTF-8", "damaged")
        if isinstance(error, OSError):
            reason = "disk_full" if error.errno in _NO_ROOM else "io_error"
            return cls(exhausted(error) or error.strerror or str(error), reason)
        # Extended codes hold the plain one in their lowest byte.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return cls(str(error), "disk_full")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return cls(str(error), "locked")
        if code in _DAMAGED:
            return cls(str(error), "damaged")
        return cls(str(error), "io_error")
