"""What the service wrote, read back from DuckDB."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vmanomaly.config.writer import DuckdbWriterSection
from vmanomaly.demo.evaluate import ScoredSeries
from vmanomaly.duckdb_file import connect
from vmanomaly.series import FloatArray, IntArray, Labels, Origin
from vmanomaly.writer.format import added_labels, fill_placeholders

OUTPUTS = ("anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper")
"""The outputs that are read back."""

_QUERY = """
SELECT * REPLACE (CAST(labels AS MAP(VARCHAR, VARCHAR)) AS labels) FROM (
    SELECT query_key, model_alias, scheduler_alias, preset, metric, labels,
        list(epoch_ms(timestamp) ORDER BY timestamp) AS timestamps,
        list(value ORDER BY timestamp) AS values
    FROM scores
    GROUP BY ALL)
"""
_SCORES_EXIST = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'scores'"


def read_scores(writer: DuckdbWriterSection) -> list[ScoredSeries]:
    """Return everything in the table `scores`, one item for each query, model and series.

    Parameters
    ----------
    writer
        The section the scores were written with: its `metric_format` tells the labels of the
        query from those the writer added.

    Returns
    -------
    list of ScoredSeries
        Ordered by query and model. Series without an `anomaly_score` are left out; an output
        that was not written is NaN.
    """
    found: dict[tuple[str, str, Labels], dict[str, tuple[IntArray, FloatArray]]] = {}
    for row in _rows(Path(writer.path)):
        query, model, scheduler, preset, metric, labels, timestamps, values = row
        origin = Origin((query,), model, scheduler, preset)
        name = writer.metric_format["__name__"]
        names = {fill_placeholders(name, output, query): output for output in OUTPUTS}
        if metric in names:
            added = added_labels(writer.metric_format, origin, names[metric])
            series = Labels(labels).without(*added)
            outputs = found.setdefault((query, model, series), {})
            outputs[names[metric]] = (timestamps.astype(np.int64), values.astype(np.float64))
    return [
        _on_one_grid(query, model, series, outputs)
        for (query, model, series), outputs in sorted(found.items(), key=_order)
        if "anomaly_score" in outputs
    ]


def _order(item: tuple[tuple[str, str, Labels], object]) -> tuple[object, ...]:
    query, model, series = item[0]
    return query, model, tuple(series.items())


def _rows(path: Path) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    with connect(path, read_only=True) as connection:
        if connection.execute(_SCORES_EXIST).fetchall() == [(0,)]:
            return []
        columns = connection.execute(_QUERY).fetchnumpy()
    return list(zip(*columns.values(), strict=True))


def _on_one_grid(
    query: str,
    model: str,
    series: Labels,
    outputs: Mapping[str, tuple[IntArray, FloatArray]],
) -> ScoredSeries:
    grid = np.unique(np.concatenate([timestamps for timestamps, _ in outputs.values()]))
    values = {output: np.full(len(grid), np.nan) for output in OUTPUTS}
    for output, (timestamps, written) in outputs.items():
        values[output][np.searchsorted(grid, timestamps)] = written
    return ScoredSeries(query, model, series, grid, values)
