"""Custom models from end to end: a fresh folder with a file, a config and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb
import numpy as np
import pytest
import yaml

from tests.integration.servers import Process, VictoriaMetrics, Vmanomaly, free_port
from vmanomaly.series import Labels

# Sixty minutes at two levels, then ten with a spike at the last.
SERIES = """
SELECT minute AS timestamp, host, level + (epoch(minute) / 60) % 3
       + CASE WHEN minute = TIMESTAMP '2026-03-01 01:10:00' THEN 50 ELSE 0 END AS value
FROM range(TIMESTAMP '2026-03-01 00:01:00', TIMESTAMP '2026-03-01 01:11:00', INTERVAL 1 MINUTE)
         AS minutes(minute),
     (VALUES ('a', 10), ('b', 500)) AS hosts(host, level)
"""
MODEL = """
    import numpy as np
    import pandas as pd

    from model.model import PICKLE_PROTOCOL, Model, deserialize_basic


    class CustomModel(Model):
        def __init__(self, width: float = 1.0, **kwargs):
            own = kwargs.get("args") or {}
            self.width = float(own.get("width", width))
            super().__init__(**kwargs)

        def fit(self, df: pd.DataFrame) -> None:
            values = df["y"].to_numpy(dtype=np.float64)
            self._mean, self._std = values.mean(), values.std()

        def infer(self, df: pd.DataFrame) -> pd.DataFrame:
            answer = df[["timestamp", "y"]].copy()
            answer["yhat"] = self._mean
            answer["yhat_lower"] = self._mean - self.width * self._std
            answer["yhat_upper"] = self._mean + self.width * self._std
            self._prepare_ci_columns(answer, scale=self.scale)
            answer["anomaly_score"] = self.get_anomaly_score(
                answer, detection_direction=self.detection_direction
            )
            if self.provide_series:
                return answer[self._assemble_output_columns()]
            return answer
