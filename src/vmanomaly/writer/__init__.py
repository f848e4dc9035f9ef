"""Where scores go: writers, by the class of their section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from vmanomaly.config.registry import WRITERS
from vmanomaly.config.writer import WriterSection
from vmanomaly.errors import DatasourceError
from vmanomaly.series import Origin, Predictions

if TYPE_CHECKING:
    from vmanomaly.monitoring.metrics import Metrics
    from vmanomaly.writer.delivery.queue import Record


class Writer(Protocol):
    """What the service needs of a writer; safe to use from several threads."""

    @property
    def last_error(self) -> DatasourceError | None:
        """Why the last write did not deliver everything; None when it did."""

    @property
    def n_dropped(self) -> int:
        """Values that were given up since the start."""
        ...

    def write(self, predictions: Predictions, origin: Origin) -> None:
        """Deliver or queue the predictions; what is lost is logged and counted, not raised."""

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is delivered, at most so many seconds. Return whether it is."""
        ...

    def check_health(self) -> None:
        """Raise `DatasourceError` if the origin cannot be reached."""

    def close(self) -> None:
        """Release connections and files."""


class ReplaceableWriter(Writer, Protocol):
    """A writer whose place another one can take."""

    @property
    def n_queued(self) -> int:
        """Values that wait for their delivery."""
        ...

    def hand_over(self) -> list[Record]:
        """Close the writer, and return what waits and would be lost with it, in order.

        Nobody may write any more.
        """
        ...

    def take_over(self, records: Sequence[Record]) -> None:
        """Deliver what another writer of the same class has handed over."""


class WriterClass(Protocol):
    """What a class of writers has besides.

    Its parameters are those of these that it names: `section` and `metrics`, as in `create_writer`.
    """

    @staticmethod
    def warm_up() -> None:
        """Make ready what the class compiles, so that no write has to wait for it."""
        ...


def create_writer(section: WriterSection, metrics: Metrics) -> ReplaceableWriter:
    """Return the writer of a section.

    Parameters
    ----------
    section
        The section `writer` of the configuration.
    metrics
        The service's metrics.

    Raises
    ------
    ConfigError
        This version has no writer of this class.
    """
    writer: ReplaceableWriter = WRITERS.create(section.class_name, section=section, metrics=metrics)
    return writer


def warm_up(section: WriterSection) -> None:
    """Make ready what the writer of a section compiles, so that no write has to wait for it."""
    writer_class: WriterClass = WRITERS.implementation(section.class_name)
    writer_class.warm_up()
