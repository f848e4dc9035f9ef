"""The current writer, which can be replaced while others write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from vmanomaly.config.writer import WriterSection
from vmanomaly.errors import DatasourceError, RollbackError, VmanomalyError
from vmanomaly.printable import sentence
from vmanomaly.series import Origin, Predictions
from vmanomaly.writer import Writer
from vmanomaly.writer.delivery.queue import Record


class QueueNotEmptyError(VmanomalyError):
    """Points wait in a queue that the new writer would not use."""


class WriterSlot(Writer):
    """Passes everything on to a writer that can be replaced.

    Nobody writes while it is replaced, and nothing that waits is lost or sent twice: what is on
    disk is found by the next writer, what is in memory is passed on to it.

    Parameters
    ----------
    section
        The section of the first writer.
    create
        Makes a writer from a section.
    """

    def __init__(self, section: WriterSection, create: Callable[[WriterSection], Writer]) -> None:
        self._section = section
        self._create = create
        self._writer = create(section)
        self._has_started = False
        self._n_dropped_before = 0
        self._changed = threading.Condition()
        self._n_writing = 0
        self._is_replacing = False

    @property
    def last_error(self) -> DatasourceError | None:
        """Why the last write did not deliver everything; None when it did."""
        return self._writer.last_error

    @property
    def n_dropped(self) -> int:
        """Points that were dropped since the start."""
        return self._n_dropped_before + self._writer.n_dropped

    @property
    def n_queued(self) -> int:
        """Points that wait for their delivery."""
        return self._writer.n_queued

    @property
    def n_in_memory(self) -> int:
        """Points that wait in memory, and are lost with the process."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_replacing)
            return self._writer.n_in_memory

    def start(self) -> None:
        """Begin to deliver what waits; a writer that takes the place does so at once."""
        self._has_started = True
        self._writer.start()

    def write(self, predictions: Predictions, origin: Origin) -> None:
        """Deliver or queue the predictions."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_replacing)
            self._n_writing += 1
        try:
            self._writer.write(predictions, origin)
        finally:
            with self._changed:
                self._n_writing -= 1
                self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is delivered, at most that many seconds. Return whether it is."""
        return self._writer.flush(timeout_s)

    def check_health(self) -> None:
        """Raise `DatasourceError` if the database cannot be reached."""
        self._writer.check_health()

    def hand_over(self) -> list[Record]:
        """Close the writer, and return what waits and would be lost with it, in order."""
        return self._writer.hand_over()

    def take_over(self, records: Sequence[Record]) -> None:
        """Deliver what another writer of the same class has passed on."""
        self._writer.take_over(records)

    def close(self) -> None:
        """Release connections and files."""
        self._writer.close()

    def replace(self, section: WriterSection) -> None:
        """Continue with the writer of another section or, if that cannot be made, as before.

        Raises
        ------
        RollbackError
            Neither the new writer nor the old one can be made.
        QueueNotEmptyError
            Points wait, and the new writer would neither find them nor understand them.
        VmanomalyError
            The new writer cannot be made.
        """
        with self._alone():
            old = self._writer
            _check_queue(old.n_queued, self._section, section)
            waiting = old.hand_over()
            self._n_dropped_before += old.n_dropped
            try:
                self._writer = self._started(section)
                self._section = section
            except Exception as error:
                try:
                    self._writer = self._started(self._section)
                except VmanomalyError as no_way_back:
                    raise RollbackError(
                        f"{sentence(str(error))} The rollback failed too: {no_way_back}"
                    ) from error
                raise
            finally:
                self._writer.take_over(waiting)

    def _started(self, section: WriterSection) -> Writer:
        writer = self._create(section)
        if self._has_started:
            writer.start()
        return writer

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._changed:
            self._is_replacing = True
            self._changed.wait_for(lambda: self._n_writing == 0)
        try:
            yield
        finally:
            with self._changed:
                self._is_replacing = False
                self._changed.notify_all()


def _check_queue(n_queued: int, old: WriterSection, new: WriterSection) -> None:
    if not n_queued:
        return
    for key in ("class_name", "queue_path"):
        if getattr(old, key, None) != getattr(new, key, None):
            where = getattr(old, "queue_path", None)
            raise QueueNotEmptyError(
                f"{n_queued} points wait in the writer's queue "
                f"({'in memory' if where is None else where}), and a writer with another "
                f"writer.{key.removesuffix('_name')} cannot deliver them; change it when "
                f"vmanomaly_writer_queue_bytes is 0"
            )
