"""DuckDB database files, shared by the reader and the writer.

DuckDB lets one process write a file, or several read it. Connections are therefore held for one
statement or transaction only, so that a notebook can look at the file while the service runs, and
within this process a file has one connection at a time.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import orjson

from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError
from vmanomaly.slots import Slots

IN_MEMORY = ":memory:"
# How long to wait for another process to release the file, and how often to check.
LOCK_WAIT_S = 5.0
_LOCK_POLL_S = 0.05

_users: defaultdict[Path, Slots] = defaultdict(lambda: Slots(1))
_users_guard = threading.Lock()


@contextmanager
def connect(
    path: str | Path, *, read_only: bool, context: RunContext | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database for the time of a `with` block, its session in UTC.

    Waits until other threads of this process are done with the file, and up to `LOCK_WAIT_S`
    seconds for other processes.

    Parameters
    ----------
    path
        Path of the file, created if necessary unless `read_only`; or `:memory:` for a private
        database, which vanishes with the connection.
    read_only
        Whether the file is only read. Other processes may then read it at the same time.
    context
        Says whether the work is to stop: then statements are interrupted.

    Raises
    ------
    DatasourceError
        The file is missing, is not a DuckDB database, or is held by another process.
    CancelledError, DeadlineExceededError
        The work is to stop before the file is open.

    Examples
    --------
    >>> with connect(":memory:", read_only=True) as connection:
    ...     connection.execute("SELECT TIMESTAMPTZ '2026-01-01'::VARCHAR").fetchone()
    ('2026-01-01 00:00:00+00',)
    """
    context = context or RunContext()
    with ExitStack() as held:
        if str(path) == IN_MEMORY:
            connection = held.enter_context(duckdb.connect(IN_MEMORY))
        else:
            file = Path(path).resolve()
            with _users_guard:
                user = _users[file]
            held.enter_context(user.taken(context))
            connection = held.enter_context(_open(file, context, read_only=read_only))
        connection.execute("SET TimeZone = 'UTC'")
        held.enter_context(context.calling_when_over(connection.interrupt))
        yield connection


def _open(file: Path, context: RunContext, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    if read_only and not file.exists():
        raise DatasourceError(f"There is no DuckDB database {file}", "io_error")
    if not file.parent.is_dir():
        raise DatasourceError(
            f"There is no folder {file.parent} for the DuckDB database {file.name}", "io_error"
        )
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return duckdb.connect(str(file), read_only=read_only)
        except duckdb.Error as error:
            if "Could not set lock" not in str(error):
                raise DatasourceError(f"Cannot open {file}: {words(error)}", "io_error") from error
            if time.monotonic() > deadline:
                raise DatasourceError(
                    f"Another process holds {file}: {words(error)}. Close the database there, or "
                    f"open it only for the time of a query",
                    "io_error",
                ) from error
        context.sleep(_LOCK_POLL_S)


def words(error: duckdb.Error) -> str:
    """Return what DuckDB says of an error, on one line and without the excerpt of the statement.

    Examples
    --------
    >>> words(duckdb.IOException('IO Error: {"exception_message":"Could not write a"}'))
    'Could not write a'
    """
    said = " ".join(str(error).split("\n\nLINE ")[0].split())
    # An error of a thread of its own, as JSON.
    inner = re.search(r'"exception_message":("(?:[^"\\]|\\.)*")', said)
    return str(orjson.loads(inner[1])) if inner else said
