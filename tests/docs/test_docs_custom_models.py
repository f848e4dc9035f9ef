"""The examples of docs/custom-models.md, saved and started as the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

PAGE = (Path(__file__).parents[2] / "docs/custom-models.md").read_text()
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))
CONFIGS = dict(re.findall(r"<!-- config: (\S+) -->\n```yaml\n(.*?)```", PAGE, re.DOTALL))

Scores = dict[tuple[str, str], dict[str, float]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("custom")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def scores(folder: Path, config: str) -> Scores:
    """Run a config of the page; return the scores of each model and series by time of day."""
    server = "\nserver: {addr: 127.0.0.1, port: 0}\n"
    (folder / config).write_text(CONFIGS[config] + server)
    command = Path(sys.executable).with_name("vmanomaly")
    run = subprocess.run(
        [command, config], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert not re.search(r"WARNING|ERROR|Traceback", run.stderr)
    with duckdb.connect(str(folder / config.replace("yaml", "duckdb")), read_only=True) as database:
        rows = database.sql(
            "SELECT model_alias, coalesce(labels->>'site', labels->>'host', ''), "
            "strftime(timestamp, '%H:%M'), value FROM scores WHERE metric = 'anomaly_score'"
        ).fetchall()
    found: Scores = {}
    for model, series, time, value in rows:
        found.setdefault((model, series), {})[time] = value
    return found


def test_the_examples_are_there() -> None:
    assert list(CONFIGS) == ["hours.yaml", "detectors.yaml"]
    assert "custom.py" in FILES
    assert len(FILES) == 4


@pytest.mark.slow
def test_the_usual_range_of_each_hour(folder: Path) -> None:
    found = scores(folder, "hours.yaml")
    assert set(found) == {("by_hour", "shop"), ("by_hour", "blog")}
    for of_series in found.values():
        assert len(of_series) == 20 * 60 + 30
        assert {time for time, score in of_series.items() if score > 1.5} == {
            f"20:{minute:02}" for minute in range(31)
        }


@pytest.mark.slow
def test_the_same_model_for_pandas_and_for_batches(folder: Path) -> None:
    found = scores(folder, "detectors.yaml")
    assert set(found) == {
        *((model, host) for model in ("batches", "pandas") for host in "abc"),
        ("together", ""),
    }
    for host in "abc":
        batches, pandas = found["batches", host], found["pandas", host]
        assert batches.keys() == pandas.keys()
        assert len(batches) == 60
        np.testing.assert_allclose(list(batches.values()), list(pandas.values()), rtol=1e-9)
    assert max(found["batches", "b"], key=lambda time: found["batches", "b"][time]) == "05:30"
    assert [time for time, score in found["together", ""].items() if score > 1] == ["05:30"]
    assert found["pandas", "b"]["05:30"] > 1
    assert max(found["pandas", "a"].values()) < 1
