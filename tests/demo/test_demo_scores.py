from pathlib import Path

import numpy as np

from vmanomaly.config.writer import DuckdbWriterSection
from vmanomaly.demo.scores import read_scores
from vmanomaly.monitoring.metrics import Metrics
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

    first, second = read_scores(writer)
    assert (first.query, first.model, first.series) == ("cpu", "mad", labels[1])
    assert second.series == labels[0]
    np.testing.assert_array_equal(second.timestamps, timestamps)
    np.testing.assert_array_equal(second.outputs["anomaly_score"], [nan, 0.5, 2.0])
    np.testing.assert_array_equal(first.outputs["yhat"], [3.0, nan, 3.0])
    np.testing.assert_array_equal(first.outputs["y"], [nan, nan, nan])


def test_nothing_written_is_nothing_read(tmp_path: Path) -> None:
    assert read_scores(section(tmp_path / "missing.duckdb")) == []
