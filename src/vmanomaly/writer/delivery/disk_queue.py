"""The queue that survives the process.

A folder holds append-only segments, `0000000001.segment` and so on, whose format is that of
`vmanomaly.writer.delivery.segment`, and the file `cursor`.

What is guaranteed, and what it costs:

- `append` returns when the record is on the disk: one write, one fsync. That costs what a flush of
  the device costs (0.2 ms for 1 KiB, 30 ms for 8 MiB, measured on a virtual machine's SSD; a
  spinning disk typically takes some 10 ms more). Threads that append at the same time do so one
  after the other.
- After `kill -9` everything that was appended and not acknowledged is there, in order. The same
  holds after a loss of power, but some of what was acknowledged in the last seconds is sent again:
  `cursor`, which says how far records are acknowledged, is overwritten in place, checksummed, and
  not synced. A lost or damaged cursor repeats at most what lies in the oldest segment. Since it is
  overwritten in place, acknowledging works on a full disk; since it is not synced, draining a queue
  is never slower than filling it.
- Nothing that fails its checksum is ever delivered. A record with a damaged body is left out, and
  its points are reported. If a head is damaged, the next record is searched for. What is lost is
  logged in bytes if it is found on opening, since its points are not known; later it is reported. A
  segment that ends in the middle of a record, as after a crash, is cut off there.
- A cursor that points to no boundary of records in a segment is not believed.
- Only regular files are read and written, never through a symbolic link.
- Disk space is released one segment at a time, by removing files, which needs no free space.

Why not SQLite (WAL, `synchronous=FULL`), which gives the first two guarantees with less code: when
the disk is full a DELETE fails as well, so that a queue can neither be drained nor drop its oldest
records; a file cut short, or a damaged page of the tree, takes all records with it, since pages
carry no checksum; a body of 8 MiB is written twice when it is inserted and again when it is
deleted. Queues on PyPI (persist-queue, litequeue, diskcache) are built on SQLite or on pickle.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import logging
import os
import re
import stat
import struct
import threading
import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from vmanomaly.exhaustion import exhausted
from vmanomaly.writer.delivery.queue import Dropped, QueueError, Record
from vmanomaly.writer.delivery.segment import Head, encode, find_head, read_heads, read_record

logger = logging.getLogger(__name__)

_MAX_SEGMENT_BYTES = 16 * 1024 * 1024
_SEGMENTS_IN_FULL_QUEUE = 16
# Some ten thousand terabytes later, a name would have too many digits.
_MAX_NUMBER = 5_000_000_000
_SEGMENT_NAME = re.compile(r"([0-9]{10})\.segment")
_CURSOR = struct.Struct("<QQ")
_CHECKSUM = struct.Struct("<I")


@dataclass(slots=True)
class _Segment:
    """A file of records. The counts are of those that are not acknowledged."""

    number: int
    end: int = 0
    n_records: int = 0
    n_points: int = 0

    @property
    def name(self) -> str:
        return f"{self.number:010d}.segment"


class DiskQueue:
    """A queue in a folder that no other process uses.

    Files are readable by their owner only.

    Parameters
    ----------
    folder
        Made when missing.
    max_bytes
        The segments take no more than this. If they would, the oldest segment is dropped, whole.
    dropped
        Called with what is dropped: `queue_full` or `corrupt`. A record that is being sent while
        its segment is dropped counts as dropped. Must not use the queue.
    segment_bytes
        A segment takes no record that would make it larger, unless it is the first. By default
        16 MiB, or a sixteenth of a small queue.

    Raises
    ------
    QueueError
        If the folder cannot be used, or another process uses it.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        dropped: Dropped,
        segment_bytes: int | None = None,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes or min(
            _MAX_SEGMENT_BYTES, max_bytes // _SEGMENTS_IN_FULL_QUEUE
        )
        self._dropped = dropped
        self._lock = threading.RLock()
        self._segments: deque[_Segment] = deque()
        self._offset = 0  # in the oldest segment, of the record that is next
        self._next: Record | None = None  # the record there, once it was read
        self._next_end = 0
        self._reader = self._writer = -1
        with contextlib.ExitStack() as undo:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._folder_file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                undo.callback(os.close, self._folder_file)
                self._cursor_file = self._open("cursor", os.O_RDWR | os.O_CREAT)
                undo.callback(os.close, self._cursor_file)
                fcntl.flock(self._cursor_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._last_number = self._load()
            except BlockingIOError:
                raise QueueError(
                    f"another process uses the queue in {folder}: stop it, "
                    "or give each its own writer.queue_path"
                ) from None
            except OSError as error:
                if error.errno == errno.ELOOP and folder.is_dir():
                    raise QueueError(
                        f"cannot use the queue in {folder}: {folder / 'cursor'} is a symbolic "
                        "link, which is not written through; remove it"
                    ) from None
                raise QueueError(
                    f"cannot use the queue in {folder}: {error.strerror}; make it a folder that "
                    "this user may write to, or change writer.queue_path"
                ) from error
            undo.pop_all()

    def __len__(self) -> int:
        """Return the number of records."""
        with self._lock:
            return sum(segment.n_records for segment in self._segments)

    @property
    def n_bytes(self) -> int:
        """Bytes that the records take on disk."""
        with self._lock:
            return self._disk_bytes - self._offset

    @property
    def n_points(self) -> int:
        """Points in all records."""
        with self._lock:
            return sum(segment.n_points for segment in self._segments)

    @property
    def n_points_in_memory(self) -> int:
        """None: every record is on the disk when it was appended."""
        return 0

    @property
    def oldest_timestamp(self) -> int | None:
        """That of the next record, Unix milliseconds; None if there is none."""
        record = self.peek()
        return None if record is None else record.oldest_timestamp

    def append(self, record: Record) -> None:
        """Add a record at the end, and flush it to disk.

        The oldest segments are dropped as far as it needs their room; a record that is larger than
        the whole queue is itself dropped.

        Raises
        ------
        QueueError
            If it cannot be written, for instance because the disk is full. The queue stays as it
            was.
        """
        frame = encode(record)
        with self._lock:
            if len(frame) > self._max_bytes:
                self._dropped("queue_full", record.n_points)
                return
            while self._disk_bytes + len(frame) > self._max_bytes:
                self._drop_oldest_segment("queue_full")
            try:
                self._append(frame)
            except OSError as error:
                self._undo_append()
                raise QueueError(
                    f"cannot write to the queue in {self._folder}: "
                    f"{exhausted(error) or error.strerror}"
                ) from error
            self._segments[-1].end += len(frame)
            self._segments[-1].n_records += 1
            self._segments[-1].n_points += record.n_points

    def peek(self) -> Record | None:
        """Return the next record, without removing it.

        Damaged records are skipped.

        Raises
        ------
        QueueError
            If it cannot be read at the moment.
        """
        with self._lock:
            try:
                while self._next is None and self._segments:
                    self._read_next()
            except OSError as error:
                raise QueueError(
                    f"cannot read the queue in {self._folder}: {error.strerror}"
                ) from error
            return self._next

    def acknowledge(self, record: Record) -> None:
        """Remove the next record if it equals `record`, as `peek` returned it.

        It does not if `record` was dropped in the meantime because the queue was full.

        Raises
        ------
        QueueError
            If the next record cannot be read at the moment.
        """
        with self._lock:
            if self.peek() == record:
                self._move_on(self._next_end, record.n_points)

    def close(self) -> None:
        """Release the folder. What is left is there when it is opened again."""
        with self._lock:
            if self._folder_file == -1:
                return
            if self._segments:
                logger.info(
                    "%d points stay in the queue in %s until the next start",
                    self.n_points,
                    self._folder,
                )
            self._close_reader()
            self._close_writer()
            os.close(self._cursor_file)
            os.close(self._folder_file)
            # Any later use fails, and touches no file that has got the same descriptor.
            self._cursor_file = self._folder_file = -1
            self._segments.clear()
            self._next = None
            self._offset = 0

    def hand_over(self) -> list[Record]:
        """Close the queue. Everything is on the disk, so nothing is returned."""
        self.close()
        return []

    @property
    def _disk_bytes(self) -> int:
        return sum(segment.end for segment in self._segments)

    def _open(self, name: str, flags: int) -> int:
        # Opening a pipe would wait for the other end.
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(name, flags, 0o600, dir_fd=self._folder_file)

    def _load(self) -> int:
        """Find the segments of the last process. Return the last number that was given to one."""
        acknowledged, offset = self._read_cursor()
        if not acknowledged:
            # Reserves its room on the disk while there is some.
            self._write_cursor(0, 0)
        numbers = self._find_segments()
        if numbers and not self._is_boundary(acknowledged, offset, numbers):
            logger.warning(
                "%s does not fit the segments next to it: all of them are sent",
                self._folder / "cursor",
            )
            offset = 0
            oldest = numbers[0]
        else:
            oldest = acknowledged
        for number in numbers:
            start = offset if number == acknowledged else 0
            segment = self._read_segment(number, start)
            if number < oldest or not segment.n_records:
                self._unlink(segment)
                continue
            if not self._segments:
                self._offset = start
            self._segments.append(segment)
        return max([acknowledged, *self._taken_numbers()])

    def _find_segments(self) -> list[int]:
        """Return the numbers of the segments, oldest first."""
        numbers = []
        for number in self._taken_numbers():
            name = _Segment(number).name
            found = os.stat(name, dir_fd=self._folder_file, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                numbers.append(number)
            else:
                logger.warning(
                    "%s is not a regular file: it is left alone, remove it", self._folder / name
                )
        return numbers

    def _taken_numbers(self) -> list[int]:
        names = map(_SEGMENT_NAME.fullmatch, os.listdir(self._folder_file))
        return sorted(int(name[1]) for name in names if name and int(name[1]) < _MAX_NUMBER)

    def _is_boundary(self, number: int, offset: int, numbers: list[int]) -> bool:
        """Return whether a cursor was written for these segments."""
        if number not in numbers:
            # After the last record of a segment was acknowledged, it was removed.
            return number < numbers[0]
        if not offset:
            return True
        file = self._open(_Segment(number).name, os.O_RDONLY)
        try:
            size = os.fstat(file).st_size
            return any(
                offset in {head.start, head.end}
                for head in itertools.takewhile(
                    lambda head: head.start <= offset, read_heads(file, 0, size)
                )
            )
        finally:
            os.close(file)

    def _read_segment(self, number: int, start: int) -> _Segment:
        """Count what is in a segment from `start` on, and cut off an unreadable end."""
        segment = _Segment(number, end=start)
        path = self._folder / segment.name
        file = self._open(segment.name, os.O_RDWR)
        try:
            size = os.fstat(file).st_size
            last = None
            before_last = start
            for head in read_heads(file, start, size):
                if head.start > segment.end:
                    logger.warning(
                        "%s is damaged at byte %d: %d bytes are lost",
                        path,
                        segment.end,
                        head.start - segment.end,
                    )
                last, before_last = head, segment.end
                segment.end = head.end
                segment.n_records += 1
                segment.n_points += head.n_points
            if last is not None and read_record(file, last) is None:
                segment.end = before_last
                segment.n_records -= 1
                segment.n_points -= last.n_points
            if segment.end < size:
                logger.warning(
                    "Cut %d bytes off the end of %s: an unfinished write, or damage",
                    size - segment.end,
                    path,
                )
                os.ftruncate(file, segment.end)
        finally:
            os.close(file)
        return segment

    def _append(self, frame: bytes) -> None:
        last = self._segments[-1] if self._segments else None
        if (
            last is None
            or self._writer == -1
            or (last.n_records and last.end + len(frame) > self._segment_bytes)
        ):
            self._start_segment()
        written = 0
        view = memoryview(frame)
        while written < len(frame):
            written += os.pwrite(self._writer, view[written:], self._segments[-1].end + written)
        os.fsync(self._writer)

    def _start_segment(self) -> None:
        self._close_writer()
        self._last_number += 1
        segment = _Segment(self._last_number)
        self._writer = self._open(segment.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._segments.append(segment)
        os.fsync(self._folder_file)

    def _undo_append(self) -> None:
        """Leave the segment: after a failed fsync nobody knows what is on the disk."""
        if self._writer == -1:
            return
        segment = self._segments[-1]
        try:
            os.ftruncate(self._writer, segment.end)
        except OSError as error:
            logger.warning("Cannot shorten %s: %s", self._folder / segment.name, error.strerror)
        self._close_writer()
        if not segment.n_records:
            self._segments.pop()
            self._unlink(segment)

    def _read_next(self) -> None:
        segment = self._segments[0]
        try:
            if self._reader == -1:
                self._reader = self._open(segment.name, os.O_RDONLY)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ELOOP}:
                raise
            logger.error(
                "%s is gone, and the %d points in it", self._folder / segment.name, segment.n_points
            )
            self._drop_oldest_segment("corrupt")
            return
        head = find_head(self._reader, self._offset, segment.end)
        if head is None:
            logger.error(
                "%s is damaged at byte %d: the %d points from there on are lost",
                self._folder / segment.name,
                self._offset,
                segment.n_points,
            )
            self._drop_oldest_segment("corrupt")
            return
        if head.start > self._offset:
            self._skip_damage(segment, head)
        self._next = read_record(self._reader, head)
        self._next_end = head.end
        if self._next is None:
            logger.error(
                "%s is damaged at byte %d: %d points are lost",
                self._folder / segment.name,
                head.body_start,
                head.n_points,
            )
            self._dropped("corrupt", head.n_points)
            self._move_on(head.end, head.n_points)

    def _skip_damage(self, segment: _Segment, head: Head) -> None:
        """Continue at a head behind damage; report what was lost since the segment was counted."""
        heads = list(read_heads(self._reader, head.start, segment.end))
        n_points = segment.n_points - sum(each.n_points for each in heads)
        if n_points > 0:
            logger.error(
                "%s is damaged at byte %d: %d points are lost",
                self._folder / segment.name,
                self._offset,
                n_points,
            )
            self._dropped("corrupt", n_points)
        segment.n_records = len(heads)
        segment.n_points -= n_points
        self._offset = head.start

    def _move_on(self, end: int, n_points: int) -> None:
        """Remove the next record, which ends at `end`."""
        segment = self._segments[0]
        segment.n_records -= 1
        segment.n_points -= n_points
        self._offset = end
        self._next = None
        if segment.n_records:
            self._write_cursor(segment.number, end)
        else:
            self._remove_oldest_segment()

    def _drop_oldest_segment(self, reason: str) -> None:
        self._dropped(reason, self._segments[0].n_points)
        self._remove_oldest_segment()

    def _remove_oldest_segment(self) -> None:
        segment = self._segments.popleft()
        self._close_reader()
        if not self._segments:
            self._close_writer()
        self._offset = 0
        self._next = None
        self._write_cursor(segment.number, segment.end)
        self._unlink(segment)

    def _unlink(self, segment: _Segment) -> None:
        try:
            os.unlink(segment.name, dir_fd=self._folder_file)
        except OSError as error:
            logger.warning("Cannot remove %s: %s", self._folder / segment.name, error.strerror)

    def _read_cursor(self) -> tuple[int, int]:
        """Return the segment and the offset up to which everything is acknowledged."""
        stored = os.pread(self._cursor_file, _CURSOR.size + _CHECKSUM.size, 0)
        position = stored[: _CURSOR.size]
        if stored == position + _CHECKSUM.pack(zlib.crc32(position)):
            segment, offset = _CURSOR.unpack(position)
            if segment < _MAX_NUMBER:
                return segment, offset
        return 0, 0

    def _write_cursor(self, segment: int, offset: int) -> None:
        position = _CURSOR.pack(segment, offset)
        try:
            os.pwrite(self._cursor_file, position + _CHECKSUM.pack(zlib.crc32(position)), 0)
        except OSError as error:
            logger.warning(
                "Cannot write %s: %s. What is sent now may be sent again after a restart",
                self._folder / "cursor",
                error.strerror,
            )

    def _close_reader(self) -> None:
        if self._reader != -1:
            os.close(self._reader)
            self._reader = -1

    def _close_writer(self) -> None:
        if self._writer != -1:
            os.close(self._writer)
            self._writer = -1
