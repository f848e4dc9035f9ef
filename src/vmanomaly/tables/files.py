"""Files with tables: CSV, Parquet and JSON lines, read by DuckDB."""

from __future__ import annotations

import glob
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from vmanomaly.errors import TableError
from vmanomaly.monitoring.resources import available_memory
from vmanomaly.tables.table import Table, is_time
from vmanomaly.tables.text import dates_of_text, numbers_of_text

_READERS = {
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".txt": "read_csv",
    ".gz": "read_csv",
    ".zst": "read_csv",
    ".parquet": "read_parquet",
    ".pq": "read_parquet",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
}
_MAX_ROWS = 200_000_000
_BYTES_PER_CELL = 64
"""Of a column while it is read and looked at, copies included."""
_BEGINNING_BYTES = 64 << 10
_MEMORY_LIMIT = "60%"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NO_UTF8 = "not utf-8 encoded"
_ZONE = "(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)$"
_YEAR_FIRST = re.compile(r"\s*[+-]?\d{4}")
FILE_NAME = "filename"
"""The column that says which of several files a row is from."""


def read_files(names: Sequence[str]) -> Table:
    """Read files as one table.

    Parameters
    ----------
    names
        Files, patterns such as `data/*.csv`, or `-` for standard input: CSV, or JSON lines if it
        starts with a brace. The ending of a name says what is in it.

    Returns
    -------
    Table
        Of several files, the rows of all, with a column `filename`.

    Raises
    ------
    TableError
        There is no such file, or it holds no table.
    """
    if list(names) == ["-"]:
        return _read_stdin()
    files = _found(names)
    reader = _reader(files[0])
    if any(_reader(file) != reader for file in files):
        raise TableError("the files are of different formats; read those of one format at a time")
    return _read(reader, files, ", ".join(names) if len(files) == 1 else f"{len(files)} files")


def _found(names: Sequence[str]) -> list[str]:
    files: list[str] = []
    for name in names:
        if Path(name).is_dir():
            raise TableError(
                f"{name} is a folder; name its files, such as '{name.rstrip('/')}/*.csv'"
            )
        matches = [name] if Path(name).exists() else sorted(glob.glob(name, recursive=True))
        if not matches:
            raise TableError(f"{name}: no such file")
        files += matches
    if not files:
        raise TableError("no file is named")
    return files


def _reader(file: str) -> str:
    suffix = Path(file).suffix.lower()
    if suffix in (".gz", ".zst"):
        inner = Path(Path(file).stem).suffix.lower()
        return _READERS.get(inner, "read_csv")
    if suffix not in _READERS:
        workbook = ". Save the sheet as CSV" if suffix in (".xlsx", ".xls", ".ods") else ""
        raise TableError(
            f"{file}: cannot tell the format by the ending; expected one of "
            f"{', '.join(sorted(_READERS))}{workbook}"
        )
    return _READERS[suffix]


def _read_stdin() -> Table:
    # A file: DuckDB looks at a table more than once.
    with tempfile.TemporaryDirectory() as folder:
        begins = sys.stdin.buffer.read(_BEGINNING_BYTES)
        if not begins.strip():
            raise TableError("standard input is empty")
        is_json = begins.lstrip()[:1] in (b"{", b"[")
        file = Path(folder, "input.jsonl" if is_json else "input.csv")
        with file.open("wb") as copy:
            copy.write(begins)
            shutil.copyfileobj(sys.stdin.buffer, copy)
        return _read("read_json" if is_json else "read_csv", [str(file)], "standard input")


