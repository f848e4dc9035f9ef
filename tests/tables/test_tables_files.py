"""Files with tables, right and wrong."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from vmanomaly.config.values.duration import Duration
from vmanomaly.series import Labels
from vmanomaly.tables import TableError, guess_layout, read_files, to_batch
from vmanomaly.tables.batch import Gridded

MINUTE = 60_000
START = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""


def gridded(path: Path | str, tz: str = "UTC", **layout: object) -> Gridded:
    table = read_files([str(path)])
    return to_batch(table, guess_layout(table, **layout), tz)  # type: ignore[arg-type]


def write(folder: Path, text: str, name: str = "x.csv") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def rows(*values: object, start: str = "2026-01-01T00:{:02d}:00Z") -> str:
    return "".join(f"{start.format(at)},{value}\n" for at, value in enumerate(values))


LONG = "time,host,cpu\n" + "".join(
    f"2026-01-01T00:{at:02d}:00Z,{host},{at * factor}\n"
    for at in range(4)
    for host, factor in (("a", 1), ("b", 10))
)


def test_a_long_csv(tmp_path: Path) -> None:
    found = gridded(write(tmp_path, LONG))
    assert found.batch.labels == (Labels({"host": "a"}), Labels({"host": "b"}))
    assert found.batch.timestamps.tolist() == [START + at * MINUTE for at in range(4)]
    assert found.batch.values.tolist() == [[0, 1, 2, 3], [0, 10, 20, 30]]
    assert found.step == Duration.parse("1m")


def test_the_same_in_every_format(tmp_path: Path) -> None:
    csv = write(tmp_path, LONG)
    expected = gridded(csv).batch
    for name, options in (
        ("x.parquet", "FORMAT parquet"),
        ("x.json", "FORMAT json"),
        ("x.jsonl", "FORMAT json"),
        ("x.csv.gz", "FORMAT csv, HEADER, COMPRESSION gzip"),
    ):
        file = tmp_path / name
        duckdb.connect().execute(f"COPY (FROM '{csv}') TO '{file}' ({options})")
        batch = gridded(file).batch
        assert batch.labels == expected.labels, name
        assert np.array_equal(batch.timestamps, expected.timestamps)
        assert np.array_equal(batch.values, expected.values)


def test_a_wide_csv_gives_a_series_a_column(tmp_path: Path) -> None:
    found = gridded(write(tmp_path, "ds,in,out\n1767225600,1,2\n1767225660,3,4\n"))
    assert found.batch.labels == (Labels({"series": "in"}), Labels({"series": "out"}))
    assert found.batch.values.tolist() == [[1, 3], [2, 4]]


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for content in (LONG.encode(), b'{"t":1767225600,"v":1}\n{"t":1767225660,"v":2}\n'):
        stdin = io.TextIOWrapper(io.BytesIO(content))
        monkeypatch.setattr(sys, "stdin", stdin)
        assert len(gridded("-").batch.timestamps) >= 2
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    with pytest.raises(TableError, match="standard input is empty"):
        gridded("-")


def test_several_files_are_told_apart(tmp_path: Path) -> None:
    for host in "ab":
        write(tmp_path, "time,value\n" + rows(1, 2, 3), f"{host}.csv")
    found = gridded(tmp_path / "*.csv")
    assert found.batch.labels == (Labels({"filename": "a.csv"}), Labels({"filename": "b.csv"}))


def test_a_name_that_looks_like_a_pattern_is_that_of_a_file(tmp_path: Path) -> None:
    write(tmp_path, "time,value\n" + rows(1, 2), "a1.csv")
    file = write(tmp_path, "time,value\n" + rows(7, 8, 9), "a[1].csv")
    assert gridded(file).batch.values.tolist() == [[7, 8, 9]]


@pytest.mark.parametrize("unit", [1, 1000, 1_000_000, 1_000_000_000])
def test_unix_times_in_any_unit(tmp_path: Path, unit: int) -> None:
    lines = "".join(f"{START // 1000 * unit + at * 60 * unit},{at}\n" for at in range(3))
    found = gridded(write(tmp_path, "timestamp,value\n" + lines))
    assert found.batch.timestamps.tolist() == [START, START + MINUTE, START + 2 * MINUTE]


def test_times_without_a_zone_are_those_of_the_given_one(tmp_path: Path) -> None:
    text = "time,value\n" + rows(1, 2, start="2026-01-01 01:{:02d}:00")
    found = gridded(write(tmp_path, text), tz="Europe/Berlin")
    assert found.batch.timestamps.tolist() == [START, START + MINUTE]


def test_an_hour_that_is_skipped_or_repeated_takes_no_point(tmp_path: Path) -> None:
    hours = "".join(f"2026-03-29 {hour:02d}:00:00,{hour}\n" for hour in (0, 1, 3, 4))
    found = gridded(write(tmp_path, "time,value\n" + hours), tz="Europe/Berlin")
    assert np.diff(found.batch.timestamps).tolist() == [3_600_000] * 3


def test_decimal_commas(tmp_path: Path) -> None:
    text = "time;value\n2026-01-01T00:00:00Z;1,5\n2026-01-01T00:01:00Z;2,25\n"
    assert gridded(write(tmp_path, text)).batch.values.tolist() == [[1.5, 2.25]]


@pytest.mark.parametrize(
    ("header", "first", "second", "encoding"),
    [
        ("Zeit;Wert", "01.01.2026 00:00;1.234,5", "01.01.2026 00:01;-2,5", "utf-8"),
        ("Zeit;Wert", "01.01.2026 00:00;1234,5", "01.01.2026 00:01;-2,5", "utf-8-sig"),
        ("Zeit;Größe", "2026-01-01 00:00;1234.5", "2026-01-01 00:01;-2.5", "latin-1"),
        ("Zeit;Größe", "2026-01-01 00:00;1234.5", "2026-01-01 00:01;-2.5", "utf-16"),
        ("sep=;\nZeit;Wert", "2026-01-01 00:00;1234,5", "2026-01-01 00:01;-2,5", "utf-8"),
        ("Tag;Zeit;Wert", "01.01.2026;00:00;1234,5", "01.01.2026;00:01;-2,5", "utf-8"),
        ("Date,Value", '1/1/2026 12:00 AM,"1,234.5"', "1/1/2026 12:01 AM,-2.5", "utf-8"),
    ],
)
def test_what_spreadsheets_export(
    tmp_path: Path, header: str, first: str, second: str, encoding: str
) -> None:
    # A later day says which part of a date it is.
    last = second.replace("01.01.", "31.01.").replace("-01-01", "-01-31").replace("1/1/", "1/31/")
    file = tmp_path / "x.csv"
    file.write_text("\n".join([header, first, second, last, ""]), encoding=encoding)
    batch = gridded(file).batch
    assert batch.timestamps[0] == START
    assert batch.timestamps[-1] == START + 30 * 1440 * MINUTE + MINUTE
    assert batch.values[0, [0, 1, -1]].tolist() == [1234.5, -2.5, -2.5]


def test_what_is_read_in_an_unusual_way_is_said(tmp_path: Path) -> None:
    file = write(tmp_path, "t;v\n01.02.2026 00:00;1,5\n01.02.2026 00:01;2,5\n")
    assert read_files([str(file)]).remarks == (
        "'01.02.2026 00:00' in column 't' is read as 2026-02-01 00:00:00",
        "'1,5' in column 'v' is read as 1.5",
    )
    assert read_files([str(write(tmp_path, LONG))]).remarks == ()
    days = write(tmp_path, "t,v\n02/02/2026,2\n01/02/2026,1\n")
    assert read_files([str(days)]).remarks == (
        "'01/02/2026' in column 't' is read as 2026-02-01 00:00:00",
    )


def test_words_for_nothing_are_missing_values(tmp_path: Path) -> None:
    found = gridded(write(tmp_path, "time,value\n" + rows(1, "N/A", "", -3e5)))
    np.testing.assert_array_equal(found.batch.values, [[1, np.nan, np.nan, -3e5]])
    with pytest.raises(TableError, match=r"'value' \(which is empty\)"):
        gridded(write(tmp_path, "time,value\n" + rows("", "")))


def test_a_column_of_true_and_false(tmp_path: Path) -> None:
    found = gridded(write(tmp_path, "time,up\n" + rows("true", "false", "true")))
    assert found.batch.values.tolist() == [[1, 0, 1]]


def test_gaps_repeated_and_unsorted_rows(tmp_path: Path) -> None:
    text = "time,value\n" + rows(0, 1, 2, 3, 4, 5, 6, 7)
    lines = text.splitlines()
    # The third is missing, the last comes first, the second is there twice.
    lines = [lines[0], lines[-1], *lines[1:3], lines[2].replace(",1", ",9"), *lines[4:-1]]
    found = gridded(write(tmp_path, "\n".join(lines)))
    expected = [0, 9, np.nan, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(found.batch.values, [expected])
    assert "of 1 repeated times of a series the last value counts" in found.notes


def test_times_that_jitter_are_put_on_the_grid(tmp_path: Path) -> None:
    at = [START // 1000 + 60 * n + (n % 3) for n in range(12)]
    text = "t,v\n" + "".join(f"{second},{n}\n" for n, second in enumerate(at))
    table = read_files([str(write(tmp_path, text))])
    found = to_batch(table, guess_layout(table), step=Duration.parse("1m"))
    assert found.batch.values.tolist() == [list(range(12))]
    assert "8 of 12 times are moved to the nearest of those every 1m from 2026-01-01T00:00:00Z" in (
        found.notes
    )


def test_a_column_that_says_what_is_an_anomaly_is_no_value(tmp_path: Path) -> None:
    text = "time,load,anomaly\n" + "".join(
        f"2026-01-01T00:{n:02d}:00Z,{n},{n % 2}\n" for n in range(4)
    )
    table = read_files([str(write(tmp_path, text))])
    layout = guess_layout(table)
    assert (layout.values, layout.truth) == (("load",), ("anomaly",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.csv"),
        ("time,value\n", "holds no rows"),
        ("a,b\n1,2\n3,4\n", "Its columns are 'a' (such as 1), 'b' (such as 2)"),
        ("time,value\n" + rows("3 ms", "4 ms"), "'value' (such as '3 ms')"),
        ("when,value\n1/2/2026 12:00,1\n2/2/2026 12:00,2\n", "'when' (such as '1/2/2026 12:00')"),
        ("when,value\n99.1.2026 12:00,1\n", "'when' (such as '99.1.2026 12:00')"),
        ("ts,v\n46023.01,1\n46023.02,2\n", "from 1970-01-01T12:47:03.010Z, are 10ms apart"),
        (
            "from,to,v\n2026-01-01,2026-01-02,1\n2026-01-02,2026-01-03,2\n",
            "several columns of times: 'from', 'to'; name one with --time (in Python: time=)",
        ),
        ("time,value\nsoon,1\nlater,2\n", "row 1: column 'time' holds 'soon', which is no time"),
        (
            "time,value\n2026-01-01T00:00:00Z,1\n,2\n",
            "row 2: column 'time' holds nothing, which is no time",
        ),
        ("time,value\n2026-01-01T00:00:00Z,1\n", "has only one time; two are"),
        ("time,value\n" + rows("", ""), "no column"),
        (
            "time,value\n" + rows(1, 2.5, "broken", -3e5),
            "row 3: column 'value' holds 'broken', which is no number; remove it, or leave",
        ),
        (
            "time,cpu,mem\n" + rows(*[f"{n},{n / 7}" for n in range(30)], "31,oops"),
            "leave the field empty; if the column tells series apart, name it with --by",
        ),
        (
            "time,value\n2026-01-01T00:00:00Z,1\n" + "\0" * 3_000_000,
            "CSV Error on Line: 3: Maximum line size of 2000000 bytes exceeded",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError) as raised:
        gridded(write(tmp_path, text))
    assert message in str(raised.value)


def test_text_among_numbers_is_named_where_the_column_is_given(tmp_path: Path) -> None:
    file = write(tmp_path, "time,value\n" + rows(1, "broken", 3))
    with pytest.raises(TableError, match=r"row 2: column 'value' holds 'broken', which is no numb"):
        gridded(file, value="value")


def test_numbers_that_name_series_may_have_a_text_among_them(tmp_path: Path) -> None:
    codes = [*[200, 404, 500, 503] * 10, "none"]
    text = "time,code,value\n" + rows(*[f"{code},{n}" for n, code in enumerate(codes)])
    table = read_files([str(write(tmp_path, text))])
    assert guess_layout(table).by == ("code",)
    ids = "time,id,value\n" + rows(*[f"{n},{n}" for n in range(40)], "x,41")
    table = read_files([str(write(tmp_path, ids))])
    assert guess_layout(table, by=["id"]).by == ("id",)


def test_a_file_that_is_larger_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "time,value\n" + rows(*range(50)))
    monkeypatch.setattr("vmanomaly.tables.files.available_memory", lambda: 50 * 2 * 2 * 64)
    assert read_files([str(file)]).n_rows == 50
    monkeypatch.setattr("vmanomaly.tables.files.available_memory", lambda: 49 * 2 * 2 * 64)
    with pytest.raises(TableError, match="holds more than 49 rows, which is what the memory has"):
        read_files([str(file)])


class Counting:
    """A connection to DuckDB that counts how often files are read as text."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.n_times = 0

    def __enter__(self) -> Counting:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def sql(self, *arguments: Any, **more: Any) -> Any:
        return self.connection.sql(*arguments, **more)

    def execute(self, statement: str, *arguments: Any) -> Any:
        self.n_times += statement.count("all_varchar")
        return self.connection.execute(statement, *arguments)


