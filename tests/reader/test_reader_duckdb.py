from __future__ import annotations

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.fakes import eventually
from vmanomaly.config.reader import DuckdbReaderSection, Query
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.duckdb_file import connect
from vmanomaly.errors import CancelledError, DatasourceError, DeadlineExceededError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader
from vmanomaly.reader.duckdb import DuckdbReader
from vmanomaly.series import Labels, SeriesBatch, TimeRange

ROOT = Path(__file__).parents[2]
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
MINUTE = 60_000
RANGE = TimeRange(START, START + 3 * MINUTE)
NAN = float("nan")


def query(expr: str, *, step: int = MINUTE, offset: int = 0, tz: str = "UTC") -> Query:
    return Query(alias="cpu", expr=expr, step=Duration(step), offset=Duration(offset), tz=tz)


def reader(
    path: str | Path = ":memory:", metrics: Metrics | None = None, workers: int = 0
) -> DuckdbReader:
    section = DuckdbReaderSection(path=str(path), queries={}, workers=workers)
    made = create_reader(section, metrics or Metrics())
    assert isinstance(made, DuckdbReader)
    return made


def read(
    expr: str,
    path: str | Path = ":memory:",
    time_range: TimeRange = RANGE,
    stage: str = "fit",
    step: int = MINUTE,
    offset: int = 0,
) -> SeriesBatch:
    asked = query(expr, step=step, offset=offset)
    return reader(path).read(asked, time_range, "s", stage=stage)


def sql_rows(*rows: tuple[object, ...], columns: str = "timestamp, value") -> str:
    """Return a statement that gives rows whose first column is milliseconds after START."""
    moment = "TIMESTAMP '2026-01-01' + INTERVAL ({}) MILLISECOND"
    values = ", ".join(
        f"({', '.join([moment.format(milliseconds), *map(str, rest)])})"
        for milliseconds, *rest in rows
    )
    return f"FROM (VALUES {values}) AS rows({columns})"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "telemetry.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE telemetry AS "
            "SELECT TIMESTAMP '2026-01-01' + INTERVAL (i) MINUTE AS moment, 'h' || h AS host, "
            "100 * h + i AS reading "
            "FROM range(10) AS minutes(i), range(2) AS hosts(h)"
        )
    return path


def test_rows_become_series_on_the_grid(path: Path) -> None:
    batch = read(
        "SELECT moment AS timestamp, reading AS value, host, 'node' AS job FROM telemetry "
        "WHERE moment > $start AND moment <= $end",
        path,
    )
    assert batch.labels == (
        Labels({"host": "h0", "job": "node"}),
        Labels({"host": "h1", "job": "node"}),
    )
    np.testing.assert_array_equal(batch.timestamps, START + MINUTE * np.array([1, 2, 3]))
    np.testing.assert_array_equal(batch.values, [[1, 2, 3], [101, 102, 103]])
    assert batch.values.flags.c_contiguous


def test_rows_outside_the_range_are_left_out(path: Path) -> None:
    batch = read("SELECT moment AS timestamp, reading AS value, host FROM telemetry", path)
    np.testing.assert_array_equal(batch.values, [[1, 2, 3], [101, 102, 103]])


def test_a_sample_belongs_to_the_point_that_ends_its_step() -> None:
    batch = read(sql_rows((0, 1), (1, 2), (60_000, 3), (60_001, 4), (179_999, 5), (180_001, 6)))
    np.testing.assert_array_equal(batch.values, [[3, 4, 5]])


def test_the_last_sample_of_a_step_wins() -> None:
    batch = read(sql_rows((70_000, 2), (61_000, 1), (90_000, 3), (80_000, 4), (90_000, 5)))
    np.testing.assert_array_equal(batch.values, [[NAN, 5, NAN]])


def test_a_sample_between_milliseconds_belongs_after() -> None:
    micros = "TIMESTAMP '2026-01-01 00:01:00' + INTERVAL 1 MICROSECOND"
    batch = read(f"SELECT {micros} AS timestamp, 7 AS value")
    np.testing.assert_array_equal(batch.values, [[NAN, 7, NAN]])


def test_parameters_are_bound_to_the_grid() -> None:
    batch = read(
        "SELECT $end AS timestamp, epoch_ms($start) AS value, CAST($step AS VARCHAR) AS step, "
        "typeof($start) AS kind",
        time_range=TimeRange(START + 10, START + 2 * MINUTE + 20),
    )
    assert batch.labels == (Labels({"step": "00:01:00", "kind": "TIMESTAMP"}),)
    np.testing.assert_array_equal(batch.timestamps, [START + MINUTE, START + 2 * MINUTE])
    np.testing.assert_array_equal(batch.values, [[NAN, START]])


