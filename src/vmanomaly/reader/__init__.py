"""Readers: a query and a time range in, a `SeriesBatch` out."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from vmanomaly.config.reader import Query, ReaderSection
from vmanomaly.config.registry import READERS
from vmanomaly.context import RunContext
from vmanomaly.http import Guard
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import SeriesBatch, TimeRange


class Reader(Protocol):
    """What the service needs of a reader. Safe to use from several threads."""

    def read(
        self,
        query: Query,
        time_range: TimeRange,
        scheduler_alias: str,
        *,
        stage: str,
        context: RunContext | None = None,
    ) -> SeriesBatch:
        """Return what `query` gives at the multiples of its step in `time_range`.

        Parameters
        ----------
        query
            The query. Its `offset` moves the range.
        time_range
            Start exclusive, end inclusive.
        scheduler_alias
            The scheduler that asks: a label of the metrics.
        stage
            `fit`, `infer` or `fit_infer`.
        context
            Says whether the work that the data is for is to stop.

        Raises
        ------
        DatasourceError
            The data cannot be read. This is logged and counted already.
        CancelledError, DeadlineExceededError
            The work is to stop.
        """
        ...

    def check_health(self) -> None:
        """Raise DatasourceError if the datasource does not answer."""
        ...

    def close(self) -> None:
        """Release connections and files."""
        ...


class ReaderClass(Protocol):
    """What a class of readers has in addition.

    Its parameters are any of `section`, `metrics`, `data_folder`, `guard` and `routes_by_tenant`,
    as in `create_reader`.
    """

    @staticmethod
    def warm_up() -> None:
        """Prepare what the class compiles, so that no read has to wait for it."""
        ...


def create_reader(
    section: ReaderSection,
    metrics: Metrics,
    data_folder: Path | None = None,
    guard: Guard | None = None,
    routes_by_tenant: bool = False,
) -> Reader:
    """Return the reader that a configuration describes.

    Parameters
    ----------
    section
        The section `reader`.
    metrics
        The service's metrics.
    data_folder
        Where the data of a fit is kept while models learn it; None keeps it in memory.
    guard
        Says which addresses it may connect to; None allows all.
    routes_by_tenant
        Whether the writer chooses the tenant to write to by the labels of series.

    Raises
    ------
    ConfigError
        This version has no reader of this class.
    """
    reader: Reader = READERS.create(
        section.class_name,
        section=section,
        metrics=metrics,
        data_folder=data_folder,
        guard=guard,
        routes_by_tenant=routes_by_tenant,
    )
    return reader


def warm_up(section: ReaderSection) -> None:
    """Compile the kernels of the reader, or load them from disk, before its first query."""
    reader_class: ReaderClass = READERS.implementation(section.class_name)
    reader_class.warm_up()
