"""A detection as an HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmanomaly.report import Report, ScoredSeries, render

if TYPE_CHECKING:
    from vmanomaly.analysis.detection import Detection

QUERY = "series"


def render_detection(detection: Detection, threshold: float) -> str:
    """Return the report on a detection; see `Detection.report`."""
    model = detection.model.class_name
    scored = [
        ScoredSeries(
            QUERY,
            model,
            labels,
            detection.timestamps,
            {name: values[row] for name, values in detection.outputs.items()},
        )
        for row, labels in enumerate(detection.labels)
    ]
    subtitle = f"Found by {model}, a point every {detection.step}."
    return render(Report("Anomalies", subtitle, scored, threshold=threshold))
