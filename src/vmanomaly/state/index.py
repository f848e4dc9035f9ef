"""The index of the folder of states: a database of SQLite that names the files of each unit.

It may have been damaged, or written by someone who means harm: every row carries a checksum and is
checked before it is used, and what is not ours, such as a trigger, is refused.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import sqlite3
import stat
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import orjson

from vmanomaly.series import JobKey, UnitKey
from vmanomaly.state.errors import StateError

logger = logging.getLogger(__name__)

INDEX = "vmanomaly.db"
"""The name of its file."""

ARRAYS, MEMBERS = "arrays", "members"
FILE_NAME = re.compile(
    rf"(?:{ARRAYS}|{MEMBERS})-[0-9a-f]{{16}}(?:-[0-9a-f]{{8}}\.safetensors|\.tmp)"
)
"""The form of the names of the files of units."""

_LAYOUT = 1
_BUSY_TIMEOUT_S = 5.0
# What SQLite needs to open it, roughly.
_NEEDED_BYTES = 128 << 10
_DAMAGED = ".damaged"
_SIDE_FILES = ("", "-wal", "-shm", "-journal")
_TABLES = {
    "jobs": "CREATE TABLE jobs (job TEXT PRIMARY KEY, progress TEXT, checksum INTEGER)",
    # As SQLite keeps it, to the last space.
    "units": """CREATE TABLE units (
    unit TEXT PRIMARY KEY, facts TEXT, arrays TEXT, members TEXT, checksum INTEGER
)""",
}
_LONGEST_ROW_BYTES = 16 << 20
_LARGEST_NUMBER = 1 << 53


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """What the index says about a stored unit.

    Attributes
    ----------
    signature : mapping of str to str
        What the state was made with.
    class_name : str
        Of the model.
    version : str
        Of the service that stored it.
    saved_at : int
        When, Unix milliseconds.
    n_series : int
        The series or groups that it has.
    n_bytes : int
        The bytes of its files.
    arrays, members : str
        The names of the files.
    """

    signature: Mapping[str, str]
    class_name: str
    version: str
    saved_at: int
    n_series: int
    n_bytes: int
    arrays: str
    members: str


def read_index(folder: Path) -> tuple[dict[UnitKey, StoredUnit], dict[JobKey, dict[str, Any]]]:
    """Return what is stored in a folder and how far the jobs have come; change nothing there.

    Another process may be using the folder.

    Raises
    ------
    StateError
        The index cannot be read, is damaged, or has a layout of a newer version.
    """
    path = folder / INDEX
    if not path.exists():
        return {}, {}
    # Without a pending log, SQLite may take the file as it is, and creates no other.
    mode = "mode=ro" if (folder / f"{INDEX}-wal").exists() else "immutable=1"
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
        with contextlib.closing(connection):
            _limit(connection)
            _check_layout(connection)
            _missing_tables(connection)
            entries, progress, _ = _read_index(connection)
            return entries, progress
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise StateError.of(error) from error


Opened: TypeAlias = tuple[
    sqlite3.Connection, dict[UnitKey, StoredUnit], dict[JobKey, dict[str, Any]]
]
"""A connection to the index, the units that it holds, and the progress of the jobs."""


def open_index(folder: Path) -> Opened:
    """Open and read the index of a folder, or a new one where it is damaged or of a newer layout.

    One that is not used is kept under another name. Rows that are damaged are deleted.

    Raises
    ------
    StateError
        It cannot be opened, nor can a new one.
    """
    try:
        try:
            return _open(folder / INDEX)
        except StateError as error:
            if error.reason != "damaged":
                raise
            logger.warning(
                "The stored state is not used, and %s is kept as %s%s: %s",
                INDEX,
                INDEX,
                _DAMAGED,
                error,
            )
        for suffix in _SIDE_FILES:
            path = folder / f"{INDEX}{suffix}"
            with contextlib.suppress(FileNotFoundError):
                path.rename(path.with_name(path.name + _DAMAGED))
        return _open(folder / INDEX)
    except StateError as error:
        message, reason = f"cannot open {folder / INDEX}: {error}", error.reason
        # Mapping its files, SQLite meets a full disk as a failing one.
        if reason == "disk_full" or _is_full(folder):
            message, reason = f"{message}; the disk is full, free some of it", "disk_full"
        raise StateError(message, reason) from error


def put(
    connection: sqlite3.Connection,
    job: JobKey,
    progress: Mapping[str, Any],
    units: Mapping[UnitKey, StoredUnit],
) -> None:
    """Write the progress of a job and what is stored of units of it, in one transaction.

    Raises
    ------
    sqlite3.Error
        It cannot be written. Nothing has changed.
    """
    with _transaction(connection) as cursor:
        cursor.executemany(
            "REPLACE INTO units VALUES (?, ?, ?, ?, ?)",
            [unit_row(key, entry) for key, entry in units.items()],
        )
        cursor.execute("REPLACE INTO jobs VALUES (?, ?, ?)", _job_row(job, progress))


def delete(
    connection: sqlite3.Connection, units: Collection[UnitKey], jobs: Collection[JobKey]
) -> None:
    """Delete what the index says of units and of jobs, in one transaction.

    Raises
    ------
    sqlite3.Error
        It cannot be written. Nothing has changed.
    """
    with _transaction(connection) as cursor:
        cursor.executemany("DELETE FROM units WHERE unit = ?", [(_text(key),) for key in units])
        cursor.executemany("DELETE FROM jobs WHERE job = ?", [(_text(job),) for job in jobs])


def _open(path: Path) -> Opened:
    """Open the index, and return what it holds; rows that are damaged are deleted.

    Raises
    ------
    StateError
        As `_connect` does.
    """
    connection = _connect(path)
    try:
        entries, progress, damaged = _read_index(connection)
        if any(damaged.values()):
            # So that they are not told of at every start.
            with _transaction(connection) as cursor:
                for statement, rows in damaged.items():
                    cursor.executemany(statement, [(row,) for row in rows])
    except sqlite3.Error as error:
        connection.close()
        raise StateError.of(error) from error
    except StateError:
        connection.close()
        raise
    return connection, entries, progress


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    cursor = connection.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    try:
        yield cursor
        cursor.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            cursor.execute("ROLLBACK")
        raise


def _connect(path: Path) -> sqlite3.Connection:
    """Open the index for reading and writing; it is created if necessary.

    Raises
    ------
    StateError
        It cannot be used, is damaged, or has a layout of a newer version.
    """
    try:
        # The files next to it, which SQLite creates, are given the same mode.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
        try:
            is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StateError("it is a symbolic link, which is not followed", "io_error") from None
        raise StateError.of(error) from error
    if not is_file:
        raise StateError("it is not a regular file", "io_error")
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        _limit(connection)
        _check_layout(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        # Only then does a transaction survive a loss of power, so that old files may be deleted.
        connection.execute("PRAGMA synchronous = FULL")
        missing = "".join(f"{sql};" for sql in _missing_tables(connection))
        connection.executescript(f"BEGIN; {missing} PRAGMA user_version = {_LAYOUT}; COMMIT;")
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            verdict = " ".join(verdict.split())
            raise StateError(f"{path.name} is damaged ({verdict})", "damaged")
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY:
            # It was just opened for writing, so it is the file that says so.
            raise StateError(f"{path.name} is damaged ({error})", "damaged") from error
        raise StateError.of(error) from error
    except StateError:
        connection.close()
        raise
    return connection


def _limit(connection: sqlite3.Connection) -> None:
    """Trust nothing that stands in the file: no functions of its schema, no endless texts."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_ROW_BYTES)
    # Text that is not UTF-8 fails the checksum of its row, instead of all rows.
    connection.text_factory = lambda text: text.decode(errors="replace")


