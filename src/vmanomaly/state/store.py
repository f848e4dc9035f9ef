"""The folder of states: an index in SQLite, and files of arrays.

A save is one atomic step: the arrays of each unit go to a file of a new name, which is written
under a temporary name, synced and renamed; one transaction of the index then names all new files of
a job, with how far the job has come; only then are the files that they replace deleted. So after
`kill -9` or a loss of power the index names complete files that belong together, and files of
states that it does not name are deleted at the next start. Only files whose names have the form of
ours are ever touched; a link in place of the folder is not followed.

Label sets have a separate file, which is written again only when they change. Every file and every
row of the index carries a checksum; only the parts that are damaged are left out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import sqlite3
import stat
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import orjson

from vmanomaly.series import JobKey, UnitKey
from vmanomaly.state.content import Content, Members, WrittenBy, members_of, to_arrays
from vmanomaly.state.errors import StateError
from vmanomaly.state.files import read_arrays, sync_folder, write_arrays

logger = logging.getLogger(__name__)

INDEX = "vmanomaly.db"

_LOCK = "vmanomaly.lock"
_FILES = "states"
_LAYOUT = 1
_BUSY_TIMEOUT_S = 5.0
# At files that a running service replaces, each time because it has saved again.
_MOST_LOOKS = 10
# What SQLite needs to open it, roughly.
_INDEX_BYTES = 128 << 10
_DAMAGED = ".damaged"
_SIDE_FILES = ("", "-wal", "-shm", "-journal")
_ARRAYS, _MEMBERS = "arrays", "members"
_FILE_NAME = re.compile(
    rf"(?:{_ARRAYS}|{_MEMBERS})-[0-9a-f]{{16}}(?:-[0-9a-f]{{8}}\.safetensors|\.tmp)"
)
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


@dataclass(frozen=True, slots=True)
class Saved:
    """What is to be stored of a unit.

    Attributes
    ----------
    signature, class_name, version
        As in `StoredUnit`.
    content : Content
        What it has learned.
    """

    signature: Mapping[str, str]
    class_name: str
    version: str
    content: Content


class StateStore:
    """The states in a folder that no other process uses. Safe to use from several threads.

    Parameters
    ----------
    folder
        Made when missing. Files are readable by their owner only.

    Raises
    ------
    StateError
        The folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = folder / _FILES
        self._lock = threading.Lock()
        self._known: dict[UnitKey, Members] = {}
        self._written: dict[str, _Mark] = {}
        self._closed = False
        with contextlib.ExitStack() as undo:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _make_own_folder(self._files)
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                lock = os.open(folder / _LOCK, flags, 0o600)
                undo.callback(os.close, lock)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(
                    f"another vmanomaly keeps its state in {folder}: stop it, or give each its "
                    "own VMANOMALY_MODEL_DUMPS_DIR",
                    "locked",
                ) from None
            except OSError as error:
                raise StateError(
                    f"cannot keep the state in {folder}: {error.strerror}; let "
                    "VMANOMALY_MODEL_DUMPS_DIR name a folder that this user may write to",
                    "io_error",
                ) from error
            self._index, self._entries, self._progress = self._open()
            undo.callback(self._index.close)
            self._delete_unnamed()
            self._undo = undo.pop_all()

    @property
    def entries(self) -> dict[UnitKey, StoredUnit]:
        """What is stored."""
        with self._lock:
            return dict(self._entries)

    def entry(self, key: UnitKey) -> StoredUnit | None:
        """Return what the index says about a unit; None if nothing is stored of it."""
        with self._lock:
            return self._entries.get(key)

    @property
    def n_bytes(self) -> int:
        """The bytes of all files that the index names."""
        with self._lock:
            return sum(entry.n_bytes for entry in self._entries.values())

    def progress(self, job: JobKey) -> dict[str, Any] | None:
        """Return the progress of a job that was stored last."""
        with self._lock:
            return self._progress.get(job)

    def read(self, key: UnitKey) -> Content:
        """Return what is stored of a unit.

        Raises
        ------
        StateError
            It cannot be read, or it is damaged.
        """
        with self._lock:
            entry, members = self._entries[key], self._known.get(key)
        if members is None:
            members = read_members(self._files / entry.members)
        path = self._files / entry.arrays
        before = _written_by(path, self._written.get(path.name))
        arrays = read_arrays(path)
        # Twice, so that it is the file that was read.
        after = _written_by(path, self._written.get(path.name))
        content = Content(members, arrays, before if before is after else WrittenBy.OTHERS)
        with self._lock:
            self._known[key] = members
        return content

    def save(
        self, job: JobKey, progress: Mapping[str, Any], units: Mapping[UnitKey, Saved], now: int
    ) -> int:
        """Store what units of a job have learned, and how far the job has come, in one step.

        Parameters
        ----------
        job
            The job.
        progress
            How far it has come: what JSON can hold, by name.
        units
            What has changed since it was last stored.
        now
            Unix milliseconds.

        Returns
        -------
        int
            The bytes that were written to files.

        Raises
        ------
        StateError
            It cannot be stored. What was stored before is untouched.
        """
        fresh: dict[UnitKey, StoredUnit] = {}
        written: list[Path] = []
        n_written = 0
        try:
            for key, saved in units.items():
                fresh[key], n_bytes = self._write(key, saved, now, written)
                n_written += n_bytes
            if written:
                sync_folder(self._files)
            with self._lock:
                if self._closed:
                    raise StateError("the store is closed", "io_error")
                with _transaction(self._index) as cursor:
                    for key, entry in fresh.items():
                        cursor.execute(
                            "REPLACE INTO units VALUES (?, ?, ?, ?, ?)", _unit_row(key, entry)
                        )
                    cursor.execute("REPLACE INTO jobs VALUES (?, ?, ?)", _job_row(job, progress))
                replaced = [self._entries[key] for key in fresh if key in self._entries]
                self._entries |= fresh
                self._progress[job] = dict(progress)
                self._known |= {key: units[key].content.members for key in fresh}
        except (OSError, sqlite3.Error, StateError) as error:
            self._unlink(path.name for path in written)
            raise error if isinstance(error, StateError) else self._failure(error) from error
        named = {name for entry in fresh.values() for name in (entry.arrays, entry.members)}
        old = {name for entry in replaced for name in (entry.arrays, entry.members)}
        self._unlink(old - named)
        return n_written

    def _failure(self, error: OSError | sqlite3.Error) -> StateError:
        """Return why nothing can be written, and where."""
        failure = StateError.of(error)
        said = f"{failure}, in {self._folder}"
        if not self._files.is_dir():
            said = f"{self._files} was removed; restart the service, which makes it again"
        return StateError(said, failure.reason)

    def drop(self, keys: Collection[UnitKey]) -> None:
        """Delete what is stored of units, and the progress of jobs of which no unit is left.

        Raises
        ------
        StateError
            The index cannot be written.
        """
        with self._lock:
            dropped = [key for key in keys if key in self._entries]
            # A store that is closed is that of a process that ends: the next one drops them.
            if not dropped or self._closed:
                return
            left = {key.job for key in self._entries.keys() - set(dropped)}
            jobs = ({key.job for key in dropped} - left) & self._progress.keys()
            try:
                with _transaction(self._index) as cursor:
                    cursor.executemany(
                        "DELETE FROM units WHERE unit = ?", [(_text(key),) for key in dropped]
                    )
                    cursor.executemany(
                        "DELETE FROM jobs WHERE job = ?", [(_text(job),) for job in jobs]
                    )
            except sqlite3.Error as error:
                raise StateError.of(error) from error
            for job in jobs:
                del self._progress[job]
            entries = [self._entries.pop(key) for key in dropped]
            for key in dropped:
                self._known.pop(key, None)
        self._unlink(name for entry in entries for name in (entry.arrays, entry.members))

    def close(self) -> None:
        """Stop storing, and let another process use the folder."""
        with self._lock:
            self._closed = True
            self._undo.close()

    def _write(
        self, key: UnitKey, saved: Saved, now: int, written: list[Path]
    ) -> tuple[StoredUnit, int]:
        """Write the files of a unit, and note them in `written`; return its entry and the bytes."""
        members = saved.content.members
        with self._lock:
            old, known = self._entries.get(key), self._known.get(key)
        if old is not None and members.same_as(known) and (self._files / old.members).exists():
            members_file, members_bytes, n_written = old.members, _size(self._files, old.members), 0
        else:
            path = write_arrays(self._files, f"{_MEMBERS}-{_fresh()}", to_arrays(members))
            members_file = path.name
            members_bytes = n_written = path.stat().st_size
            written.append(path)
        path = write_arrays(self._files, f"{_ARRAYS}-{_fresh()}", saved.content.arrays)
        n_bytes = path.stat().st_size
        written.append(path)
        self._written[path.name] = _mark(path.stat())
        entry = StoredUnit(
            signature=saved.signature,
            class_name=saved.class_name,
            version=saved.version,
            saved_at=now,
            n_series=len(members.labels),
            n_bytes=n_bytes + members_bytes,
            arrays=path.name,
            members=members_file,
        )
        return entry, n_written + n_bytes

    def _open(self) -> _Opened:
        """Open and read the index, or a new one where it is damaged or of a newer layout."""
        try:
            try:
                return _open_index(self._folder / INDEX)
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
                path = self._folder / f"{INDEX}{suffix}"
                with contextlib.suppress(FileNotFoundError):
                    path.rename(path.with_name(path.name + _DAMAGED))
            return _open_index(self._folder / INDEX)
        except StateError as error:
            message, reason = f"cannot open {self._folder / INDEX}: {error}", error.reason
            # Mapping its files, SQLite meets a full disk as a failing one.
            if reason == "disk_full" or _is_full(self._folder):
                message, reason = f"{message}; the disk is full, free some of it", "disk_full"
            raise StateError(message, reason) from error

    def _delete_unnamed(self) -> None:
        """Delete the files that a crash has left behind; leave other files alone."""
        named = {name for entry in self._entries.values() for name in (entry.arrays, entry.members)}
        names = {path.name for path in self._files.iterdir()}
        left = sorted(name for name in names - named if _FILE_NAME.fullmatch(name))
        if left:
            logger.info(
                "Deleting %d files of states that the index does not name, such as %s in %s",
                len(left),
                left[0],
                self._files,
            )
            self._unlink(left)

    def _unlink(self, names: Iterator[str] | Collection[str]) -> None:
        """Delete files; one that remains takes up space only until the next start."""
        for name in names:
            self._written.pop(name, None)
            with contextlib.suppress(OSError):
                (self._files / name).unlink()