def test_parameters_in_comments_and_strings_are_none() -> None:
    batch = read("SELECT $end AS timestamp, 1 AS value, '$start' AS text -- $step $nothing")
    assert batch.labels == (Labels({"text": "$start"}),)


def test_an_offset_moves_the_range_and_keeps_the_timestamps(path: Path) -> None:
    expr = "SELECT moment AS timestamp, reading AS value FROM telemetry WHERE host = 'h0'"
    batch = read(expr, path, TimeRange(START + 3 * MINUTE, START + 5 * MINUTE), offset=-2 * MINUTE)
    np.testing.assert_array_equal(batch.timestamps, START + MINUTE * np.array([2, 3]))
    np.testing.assert_array_equal(batch.values, [[2, 3]])


def test_an_empty_grid_asks_nothing() -> None:
    batch = read("this is not SQL", time_range=TimeRange(START, START + 10))
    assert batch.values.shape == (0, 0)


@pytest.mark.parametrize(
    "timestamp",
    [
        "TIMESTAMP '2026-01-01 00:01:00'",
        "TIMESTAMPTZ '2026-01-01 02:01:00+02'",
        "TIMESTAMP_S '2026-01-01 00:01:00'",
        "TIMESTAMP_MS '2026-01-01 00:01:00'",
        "TIMESTAMP_NS '2026-01-01 00:01:00'",
        "1767225660",
        "1767225660.0",
        "1767225660.000::DECIMAL(18, 3)",
        "1767225659.9999::DOUBLE",
        "epoch($end - 2 * $step)",
    ],
)
def test_kinds_of_timestamps(timestamp: str) -> None:
    batch = read(f"SELECT {timestamp} AS timestamp, 1 AS value")
    np.testing.assert_array_equal(batch.values, [[1, NAN, NAN]])


def test_dates_are_midnight_in_utc() -> None:
    day = 86_400_000
    days = TimeRange(START - day, START)
    batch = read("SELECT DATE '2026-01-01' AS timestamp, 1 AS value", time_range=days, step=day)
    np.testing.assert_array_equal(batch.values, [[1]])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2", 2.0),
        ("2.25::DECIMAL(9, 2)", 2.25),
        ("2::UTINYINT", 2.0),
        ("1e300", 1e300),
        ("2::HUGEINT", 2.0),
        ("1.5::FLOAT", 1.5),
        ("'-inf'::DOUBLE", -np.inf),
    ],
)
def test_kinds_of_values(value: str, expected: float) -> None:
    batch = read(f"SELECT $end AS timestamp, {value} AS value")
    np.testing.assert_array_equal(batch.values, [[NAN, NAN, expected]])


def test_null_and_nan_are_no_samples() -> None:
    rows = sql_rows(
        (60_000, 1),
        (60_000, "'nan'::DOUBLE"),
        (120_000, "'nan'::DOUBLE"),
        (180_000, 3),
        (180_000, "NULL"),
    )
    batch = read(f"{rows} UNION ALL SELECT NULL, 9 UNION ALL SELECT TIMESTAMP 'infinity', 9")
    np.testing.assert_array_equal(batch.values, [[1, NAN, 3]])


def test_null_and_empty_labels_are_absent() -> None:
    batch = read(
        sql_rows(
            (60_000, 1, "'a'", "NULL"),
            (120_000, 2, "'a'", "''"),
            (180_000, 3, "NULL", "NULL"),
            columns="timestamp, value, x, y",
        )
    )
    assert batch.labels == (Labels(), Labels({"x": "a"}))
    np.testing.assert_array_equal(batch.values, [[NAN, NAN, 3], [1, 2, NAN]])


def test_labels_of_any_kind_become_text() -> None:
    batch = read(
        "SELECT $end AS TIMESTAMP, 1 AS Value, 7 AS Core, true AS up, "
        "DATE '2026-01-01' AS \"select\""
    )
    assert batch.labels == (Labels({"Core": "7", "up": "true", "select": "2026-01-01"}),)


def test_files_are_read_from_memory(tmp_path: Path) -> None:
    for kind in ("csv", "parquet"):
        file = tmp_path / f"readings.{kind}"
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT TIMESTAMP '2026-01-01 00:02:00' AS timestamp, 4 AS value) "
                f"TO '{file}'"
            )
        batch = read(f"FROM '{file}'")
        np.testing.assert_array_equal(batch.values, [[NAN, 4, NAN]])


def test_other_databases_are_read_from_memory(path: Path) -> None:
    telemetry = f"read_duckdb('{path}', table_name = 'telemetry')"
    batch = read(f"FROM {telemetry} SELECT moment AS timestamp, reading AS value, host")
    np.testing.assert_array_equal(batch.values, [[1, 2, 3], [101, 102, 103]])