def _check_layout(connection: sqlite3.Connection) -> None:
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    if layout > _LAYOUT:
        raise StateError(f"{INDEX} was made by a newer version", "damaged")
    (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if layout == 0 and n_tables:
        raise StateError(f"{INDEX} was made by another program", "damaged")


def _missing_tables(connection: sqlite3.Connection) -> list[str]:
    """Return the statements that make what is missing.

    Raises
    ------
    StateError
        There is something that is not ours, such as a trigger, or a table of other columns.
    """
    found = {
        (name, sql)
        for name, sql in connection.execute("SELECT name, sql FROM sqlite_master")
        # What SQLite makes for a primary key has no text.
        if sql is not None
    }
    if not found <= _TABLES.items():
        raise StateError(f"{INDEX} is damaged (it holds more than its tables)", "damaged")
    return [sql for name, sql in _TABLES.items() if (name, sql) not in found]


_KeyT = TypeVar("_KeyT")
_ValueT = TypeVar("_ValueT")


def _read_index(
    connection: sqlite3.Connection,
) -> tuple[dict[UnitKey, StoredUnit], dict[JobKey, dict[str, Any]], dict[str, list[int]]]:
    """Return what the index holds, and the rows that are damaged and left out.

    These are numbers, by the statement that deletes one.
    """
    try:
        units = connection.execute(
            "SELECT rowid, unit, facts, arrays, members, checksum FROM units"
        ).fetchall()
        jobs = connection.execute("SELECT rowid, job, progress, checksum FROM jobs").fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise StateError.of(error) from error
    entries, damaged_units = _parsed(units, _unit_of)
    progress, damaged_jobs = _parsed(jobs, _job_of)
    n_damaged = len(damaged_units) + len(damaged_jobs)
    if n_damaged:
        logger.warning("%d rows of the stored state are damaged and left out", n_damaged)
    return (
        entries,
        progress,
        {
            "DELETE FROM units WHERE rowid = ?": damaged_units,
            "DELETE FROM jobs WHERE rowid = ?": damaged_jobs,
        },
    )


def _parsed(
    rows: list[list[Any]], parse: Callable[..., tuple[_KeyT, _ValueT]]
) -> tuple[dict[_KeyT, _ValueT], list[int]]:
    """Return what rows hold, by key, and the numbers of those that are damaged."""
    parsed: dict[_KeyT, _ValueT] = {}
    damaged = []
    for number, *row, checksum in rows:
        try:
            if checksum != checksum_of(row) or not all(isinstance(text, str) for text in row):
                raise ValueError("it was changed")
            key, value = parse(*row)
        except (KeyError, TypeError, ValueError):
            damaged.append(number)
        else:
            parsed[key] = value
    return parsed, damaged


def _unit_of(unit: str, facts: str, arrays: str, members: str) -> tuple[UnitKey, StoredUnit]:
    """Parse a row of units.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is not one that `unit_row` gives.
    """
    scheduler, model, queries = orjson.loads(unit)
    key = UnitKey(scheduler, model, tuple(queries))
    entry = StoredUnit(**orjson.loads(facts), arrays=arrays, members=members)
    signature = entry.signature
    if (
        # Not the same one in other words: there is one row a unit.
        _text(key) != unit
        or not _is_text(scheduler, model, *queries, entry.class_name, entry.version)
        or not (isinstance(signature, dict) and _is_text(*signature.values()))
        or not _is_count(entry.saved_at, entry.n_series, entry.n_bytes)
        or not all(FILE_NAME.fullmatch(name) for name in (arrays, members))
    ):
        raise ValueError("not what is stored of a unit")
    return key, entry


def _job_of(job: str, progress: str) -> tuple[JobKey, dict[str, Any]]:
    """Parse a row of jobs, as `_unit_of` does one of units."""
    scheduler, queries = orjson.loads(job)
    key = JobKey(scheduler, tuple(queries))
    numbers = orjson.loads(progress)
    if (
        _text(key) != job
        or not _is_text(scheduler, *queries)
        or not isinstance(numbers, dict)
        or not all(map(_is_progress, numbers.values()))
    ):
        raise ValueError("not what is stored of a job")
    return key, numbers


def _is_progress(value: object) -> bool:
    """Tell whether a value is a number, nothing, or a mapping of names to numbers and flags."""
    if isinstance(value, dict):
        return all(type(each) is bool or _is_number(each) for each in value.values())
    return _is_number(value)


def _is_number(value: object) -> bool:
    return value is None or (type(value) is int and abs(value) <= _LARGEST_NUMBER)


def _is_text(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_count(*values: object) -> bool:
    return all(type(value) is int and 0 <= value <= _LARGEST_NUMBER for value in values)


def unit_row(key: UnitKey, entry: StoredUnit) -> list[Any]:
    """Return the row of a unit: its key, facts and files in text, and the checksum of these."""
    facts = {
        "signature": dict(entry.signature),
        "class_name": entry.class_name,
        "version": entry.version,
        "saved_at": entry.saved_at,
        "n_series": entry.n_series,
        "n_bytes": entry.n_bytes,
    }
    row = [_text(key), orjson.dumps(facts).decode(), entry.arrays, entry.members]
    return [*row, checksum_of(row)]


def _job_row(job: JobKey, progress: Mapping[str, Any]) -> list[Any]:
    row = [_text(job), orjson.dumps(dict(progress)).decode()]
    return [*row, checksum_of(row)]


def _is_full(folder: Path) -> bool:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < _NEEDED_BYTES


def _text(key: UnitKey | JobKey) -> str:
    return orjson.dumps(tuple(key)).decode()


def checksum_of(row: list[Any]) -> int:
    """Return the CRC-32 of the values of a row."""
    return zlib.crc32("\0".join(str(value) for value in row).encode())
