"""`backtesting` from end to end, without a server: DuckDB at both ends, as a user runs it."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from tests.integration.servers import Vmanomaly

STEP_S = 60
FROM_S = 1_750_000_020
N_HISTORY, N_SCORED = 120, 240
TIMES_S = FROM_S + STEP_S * np.arange(1 - N_HISTORY, N_SCORED + 1)


@pytest.fixture
def values(tmp_path: Path) -> np.ndarray:
    """Three decimals of noise, one column a host; in the table `load`."""
    values = np.random.default_rng(5).normal(10, 1, (len(TIMES_S), 2)).round(3)
    with duckdb.connect(tmp_path / "data.duckdb") as connection:
        connection.execute("CREATE TABLE load (timestamp BIGINT, host VARCHAR, value DOUBLE)")
        connection.executemany(
            "INSERT INTO load VALUES (?, ?, ?)",
            [
                (int(second), host, float(values[row, column]))
                for row, second in enumerate(TIMES_S)
                for column, host in enumerate("ab")
            ],
        )
    return values


def config(folder: Path, **keys: Any) -> dict[str, Any]:
    return {
        "reader": {
            "class": "duckdb",
            "path": str(folder / "data.duckdb"),
            "sampling_period": f"{STEP_S}s",
            "queries": {
                "load": {"expr": "SELECT timestamp, host, value FROM load"},
            },
        },
        "writer": {"class": "duckdb", "path": str(folder / "scores.duckdb")},
        "schedulers": {
            "past": {
                "class": "backtesting",
                "from": FROM_S,
                "to": FROM_S + STEP_S * N_SCORED,
                "fit_window": f"{N_HISTORY}m",
                "fit_every": "90m",
                "inference_only": True,
                **keys,
            }
        },
        "models": {"zscore": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
    }


def yhat(folder: Path, host: str) -> list[tuple[int, float]]:
    with duckdb.connect(folder / "scores.duckdb", read_only=True) as connection:
        return connection.execute(
            "SELECT CAST(epoch(timestamp) AS BIGINT), value FROM scores "
            "WHERE metric = 'yhat' AND labels->>'host' = ? ORDER BY ALL",
            [host],
        ).fetchall()


def expected(values: np.ndarray, exact: bool) -> list[tuple[int, float]]:
    """Pieces of 60, 90 and 90 minutes, each predicted from the 120 minutes before it."""
    means = []
    for start, end in ((0, 60), (60, 150), (150, 240)):
        for point in range(start, end):
            until = point if exact else start
            means.append(float(values[start : N_HISTORY + until].mean()))
    return [(int(second), mean) for second, mean in zip(TIMES_S[N_HISTORY:], means, strict=True)]


@pytest.mark.parametrize(
    ("keys", "exact"),
    [({}, False), ({"exact": True}, True), ({"exact": True, "n_jobs": 3}, True)],
)
def test_every_number(
    tmp_path: Path, values: np.ndarray, keys: dict[str, Any], exact: bool
) -> None:
    status, output = Vmanomaly(tmp_path, config(tmp_path, **keys)).run()
    assert status == 0, output
    for word in ("Traceback", "WARNING", "ERROR"):
        assert word not in output
    assert output.count(" is scored (") == 3
    for column, host in enumerate("ab"):
        np.testing.assert_allclose(
            yhat(tmp_path, host), expected(values[:, column], exact), rtol=1e-12
        )


def test_two_runs_at_a_time(tmp_path: Path, values: np.ndarray) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        shutil.copy(tmp_path / "data.duckdb", folder)
    runs = [Vmanomaly(folder, config(folder)) for folder in folders]
    with runs[0], runs[1]:
        for run in runs:
            assert run.wait(300) == 0, run.output
            assert "Listening" not in run.output
    assert yhat(folders[0], "a") == yhat(folders[1], "a") != []


def test_a_bar_takes_the_place_of_the_log_on_a_terminal(tmp_path: Path, values: np.ndarray) -> None:
    service = Vmanomaly(tmp_path, config(tmp_path))
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, *service.command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**(service.environ or {}), "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = bytearray()
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        pass  # The other end is closed.
    finally:
        os.close(ours)
    assert child.wait(120) == 0
    text = shown.decode()
    assert "6/6" in text
    assert "is scored" not in text
    assert "Stopped" in text


def test_a_stretch_without_room_is_warned_of(tmp_path: Path, values: np.ndarray) -> None:
    status, output = Vmanomaly(
        tmp_path, config(tmp_path, inference_only=False, fit_window="1d")
    ).run()
    assert status == 0, output
    assert "schedulers.past: nothing is scored" in output