_Mark: TypeAlias = tuple[int, ...]


def _mark(status: os.stat_result) -> _Mark:
    """Return what no other user can keep as it is while changing or replacing a file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


def _written_by(path: Path, mark: _Mark | None) -> WrittenBy:
    """Return who has written a file, given its mark if this process has.

    Whoever may write to the folder may have replaced it.
    """
    try:
        status, of_folder = path.lstat(), path.parent.lstat()
    except OSError:
        return WrittenBy.OTHERS
    if _mark(status) == mark:
        return WrittenBy.THIS_PROCESS
    is_own = all(
        each.st_uid == os.geteuid() and not each.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        for each in (status, of_folder)
    )
    return WrittenBy.THIS_USER if is_own else WrittenBy.OTHERS


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


def check_files(folder: Path, key: UnitKey, entry: StoredUnit) -> None:
    """Read the files of a unit in a folder of states.

    Another process may be using the folder. It deletes files that it has replaced, so that these
    are looked for again where the index then says they are.

    Parameters
    ----------
    folder
        Of the states.
    key
        Of the unit.
    entry
        What `read_index` has said about it.

    Raises
    ------
    StateError
        They cannot be read, or are damaged; or the index cannot be read again.
    """
    for left in reversed(range(_MOST_LOOKS)):
        try:
            read_members(folder / _FILES / entry.members)
            read_arrays(folder / _FILES / entry.arrays)
        except StateError:
            stored = read_index(folder)[0].get(key)
            if stored is None or stored == entry or not left:
                raise
            entry = stored
        else:
            return


def read_members(path: Path) -> Members:
    """Read whose state it is.

    Raises
    ------
    StateError
        The file cannot be read, or it is damaged.
    """
    try:
        return members_of(read_arrays(path))
    except ValueError as error:
        raise StateError(f"{path.name} is damaged ({error})", "damaged") from error


_Opened: TypeAlias = tuple[
    sqlite3.Connection, dict[UnitKey, StoredUnit], dict[JobKey, dict[str, Any]]
]


def _open_index(path: Path) -> _Opened:
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
            if checksum != _checksum(row) or not all(isinstance(text, str) for text in row):
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
        It is not one that `_unit_row` gives.
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
        or not all(_FILE_NAME.fullmatch(name) for name in (arrays, members))
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


def _unit_row(key: UnitKey, entry: StoredUnit) -> list[Any]:
    facts = {
        "signature": dict(entry.signature),
        "class_name": entry.class_name,
        "version": entry.version,
        "saved_at": entry.saved_at,
        "n_series": entry.n_series,
        "n_bytes": entry.n_bytes,
    }
    row = [_text(key), orjson.dumps(facts).decode(), entry.arrays, entry.members]
    return [*row, _checksum(row)]


def _job_row(job: JobKey, progress: Mapping[str, Any]) -> list[Any]:
    row = [_text(job), orjson.dumps(dict(progress)).decode()]
    return [*row, _checksum(row)]


def _make_own_folder(folder: Path) -> None:
    """Make a folder if there is none.

    Raises
    ------
    OSError
        It cannot be made, or something else has its name, such as a link to another folder.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink():
        raise NotADirectoryError(
            errno.ENOTDIR, f"{folder} is a symbolic link, which is not followed"
        )


def _is_full(folder: Path) -> bool:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < _INDEX_BYTES


def _text(key: UnitKey | JobKey) -> str:
    return orjson.dumps(tuple(key)).decode()


def _checksum(row: list[Any]) -> int:
    return zlib.crc32("\0".join(str(value) for value in row).encode())


def _fresh() -> str:
    return secrets.token_hex(8)


def _size(folder: Path, name: str) -> int:
    return (folder / name).stat().st_size
