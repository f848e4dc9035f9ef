"""What can go wrong with stored states."""

from __future__ import annotations

import errno
import sqlite3

from vmanomaly.errors import VmanomalyError
from vmanomaly.exhaustion import exhausted

REASONS = ("disk_full", "locked", "damaged", "io_error", "model_error")
"""Why a state could not be stored; the last one is a model that raises."""

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
    def of(cls, error: OSError | sqlite3.Error) -> StateError:
        """Return what an error of the system or of SQLite means."""
        if isinstance(error, OSError):
            reason = "disk_full" if error.errno in _NO_ROOM else "io_error"
            return cls(exhausted(error) or error.strerror or str(error), reason)
        # Extended codes hold the plain one in their lowest byte.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return cls(str(error), "disk_full")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return cls(str(error), "locked")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return cls(str(error), "damaged")
        return cls(str(error), "io_error")