"""
FIT_MINUTES = np.arange(1, 61)
INFER_MINUTES = np.arange(61, 71)


def config(**model: Any) -> dict[str, Any]:
    return {
        "reader": {
            "class": "duckdb",
            "path": ":memory:",
            "sampling_period": "1m",
            "queries": {"level": {"expr": SERIES, "detection_direction": "above_expected"}},
        },
        "writer": {"class": "duckdb", "path": "scores.duckdb"},
        "schedulers": {
            "once": {
                "class": "oneoff",
                "fit_start_iso": "2026-03-01T00:00:00Z",
                "fit_end_iso": "2026-03-01T01:00:00Z",
                "infer_start_iso": "2026-03-01T01:00:00Z",
                "infer_end_iso": "2026-03-01T01:10:00Z",
            }
        },
        "models": {
            "mine": {"class": "custom", "queries": "all", "schedulers": "all", **model},
        },
        "server": {"addr": "127.0.0.1", "port": free_port()},
    }


def run(folder: Path, content: dict[str, Any], *arguments: str) -> tuple[int, str]:
    """Start the command as a user does who stands in the folder."""
    (folder / "vmanomaly.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    command = str(Path(sys.executable).with_name("vmanomaly"))
    with Process(
        ["env", "-C", str(folder), command, *arguments], folder / "vmanomaly.log"
    ) as process:
        return process.wait(), process.output


def scores(folder: Path) -> dict[tuple[str, str], list[float]]:
    with duckdb.connect(str(folder / "scores.duckdb"), read_only=True) as connection:
        rows = connection.sql(
            "SELECT metric, labels->>'host', list(value ORDER BY timestamp) "
            "FROM scores GROUP BY ALL"
        ).fetchall()
    return {(metric, host): values for metric, host, values in rows}


def observed(level: float, minutes: Any) -> Any:
    epoch_minutes = 1772323200 // 60 + minutes
    return level + epoch_minutes % 3 + np.where(minutes == 70, 50.0, 0.0)


def test_a_file_in_a_fresh_folder(tmp_path: Path) -> None:
    (tmp_path / "custom.py").write_text(dedent(MODEL))
    status, output = run(tmp_path, config(args={"width": 2}))
    assert status == 0, output
    for word in ("Traceback", "WARNING", "ERROR"):
        assert word not in output
    assert f"Custom models of model.custom are those of {tmp_path}/custom.py" in output
    found = scores(tmp_path)
    assert len(found) == 8
    for host, level in (("a", 10.0), ("b", 500.0)):
        past, present = observed(level, FIT_MINUTES), observed(level, INFER_MINUTES)
        expected = np.clip((present - past.mean()) / (2 * past.std()), 0.0, None)
        np.testing.assert_allclose(found["anomaly_score", host], expected, rtol=1e-9)
        np.testing.assert_allclose(found["yhat", host], past.mean(), rtol=1e-12)
    assert found["anomaly_score", "a"][-1] > 1


def test_batches_of_series_from_a_package_in_another_folder(tmp_path: Path) -> None:
    package = tmp_path / "models" / "detectors"
    package.mkdir(parents=True)
    (package / "band.py").write_text(
        "from tests.model.custom_models import BatchBand\n\nclass Band(BatchBand): ...\n"
    )
    status, output = Vmanomaly(
        tmp_path,
        config(**{"class": "detectors.band.Band"}, width=2, provide_series=["anomaly_score"])
        | {"writer": {"class": "duckdb", "path": str(tmp_path / "scores.duckdb")}},
        environ={
            "VMANOMALY_CUSTOM_MODELS_DIR": str(tmp_path / "models"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
    ).run()
    assert status == 0, output
    found = scores(tmp_path)
    assert set(found) == {("anomaly_score", "a"), ("anomaly_score", "b")}
    past, present = observed(10.0, FIT_MINUTES), observed(10.0, INFER_MINUTES)
    expected = np.clip((present - past.mean()) / (2 * past.std()), 0.0, None)
    np.testing.assert_allclose(found["anomaly_score", "a"], expected, rtol=1e-9)


def test_scores_arrive_in_victoria_metrics(tmp_path: Path, vm: VictoriaMetrics) -> None:
    (tmp_path / "custom_model.py").write_text(dedent(MODEL))
    metric_format = {"__name__": "custom_$VAR", "for": "$QUERY_KEY", "run": "test-format"}
    writer = {"datasource_url": vm.url, "metric_format": metric_format}
    status, output = run(tmp_path, config(provide_series=["anomaly_score"]) | {"writer": writer})
    assert status == 0, output
    vm.force_flush()
    assert set(vm.export('{model_alias!=""}')) == {
        Labels(
            {
                "__name__": "custom_anomaly_score",
                "for": "level",
                "host": host,
                "model_alias": "mine",
                "run": "test-format",
                "scheduler_alias": "once",
                "preset": "default",
            }
        )
        for host in "ab"
    }


def test_the_users_trace_of_the_series_that_fails(tmp_path: Path) -> None:
    text = MODEL.replace(
        "self._prepare_ci", "assert self._mean < 100\n            self._prepare_ci"
    )
    (tmp_path / "custom.py").write_text(dedent(text))
    status, output = run(tmp_path, config(provide_series=["anomaly_score"]))
    assert status == 1
    assert "for model 'mine', query 'level', {host=\"b\"}" in output
    assert f'File "{tmp_path}/custom.py", line 23, in infer' in output
    assert output.count("Traceback") == 1
    assert len(scores(tmp_path)["anomaly_score", "a"]) == 10
    assert ("anomaly_score", "b") not in scores(tmp_path)


@pytest.mark.parametrize("arguments", [(), ("--dryRun",)])
def test_a_broken_file_is_told_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "custom.py").write_text("import os\n\nclass CustomModel(os.nothing): ...\n")
    status, output = run(tmp_path, config(), *arguments)
    assert status == 2
    assert (
        "Config validation failed: 1 problem\n"
        f"  models.mine: {tmp_path}/custom.py:3: "
        "AttributeError: module 'os' has no attribute 'nothing'"
    ) in output
    assert "Traceback" not in output
    assert not (tmp_path / "scores.duckdb").exists()