def _read(reader: str, files: list[str], source: str) -> Table:
    several = len(files) > 1
    options = ", filename = true, union_by_name = true" if several else ""
    is_csv = reader == "read_csv"
    if is_csv:
        # All rows decide on the types: one odd value far down must not end the reading.
        form = _csv_form(files[0])
        options += f", sample_size = -1{form}"
    remarks: list[str] = []
    with duckdb.connect(config={"memory_limit": _MEMORY_LIMIT}) as connection:
        # A pattern in the name of a file that exists is no pattern.
        escaped = [_escape(file) for file in files]
        connection.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
        try:
            try:
                relation = _relation(connection, reader, escaped, options)
            except duckdb.Error as error:
                if not is_csv or form or _NO_UTF8 not in str(error):
                    raise
                form = ", encoding = 'latin-1'"
                relation = _relation(connection, reader, escaped, options + form)
                remarks.append(f"{source} is not in UTF-8, and read as Latin-1")
            kinds = dict(zip(relation.columns, map(str, relation.types), strict=True))
            max_rows = _max_rows(len(kinds))
            columns = relation.limit(max_rows + 1).fetchnumpy()
            zoned = [name for name, kind in kinds.items() if "TIME ZONE" in kind]
            if is_csv:
                written_times = _written_times(connection, escaped, form, columns, zoned, source)
        except duckdb.Error as error:
            raise TableError(f"{source} cannot be read: {_cause(error)}") from error
    if len(next(iter(columns.values()), ())) > max_rows:
        raise TableError(
            f"{source} holds more than {max_rows:,} rows, which is what the memory has room for; "
            "read it in parts, or fewer columns of it"
        )
    plain = {name: _plain(values) for name, values in columns.items()}
    if is_csv:
        plain, told = _typed(plain, written_times)
        remarks += told + _join_clock(plain, kinds)
    if several:
        plain[FILE_NAME] = _short_names(plain[FILE_NAME])
    table = Table(
        plain,
        source,
        frozenset(zoned),
        tuple(remarks),
    )
    if table.n_rows == 0:
        raise TableError(f"{source} holds no rows")
    return table


def _relation(
    connection: duckdb.DuckDBPyConnection, reader: str, files: list[str], options: str
) -> duckdb.DuckDBPyRelation:
    return connection.sql(
        f"SELECT * FROM {reader}($files{options})",  # noqa: S608 - the names are parameters
        params={"files": files},
    )


def _csv_form(file: str) -> str:
    """Return the options of DuckDB for what it does not find out about a CSV file by itself."""
    if not Path(file).is_file():
        return ""
    with Path(file).open("rb") as content:
        start = content.read(64)
    if start.startswith(_UTF16_MARKS):
        return ", encoding = 'utf-16'"
    # A line of Excel's, which names the separator.
    named = re.match(rb"(?:\xef\xbb\xbf)?\"?sep=([,;|\t])\"?\r?\n", start)
    return "" if named is None else f", skip = 1, delim = '{named[1].decode()}'"


def _written_times(
    connection: duckdb.DuckDBPyConnection,
    files: list[str],
    form: str,
    columns: Mapping[str, Any],
    zoned: Sequence[str],
    source: str,
) -> dict[str, str]:
    """Return how a time of each column of times is written: that of `_telling_row`.

    The files are read once more for all columns, and as far as necessary only.

    Raises
    ------
    TableError
        Some times of a column name a zone and others do not: DuckDB takes these for UTC.
    """
    names = [name for name, values in columns.items() if is_time(values)]
    if not names:
        return {}
    rows = [_telling_row(_plain(columns[name])) for name in names]
    chosen = ", ".join(f"{_quoted(name)} AS time{n}" for n, name in enumerate(names))
    asked = [f"any_value(time{n}) FILTER (row = {row + 1})" for n, row in enumerate(rows)]
    for n, name in enumerate(names):
        if name in zoned:
            has_none = f"FILTER (NOT regexp_matches(trim(time{n}), '{_ZONE}', 'i'))"
            asked += [f"min(row) {has_none}", f"arg_min(time{n}, row) {has_none}"]
    limit = "" if zoned else f"LIMIT {max(rows) + 1}"
    found = connection.execute(
        f"""SELECT {", ".join(asked)} FROM (
            SELECT row_number() OVER () AS row, * FROM (
                SELECT {chosen} FROM read_csv($files, all_varchar = true{form}) {limit}))""",  # noqa: S608 - quoted, or numbers
        {"files": files},
    ).fetchone()
    assert found is not None  # noqa: S101 - of aggregates
    without = list(found[len(names) :])
    for name in names:
        if name in zoned:
            row, written, *without = without
            if row is not None:
                raise TableError(
                    f"{source}, row {row}: {written!r} in column {name!r} names no time zone, "
                    "and others do; write all of them one way"
                )
    return {name: each for name, each in zip(names, found, strict=False) if each is not None}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _telling_row(times: NDArray[Any]) -> int:
    """Return the first row whose day and month differ, so that it tells how dates are read."""
    days = times.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    of_month = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    of_year = months.astype(np.int64) % 12 + 1
    is_there = ~np.isnat(days)
    tells = is_there & (of_month != of_year)
    return int(np.argmax(tells if tells.any() else is_there)) if len(times) else 0