def test_series_met_again_have_the_same_labels(path: Path) -> None:
    source = reader(path)
    asked = query("SELECT moment AS timestamp, reading AS value, host FROM telemetry")
    first = source.read(asked, RANGE, "s", stage="fit")
    second = source.read(asked, TimeRange(RANGE.end, RANGE.end + MINUTE), "s", stage="infer")
    assert all(one is other for one, other in zip(first.labels, second.labels, strict=True))


@pytest.mark.slow
def test_neither_pandas_nor_pyarrow_is_needed(path: Path) -> None:
    """In a process of its own: other tests may have imported them."""
    code = (
        "import sys; sys.modules.update(pandas=None, pyarrow=None); "
        "from pathlib import Path; from tests.reader.test_reader_duckdb import read; "
        "batch = read('SELECT moment AS timestamp, reading AS value, host FROM telemetry', "
        "Path(sys.argv[1])); assert batch.labels"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"'),
        ("SELECT * FROM absent", "Table with name absent does not exist"),
        ("SELECT now() AS time, 1 AS value", "returns the columns time, value, but none is called"),
        ("SELECT now() AS timestamp, 1 AS v", "name one with AS value"),
        ("SELECT 'now' AS timestamp, 1 AS value", "timestamp is a VARCHAR; it must be"),
        ("SELECT now() AS timestamp, '1' AS value", "value is a VARCHAR, not a number; CAST it"),
        ("SELECT now() AS timestamp, true AS value", "value is a BOOLEAN"),
        ('SELECT now() AS timestamp, 1 AS value, 2 AS "two words"', "'two words' cannot become"),
        ("SELECT $now AS timestamp, 1 AS value", "uses $now; there are $start, $end and $step"),
        ("SELECT ? AS timestamp, 1 AS value", "there are $start, $end and $step"),
        ("SELECT 1; SELECT 2", "must be one SELECT"),
        ("-- nothing", "must be one SELECT"),
        ("CREATE TABLE t (a INT)", "must be one SELECT"),
        ("COPY (SELECT 1) TO '/dev/null'", "must be one SELECT"),
        ("SELECT 1) AS x; DROP TABLE t; SELECT (1", "syntax error"),
        ("SELECT $end AS timestamp, error('broken') AS value", "broken"),
        ("SELECT 1e300 AS timestamp, 1 AS value", "out of range"),
    ],
)
def test_statements_that_cannot_be_used(expr: str, message: str) -> None:
    with pytest.raises(DatasourceError) as caught:
        read(expr)
    assert str(caught.value).startswith("Error querying :memory: for cpu: ")
    assert message in str(caught.value)
    assert "vmanomaly_" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.code == "400"


@pytest.mark.parametrize("expr", ["FROM 'absent.parquet'", "FROM read_csv('absent.csv')"])
def test_a_missing_data_file(expr: str) -> None:
    with pytest.raises(DatasourceError, match="No files found") as caught:
        read(expr)
    assert caught.value.code == "io_error"


def test_a_missing_database(tmp_path: Path) -> None:
    absent = tmp_path / "absent.duckdb"
    with pytest.raises(DatasourceError, match="no DuckDB database") as caught:
        read("SELECT 1", absent)
    assert caught.value.code == "io_error"
    with pytest.raises(DatasourceError):
        reader(absent).check_health()


def test_a_database_is_only_read(path: Path) -> None:
    before = path.read_bytes()
    read("SELECT moment AS timestamp, reading AS value FROM telemetry", path)
    source = reader(path)
    source.check_health()
    source.close()
    assert path.read_bytes() == before
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP TABLE telemetry")


@pytest.mark.parametrize(("stage", "words"), [("fit", "No data"), ("infer", "No unseen data")])
def test_no_data_is_said_once(stage: str, words: str, caplog: pytest.LogCaptureFixture) -> None:
    source = reader()
    asked = query("SELECT $end AS timestamp, 1 AS value WHERE false", tz="Europe/Berlin")
    caplog.set_level(logging.INFO, "vmanomaly.reader")
    for _ in range(2):
        batch = source.read(asked, RANGE, "s", stage=stage)
        assert batch.labels == ()
        assert batch.values.shape == (0, 3)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{words} for query_key cpu from 2026-01-01T01:00:00+01:00 to ")
    assert "(1767225600 to 1767225780)" in message


