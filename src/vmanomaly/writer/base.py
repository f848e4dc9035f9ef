"""What the service needs of a writer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmanomaly.errors import DatasourceError
from vmanomaly.series import Origin, Predictions

if TYPE_CHECKING:
    from vmanomaly.writer.delivery.queue import Record


class Writer(ABC):
    """Brings predictions to a database. Safe to use from several threads.

    The default methods suit a writer that delivers before `write` returns, and holds nothing open
    in between. The parameters of a class are any of `section` and `metrics`, as in
    `create_writer`.
    """

    @staticmethod
    def warm_up() -> None:
        """Prepare what the class compiles, so that no write has to wait for it."""
        return

    @property
    @abstractmethod
    def last_error(self) -> DatasourceError | None:
        """Why the last write did not deliver everything; None when it did."""

    @property
    @abstractmethod
    def n_dropped(self) -> int:
        """Points that were dropped since the start."""

    @property
    def n_queued(self) -> int:
        """Points that wait for their delivery."""
        return 0

    @property
    def n_in_memory(self) -> int:
        """Points that wait in memory, and are lost with the process."""
        return 0

    @abstractmethod
    def write(self, predictions: Predictions, origin: Origin) -> None:
        """Deliver or queue the predictions; what is lost is logged and counted, not raised."""

    @abstractmethod
    def check_health(self) -> None:
        """Check that the database can be reached.

        Raises
        ------
        DatasourceError
            It cannot.
        """

    def start(self) -> None:
        """Begin to deliver what waits, such as what the last process left on disk."""
        return

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is delivered, at most that many seconds. Return whether it is."""
        return True

    def hand_over(self) -> list[Record]:
        """Close the writer, and return what waits and would be lost with it, in order.

        Nothing may be written afterwards.
        """
        self.close()
        return []

    def take_over(self, records: Sequence[Record]) -> None:
        """Deliver what another writer of the same class has passed on."""
        return

    def close(self) -> None:
        """Release connections and files."""
        return
