"""Writer `duckdb`: scores into the table `scores` of a DuckDB database."""

from __future__ import annotations

import logging

import duckdb
import numpy as np
import orjson

from vmanomaly.config.writer import DuckdbWriterSection
from vmanomaly.duckdb_file import connect, words
from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import FloatArray, IntArray, Labels, Origin, Predictions
from vmanomaly.writer.base import Writer
from vmanomaly.writer.format import written_labels
from vmanomaly.writer.report import EmptyWrites, report_dropped

logger = logging.getLogger(__name__)

# Values of the label `code`, like those of HTTP: dashboards take anything but 2xx for an error.
_DONE = "200"
_BAD_TABLE = "400"

_BLOCK_POINTS = 1_000_000

_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS scores (
    timestamp TIMESTAMP,
    metric VARCHAR,
    labels JSON,
    query_key VARCHAR,
    model_alias VARCHAR,
    scheduler_alias VARCHAR,
    preset VARCHAR,
    value DOUBLE
)
"""
_CREATE_SERIES = """
CREATE OR REPLACE TEMP TABLE vmanomaly_series AS
SELECT series, metric, CAST(labels AS JSON) AS labels
FROM vmanomaly_names
"""
_DELETE = """
DELETE FROM scores
WHERE timestamp BETWEEN $first AND $last
AND (metric, labels) IN (SELECT (metric, labels) FROM vmanomaly_series)
"""
_INSERT = """
INSERT INTO scores BY NAME
SELECT timestamp, metric, labels, $query_key AS query_key, $model_alias AS model_alias,
    $scheduler_alias AS scheduler_alias, $preset AS preset, value
FROM vmanomaly_points JOIN vmanomaly_series USING (series)
"""


class DuckdbWriter(Writer):
    """Writes predictions as rows, one for each finite value.

    What is written replaces what the table holds for the same series from the first to the last
    timestamp of the predictions, so a repeated run leaves no duplicates. A write is one
    transaction.

    Parameters
    ----------
    section
        The section `writer`.
    metrics
        The service's metrics.

    Attributes
    ----------
    last_error : DatasourceError or None
        Why the last write did not deliver everything; None when it did.
    n_dropped : int
        Points that were dropped since the start.
    """

    last_error: DatasourceError | None = None
    n_dropped: int = 0

    def __init__(self, section: DuckdbWriterSection, metrics: Metrics) -> None:
        self._path = section.path
        self._metric_format = section.metric_format
        self._metrics = metrics
        self._empty_writes = EmptyWrites(logger)

    def write(self, predictions: Predictions, origin: Origin) -> None:
        """Replace the rows of the predictions; a failure is logged and counted."""
        finite = [np.isfinite(values) for values in predictions.outputs.values()]
        n_points = int(sum(map(np.count_nonzero, finite)))
        self._empty_writes.note(origin, n_points == 0)
        if n_points == 0:
            return
        metrics = self._metrics
        labels = metrics.of_query(self._path, origin.query_key, origin.scheduler_alias)
        try:
            with metrics.writer_request_duration_seconds.labels(*labels).time():
                self._replace(predictions, origin)
        except DatasourceError as error:
            metrics.writer_responses.labels(*labels, error.code).inc()
            report_dropped(logger, metrics, n_points, origin, error)
            self.last_error = error
            self.n_dropped += n_points
            return
        metrics.writer_responses.labels(*labels, _DONE).inc()
        metrics.writer_datapoints_sent.labels(*labels).inc(n_points)
        n_series = int(sum(np.count_nonzero(rows.any(axis=1)) for rows in finite))
        metrics.writer_timeseries_sent.labels(*labels).inc(n_series)
        self.last_error = None

    def check_health(self) -> None:
        """Raise `DatasourceError` if the database cannot be opened for writing."""
        with connect(self._path, read_only=False):
            pass

    def _replace(self, predictions: Predictions, origin: Origin) -> None:
        with connect(self._path, read_only=False) as connection:
            try:
                connection.begin()
                connection.execute(_CREATE_TABLE)
                for output, values in predictions.outputs.items():
                    self._register_series(connection, predictions.labels, origin, output)
                    _replace_rows(connection, predictions.timestamps, values, origin)
                connection.commit()
            except duckdb.IOException as error:
                raise DatasourceError(f"{self._path}: {words(error)}", "io_error") from error
            except duckdb.Error as error:
                raise DatasourceError(
                    f"{self._path}: {words(error)}. If the table scores was made by something "
                    f"else, give the writer a path of its own",
                    _BAD_TABLE,
                ) from error

    def _register_series(
        self,
        connection: duckdb.DuckDBPyConnection,
        labels: tuple[Labels, ...],
        origin: Origin,
        output: str,
    ) -> None:
        written = [written_labels(series, self._metric_format, origin, output) for series in labels]
        names = {
            "series": np.arange(len(written)),
            "metric": np.array([series["__name__"] for series in written], dtype=object),
            "labels": np.array(
                [orjson.dumps(dict(series.without("__name__"))).decode() for series in written],
                dtype=object,
            ),
        }
        connection.register("vmanomaly_names", names)
        connection.execute(_CREATE_SERIES)
        connection.unregister("vmanomaly_names")


def _replace_rows(
    connection: duckdb.DuckDBPyConnection,
    timestamps: IntArray,
    values: FloatArray,
    origin: Origin,
) -> None:
    """Replace the rows of one output, inserting them in blocks to bound the memory."""
    times = timestamps.astype("datetime64[ms]").astype("datetime64[us]")
    connection.execute(_DELETE, {"first": times[0].item(), "last": times[-1].item()})
    flat = values.reshape(-1)
    for start in range(0, len(flat), _BLOCK_POINTS):
        finite = start + np.flatnonzero(np.isfinite(flat[start : start + _BLOCK_POINTS]))
        series, columns = np.divmod(finite, len(times))
        points = {"series": series, "timestamp": times[columns], "value": flat[finite]}
        connection.register("vmanomaly_points", points)
        connection.execute(_INSERT, _columns(origin))
        connection.unregister("vmanomaly_points")


def _columns(origin: Origin) -> dict[str, str]:
    return {
        "query_key": origin.query_key,
        "model_alias": origin.model_alias,
        "scheduler_alias": origin.scheduler_alias,
        "preset": origin.preset,
    }
