from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from vmanomaly.config.writer import DuckdbWriterSection
from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import FloatArray, Labels, Origin, Predictions
from vmanomaly.writer import create_writer, warm_up
from vmanomaly.writer import duckdb as module

ORIGIN = Origin(("cpu",), "zscore", "every_minute", "default")
START = 1_700_000_000_000
LABELS = tuple(
    Labels({"__name__": "load", "host": f'"{i}" \\ ünï', "for": "theirs"}) for i in range(2)
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scores.duckdb"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def predict(values: FloatArray, start: int = START) -> Predictions:
    timestamps = start + 60_000 * np.arange(values.shape[1], dtype=np.int64)
    outputs = {"anomaly_score": values, "yhat": values + 10}
    return Predictions(LABELS[: len(values)], timestamps, outputs)


def write(path: Path, metrics: Metrics, predictions: Predictions, **keys: Any) -> Any:
    writer = create_writer(DuckdbWriterSection(path=str(path), **keys), metrics)
    writer.write(predictions, ORIGIN)
    writer.flush(1.0)
    writer.close()
    return writer


def rows(path: Path, what: str = "*") -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(
            f"SELECT {what} FROM scores ORDER BY metric, labels->>'host', timestamp"  # noqa: S608
        ).fetchall()


def test_rows_hold_series_and_origin(path: Path, metrics: Metrics) -> None:
    writer = write(path, metrics, predict(np.array([[0.5, 1.5], [2.5, math.nan]])))
    assert writer.last_error is None
    found = rows(path)
    assert len(found) == 6
    timestamp, metric, labels, *rest = found[0]
    assert (timestamp, metric, json.loads(labels), *rest) == (
        datetime.fromtimestamp(START / 1000, UTC).replace(tzinfo=None),
        "anomaly_score",
        {
            "exported_for": "theirs",
            "for": "cpu",
            "host": '"0" \\ ünï',
            "model_alias": "zscore",
            "preset": "default",
            "scheduler_alias": "every_minute",
        },
        "cpu",
        "zscore",
        "every_minute",
        "default",
        0.5,
    )
    assert [row[-1] for row in found] == [0.5, 1.5, 2.5, 10.5, 11.5, 12.5]


def test_metric_format_is_used(path: Path, metrics: Metrics) -> None:
    metric_format = {"__name__": "score", "kind": "$VAR", "for": "[$QUERY_KEY]"}
    write(path, metrics, predict(np.array([[1.0]])), metric_format=metric_format)
    assert rows(path, "metric, labels->>'kind', labels->>'for'") == [
        ("score", "anomaly_score", "[cpu]"),
        ("score", "yhat", "[cpu]"),
    ]


def test_a_repeated_run_replaces_its_rows(path: Path, metrics: Metrics) -> None:
    write(path, metrics, predict(np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])))
    again = predict(np.array([[20.0, math.nan, 40.0]]), START + 60_000)
    write(path, metrics, again)
    found = rows(path, "(labels->>'host')[2:2]::INT, value")[:7]
    assert found == [(0, 1.0), (0, 20.0), (0, 40.0), (1, 5.0), (1, 6.0), (1, 7.0), (1, 8.0)]


def test_other_models_and_queries_keep_their_rows(path: Path, metrics: Metrics) -> None:
    writer = create_writer(DuckdbWriterSection(path=str(path)), metrics)
    predictions = predict(np.array([[1.0]]))
    others = [Origin(("cpu",), "mad", "s", "p"), Origin(("memory",), "zscore", "s", "p")]
    for origin in (ORIGIN, *others, ORIGIN):
        writer.write(predictions, origin)
    assert len(rows(path)) == 3 * 2


def test_blocks_hold_all_rows(
    path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_POINTS", 7)
    values = np.arange(20.0).reshape(2, 10)
    values[1, 3] = np.inf
    write(path, metrics, predict(values))
    scores = [value for value in range(20) if value != 13]
    assert [value for (value,) in rows(path, "value")] == scores + [s + 10 for s in scores]


def test_writes_are_measured(path: Path, metrics: Metrics) -> None:
    write(path, metrics, predict(np.array([[0.5, 1.5], [math.nan, math.nan]])))
    labels = {
        "url": str(path),
        "query_key": "cpu",
        "scheduler_alias": "every_minute",
        "preset": "default",
    }

    def sample(name: str, **more: str) -> float | None:
        return metrics.registry.get_sample_value(f"vmanomaly_writer_{name}", labels | more)

    assert sample("datapoints_sent_total") == 4
    assert sample("timeseries_sent_total") == 2
    assert sample("request_duration_seconds_count") == 1
    assert sample("responses_total", code="200") == 1


def test_nothing_finite_makes_no_file(
    path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, metrics, predict(np.array([[math.nan, math.inf]])))
    assert "No valid datapoints to save for metric cpu" in caplog.text
    assert not path.exists()


def test_a_foreign_table_is_left_alone(
    path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE scores AS SELECT 1 AS match, '2:1' AS result")
    writer = write(path, metrics, predict(np.array([[1.0, 2.0]])))
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"Cannot write 4 points for cpu: {path}: Binder Error: ")
    assert "give the writer a path of its own" in message
    assert writer.last_error.code == "400"
    dropped = "vmanomaly_writer_dropped_datapoints_total"
    assert metrics.registry.get_sample_value(dropped, {"reason": "400"}) == 4
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("FROM scores").fetchall() == [(1, "2:1")]


def test_a_missing_folder_is_reported(
    tmp_path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    writer = write(tmp_path / "absent" / "a.duckdb", metrics, predict(np.array([[1.0]])))
    assert "There is no folder" in caplog.text
    assert writer.last_error.code == "io_error"
    with pytest.raises(DatasourceError):
        writer.check_health()


def test_health_opens_the_file(path: Path, metrics: Metrics) -> None:
    create_writer(DuckdbWriterSection(path=str(path)), metrics).check_health()
    assert path.exists()


def test_warm_up_has_nothing_to_do(path: Path) -> None:
    warm_up(DuckdbWriterSection(path=str(path)))
    assert not path.exists()
