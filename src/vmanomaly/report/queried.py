"""The scores of a run, read from VictoriaMetrics or Prometheus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson

from vmanomaly.config.reader import HttpQuery, VmReaderSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.errors import UsageError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader
from vmanomaly.report.contents import ANOMALY_SCORE, INCIDENT_SCORE, OUTPUTS, ScoredSeries
from vmanomaly.report.stored import Written, put_together
from vmanomaly.series import Labels, SeriesBatch, TimeRange

MOST_POINTS = 50_000_000
"""Points that are read; more are refused, since they are held in memory."""

_MINUTE = Duration(60_000)


def read_queried(
    section: VmReaderSection,
    time_range: TimeRange,
    step: Duration,
    prefix: str = "",
    matchers: str = "",
) -> list[ScoredSeries]:
    """Return the scores that a database holds, one item for each query, model and series.

    Parameters
    ----------
    section
        How to connect to it.
    time_range
        After its start, up to and including its end.
    step
        Milliseconds between two points. Of a longer interval than that of the scores, the highest
        score is taken, and the last of everything else.
    prefix
        What the writer puts before the names of outputs.
    matchers
        More matchers of labels, such as `for="cpu"`.

    Returns
    -------
    list of ScoredSeries
        Ordered by query, model and labels.

    Raises
    ------
    DatasourceError
        The server cannot be reached or refuses the query.
    UsageError
        There is too much to be shown.
    """
    selector = selector_of(prefix, matchers)
    interval = f"{max(int(step) - 1, 1)}ms"  # before Prometheus 3, both ends belong to it
    length = time_range.end - time_range.start
    reader = create_reader(section, Metrics())

    def read(expr: str, within: TimeRange, step: Duration = step) -> SeriesBatch:
        query = HttpQuery(alias="scores", expr=expr, step=step, tenant_id=section.tenant_id)
        return reader.read(query, within, "report", stage="fit")

    try:
        # A server may answer late for its last half minute.
        lately = TimeRange(time_range.end - 5 * int(_MINUTE), time_range.end)
        counting = f"count(last_over_time({selector}[{max(length // 1000, 1)}s])) by (__name__)"
        counts = read(counting, lately, _MINUTE)
        _check_size(_n_series(counts), length // int(step))
        written = []
        for metric in sorted(labels["__name__"] for labels in counts.labels):
            exactly = _selector(f"__name__={orjson.dumps(metric).decode()}", matchers)
            batch = read(f"{_function_of(metric)}({exactly}[{interval}])", time_range)
            written += _written(metric, batch)
    finally:
        reader.close()
    return put_together(written)


def selector_of(prefix: str = "", matchers: str = "", outputs: Sequence[str] = OUTPUTS) -> str:
    """Return the selector of some outputs, by default of all that a report shows.

    Examples
    --------
    >>> selector_of("my_", 'for="cpu"')
    '{__name__=~"my_(anomaly_score|incident_score|y|yhat|yhat_lower|yhat_upper)",for="cpu"}'
    """
    return _selector(f'__name__=~"{prefix}({"|".join(outputs)})"', matchers)


def _selector(name: str, matchers: str) -> str:
    return "{" + ",".join([name, *([matchers] if matchers else [])]) + "}"


def _n_series(counts: SeriesBatch) -> int:
    return int(np.nan_to_num(counts.values).max(axis=1, initial=0).sum())


def _function_of(metric: str) -> str:
    is_score = ANOMALY_SCORE in metric or INCIDENT_SCORE in metric
    return "max_over_time" if is_score else "last_over_time"


def _written(metric: str, batch: SeriesBatch) -> list[Written]:
    """Return the series of one output."""
    written: list[Written] = []
    for labels, values in zip(batch.labels, batch.values, strict=True):
        there = np.isfinite(values)
        written.append(
            (
                labels.get("for", "scores"),
                labels.get("model_alias", "model"),
                labels.get("scheduler_alias", ""),
                metric,
                Labels(labels),
                batch.timestamps[there],
                values[there],
            )
        )
    return written


def _check_size(n_series: int, n_points: int) -> None:
    if n_series * n_points > MOST_POINTS:
        raise UsageError(
            f"{n_series:,} series of {n_points:,} points are too many for a report; read fewer "
            f"with --match or --since, or choose a longer --step ({ANOMALY_SCORE} and the other "
            "outputs are a series each)"
        )
