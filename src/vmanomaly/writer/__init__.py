"""Where scores go: writers, by the class of their section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from vmanomaly.config.writer import (
    DuckdbWriterSection,
    RemoteWriteSection,
    VmWriterSection,
    WriterSection,
)
from vmanomaly.errors import ConfigError, DatasourceError
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
        The class is known, but not available in this version.
    """
    if isinstance(section, DuckdbWriterSection):
        from vmanomaly.writer.duckdb import DuckdbWriter  # noqa: PLC0415 - loads DuckDB

        return DuckdbWriter(section, metrics)
    if isinstance(section, VmWriterSection):
        from vmanomaly.writer.vm import VmWriter  # noqa: PLC0415 - loads the compiled encoder

        return VmWriter(section, metrics)
    if isinstance(section, RemoteWriteSection):
        from vmanomaly.writer.remote_write import RemoteWriter  # noqa: PLC0415 - loads snappy

        return RemoteWriter(section, metrics)
    raise ConfigError([f"writer.class: {section.class_name} is unknown"])


def warm_up(section: WriterSection) -> None:
    """Make ready what the writer of a section compiles, so that no write has to wait for it."""
    if isinstance(section, VmWriterSection):
        from vmanomaly.writer.encoding.json_lines import LineEncoder  # noqa: PLC0415 - loads the compiler

        LineEncoder.warm_up()
    elif isinstance(section, RemoteWriteSection):
        from vmanomaly.writer.encoding.protobuf import WriteRequestEncoder  # noqa: PLC0415 - the same

        WriteRequestEncoder.warm_up()
