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
import secrets
import sqlite3
import stat
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from vmanomaly.series import JobKey, UnitKey
from vmanomaly.state.content import Content, Members, WrittenBy, members_of, to_arrays
from vmanomaly.state.errors import StateError
from vmanomaly.state.files import read_arrays, sync_folder, write_arrays
from vmanomaly.state.index import (
    ARRAYS,
    FILE_NAME,
    MEMBERS,
    StoredUnit,
    delete,
    open_index,
    put,
    read_index,
)

logger = logging.getLogger(__name__)

_LOCK = "vmanomaly.lock"
_FILES = "states"
# At files that a running service replaces, each time because it has saved again.
_MOST_LOOKS = 10


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
            self._index, self._entries, self._progress = open_index(folder)
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
                put(self._index, job, progress, fresh)
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
                delete(self._index, dropped, jobs)
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
            path = write_arrays(self._files, f"{MEMBERS}-{_fresh()}", to_arrays(members))
            members_file = path.name
            members_bytes = n_written = path.stat().st_size
            written.append(path)
        path = write_arrays(self._files, f"{ARRAYS}-{_fresh()}", saved.content.arrays)
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

    def _delete_unnamed(self) -> None:
        """Delete the files that a crash has left behind; leave other files alone."""
        named = {name for entry in self._entries.values() for name in (entry.arrays, entry.members)}
        names = {path.name for path in self._files.iterdir()}
        left = sorted(name for name in names - named if FILE_NAME.fullmatch(name))
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


def _fresh() -> str:
    return secrets.token_hex(8)


def _size(folder: Path, name: str) -> int:
    return (folder / name).stat().st_size
