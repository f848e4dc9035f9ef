from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from vmanomaly import duckdb_file
from vmanomaly.context import RunContext
from vmanomaly.duckdb_file import connect, words
from vmanomaly.errors import DatasourceError

HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("open", flush=True)
sys.stdin.readline()
"""


@contextmanager
def held_elsewhere(path: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the database."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.stdin.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.duckdb"
    with connect(path, read_only=False) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    return path


def test_a_file_is_written_and_read(path: Path) -> None:
    with connect(path, read_only=True) as connection:
        assert connection.execute("FROM t").fetchall() == [(1,)]
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            connection.execute("DROP TABLE t")


def test_sessions_are_in_utc(path: Path) -> None:
    for database in (path, ":memory:"):
        with connect(database, read_only=True) as connection:
            found = connection.execute("SELECT current_setting('TimeZone')").fetchone()
        assert found == ("UTC",)


def test_databases_in_memory_are_apart() -> None:
    with connect(":memory:", read_only=True) as one, connect(":memory:", read_only=True) as other:
        one.execute("CREATE TABLE t (a INT)")
        assert other.execute("SHOW TABLES").fetchall() == []


def test_threads_take_turns_on_a_file(path: Path) -> None:
    order = []
    opened = threading.Event()

    def read() -> None:
        opened.set()
        with connect(path, read_only=True):
            order.append("read")

    with connect(path, read_only=False):
        thread = threading.Thread(target=read)
        thread.start()
        assert opened.wait(60)
        order.append("written")
    thread.join()
    assert order == ["written", "read"]


def test_a_file_is_free_after_an_error(path: Path) -> None:
    with (
        pytest.raises(duckdb.CatalogException),
        connect(path, read_only=True) as connection,
    ):
        connection.execute("FROM nothing")
    with connect(path, read_only=False) as connection:
        connection.execute("DROP TABLE t")


def test_a_missing_file(tmp_path: Path) -> None:
    with (
        pytest.raises(DatasourceError, match=r"no DuckDB database .*absent\.duckdb") as caught,
        connect(tmp_path / "absent.duckdb", read_only=True),
    ):
        pass
    assert caught.value.code == "io_error"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(DatasourceError, match="There is no folder"),
        connect(tmp_path / "absent" / "a.duckdb", read_only=False),
    ):
        pass


@pytest.mark.parametrize("read_only", [False, True])
def test_another_kind_of_file(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look like a file of some kind\n" * 100)
    with (
        pytest.raises(DatasourceError, match="not a valid DuckDB database file"),
        connect(path, read_only=read_only),
    ):
        pass


def test_a_file_that_another_process_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_file, "LOCK_WAIT_S", 0.0)
    with (
        held_elsewhere(path, "write") as process,
        pytest.raises(DatasourceError, match=rf"Another process holds .*PID {process.pid}"),
        connect(path, read_only=True),
    ):
        pass


def test_processes_read_at_the_same_time(path: Path) -> None:
    with held_elsewhere(path, "read"), connect(path, read_only=True) as connection:
        assert connection.execute("FROM t").fetchall() == [(1,)]


def test_a_file_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_elsewhere(path, "read") as process:

        def let_go(seconds: float) -> None:
            process.communicate("\n")

        monkeypatch.setattr(RunContext, "sleep", lambda _, seconds: let_go(seconds))
        with connect(path, read_only=False) as connection:
            connection.execute("DROP TABLE t")


def test_a_full_disk_is_told_in_words_and_the_older_file_stays(tmp_path: Path) -> None:
    """DuckDB writes results on threads of its own, whose errors come as JSON."""
    target = tmp_path / "scores.csv"
    target.write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with duckdb.connect() as connection, pytest.raises(duckdb.Error) as caught:
            connection.sql("SELECT range FROM range(100000)").write_csv(str(target))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert words(caught.value).endswith("File too large")
    assert "{" not in words(caught.value)
    assert target.read_text() == "before"
