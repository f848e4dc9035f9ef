"""Scores in a file."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np

from vmanomaly.analysis.detection import Detection
from vmanomaly.duckdb_file import words
from vmanomaly.errors import UsageError, VmanomalyError

_FORMATS = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json"}
_ENDINGS = (*_FORMATS, ".html")


def check_target(file: str) -> None:
    """Make sure that a file can be written before the work is done.

    Raises
    ------
    UsageError
        Its ending names no format, or its folder does not exist.
    """
    path = Path(file)
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"{file}: expected a name that ends in one of {', '.join(_ENDINGS)}")
    if not path.parent.is_dir():
        raise UsageError(f"{file}: the folder {path.parent} does not exist")


def write_scores(detection: Detection, file: str) -> None:
    """Write all that was found, a row for each series and time.

    Parameters
    ----------
    detection
        What was found.
    file
        Its ending says the format: `.parquet`, `.csv`, `.json` (lines).

    Raises
    ------
    UsageError
        Its ending names no format.
    VmanomalyError
        It cannot be written. What was there before is.
    """
    kind = _FORMATS.get(Path(file).suffix.lower())
    if kind is None:
        raise UsageError(f"{file}: expected a name that ends in one of {', '.join(_FORMATS)}")
    scores = {
        name: values.astype(str) if values.dtype == object else values
        for name, values in detection.columns.items()
    }
    numbers = [name for name, values in scores.items() if np.issubdtype(values.dtype, np.floating)]
    replaced = ", ".join(f"nullif({_quoted(n)}, 'nan'::DOUBLE) AS {_quoted(n)}" for n in numbers)
    options = "FORMAT csv, HEADER" if kind == "csv" else f"FORMAT {kind}"
    with duckdb.connect() as connection:
        connection.register("scores", scores)
        target = str(file).replace("'", "''")
        try:
            connection.execute(
                f"COPY (SELECT * REPLACE ({replaced}) FROM scores) TO '{target}' ({options})"  # noqa: S608
            )
        except duckdb.Error as error:
            raise VmanomalyError(f"cannot write {file}: {words(error)}") from error


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
