"""A plot of each online model: a demo series, what the model expected, and what it scored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from benchmarks.figures.svg import standalone
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.demo.evaluate import ScoredSeries, evaluate
from vmanomaly.demo.plot import WIDTH, Panel, draw, height_of
from vmanomaly.demo.report import LEGEND
from vmanomaly.demo.telemetry import DAY, STEP, Telemetry
from vmanomaly.model import create_model
from vmanomaly.model.scoring import Policy, predict
from vmanomaly.series import Labels, SeriesBatch, TimeRange

OUTPUTS = ("anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper")


@dataclass(frozen=True)
class Scene:
    """What one plot shows.

    Attributes
    ----------
    keys
        The model's section.
    series
        Values of the labels `metric`, `service` and `instance`.
    unit
        Of its values.
    days
        First and last moment of the plot.
    every
        Minutes between two points.
    """

    keys: dict[str, Any]
    series: tuple[str, str, str]
    unit: str
    days: tuple[str, str]
    every: int = 1

    @property
    def alias(self) -> str:
        return str(self.keys["class"])


SCENES = (
    Scene(
        {"class": "zscore_online", "z_threshold": 4},
        ("disk_write_latency_milliseconds", "database", "db-1"),
        "ms",
        ("2026-06-12T00:00Z", "2026-06-14T00:00Z"),
    ),
    Scene(
        {"class": "mad_online", "threshold": 4},
        ("http_latency_p99_milliseconds", "payments", "all"),
        "ms",
        ("2026-06-09T00:00Z", "2026-06-11T00:00Z"),
    ),
    Scene(
        {
            "class": "quantile_online",
            "quantiles": [0.25, 0.5, 0.75],
            "iqr_threshold": 3,
            "seasonal_interval": "7d",
            "min_subseason": "30m",
            "history_strength": 8,
        },
        ("http_requests_per_second", "checkout", "all"),
        "requests/s",
        ("2026-06-08T00:01Z", "2026-06-10T00:00Z"),
    ),
    Scene(
        {"class": "rolling_quantile", "quantile": 0.9, "window_steps": 60, "iqr_threshold": 3},
        ("queue_messages", "orders", "all"),
        "messages",
        ("2026-06-10T12:00Z", "2026-06-12T00:00Z"),
    ),
    Scene(
        {"class": "std", "period": 288, "z_threshold": 4},
        ("temperature_celsius", "database", "db-1"),
        "°C",
        ("2026-06-12T00:00Z", "2026-06-15T00:00Z"),
        every=5,
    ),
)


def score(scene: Scene, telemetry: Telemetry) -> ScoredSeries:
    """Fit the first week of the series, and score the days to show point by point."""
    labels = Labels(zip(("metric", "service", "instance"), scene.series, strict=True))
    row = telemetry.batch.labels.index(labels)
    values = telemetry.batch.values[row : row + 1, :: scene.every]
    timestamps = telemetry.batch.timestamps[:: scene.every]
    n_past = 7 * DAY // scene.every
    query = Query.model_validate({"alias": "q", "expr": "q", "step": f"{scene.every * STEP}ms"})
    model = create_model(MODELS[scene.alias].section.model_validate(scene.keys), query)
    state = model.fit(SeriesBatch((labels,), timestamps[:n_past], values[:, :n_past].copy()))
    present = SeriesBatch((labels,), timestamps[n_past:], values[:, n_past:].copy())
    output = model.infer(state, present, np.arange(len(present.timestamps), dtype=np.int64))
    predictions = predict(present, output, Policy(), OUTPUTS)
    start, end = (datetime.fromisoformat(moment).timestamp() * 1000 for moment in scene.days)
    shown = (present.timestamps >= start) & (present.timestamps <= end)
    return ScoredSeries(
        query=scene.series[0],
        model="anomaly_score",
        series=labels,
        timestamps=present.timestamps[shown],
        outputs={name: found[0, shown] for name, found in predictions.outputs.items()},
    )


def figure(scene: Scene, telemetry: Telemetry) -> str:
    """Return the plot as an SVG document."""
    scored = score(scene, telemetry)
    span = TimeRange(int(scored.timestamps[0]), int(scored.timestamps[-1]))
    incidents = [
        incident
        for incident in telemetry.incidents
        if incident.series == scored.series
        and span.start <= incident.end
        and incident.start <= span.end
    ]
    (evaluation,) = evaluate([scored], incidents)
    panel = Panel(
        [scored],
        incidents,
        evaluation.alarms,
        frozenset(evaluation.false_alarms),
        scene.unit,
    )
    parameters = ", ".join(f"{key}: {value}" for key, value in scene.keys.items() if key != "class")
    metric, service, instance = scene.series
    heading = f"{scene.alias} on {metric} of {service if instance == 'all' else instance}"
    remark = f"{parameters}; a point every {scene.every} min; fitted on the first week"
    legend = [
        (sample, meaning.replace(", {first}", ""))
        for sample, meaning in LEGEND
        if "{others}" not in meaning
    ]
    return standalone(draw(panel, scene.alias), (WIDTH, height_of(panel)), heading, remark, legend)
