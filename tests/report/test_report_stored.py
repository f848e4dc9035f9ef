from pathlib import Path

import numpy as np
import pytest

from vmanomaly.config.writer import DuckdbWriterSection
from vmanomaly.duckdb_file import connect
from vmanomaly.errors import DatasourceError, UsageError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.report.stored import read_stored
from vmanomaly.series import Labels, Origin, Predictions
from vmanomaly.writer.duckdb import DuckdbWriter


def section(path: Path) -> DuckdbWriterSection:
    metric_format = {"__name__": "my_$VAR", "for": "$QUERY_KEY", "part": "$VAR", "team": "shop"}
    return DuckdbWriterSection.model_validate(
        {"class": "duckdb", "path": str(path), "metric_format": metric_format}
    )


def test_what_a_writer_wrote_comes_back_without_the_labels_it_added(tmp_path: Path) -> None:
    writer = section(tmp_path / "scores.duckdb")
    nan = np.nan
    timestamps = np.array([60_000, 120_000, 180_000], dtype=np.int64)
    labels = (Labels({"host": "b"}), Labels({"host": "a"}))
    predictions = Predictions(
        labels,
        timestamps,
        {
            "anomaly_score": np.array([[nan, 0.5, 2.0], [0.0, 0.0, 0.0]]),
            "yhat": np.array([[1.0, 1.0, 1.0], [3.0, nan, 3.0]]),
        },
    )
    target = DuckdbWriter(writer, Metrics())
    target.write(predictions, Origin(("cpu",), "mad", "once", "default"))
    target.close()

    first, second = read_stored(Path(writer.path))
    assert (first.query, first.model) == ("cpu", "mad")
    assert first.series == Labels({"host": "a", "team": "shop"})
    assert second.series["host"] == "b"
    np.testing.assert_array_equal(second.timestamps, timestamps)
    np.testing.assert_array_equal(second.outputs["anomaly_score"], [nan, 0.5, 2.0])
    np.testing.assert_array_equal(first.outputs["yhat"], [3.0, nan, 3.0])
    assert "y" not in first.outputs
    np.testing.assert_array_equal(first.output("y"), [nan, nan, nan])


def write(path: Path, *origins: Origin, n: int = 3) -> None:
    outputs = {"anomaly_score": np.ones((1, n))}
    timestamps = 60_000 * np.arange(1, n + 1, dtype=np.int64)
    section = DuckdbWriterSection.model_validate({"class": "duckdb", "path": str(path)})
    target = DuckdbWriter(section, Metrics())
    for origin in origins:
        target.write(Predictions((Labels({"host": "a"}),), timestamps, outputs), origin)
    target.close()


def test_schedulers_of_one_model_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "scores.duckdb"
    write(path, *(Origin(("cpu",), "mad", name, "default") for name in ("fast", "slow")))
    assert [item.model for item in read_stored(path)] == ["mad (fast)", "mad (slow)"]


def test_since_counts_from_the_last_score(tmp_path: Path) -> None:
    path = tmp_path / "scores.duckdb"
    write(path, Origin(("cpu",), "mad", "once", "default"), n=10)
    (item,) = read_stored(path, since=180_000)
    np.testing.assert_array_equal(item.timestamps, [480_000, 540_000, 600_000])


def test_a_file_without_scores_says_what_is_missing(tmp_path: Path) -> None:
    with connect(tmp_path / "empty.duckdb", read_only=False) as connection:
        connection.execute("CREATE TABLE other (a INTEGER)")
    with pytest.raises(UsageError, match="has no table scores"):
        read_stored(tmp_path / "empty.duckdb")
    (tmp_path / "text.duckdb").write_text("this is no database")
    with pytest.raises(DatasourceError):
        read_stored(tmp_path / "text.duckdb")
