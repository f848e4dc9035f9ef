"""Reader `duckdb`: SQL on a DuckDB database, Parquet, CSV, SQLite and Postgres.

`expr` returns `timestamp`, `value`, and any number of other columns, which become labels. DuckDB
does the work on rows; what arrives here are arrays of numbers and one row of labels per series.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import duckdb
import numpy as np
from numpy.typing import NDArray

from vmanomaly.context import RunContext
from vmanomaly.duckdb_file import connect, words
from vmanomaly.errors import CancelledError, DatasourceError, DeadlineExceededError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader.messages import no_data
from vmanomaly.reader.outcomes import Outcomes, Reading
from vmanomaly.reader.workers import n_reads_at_once
from vmanomaly.series import IntArray, Labels, SeriesBatch, TimeRange
from vmanomaly.slots import Slots

if TYPE_CHECKING:
    from vmanomaly.config.reader import DuckdbReaderSection, Query

logger = logging.getLogger(__name__)

Pairs: TypeAlias = tuple[tuple[str, str], ...]

# Values of the label `code`, like those of HTTP: dashboards take anything but 2xx for an error.
_DONE = "200"
_BAD_STATEMENT = "400"

_NEEDED = ("timestamp", "value")
_EPOCH = datetime(1970, 1, 1)
_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMERIC = re.compile(
    r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|FLOAT|DOUBLE|DECIMAL\(.*\)|\"NULL\""
)
_TIMESTAMP = re.compile(r"TIMESTAMP.*|DATE")


class DuckdbReader:
    """Reads series by SQL. Safe to use from several threads.

    Parameters
    ----------
    section
        The configuration of the reader.
    metrics
        Where queries are counted.
    """

    def __init__(self, section: DuckdbReaderSection, metrics: Metrics) -> None:
        self._path = section.path
        self._metrics = metrics
        self._workers = Slots(n_reads_at_once(section))
        self._outcomes = Outcomes(logger)
        self._known: dict[str, dict[Pairs, Labels]] = {}

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

        A row belongs to the point of the grid that ends its step: the point g gets the last row
        after g - step up to and including g. Rows outside the range, and rows whose timestamp or
        value is NULL or NaN, are left out. A label that is NULL or empty is absent.

        Parameters
        ----------
        query
            `expr` is one SELECT. Its `offset` moves the range; timestamps stay those of the data.
        time_range
            Start exclusive, end inclusive.
        scheduler_alias
            The scheduler that asks: a label of the metrics.
        stage
            `fit`, `infer` or `fit_infer`.
        context
            Says whether the work that the data is for is to stop: then the statement is
            interrupted.

        Returns
        -------
        SeriesBatch
            Series ordered by the values of their labels, none when there is no data.

        Raises
        ------
        DatasourceError
            The database cannot be opened (`io_error`), or the statement cannot be used (`400`).
        CancelledError, DeadlineExceededError
            The work is to stop.
        """
        offset, step = int(query.offset), int(query.step)
        window = TimeRange(time_range.start + offset, time_range.end + offset)
        grid = window.grid(step)
        if len(grid) == 0:
            return SeriesBatch((), grid, np.empty((0, 0)))
        context = context or RunContext()
        reading = Reading(scheduler_alias, query.alias, stage)
        try:
            with self._a_worker(query, scheduler_alias, context):
                batch = self._read_grid(query, grid, scheduler_alias, context)
        except DatasourceError as error:
            failure = DatasourceError(
                f"Error querying {self._path} for {query.alias}: {error}", error.code
            )
            self._outcomes.fails(reading, self._path, failure)
            raise failure from error
        if batch.labels:
            self._outcomes.works(reading, self._path)
        else:
            message = no_data(query, window, scheduler_alias, stage)
            self._outcomes.is_empty(reading, self._path, message)
        return batch

    def check_health(self) -> None:
        """Raise DatasourceError if the database cannot be opened."""
        with connect(self._path, read_only=True):
            pass

    def close(self) -> None:
        """Do nothing: the database is open only while a query runs."""

    @staticmethod
    def warm_up() -> None:
        """Do nothing: DuckDB is compiled already."""

    @contextmanager
    def _a_worker(self, query: Query, scheduler_alias: str, context: RunContext) -> Iterator[None]:
        """Wait until fewer than `workers` queries are being read."""
        metric_labels = self._metrics.of_query(self._path, query.alias, scheduler_alias)
        queued = self._metrics.reader_processing_tasks_queued.labels(*metric_labels)
        with ExitStack() as held:
            with queued.track_inprogress():
                held.enter_context(self._workers.taken(context))
            yield

    def _read_grid(
        self, query: Query, grid: IntArray, scheduler_alias: str, context: RunContext
    ) -> SeriesBatch:
        metrics = self._metrics
        metric_labels = metrics.of_query(self._path, query.alias, scheduler_alias)
        querying = metrics.reader_request_duration_seconds.labels(*metric_labels)
        parsing = metrics.reader_response_parsing_seconds.labels("df", *metric_labels)
        step = int(query.step)
        start, end = int(grid[0]) - step, int(grid[-1])
        try:
            with (
                connect(self._path, read_only=True, context=context) as connection,
                _translated(context),
            ):
                with querying.time():
                    columns = _run(connection, query.expr, start, end, step)
                with parsing.time():
                    keys, samples = _fetch(connection, columns, start, end, step)
                    values = np.full((len(keys), len(grid)), np.nan)
                    # Of samples that share a place, the last one assigned wins.
                    values[samples["series"], samples["place"]] = samples["value"]
        except DatasourceError as error:
            metrics.reader_responses.labels(*metric_labels, error.code).inc()
            raise
        except CancelledError:
            metrics.reader_responses.labels(*metric_labels, "cancelled").inc()
            raise
        except DeadlineExceededError:
            metrics.reader_responses.labels(*metric_labels, "timeout").inc()
            raise
        metrics.reader_responses.labels(*metric_labels, _DONE).inc()
        metrics.reader_timeseries_received.labels(*metric_labels).inc(len(keys))
        metrics.reader_datapoints_received.labels(*metric_labels).inc(len(samples["value"]))
        return SeriesBatch(self._labels(query.alias, keys), grid, values)

    def _labels(self, query_key: str, keys: list[Pairs]) -> tuple[Labels, ...]:
        """Return the label sets; the same objects as in the query's last results."""
        known = self._known.get(query_key, {})
        found = {key: known.get(key) or Labels(key) for key in keys}
        keep_known = len(known) <= 2 * len(found)
        self._known[query_key] = known | found if keep_known else found
        return tuple(found.values())


