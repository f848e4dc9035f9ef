"""What waits to be written, and the queue that keeps it in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from vmanomaly.errors import VmanomalyError

# Called with the reason and the number of points that are dropped.
Dropped: TypeAlias = Callable[[str, int], None]

# What a record takes in addition to its body, roughly.
_OVERHEAD_BYTES = 512


class QueueError(VmanomalyError):
    """A queue cannot use its folder, or cannot write or read a record there."""


@dataclass(frozen=True, slots=True)
class Record:
    """The body of one request, and what must be known about it.

    Attributes
    ----------
    body : bytes
        As it is sent.
    query_key : str
        Alias of the query whose predictions it holds.
    n_points : int
        Points in the body.
    oldest_timestamp : int
        Of these points, Unix milliseconds.
    scheduler_alias : str
        Alias of the scheduler under which they were made.
    n_series : int
        Series in the body.
    content_type : str
        Of the body.
    content_encoding : str or None
        How the body is compressed; None where it is not.
    """

    body: bytes
    query_key: str
    n_points: int
    oldest_timestamp: int
    scheduler_alias: str
    n_series: int
    content_type: str
    content_encoding: str | None = None


class Queue(Protocol):
    """A bounded queue, first in, first out. Many threads may append; one takes out.

    When it is full the oldest records are dropped and reported.
    """

    def __len__(self) -> int:
        """Return the number of records."""
        ...

    @property
    def n_bytes(self) -> int:
        """Bytes that the records take."""
        ...

    @property
    def n_points(self) -> int:
        """Points in all records."""
        ...

    @property
    def n_points_in_memory(self) -> int:
        """Points in the records that are lost with the process."""
        ...

    @property
    def oldest_timestamp(self) -> int | None:
        """That of the next record, Unix milliseconds; None if there is none."""
        ...

    def append(self, record: Record) -> None:
        """Add a record at the end."""
        ...

    def peek(self) -> Record | None:
        """Return the next record, without removing it.

        Raises
        ------
        QueueError
            If it cannot be read at the moment.
        """
        ...

    def acknowledge(self, record: Record) -> None:
        """Remove the next record if it equals `record`, as `peek` returned it.

        It does not if `record` was dropped in the meantime because the queue was full.

        Raises
        ------
        QueueError
            If the next record cannot be read at the moment.
        """
        ...

    def close(self) -> None:
        """Release everything. The queue is not used again."""
        ...

    def hand_over(self) -> list[Record]:
        """Close the queue, and return the records that do not outlive it, in order."""
        ...


class MemoryQueue:
    """A queue that is lost with the process.

    Parameters
    ----------
    max_bytes
        Bodies, plus half a KiB for each, take no more than this.
    dropped
        Called with what is dropped: `queue_full`, or `shutdown` if the queue is closed with records
        in it. Must not use the queue.

    Examples
    --------
    >>> queue = MemoryQueue(2000, dropped=lambda reason, n_points: print(reason, n_points))
    >>> for number in (1, 2, 3):
    ...     queue.append(Record(bytes(400), "cpu", number, 1000 * number, "live", 1, "text/plain"))
    queue_full 1
    >>> record = queue.peek()
    >>> record.n_points, len(queue), queue.n_bytes
    (2, 2, 1824)
    >>> queue.acknowledge(record)
    >>> queue.oldest_timestamp
    3000
    >>> queue.close()
    shutdown 3
    """

    def __init__(self, max_bytes: int, dropped: Dropped) -> None:
        self._max_bytes = max_bytes
        self._dropped = dropped
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._n_points = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._records)

    @property
    def n_bytes(self) -> int:
        """Bytes that the records take."""
        return self._bytes

    @property
    def n_points(self) -> int:
        """Points in all records."""
        return self._n_points

    @property
    def n_points_in_memory(self) -> int:
        """Points in all records."""
        return self._n_points

    @property
    def oldest_timestamp(self) -> int | None:
        """That of the next record, Unix milliseconds; None if there is none."""
        record = self.peek()
        return None if record is None else record.oldest_timestamp

    def append(self, record: Record) -> None:
        """Add a record at the end. The oldest are dropped as far as it needs their room."""
        size = len(record.body) + _OVERHEAD_BYTES
        with self._lock:
            if size > self._max_bytes:
                self._dropped("queue_full", record.n_points)
                return
            while self._bytes + size > self._max_bytes:
                self._dropped("queue_full", self._take().n_points)
            self._records.append(record)
            self._bytes += size
            self._n_points += record.n_points

    def peek(self) -> Record | None:
        """Return the next record, without removing it."""
        with self._lock:
            return self._records[0] if self._records else None

    def acknowledge(self, record: Record) -> None:
        """Remove the next record if it equals `record`, as `peek` returned it."""
        with self._lock:
            if self._records and self._records[0] == record:
                self._take()

    def close(self) -> None:
        """Drop what is left."""
        with self._lock:
            if self._records:
                self._dropped("shutdown", self._n_points)
            self._records.clear()
            self._bytes = self._n_points = 0

    def hand_over(self) -> list[Record]:
        """Close the queue, and return all records."""
        with self._lock:
            records = list(self._records)
            self._records.clear()
            self._bytes = self._n_points = 0
        return records

    def _take(self) -> Record:
        record = self._records.popleft()
        self._bytes -= len(record.body) + _OVERHEAD_BYTES
        self._n_points -= record.n_points
        return record
