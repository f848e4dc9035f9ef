"""Telemetry and truth into a DuckDB database."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np

from vmanomaly.demo.telemetry import Telemetry

_TABLES = """
CREATE TABLE telemetry (
    timestamp TIMESTAMP, metric VARCHAR, service VARCHAR, instance VARCHAR, value DOUBLE);
CREATE TABLE incidents (
    name VARCHAR, kind VARCHAR, story VARCHAR, metric VARCHAR, service VARCHAR, instance VARCHAR,
    start_time TIMESTAMP, end_time TIMESTAMP);
"""


def store(telemetry: Telemetry, path: Path) -> None:
    """Write the tables `telemetry` and `incidents` into a new database.

    Parameters
    ----------
    telemetry
        Missing samples (NaN) are left out.
    path
        Where the database is made; an existing file is replaced.
    """
    path.unlink(missing_ok=True)
    batch = telemetry.batch
    row, column = np.nonzero(~np.isnan(batch.values))
    samples = {
        "series": row,
        "timestamp": batch.timestamps.astype("datetime64[ms]")[column],
        "value": batch.values[row, column],
    }
    with duckdb.connect(str(path)) as connection:
        connection.execute(_TABLES)
        connection.execute(
            "CREATE TEMPORARY TABLE series (id BIGINT, metric VARCHAR, service VARCHAR, "
            "instance VARCHAR)"
        )
        connection.executemany(
            "INSERT INTO series VALUES (?, ?, ?, ?)",
            [
                (number, labels["metric"], labels["service"], labels["instance"])
                for number, labels in enumerate(batch.labels)
            ],
        )
        connection.register("samples", samples)
        connection.execute(
            "INSERT INTO telemetry SELECT timestamp, metric, service, instance, value "
            "FROM samples JOIN series ON samples.series = series.id ORDER BY samples.series, "
            "timestamp"
        )
        connection.unregister("samples")
        connection.executemany(
            "INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?, make_timestamp_ms(?), "
            "make_timestamp_ms(?))",
            [
                (
                    incident.name,
                    incident.kind,
                    incident.story,
                    incident.series["metric"],
                    incident.series["service"],
                    incident.series["instance"],
                    incident.start,
                    incident.end,
                )
                for incident in telemetry.incidents
            ],
        )