def _run(
    connection: duckdb.DuckDBPyConnection, expr: str, start: int, end: int, step: int
) -> dict[str, str]:
    """Run the user's statement into a temporary table; return the types of its columns."""
    statements = connection.extract_statements(expr)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise DatasourceError("`expr` must be one SELECT", _BAD_STATEMENT)
    parameters = {
        "start": _moment(start),
        "end": _moment(end),
        "step": timedelta(milliseconds=step),
    }
    used = statements[0].named_parameters
    unknown = sorted(used - parameters.keys())
    if unknown:
        raise DatasourceError(
            f"`expr` uses ${unknown[0]}; there are $start, $end and $step", _BAD_STATEMENT
        )
    text = statements[0].query.strip().removesuffix(";")
    connection.execute(
        f"CREATE TEMP TABLE vmanomaly_rows AS (\n{text}\n)",
        {name: parameters[name] for name in used},
    )
    described = connection.execute("DESCRIBE vmanomaly_rows").fetchall()
    # Names of columns are the same in upper and lower case to DuckDB, names of labels are not.
    columns = {
        name.lower() if name.lower() in _NEEDED else name: kind for name, kind, *_ in described
    }
    _check_columns(columns)
    return columns


def _check_columns(columns: dict[str, str]) -> None:
    for needed in _NEEDED:
        if needed not in columns:
            raise DatasourceError(
                f"`expr` returns the columns {', '.join(columns)}, but none is called {needed}; "
                f"name one with AS {needed}",
                _BAD_STATEMENT,
            )
    if not (_TIMESTAMP.fullmatch(columns["timestamp"]) or _is_numeric(columns["timestamp"])):
        raise DatasourceError(
            f"The column timestamp is a {columns['timestamp']}; it must be a TIMESTAMP, a "
            f"TIMESTAMPTZ, a DATE, or a number of Unix seconds",
            _BAD_STATEMENT,
        )
    if not _is_numeric(columns["value"]):
        raise DatasourceError(
            f"The column value is a {columns['value']}, not a number; "
            f"CAST it (... AS DOUBLE) if it can be one",
            _BAD_STATEMENT,
        )
    for name in columns:
        if not _LABEL_NAME.fullmatch(name):
            raise DatasourceError(
                f"The column {name!r} cannot become a label of that name; give it one of letters, "
                f"digits and underscores with AS",
                _BAD_STATEMENT,
            )