def test_failures_and_recovery_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    source = reader()
    caplog.set_level(logging.INFO, "vmanomaly.reader")
    for _ in range(2):
        with pytest.raises(DatasourceError):
            source.read(query("SELECT 1"), RANGE, "s", stage="fit")
    for _ in range(2):
        source.read(query("SELECT $end AS timestamp, 1 AS value"), RANGE, "s", stage="fit")
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_reads_are_measured() -> None:
    metrics = Metrics()
    source = reader(metrics=metrics)
    source.read(query(sql_rows((1, 1), (2, 2), (90_000, 3))), RANGE, "s", stage="fit")
    with pytest.raises(DatasourceError):
        source.read(query("SELECT 1"), RANGE, "s", stage="fit")
    labels = {
        "url": ":memory:",
        "query_key": "cpu",
        "scheduler_alias": "s",
        "preset": "default",
    }

    def sample(name: str, **more: str) -> float | None:
        return metrics.registry.get_sample_value(f"vmanomaly_reader_{name}", labels | more)

    assert sample("responses_total", code="200") == 1
    assert sample("responses_total", code="400") == 1
    assert sample("timeseries_received_total") == 1
    assert sample("datapoints_received_total") == 3
    assert sample("request_duration_seconds_count") == 2
    assert sample("response_parsing_seconds_count", step="df") == 1


@given(
    st.lists(
        st.tuples(st.integers(-50, 250), st.sampled_from(["a", "b"]), st.integers(0, 99)),
        max_size=30,
    ),
    st.integers(1, 40),
)
@examples(40)
@pytest.mark.slow
def test_the_grid_is_that_of_a_plain_loop(rows: list[tuple[int, str, int]], step: int) -> None:
    time_range = TimeRange(START, START + 200)
    expected: dict[tuple[str, int], tuple[int, int]] = {}
    grid = [g for g in range(START + 1, START + 201) if g % step == 0]
    for at, host, value in rows:
        for g in grid:
            if g - step < START + at <= g:
                best = expected.get((host, g))
                if best is None or best[0] <= at:
                    expected[host, g] = (at, value)
    statement = sql_rows(
        *[(at, value, f"'{host}'") for at, host, value in rows],
        (-9999, 0, "'a'"),
        columns="timestamp, value, host",
    )
    batch = read(statement, time_range=time_range, step=step)
    found = {
        (labels["host"], int(batch.timestamps[column])): int(batch.values[row, column])
        for row, labels in enumerate(batch.labels)
        for column in np.flatnonzero(~np.isnan(batch.values[row]))
    }
    assert found == {key: value for key, (_, value) in expected.items()}
    assert batch.timestamps.tolist() == grid


def test_no_more_queries_at_a_time_than_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.Lock()
    running = [0, 0]
    both = threading.Barrier(2)
    read_grid = DuckdbReader._read_grid

    def read_with_another(*arguments: Any) -> SeriesBatch:
        with lock:
            running[0] += 1
            running[1] = max(running)
        both.wait(60)
        with lock:
            running[0] -= 1
        return read_grid(*arguments)

    monkeypatch.setattr(DuckdbReader, "_read_grid", read_with_another)
    made = reader(workers=2)
    asked = query(sql_rows((60_000, 1)))
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(made.read, asked, RANGE, "s", stage="infer") for _ in range(6)]
        assert all(future.result().n_valid_points == 1 for future in futures)
    assert running == [0, 2]


ENDLESS = (
    "SELECT $end AS timestamp, sum(a.range + b.range) AS value "
    "FROM range(1000000000) a, range(1000000000) b"
)


def responses(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["code"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "vmanomaly_reader_responses_total" and sample.value
    }


def test_a_statement_that_runs_can_be_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    metrics, context = Metrics(), RunContext()
    source = reader(metrics=metrics)
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(
            source.read, query(ENDLESS), RANGE, "s", stage="fit", context=context
        )
        assert eventually(lambda: bool(context._on_cancel))
        context.cancel()
        assert isinstance(running.exception(60), CancelledError)
    assert responses(metrics) == {"cancelled": 1.0}
    assert caplog.records == []
    assert source.read(query(sql_rows((1, 1))), RANGE, "s", stage="fit").n_valid_points == 1


def test_a_statement_ends_at_the_deadline_of_its_work() -> None:
    metrics = Metrics()
    with pytest.raises(DeadlineExceededError):
        reader(metrics=metrics).read(
            query(ENDLESS), RANGE, "s", stage="fit", context=RunContext().child(0.2)
        )
    assert responses(metrics) == {"timeout": 1.0}


def test_a_read_that_waits_for_the_file_can_be_cancelled(tmp_path: Path) -> None:
    path, context = tmp_path / "a.duckdb", RunContext()
    duckdb.connect(str(path)).close()
    with connect(path, read_only=True), ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(
            reader(path).read, query(sql_rows((1, 1))), RANGE, "s", stage="fit", context=context
        )
        assert eventually(lambda: bool(context._on_cancel))
        context.cancel()
        assert isinstance(waiting.exception(60), CancelledError)
