"""Deliver records to the database, in order, however long it is unavailable."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from vmanomaly.clock import Clock, SystemClock
from vmanomaly.episodes import Episodes, counted
from vmanomaly.errors import DatasourceError
from vmanomaly.printable import sentence
from vmanomaly.writer.delivery.queue import Queue, QueueError, Record

logger = logging.getLogger(__package__)

_OUTAGE = "outage"
_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 60.0
_LONGEST_RETRY_AFTER_S = 300.0
_CLOSING_S = 2.0


@dataclass(frozen=True, slots=True)
class Sent:
    """The database has accepted the record."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The database will never accept this record, or a part of it, and has accepted the rest.

    Attributes
    ----------
    error : DatasourceError
        Why, in the server's own words.
    n_points : mapping of str to int
        The points that it refuses, by the reason under which they are counted as dropped.
    """

    error: DatasourceError
    n_points: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Retry:
    """The database accepts nothing at the moment.

    Attributes
    ----------
    error : DatasourceError
        Why.
    after_s : float or None
        Seconds the server asks to wait (`Retry-After`).
    left : tuple of Record
        The parts of the record that are still to be sent, in order; empty for all of it.
    refused : Refused or None
        The parts of the record that were already refused.
    """

    error: DatasourceError
    after_s: float | None = None
    left: tuple[Record, ...] = ()
    refused: Refused | None = None


_DROPPED = {
    "queue_full": "Queue full: dropping the oldest points; raise writer.queue_max_size",
    "corrupt": "The queue is damaged: points are lost",
    "shutdown": "Service is shutting down: points queued in memory are lost; a queue on disk "
    "(writer.queue_path) keeps them, as long as that disk is not full",
}

Outcome: TypeAlias = Sent | Retry | Refused


class Drops:
    """Counts points that are dropped, and logs each reason once per outage.

    Parameters
    ----------
    count
        Called with the reason and the number of points, to count them in a metric.

    Attributes
    ----------
    n_points : int
        Points that were dropped since the start.

    Examples
    --------
    >>> drops = Drops(count=lambda reason, n_points: print(reason, n_points))
    >>> drops("corrupt", 20)
    corrupt 20
    >>> drops.take(), drops.take(), drops.n_points
    (20, 0, 20)
    """

    def __init__(self, count: Callable[[str, int], None]) -> None:
        self.n_points = 0
        self._count = count
        self._n_taken = 0
        self._episodes = Episodes(logger)
        self._lock = threading.Lock()

    def __call__(self, reason: str, n_points: int) -> None:
        """Count `n_points` points that are dropped for a reason."""
        self._count(reason, n_points)
        with self._lock:
            self.n_points += n_points
        if reason in _DROPPED:
            message = f"{_DROPPED[reason]} ({n_points} points so far)"
            self._episodes.begin(reason, message, logging.ERROR)

    def take(self) -> int:
        """Return how many points were dropped since the last call, and log every reason again."""
        with self._lock:
            n_new = self.n_points - self._n_taken
            self._n_taken = self.n_points
        self._episodes.clear()
        return n_new


class Delivery:
    """Sends records, and queues them while the database does not accept them.

    As long as the queue is empty a record is sent at once, by the thread that delivers it. After a
    failure, records are queued, and one background thread sends them in order: first after about
    1 s, then after twice that, up to 60 s, or after what the server asks for, up to 5 minutes.
    So the records of each query stay in order as long as one thread at a time delivers them.

    Failures are logged when they begin and when they end. Safe to use from several threads.

    Parameters
    ----------
    queue
        Where records wait. Closed with the delivery. What it holds from the last process is sent
        from `start` on.
    send
        Makes the request and says how it went, within bounded time. An exception is logged as the
        bug that it is, and the record is sent again.
    drops
        Called for refused records. The queue uses the same object.
    set_queue_bytes, set_oldest_timestamp
        Called with the size of the queue and the timestamp of the next record, in seconds (0 if
        there is none), whenever they change.
    clock
        Tells the time.
    jitter
        Number from 0 to 1: waiting times are between half of the whole and the whole.
    """

    def __init__(
        self,
        queue: Queue,
        send: Callable[[Record], Outcome],
        drops: Drops,
        *,
        set_queue_bytes: Callable[[float], None],
        set_oldest_timestamp: Callable[[float], None],
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._send = send
        self._drops = drops
        self._set_queue_bytes = set_queue_bytes
        self._set_oldest_timestamp = set_oldest_timestamp
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._changed = threading.Condition()
        # The next record in the queue, if a part of it was sent, and what is left of it.
        self._begun: tuple[Record | None, tuple[Record, ...]] = None, ()
        self._error: DatasourceError | None = None
        self._failures = 0
        self._is_down = False
        self._episodes = Episodes(logger, self._clock)
        self._next_try = self._not_before = self._clock.monotonic()
        self._closing = False
        self._publish()
        self._thread = threading.Thread(target=self._drain, name="writer-delivery", daemon=True)

    def start(self) -> None:
        """Send what waits in the queue, in the background, from now on.

        Before that, records are sent by `deliver` as long as the queue is empty, and wait after a
        failure.
        """
        if len(self._queue):
            logger.info("%s queued since the last run", counted(self._queue.n_points, "point"))
        self._thread.start()

    @property
    def last_error(self) -> DatasourceError | None:
        """What was wrong with the last request; None if the database accepted it."""
        return self._error

    @property
    def outage(self) -> DatasourceError | None:
        """Why records wait; None while the database answers."""
        with self._changed:
            return self._error if self._is_down else None

    @property
    def n_points_queued(self) -> int:
        """Points that wait in the queue."""
        return self._queue.n_points

    @property
    def n_points_in_memory(self) -> int:
        """Points that wait in memory, and are lost with the process."""
        return self._queue.n_points_in_memory

    def deliver(self, record: Record) -> None:
        """Send a record, or queue it. Return when it is sent, refused, or safely in the queue."""
        left: tuple[Record, ...] = (record,)
        if not len(self._queue):
            outcome = self._attempt(record)
            if not isinstance(outcome, Retry):
                self._note_answer(record, outcome)
                return
            self._note_failure(record, outcome)
            left = outcome.left or left
        with self._changed:
            if self._closing:
                self._drops("shutdown", sum(part.n_points for part in left))
                return
            for part in left:
                self._queue.append(part)
            self._publish()
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until the queue is empty. Return whether it is.

        The next try is made at once, unless the server asked to wait.

        Parameters
        ----------
        timeout_s
            Wait no longer than this.
        """
        deadline = self._clock.monotonic() + timeout_s
        with self._changed:
            self._next_try = self._not_before
            self._changed.notify_all()
            while len(self._queue):
                left = deadline - self._clock.monotonic()
                if left <= 0 or self._closing:
                    return False
                self._clock.wait_for_change(self._changed, left)
        return True

    def close(self) -> None:
        """Stop the background thread, and close the queue.

        A request in progress is given 2 more seconds. What it sends stays in a queue on disk, and
        is sent again after the next start.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._has_started:
            self._thread.join(_CLOSING_S)
        if self._thread.is_alive():
            logger.warning("Abandoned a request in progress")
        self._queue.close()

    def hand_over(self) -> list[Record]:
        """Stop as `close` does, and return the records that do not outlive the queue, in order.

        Waits for a request in progress, so that no other delivery repeats it. Nothing may be
        delivered afterwards.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._has_started:
            self._thread.join()
        return self._queue.hand_over()

    def take_over(self, records: Sequence[Record]) -> None:
        """Queue the records that another delivery has passed on."""
        with self._changed:
            for record in records:
                self._queue.append(record)
            self._publish()
            self._changed.notify_all()

    @property
    def _has_started(self) -> bool:
        return self._thread.ident is not None

    def _drain(self) -> None:
        while self._wait_until_due():
            try:
                self._send_next()
            except QueueError as error:
                self._note_failure(None, Retry(DatasourceError(str(error), "io_error")))

    def _send_next(self) -> None:
        record = self._queue.peek()
        if record is None:
            return
        begun, left = self._begun
        if begun != record:
            left = (record,)
        while left:
            outcome = self._attempt(left[0])
            if isinstance(outcome, Retry):
                self._begun = record, (outcome.left or left[:1]) + left[1:]
                self._note_failure(left[0], outcome)
                return
            self._note_answer(left[0], outcome)
            left = left[1:]
        self._begun = None, ()
        with self._changed:
            self._queue.acknowledge(record)
            self._publish()
            if not len(self._queue):
                logger.info("The queue is empty")
            self._changed.notify_all()

    def _wait_until_due(self) -> bool:
        """Return True if there is something to send, and it is time; False when closing."""
        with self._changed:
            while not self._closing:
                left = self._next_try - self._clock.monotonic() if len(self._queue) else None
                if left is not None and left <= 0:
                    return True
                self._clock.wait_for_change(self._changed, left)
        return False

    def _attempt(self, record: Record) -> Outcome:
        try:
            return self._send(record)
        except Exception as bug:
            logger.exception("Error while writing %s", record.query_key)
            return Retry(DatasourceError(f"internal error: {bug!r}", "io_error"))

    def _note_answer(self, record: Record, outcome: Sent | Refused) -> None:
        """Note that the database is available."""
        with self._changed:
            self._is_down = False
            outage = self._episodes.end(_OUTAGE)
            self._error = outcome.error if isinstance(outcome, Refused) else None
            self._failures = 0
            self._next_try = self._not_before = self._clock.monotonic()
            self._changed.notify_all()
        if isinstance(outcome, Refused):
            self._note_refused(record, outcome)
        if outage is not None:
            logger.info(
                "Delivering again %s: %d points are queued, %d were dropped",
                outage,
                self._queue.n_points,
                self._drops.take(),
            )

    def _note_refused(self, record: Record, refused: Refused) -> None:
        for reason, n_points in refused.n_points.items():
            self._drops(reason, n_points)
        logger.warning(
            "Cannot write %d points for %s: %s",
            sum(refused.n_points.values()),
            record.query_key,
            refused.error,
        )

    def _note_failure(self, record: Record | None, failure: Retry) -> None:
        """Note that the database is unavailable, or the queue (None) cannot be read."""
        with self._changed:
            now = self._clock.monotonic()
            self._error = failure.error
            if not self._is_down:
                self._is_down = True
                self._drops.take()
            self._episodes.begin(_OUTAGE, _failure_message(record, failure))
            if record is not None and failure.refused is not None:
                self._note_refused(record, failure.refused)
            # Parallel requests that fail are one failure.
            if now >= self._next_try:
                backoff = min(_FIRST_BACKOFF_S * 2**self._failures, _LONGEST_BACKOFF_S)
                self._failures = min(self._failures + 1, 16)
                self._next_try = now + backoff * (1 + self._jitter()) / 2
            if failure.after_s is not None:
                self._not_before = now + min(failure.after_s, _LONGEST_RETRY_AFTER_S)
                self._next_try = max(self._next_try, self._not_before)

    def _publish(self) -> None:
        """Report what is in the queue. The caller holds the lock, so that reports are in order."""
        try:
            oldest = self._queue.oldest_timestamp
        except QueueError:
            # The background thread meets the same error, and reports it.
            return
        self._set_queue_bytes(self._queue.n_bytes)
        self._set_oldest_timestamp(0.0 if oldest is None else oldest / 1000)


def _failure_message(record: Record | None, failure: Retry) -> str:
    if record is None:
        return f"Cannot write: {failure.error}"
    n_points = sum(part.n_points for part in failure.left) or record.n_points
    return (
        f"Cannot write {n_points} points for {record.query_key}: "
        f"{sentence(str(failure.error))} Points wait in the queue until the database takes them"
    )
