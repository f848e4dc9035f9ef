"""A plot of each online model: a demo series, what the model expected, and what it scored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from benchmarks.figures.alarms import held_alarms
from benchmarks.figures.plot import LEGEND as REPORT_LEGEND
from benchmarks.figures.plot import WIDTH, Panel, draw, height_of
from benchmarks.figures.svg import standalone
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.demo.evaluate import evaluate
from vmanomaly.demo.incidents import Incident
from vmanomaly.demo.telemetry import DAY, STEP, Telemetry
from vmanomaly.detector import UnivariateDetector
from vmanomaly.model import create_model
from vmanomaly.model.scoring import Policy
from vmanomaly.report import ScoredSeries
from vmanomaly.series import BoolArray, IntArray, Labels, Predictions, SeriesBatch

OUTPUTS = ("anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper")
LEGEND = [
    (sample, meaning.replace(", {first}", ""))
    for sample, meaning in REPORT_LEGEND
    if "{others}" not in meaning
]


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
        {"class": "temporal_envelope"},
        ("cpu_usage_percent", "catalog", "catalog-1"),
        "%",
        ("2026-06-11T00:00Z", "2026-06-13T00:00Z"),
    ),
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
    batch = thinned(telemetry, scene.series, scene.every)
    predictions = fit_and_predict(scene.keys, batch, OUTPUTS)
    shown = between(predictions.timestamps, scene.days)
    return ScoredSeries(
        query=scene.series[0],
        model="anomaly_score",
        series=batch.labels[0],
        timestamps=predictions.timestamps[shown],
        outputs={name: found[0, shown] for name, found in predictions.outputs.items()},
    )


def thinned(telemetry: Telemetry, series: tuple[str, str, str], every: int) -> SeriesBatch:
    """Return one series of the telemetry, a copy of a point every so many minutes."""
    labels = Labels(zip(("metric", "service", "instance"), series, strict=True))
    row = telemetry.batch.labels.index(labels)
    values = telemetry.batch.values[row : row + 1, ::every].copy()
    return SeriesBatch((labels,), telemetry.batch.timestamps[::every], values)


def fit_and_predict(
    keys: dict[str, Any], batch: SeriesBatch, outputs: tuple[str, ...]
) -> Predictions:
    """Fit the first week of a batch, and predict every point of the second before learning it."""
    step = int(batch.timestamps[1] - batch.timestamps[0])
    n_past = 7 * DAY * STEP // step
    query = Query.model_validate({"alias": "q", "expr": "q", "step": f"{step}ms"})
    model = create_model(MODELS[str(keys["class"])].section.model_validate(keys), query)
    past, present = (
        SeriesBatch(batch.labels, batch.timestamps[part], batch.values[:, part].copy())
        for part in (slice(None, n_past), slice(n_past, None))
    )
    detector = UnivariateDetector(model, Policy(), outputs)
    learned, _ = detector.fit([past])
    _, result = detector.infer(learned, [present], np.arange(len(present.timestamps)))
    return result.parts[0].predictions


def moment(text: str) -> int:
    """Return an ISO time as Unix milliseconds."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def between(timestamps: IntArray, days: tuple[str, str]) -> BoolArray:
    """Return which timestamps lie between two moments, these included."""
    start, end = map(moment, days)
    return (timestamps >= start) & (timestamps <= end)


def incidents_of(telemetry: Telemetry, scored: ScoredSeries) -> list[Incident]:
    """Return what happened to a series while it was scored."""
    start, end = scored.timestamps[[0, -1]]
    return [
        incident
        for incident in telemetry.incidents
        if incident.series == scored.series and start <= incident.end and incident.start <= end
    ]


def figure(scene: Scene, telemetry: Telemetry) -> str:
    """Return the plot as an SVG document."""
    scored = score(scene, telemetry)
    incidents = incidents_of(telemetry, scored)
    (evaluation,) = evaluate([scored], incidents, held_alarms)
    panel = Panel(
        [scored],
        incidents,
        evaluation.alarms,
        frozenset(evaluation.false_alarms),
        scene.unit,
    )
    parameters = ", ".join(f"{key}: {value}" for key, value in scene.keys.items() if key != "class")
    parameters = parameters or "default parameters"
    metric, service, instance = scene.series
    heading = f"{scene.alias} on {metric} of {service if instance == 'all' else instance}"
    remark = f"{parameters}; a point every {scene.every} min; fitted on the first week"
    return standalone(draw(panel, scene.alias), (WIDTH, height_of(panel)), heading, remark, LEGEND)
