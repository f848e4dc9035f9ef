"""The scores that VictoriaMetrics or Prometheus holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import orjson

from vmanomaly.config.reader import HttpQuery, VmReaderSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError
from vmanomaly.http import Guard
from vmanomaly.http.urls import redact_url
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import Reader, create_reader
from vmanomaly.report import ScoredSeries
from vmanomaly.report.contents import ANOMALY_SCORE, INCIDENT_SCORE
from vmanomaly.scores.above import Above, ScoreFilter, Scorer, shared_labels
from vmanomaly.scores.source import (
    ALIASES,
    MOST_POINTS,
    MOST_SERIES,
    OUTPUTS,
    SCORES,
    name_pattern,
    output_labels,
    query_label,
    series_of,
)
from vmanomaly.series import Labels, SeriesBatch, TimeRange

_MODEL, _SCHEDULER, _PRESET = ALIASES
_LOOKBACK_MS = 3_600_000
_MINUTE_MS = 60_000
_COUNTED_LABELS = 8

_FUNCTIONS_OF_OUTPUTS = (
    ("max_over_time", (INCIDENT_SCORE,)),
    ("max_over_time", (ANOMALY_SCORE,)),
    ("last_over_time", tuple(name for name in OUTPUTS if name not in SCORES)),
)
"""The highest score of an interval, and the last of all else; only this keeps names of series."""

Read = Callable[[str, TimeRange, int], SeriesBatch]


class QueriedScores:
    """The scores in a database that is asked over HTTP.

    Parameters
    ----------
    section
        How to connect to it.
    metric_format
        That of the writer: how outputs are named.
    guard
        Says which addresses may be connected to; None allows all.
    """

    def __init__(
        self, section: VmReaderSection, metric_format: Mapping[str, str], guard: Guard | None = None
    ) -> None:
        self._section = section
        self._format = metric_format
        self._guard = guard
        self._query_label = query_label(metric_format)

    @property
    def name(self) -> str:
        """The address, without credentials."""
        return redact_url(self._section.datasource_url)

    def last_timestamp(self, context: RunContext) -> int | None:
        """Return None: scores are as new as the clock."""
        return None

    def above(
        self,
        window: TimeRange,
        step: int,
        threshold: float,
        wanted: ScoreFilter,
        context: RunContext,
    ) -> Above:
        """Return the scores above a threshold, as `ScoreSource` says."""
        incident, anomaly = (
            self._selector((output,), wanted) for output in (INCIDENT_SCORE, ANOMALY_SCORE)
        )
        lookback = max(step, _LOOKBACK_MS)
        # Before Prometheus 3, both ends of an interval belong to it.
        interval = f"{step - 1}ms"
        highest = f"max_over_time({incident}[{interval}]) > {threshold!r}"
        # Where a model writes both, incidents are told by the one.
        others = (
            f"(max_over_time({anomaly}[{interval}]) > {threshold!r}) unless "
            f"ignoring({','.join(output_labels(self._format))}) "
            f"max_over_time({incident}[{lookback}ms])"
        )
        with _Reading(self._section, self._guard, context) as read:
            batches = [read(expr, window, step) for expr in (highest, others)]
            n_series = sum(len(batch.labels) for batch in batches)
            if n_series > MOST_SERIES or n_series * len(batches[0].timestamps) > MOST_POINTS:
                raise DatasourceError(
                    f"{n_series:,} series have scores above {threshold:g}, which are too many to "
                    "show; choose a shorter range, a higher threshold, or a filter",
                    "422",
                )
            n_scored = _count(read, anomaly, window)
            series = [self._scorer(labels).series for batch in batches for labels in batch.labels]
            universal = self._universal(read, wanted, shared_labels(series), n_scored, window)
        scorers: dict[Scorer, int] = {}
        for batch in batches:
            for labels in batch.labels:
                scorers.setdefault(self._scorer(labels), len(scorers))
        scores = np.full((len(scorers), len(batches[0].timestamps)), np.nan)
        for batch in batches:
            for labels, values in zip(batch.labels, batch.values, strict=True):
                row = scores[scorers[self._scorer(labels)]]
                np.fmax(row, values, out=row)
        return Above(list(scorers), batches[0].timestamps, scores, n_scored, universal)

    def outputs(
        self, scorer: Scorer, window: TimeRange, step: int, context: RunContext
    ) -> ScoredSeries | None:
        """Return what a model wrote about a series, as `ScoreSource` says."""
        wanted = ScoreFilter(
            scorer.query, scorer.model, scorer.scheduler, scorer.preset, scorer.series
        )
        found: dict[str, np.ndarray] = {}
        timestamps = window.grid(step)
        with _Reading(self._section, self._guard, context) as read:
            for function, outputs in _FUNCTIONS_OF_OUTPUTS:
                expr = f"{function}({self._selector(outputs, wanted)}[{step - 1}ms])"
                batch = read(expr, window, step)
                for labels, values in zip(batch.labels, batch.values, strict=True):
                    if self._scorer(labels) == scorer:
                        found[self._output(labels, outputs)] = values
        if not found:
            return None
        return ScoredSeries(scorer.query, scorer.model, scorer.series, timestamps, found)

    def _selector(self, outputs: tuple[str, ...], wanted: ScoreFilter) -> str:
        aliases = {
            self._query_label: wanted.query,
            _MODEL: wanted.model,
            _SCHEDULER: wanted.scheduler,
            _PRESET: wanted.preset,
        }
        matchers = {name: value for name, value in aliases.items() if name and value is not None}
        matchers |= wanted.series
        parts = [f"__name__=~{_quoted(name_pattern(self._format, outputs))}"]
        parts += [f"{name}={_quoted(value)}" for name, value in matchers.items()]
        return "{" + ",".join(parts) + "}"

    def _output(self, labels: Mapping[str, str], outputs: tuple[str, ...]) -> str:
        """Return which of the outputs that were asked for together a series is."""
        if len(outputs) == 1:
            return outputs[0]
        name = labels.get("__name__", "")
        patterns = ((output, name_pattern(self._format, (output,))) for output in outputs)
        return next(output for output, pattern in patterns if re.fullmatch(pattern, name))

    def _scorer(self, labels: Mapping[str, str]) -> Scorer:
        return Scorer(
            query=labels.get(self._query_label or "", ""),
            model=labels.get(_MODEL, ""),
            scheduler=labels.get(_SCHEDULER, ""),
            preset=labels.get(_PRESET, ""),
            series=series_of(labels, self._format),
        )

    def _universal(
        self, read: Read, wanted: ScoreFilter, shared: Labels, n_scored: int, window: TimeRange
    ) -> Labels:
        """Return those of some labels that all scored series have."""
        universal = {}
        for name, value in list(shared.items())[:_COUNTED_LABELS]:
            narrowed = replace(wanted, series={**wanted.series, name: value})
            selector = self._selector((ANOMALY_SCORE,), narrowed)
            if _count(read, selector, window) == n_scored:
                universal[name] = value
        return Labels(universal)


class _Reading:
    """A reader for the time of a `with` block, which gives the function that reads."""

    def __init__(self, section: VmReaderSection, guard: Guard | None, context: RunContext) -> None:
        self._section, self._guard, self._context = section, guard, context

    def __enter__(self) -> Read:
        self._reader: Reader = create_reader(self._section, Metrics(), guard=self._guard)
        return self._read

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def _read(self, expr: str, window: TimeRange, step: int) -> SeriesBatch:
        query = HttpQuery(
            alias="scores", expr=expr, step=Duration(step), tenant_id=self._section.tenant_id
        )
        return self._reader.read(query, window, "scores", stage="infer", context=self._context)


def _count(read: Read, selector: str, window: TimeRange) -> int:
    """Return how many series of a selector have a sample in a window."""
    lookback = max(window.end - window.start, _MINUTE_MS)
    end = window.end // _MINUTE_MS * _MINUTE_MS
    expr = f"count(max_over_time({selector}[{lookback}ms]))"
    values = read(expr, TimeRange(end - 1, end), _MINUTE_MS).values
    return int(np.nanmax(values)) if np.isfinite(values).any() else 0


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
