"""Which queue a writer has, and what happens to it when the disk is full."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from vmanomaly.episodes import Episodes
from vmanomaly.writer.delivery.disk_queue import DiskQueue
from vmanomaly.writer.delivery.queue import Dropped, MemoryQueue, Queue, QueueError, Record

logger = logging.getLogger(__name__)

_DISK = "disk"

DEFAULT_DISK_BYTES = 1024**3
DEFAULT_MEMORY_BYTES = 64 * 1024**2


def open_queue(folder: Path | None, max_bytes: int | None, dropped: Dropped) -> Queue:
    """Return the queue that the configuration describes.

    Parameters
    ----------
    folder
        Where it is kept; None keeps it in memory.
    max_bytes
        Its limit; None for 1 GiB on disk, 64 MiB in memory.
    dropped
        Called with the reason and the number of points whenever some are dropped.

    Raises
    ------
    QueueError
        If the folder cannot be used, or another process uses it.
    """
    if folder is None:
        return MemoryQueue(max_bytes or DEFAULT_MEMORY_BYTES, dropped)
    return FallbackQueue(
        DiskQueue(folder, max_bytes or DEFAULT_DISK_BYTES, dropped),
        MemoryQueue(DEFAULT_MEMORY_BYTES, dropped),
    )


class FallbackQueue:
    """A queue on disk that continues in memory while the disk cannot be written to.

    Everything on disk is older than anything in memory. Every append tries again to move what is
    in memory to the disk.

    Parameters
    ----------
    disk
        Used as long as it accepts records.
    memory
        Used otherwise. What does not fit is dropped, oldest first.
    """

    def __init__(self, disk: DiskQueue, memory: MemoryQueue) -> None:
        self._disk = disk
        self._memory = memory
        self._episodes = Episodes(logger)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of records."""
        with self._lock:
            return len(self._disk) + len(self._memory)

    @property
    def n_bytes(self) -> int:
        """Bytes that the records take, on disk and in memory."""
        with self._lock:
            return self._disk.n_bytes + self._memory.n_bytes

    @property
    def n_points(self) -> int:
        """Points in all records."""
        with self._lock:
            return self._disk.n_points + self._memory.n_points

    @property
    def n_points_in_memory(self) -> int:
        """Points that the disk has not taken yet."""
        with self._lock:
            return self._memory.n_points

    @property
    def oldest_timestamp(self) -> int | None:
        """That of the next record, Unix milliseconds; None if there is none."""
        record = self.peek()
        return None if record is None else record.oldest_timestamp

    def append(self, record: Record) -> None:
        """Add a record at the end, on disk where possible."""
        with self._lock:
            self._memory.append(record)
            self._move_to_disk()

    def peek(self) -> Record | None:
        """Return the next record, without removing it.

        Raises
        ------
        QueueError
            If it cannot be read at the moment.
        """
        with self._lock:
            return self._next_queue().peek()

    def acknowledge(self, record: Record) -> None:
        """Remove the next record if it equals `record`, as `peek` returned it.

        It may have moved to the disk since.

        Raises
        ------
        QueueError
            If the next record cannot be read at the moment.
        """
        with self._lock:
            self._next_queue().acknowledge(record)

    def close(self) -> None:
        """Move what is in memory to the disk, as far as possible, and close both."""
        with self._lock:
            self._move_to_disk()
            self._disk.close()
            self._memory.close()

    def hand_over(self) -> list[Record]:
        """Move what is in memory to the disk, close both, and return what does not fit there."""
        with self._lock:
            self._move_to_disk()
            self._disk.close()
            return self._memory.hand_over()

    def _next_queue(self) -> Queue:
        return self._disk if self._disk.peek() is not None else self._memory

    def _move_to_disk(self) -> None:
        has_moved = False
        try:
            while (record := self._memory.peek()) is not None:
                self._disk.append(record)
                self._memory.acknowledge(record)
                has_moved = True
        except QueueError as error:
            self._episodes.begin(_DISK, f"The queue continues in memory: {error}")
        else:
            if has_moved:
                self._episodes.end(_DISK, "The queue is on disk again")