def _typed(
    columns: Mapping[str, NDArray[Any]], written_times: Mapping[str, str]
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return columns with the dates and numbers that DuckDB takes for text, and what was done.

    Parameters
    ----------
    columns
        The columns.
    written_times
        A time of each column of times as it is written.
    """
    found: dict[str, NDArray[Any]] = {}
    remarks = []
    for name, values in columns.items():
        found[name] = values
        written = written_times.get(name)
        if values.dtype == object:
            dates, numbers = dates_of_text(values), numbers_of_text(values)
            if dates is not None:
                found[name] = dates
                written = str(values[_telling_row(dates)])
            elif numbers is not None:
                found[name] = numbers
                texts = "".join(str(each) for each in values[:100] if each is not None)
                if "," in texts:
                    example = next(row for row, each in enumerate(values) if "," in str(each))
                    remarks.append(
                        f"{values[example]!r} in column {name!r} is read as {numbers[example]:g}"
                    )
        if written is not None and is_time(found[name]) and not _YEAR_FIRST.match(written):
            time = found[name][_telling_row(found[name])].astype("datetime64[s]")
            remarks.append(
                f"{written!r} in column {name!r} is read as {str(time).replace('T', ' ')}"
            )
    return found, remarks


def _join_clock(columns: dict[str, NDArray[Any]], kinds: Mapping[str, str]) -> list[str]:
    """Add the one column of times of day to the one column of dates, and say so."""
    clocks = [name for name, kind in kinds.items() if kind == "TIME"]
    dates = [name for name, values in columns.items() if is_time(values)]
    if len(clocks) != 1 or len(dates) != 1:
        return []
    clock, date = clocks[0], dates[0]
    days = columns[date].astype("datetime64[D]")
    missing = [each is None for each in columns[clock]]
    if any(missing) or (days != columns[date])[~np.isnat(days)].any():
        return []
    texts = [str(each) for each in columns.pop(clock)]
    since_midnight = np.array([f"1970-01-01T{each}" for each in texts], "datetime64[ms]")
    columns[date] = days.astype("datetime64[ms]") + since_midnight.astype("timedelta64[ms]")
    return [f"{clock!r} is the time of day on {date!r}"]


def _max_rows(n_columns: int) -> int:
    """Return how many rows of so many columns fit into half of the memory."""
    return min(_MAX_ROWS, available_memory() // 2 // _BYTES_PER_CELL // max(n_columns, 1))


def _short_names(files: NDArray[Any]) -> NDArray[Any]:
    """Return the names of files without what all of them begin with."""
    found, codes = np.unique(files.astype(str), return_inverse=True)
    parent = os.path.commonpath(list(found)) if len(found) > 1 else os.path.dirname(found[0])
    return np.array([os.path.relpath(name, parent) for name in found], object)[codes]


def _escape(file: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in file)


def _plain(values: Any) -> NDArray[Any]:
    """Return a column without a mask: NaN, NaT or None where there is nothing."""
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    if not np.ma.is_masked(values):
        return np.asarray(values.data)
    if np.issubdtype(values.dtype, np.datetime64):
        return np.asarray(np.where(values.mask, np.array("NaT", values.dtype), values.data))
    if np.issubdtype(values.dtype, np.number) or values.dtype == bool:
        return np.asarray(np.ma.filled(values.astype(np.float64), np.nan))
    objects = np.asarray(values.data.astype(object))
    objects[np.ma.getmaskarray(values)] = None
    return objects


def _cause(error: Exception) -> str:
    """Return what DuckDB says is wrong: its first line, and of CSV the line that tells why."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    first = lines[0].removeprefix("Invalid Input Error: ")
    if not first.startswith("CSV Error"):
        return first
    why = next((line for line in lines[1:] if not line.startswith("Original Line")), "")
    return f"{first}: {why}" if why else first
