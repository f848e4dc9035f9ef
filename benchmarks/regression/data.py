"""The data sets as Parquet, for the reader `duckdb`."""

from __future__ import annotations

from pathlib import Path

import duckdb

# Moved by whole days, so that all series start on the same one and models see them side by side.
_NAB = """
COPY (
    SELECT timestamp - to_days(CAST(date_diff('day', TIMESTAMP '2016-03-21', start) AS INTEGER))
        AS timestamp, value, family, name
    FROM (
        SELECT timestamp, max(value) AS value,
            parse_path(filename)[-2] AS family,
            parse_filename(filename, true) AS name,
            min(timestamp) OVER (PARTITION BY family, name) AS start
        FROM read_csv($files, filename = true, header = true,
            columns = {'timestamp': 'TIMESTAMP', 'value': 'DOUBLE'})
        GROUP BY timestamp, filename
    )
    ORDER BY family, name, timestamp
) TO $into
"""
_SKAB = """
COPY (
    SELECT datetime AS timestamp, value, sensor,
        CASE WHEN sensor IN ('Current', 'Voltage') THEN 'electrical'
            WHEN sensor IN ('Temperature', 'Thermocouple') THEN 'thermal'
            ELSE 'mechanical' END AS kind
    FROM (
        UNPIVOT (
            SELECT * EXCLUDE (anomaly, changepoint)
            FROM read_csv($files, delim = ';', header = true, types = {'datetime': 'TIMESTAMP'})
        )
        ON COLUMNS(* EXCLUDE datetime) INTO NAME sensor VALUE value
    )
    ORDER BY sensor, timestamp
) TO $into
"""


def write_nab(folder: Path, into: Path) -> None:
    """Write every series of the Numenta Anomaly Benchmark, labelled `family` and `name`."""
    _write(_NAB, folder, "data/*/*.csv", into)


def write_skab(folder: Path, into: Path) -> None:
    """Write the sensors of valve 1 of the Skoltech Anomaly Benchmark, labelled `sensor`, `kind`."""
    _write(_SKAB, folder, "valve1/*.csv", into)


def _write(statement: str, folder: Path, files: str, into: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(statement, {"files": str(folder / files), "into": str(into)})
