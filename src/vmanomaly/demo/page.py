"""The report on the demo, with what was planted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vmanomaly.demo.evaluate import ModelEvaluation
from vmanomaly.demo.incidents import Incident
from vmanomaly.report import Finding, Known, Report, ScoredSeries
from vmanomaly.report import render as render_report
from vmanomaly.report.contents import ANOMALY_SCORE
from vmanomaly.report.page import lasting, or_dash

UNITS = {
    "requests": "req/s",
    "errors": "errors/s",
    "latency_p99": "ms",
    "cpu": "%",
    "memory": "MB",
    "queue": "messages",
    "disk_used": "%",
    "disk_latency": "ms",
    "temperature": "°C",
}
"""Unit of the values of each query in the demo's config file."""


def render(
    scored: Sequence[ScoredSeries],
    incidents: Sequence[Incident],
    evaluations: Sequence[ModelEvaluation],
) -> str:
    """Return the report as an HTML document without external resources.

    Parameters
    ----------
    scored
        What was written, one item for each query, model and series. At least one.
    incidents
        The truth.
    evaluations
        The comparison of the two, one per model, the one that the report is about first.
    """
    return render_report(
        Report(
            title="Anomalies of a small web shop",
            subtitle=(
                "vmanomaly demo. Synthetic telemetry with incidents that are known; scored point "
                "by point,"
            ),
            scored=scored,
            units=UNITS,
            known=[
                Known(
                    incident.name,
                    incident.story,
                    incident.series,
                    incident.start,
                    incident.end,
                    {
                        evaluation.model: Finding(
                            evaluation.findings[row].delay, evaluation.findings[row].max_score
                        )
                        for evaluation in evaluations
                    },
                )
                for row, incident in enumerate(incidents)
            ],
            false_alarms=frozenset(
                alarm for evaluation in evaluations for alarm in evaluation.false_alarms
            ),
            figures=_figures(scored, incidents, evaluations),
        )
    )


def _figures(
    scored: Sequence[ScoredSeries],
    incidents: Sequence[Incident],
    evaluations: Sequence[ModelEvaluation],
) -> list[tuple[str, str]]:
    first = evaluations[0]
    n_series = len({(item.query, item.series) for item in scored})
    n_points = sum(int(np.isfinite(item.output(ANOMALY_SCORE)).sum()) for item in scored)
    models = "one model" if len(evaluations) == 1 else f"{len(evaluations)} models"
    return [
        (f"{first.found} of {len(incidents)}", f"incidents found by {first.model}"),
        (or_dash(first.median_delay, lasting), "median delay of an alarm"),
        (
            or_dash(first.false_alarms_per_series_day, "{:.3f}".format),
            "false alarms per series and day",
        ),
        (f"{n_points:,}", f"scores: {n_series} series, {models}"),
    ]
