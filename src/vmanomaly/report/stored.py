"""The scores of a run, read from the table that the writer `duckdb` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmanomaly.duckdb_file import connect
from vmanomaly.errors import UsageError
from vmanomaly.report.contents import ANOMALY_SCORE, OUTPUTS, ScoredSeries
from vmanomaly.series import FloatArray, IntArray, Labels

_QUERY = """
SELECT * REPLACE (CAST(labels AS MAP(VARCHAR, VARCHAR)) AS labels) FROM (
    SELECT query_key, model_alias, scheduler_alias, metric, labels,
        list(epoch_ms(timestamp) ORDER BY timestamp) AS timestamps,
        list(value ORDER BY timestamp) AS values
    FROM scores
    WHERE $since IS NULL
        OR timestamp > (SELECT max(timestamp) FROM scores) - to_milliseconds($since)
    GROUP BY ALL)
"""
_SCORES_EXIST = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'scores'"
SERVICE_LABELS = ("__name__", "for", "model_alias", "scheduler_alias", "preset")
"""The labels that a writer adds by default."""

Written = tuple[str, str, str, str, Labels, IntArray, FloatArray]
"""Query, model, scheduler, metric, labels, and the points of one written series."""


def read_stored(path: Path, since: int | None = None) -> list[ScoredSeries]:
    """Return the scores in the table `scores`, one item for each query, model and series.

    Parameters
    ----------
    path
        The database.
    since
        How far back from the last score, milliseconds; None for everything.

    Returns
    -------
    list of ScoredSeries
        Ordered by query, model and labels.

    Raises
    ------
    UsageError
        The file has no table `scores`.
    DatasourceError
        It is missing or is no DuckDB database.
    """
    with connect(path, read_only=True) as connection:
        if connection.execute(_SCORES_EXIST).fetchall() == [(0,)]:
            raise UsageError(f"{path} has no table scores; the writer duckdb makes it")
        columns: Mapping[str, Any] = connection.execute(_QUERY, {"since": since}).fetchnumpy()
    written = [
        (query, model, scheduler, metric, Labels(labels), times.astype(np.int64), values)
        for query, model, scheduler, metric, labels, times, values in zip(
            *columns.values(), strict=True
        )
    ]
    return put_together(written)


def put_together(written: Sequence[Written]) -> list[ScoredSeries]:
    """Return series that were written one by one, put together with their outputs.

    Parameters
    ----------
    written
        Each with its metric: the name of an output, perhaps with a prefix and a suffix. What has
        no anomaly score is left out.

    Examples
    --------
    >>> times, values = np.array([60_000]), np.array([0.5])
    >>> labels = Labels({"host": "a", "for": "cpu", "model_alias": "mad"})
    >>> [item] = put_together([
    ...     ("cpu", "mad", "live", "my_anomaly_score", labels, times, values),
    ...     ("cpu", "mad", "live", "my_yhat", labels, times, values),
    ... ])
    >>> item.series, sorted(item.outputs)
    ({host="a"}, ['anomaly_score', 'yhat'])
    """
    names = _names_of({each[3] for each in written})
    schedulers: dict[tuple[str, str], set[str]] = {}
    for query, model, scheduler, *_ in written:
        schedulers.setdefault((query, model), set()).add(scheduler)
    found: dict[tuple[str, str, Labels], dict[str, tuple[IntArray, FloatArray]]] = {}
    for query, model, scheduler, metric, labels, timestamps, values in written:
        if metric not in names:
            continue
        output = names[metric]
        # With several schedulers a model is fitted and scores several times.
        is_one_of_many = len(schedulers[query, model]) > 1
        shown = f"{model} ({scheduler})" if is_one_of_many else model
        # A label that is made of the output differs from output to output.
        differing = [name for name, value in labels.items() if value in (metric, output)]
        series = labels.without(*SERVICE_LABELS, *differing)
        found.setdefault((query, shown, series), {})[output] = (timestamps, values)
    return [
        _on_one_grid(query, model, series, outputs)
        for (query, model, series), outputs in sorted(found.items(), key=_order)
        if ANOMALY_SCORE in outputs
    ]


def _names_of(metrics: set[str]) -> dict[str, str]:
    """Return the outputs by the names of their metrics.

    A prefix and a suffix are recognised, since every query and model has an anomaly score.
    """
    names: dict[str, str] = {}
    for metric in sorted(metrics):
        before, found, after = metric.partition(ANOMALY_SCORE)
        if found:
            names |= {f"{before}{output}{after}": output for output in OUTPUTS}
    return names


def _order(item: tuple[tuple[str, str, Labels], object]) -> tuple[object, ...]:
    query, model, series = item[0]
    return query, model, tuple(series.items())


def _on_one_grid(
    query: str,
    model: str,
    series: Labels,
    outputs: Mapping[str, tuple[IntArray, FloatArray]],
) -> ScoredSeries:
    grid = np.unique(np.concatenate([timestamps for timestamps, _ in outputs.values()]))
    values = {output: np.full(len(grid), np.nan) for output in outputs}
    for output, (timestamps, written) in outputs.items():
        values[output][np.searchsorted(grid, timestamps)] = written
    return ScoredSeries(query, model, series, grid, values)