def _fetch(
    connection: duckdb.DuckDBPyConnection, columns: dict[str, str], start: int, end: int, step: int
) -> tuple[list[Pairs], dict[str, NDArray[Any]]]:
    """Return what the user's statement gave, by series and place on the grid.

    Returns
    -------
    list of Pairs
        The labels of each series, ordered by their values.
    dict of str to ndarray
        `series` (its number), `place` (of the point on the grid) and `value` of each sample,
        ordered by time, and where times are equal as the statement gave them.
    """
    names = [name for name in columns if name not in _NEEDED]
    labels = [f"coalesce(CAST(\"{name}\" AS VARCHAR), '')" for name in names] or ["''"]
    micros = "epoch_us(timestamp)"
    if _is_numeric(columns["timestamp"]):
        micros = "CAST(round(CAST(timestamp AS DOUBLE) * 1e6) AS BIGINT)"
    connection.execute(
        # Only column names that have been checked are put into the statement.
        f"CREATE TEMP TABLE vmanomaly_samples AS FROM (SELECT rowid AS row, {micros} AS micros, "  # noqa: S608
        f"CAST(value AS DOUBLE) AS value, "
        f"{', '.join(f'{label} AS label_{i}' for i, label in enumerate(labels))} "
        f"FROM vmanomaly_rows) "
        f"WHERE micros > $start AND micros <= $end AND NOT isnan(value)",
        {"start": start * 1000, "end": end * 1000},
    )
    connection.execute("DROP TABLE vmanomaly_rows")
    connection.execute(
        "CREATE TEMP TABLE vmanomaly_series AS "
        r"SELECT DISTINCT COLUMNS('label_\d+') FROM vmanomaly_samples ORDER BY ALL"
    )
    series = connection.execute("SELECT * FROM vmanomaly_series ORDER BY rowid").fetchall()
    samples = connection.execute(
        "SELECT vmanomaly_series.rowid AS series, (micros - $start - 1) // $step AS place, value "
        "FROM vmanomaly_samples NATURAL JOIN vmanomaly_series ORDER BY micros, row",
        {"start": start * 1000, "step": step * 1000},
    ).fetchnumpy()
    return [
        tuple((name, value) for name, value in zip(names, key, strict=False) if value)
        for key in series
    ], samples


def _is_numeric(kind: str) -> bool:
    return _NUMERIC.fullmatch(kind) is not None


def _moment(timestamp: int) -> datetime:
    """Return Unix milliseconds as a naive UTC time, a TIMESTAMP to DuckDB."""
    return _EPOCH + timedelta(milliseconds=timestamp)


@contextmanager
def _translated(context: RunContext) -> Iterator[None]:
    """Turn what DuckDB says about a statement into `DatasourceError`."""
    try:
        yield
    except duckdb.InterruptException as error:
        context.check()
        raise DatasourceError(words(error), "io_error") from error
    except duckdb.IOException as error:
        raise DatasourceError(words(error), "io_error") from error
    except duckdb.Error as error:
        raise DatasourceError(words(error), _BAD_STATEMENT) from error