@pytest.mark.parametrize("zone", ["", "Z"])
def test_how_times_are_written_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    date = "01.02.2026" if not zone else "2026-02-01"
    first, second, third = (f"{date} 00:0{n}:00{zone}" for n in range(3))
    line = f"{first},{second},1,{third}\n"
    file = write(tmp_path, 'a,"b ""c""",row,time0\n' + line * 3)
    counting = Counting(duckdb.connect())
    monkeypatch.setattr(duckdb, "connect", lambda **_: counting)
    table = read_files([str(file)])
    assert counting.n_times == 1
    names = ["a", 'b "c"', "time0"]
    assert table.zoned == frozenset(names if zone else [])
    assert table.remarks == tuple(
        f"'01.02.2026 00:0{n}:00' in column {name!r} is read as 2026-02-01 00:0{n}:00"
        for n, name in enumerate(names)
        if not zone
    )


def test_the_row_and_the_column_without_a_zone_are_named(tmp_path: Path) -> None:
    good, bad = "2026-01-01T00:00:00Z", "2026-01-01T00:00:00"
    text = f"a,b,value\n{good},{good},1\n{good},,1\n{good},{bad},1\n{good},{bad},1\n"
    with pytest.raises(TableError, match=f"row 3: '{bad}' in column 'b' names no time zone"):
        read_files([str(write(tmp_path, text))])


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
def test_mixed_zones_are_named(tmp_path: Path, name: str) -> None:
    times = ["2026-01-01T00:00:00+02:00", "2026-01-01T00:01:00"]
    text = "time,value\n" + "".join(f"{time},1\n" for time in times)
    if name == "x.jsonl":
        text = "".join(json.dumps({"time": time, "value": 1}) + "\n" for time in times)
    with pytest.raises(TableError, match=r"zone.*write all of them one way"):
        gridded(write(tmp_path, text, name))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nowhere.csv"], "nowhere.csv: no such file"),
        (["nowhere/*.csv"], "no such file"),
        (["."], "is a folder; name its files"),
    ],
)
def test_files_that_are_not_there(names: list[str], message: str) -> None:
    with pytest.raises(TableError) as raised:
        read_files(names)
    assert message in str(raised.value)


def test_an_ending_that_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot tell the format by the ending"):
        read_files([str(write(tmp_path, "x", "x.dat"))])
    write(tmp_path, LONG, "a.csv")
    write(tmp_path, "{}", "b.json")
    with pytest.raises(TableError, match="of different formats"):
        read_files([str(tmp_path / "[ab].*")])


def test_too_large_a_grid_is_refused(tmp_path: Path) -> None:
    text = "t,v\n0,1\n1,2\n4000000000,3\n"
    with pytest.raises(TableError, match="are too many; choose a longer step"):
        gridded(write(tmp_path, text))
