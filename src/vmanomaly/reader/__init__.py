"""Readers: a query and a time range in, a `SeriesBatch` out."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from vmanomaly.config.reader import DuckdbReaderSection, Query, ReaderSection, VmReaderSection
from vmanomaly.errors import ConfigError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import SeriesBatch, TimeRange


class Reader(Protocol):
    """What the service needs of a reader. Safe to use from several threads."""

    def read(
        self, query: Query, time_range: TimeRange, scheduler_alias: str, *, stage: str
    ) -> SeriesBatch:
        """Return what `query` gives at the multiples of its step in `time_range`.

        Parameters
        ----------
        query
            What to ask. Its `offset` moves the range.
        time_range
            Start exclusive, end inclusive.
        scheduler_alias
            Who asks: a label of the metrics.
        stage
            `fit`, `infer` or `fit_infer`.

        Raises
        ------
        DatasourceError
            The data cannot be had. Logged and counted already.
        """
        ...

    def check_health(self) -> None:
        """Raise DatasourceError when the datasource does not answer."""
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...


def create_reader(
    section: ReaderSection, metrics: Metrics, data_folder: Path | None = None
) -> Reader:
    """Return the reader that a configuration asks for.

    Parameters
    ----------
    section
        The section `reader`.
    metrics
        The service's metrics.
    data_folder
        Where the data of a fit is kept while models learn it; None keeps it in memory.

    Raises
    ------
    ConfigError
        There is no reader of this class.
    """
    if isinstance(section, DuckdbReaderSection):
        from vmanomaly.reader.duckdb import DuckdbReader  # noqa: PLC0415 - loads DuckDB

        return DuckdbReader(section, metrics)
    if isinstance(section, VmReaderSection) and section.class_name == "vm":
        from vmanomaly.reader.vm import VmReader  # noqa: PLC0415 - loads the compiled scanner

        return VmReader(section, metrics, data_folder)
    raise ConfigError(
        [f"reader.class: `{section.class_name}` cannot be used yet; choose `vm` or `duckdb`"]
    )


def warm_up(section: ReaderSection) -> None:
    """Compile the kernels of the reader, or load them from disk, before its first query."""
    if isinstance(section, VmReaderSection):
        from vmanomaly.reader import scanner  # noqa: PLC0415 - loads the compiler

        scanner.warm_up()
