"""The scores in the table that the writer `duckdb` wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson

from vmanomaly.context import RunContext
from vmanomaly.duckdb_file import connect, words
from vmanomaly.errors import DatasourceError
from vmanomaly.report import ScoredSeries
from vmanomaly.report.contents import INCIDENT_SCORE
from vmanomaly.scores.above import Above, ScoreFilter, Scorer, shared_labels
from vmanomaly.scores.source import (
    EVIDENCE,
    MOST_POINTS,
    MOST_SERIES,
    OUTPUTS,
    SCORES,
    name_pattern,
    series_of,
)
from vmanomaly.series import IntArray, Labels, TimeRange

# `$pattern` says which metrics; the rows of one scorer differ in their metric only.
_WANTED = """
    regexp_full_match(metric, $pattern)
    AND timestamp > make_timestamp($start * 1000) AND timestamp <= make_timestamp($end * 1000)
    AND ($query IS NULL OR query_key = $query)
    AND ($model IS NULL OR model_alias = $model)
    AND ($scheduler IS NULL OR scheduler_alias = $scheduler)
    AND ($preset IS NULL OR preset = $preset)
"""
_WHO = "query_key, model_alias, scheduler_alias, preset, CAST(labels AS VARCHAR)"
_SCORERS = f"SELECT DISTINCT {_WHO}, metric FROM scores WHERE {_WANTED}"  # noqa: S608 - constants
_HIGHEST = f"""
SELECT {_WHO} AS labels, metric, list(bucket) AS buckets, list(score) AS scores FROM (
    SELECT {_WHO} AS labels, query_key, model_alias, scheduler_alias, preset, metric,
        CAST(ceil(epoch_ms(timestamp) / $step) AS BIGINT) AS bucket, max(value) AS score
    FROM scores WHERE {_WANTED} AND value > $threshold GROUP BY ALL)
GROUP BY ALL
"""  # noqa: S608 - constants
_OUTPUTS = f"""
SELECT metric, CAST(labels AS VARCHAR), CAST(ceil(epoch_ms(timestamp) / $step) AS BIGINT) AS bucket,
    max(value) AS highest, arg_max(value, timestamp) AS last
FROM scores WHERE {_WANTED} GROUP BY ALL
"""  # noqa: S608 - constants
_LAST = "SELECT epoch_ms(max(timestamp)) FROM scores"
_EXISTS = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'scores'"


class StoredScores:
    """The scores in a DuckDB file.

    Parameters
    ----------
    path
        The database.
    metric_format
        That of the writer: how outputs are named.
    """

    def __init__(self, path: Path, metric_format: Mapping[str, str]) -> None:
        self._path = path
        self._format = metric_format

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    def last_timestamp(self, context: RunContext) -> int | None:
        """Return the newest timestamp, Unix milliseconds; None where nothing is written yet."""
        rows = self._ask(_LAST, {}, context)
        last: int | None = rows[0][0] if rows else None
        return last

    def above(
        self,
        window: TimeRange,
        step: int,
        threshold: float,
        wanted: ScoreFilter,
        context: RunContext,
    ) -> Above:
        """Return the scores above a threshold, as `ScoreSource` says."""
        pattern = name_pattern(self._format, SCORES)
        arguments = self._arguments(pattern, window, wanted)
        all_rows = self._ask(_SCORERS, arguments, context)
        scored = {self._scorer(row[:5]) for row in all_rows}
        scored = {scorer for scorer in scored if wanted.series.items() <= scorer.series.items()}
        # Where a model writes both, incidents are told by the one.
        by_incident = {self._scorer(row[:5]) for row in all_rows if INCIDENT_SCORE in row[5]}
        timestamps = _ends_of_intervals(window, step)
        first = window.start // step + 1
        found: dict[Scorer, np.ndarray] = {}
        for row in self._ask(_HIGHEST, arguments | {"step": step, "threshold": threshold}, context):
            scorer = self._scorer(row[:5])
            is_other = scorer in by_incident and INCIDENT_SCORE not in row[5]
            if scorer not in scored or is_other:
                continue
            scores = found.setdefault(scorer, np.full(len(timestamps), np.nan))
            scores[np.array(row[6]) - first] = row[7]
            if len(found) > MOST_SERIES or len(found) * len(timestamps) > MOST_POINTS:
                raise DatasourceError(
                    f"More than {len(found) - 1:,} series have scores above {threshold:g}, which "
                    "are too many to show; choose a shorter range, a higher threshold, or a filter",
                    "422",
                )
        return Above(
            list(found),
            timestamps,
            np.array(list(found.values())).reshape(len(found), len(timestamps)),
            len(scored),
            shared_labels([scorer.series for scorer in scored]),
        )

    def outputs(
        self, scorer: Scorer, window: TimeRange, step: int, context: RunContext
    ) -> ScoredSeries | None:
        """Return what a model wrote about a series, as `ScoreSource` says."""
        wanted = ScoreFilter(scorer.query, scorer.model, scorer.scheduler, scorer.preset)
        arguments = self._arguments(name_pattern(self._format, OUTPUTS), window, wanted)
        rows = self._ask(_OUTPUTS, arguments | {"step": step}, context)
        metrics = self._outputs_by_metric({row[0] for row in rows})
        timestamps = _ends_of_intervals(window, step)
        first = window.start // step + 1
        found: dict[str, np.ndarray] = {}
        for metric, labels, bucket, highest, last in rows:
            if self._series(labels) != scorer.series:
                continue
            output = metrics[metric]
            values = found.setdefault(output, np.full(len(timestamps), np.nan))
            is_score = output in (*SCORES, *EVIDENCE)
            values[bucket - first] = highest if is_score else last
        if not found:
            return None
        return ScoredSeries(scorer.query, scorer.model, scorer.series, timestamps, found)

    def _outputs_by_metric(self, metrics: set[str]) -> dict[str, str]:
        patterns = [(output, name_pattern(self._format, (output,))) for output in OUTPUTS]
        return {
            metric: next(output for output, pattern in patterns if re.fullmatch(pattern, metric))
            for metric in metrics
        }

    def _arguments(self, pattern: str, window: TimeRange, wanted: ScoreFilter) -> dict[str, object]:
        return {
            "pattern": pattern,
            "start": window.start,
            "end": window.end,
            "query": wanted.query,
            "model": wanted.model,
            "scheduler": wanted.scheduler,
            "preset": wanted.preset,
        }

    def _ask(
        self, statement: str, arguments: Mapping[str, object], context: RunContext
    ) -> list[tuple[Any, ...]]:
        """Return the rows of an answer; none while there is no table, or no file."""
        if not self._path.exists():
            return []
        with connect(self._path, read_only=True, context=context) as connection:
            try:
                if connection.execute(_EXISTS).fetchall() == [(0,)]:
                    return []
                return connection.execute(statement, arguments).fetchall()
            except duckdb.InterruptException:
                context.check()
                raise
            except duckdb.Error as error:
                raise DatasourceError(f"{self._path}: {words(error)}", "io_error") from error

    def _scorer(self, row: tuple[Any, ...]) -> Scorer:
        query, model, scheduler, preset, labels = row
        return Scorer(query, model, scheduler, preset, self._series(labels))

    def _series(self, labels: str) -> Labels:
        return series_of(orjson.loads(labels), self._format)


def _ends_of_intervals(window: TimeRange, step: int) -> IntArray:
    """Return the ends of the intervals that a window reaches into."""
    return TimeRange(window.start, -(-window.end // step) * step).grid(step)
