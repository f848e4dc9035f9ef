"""What each parameter of `temporal_envelope` does: the same series with two or three settings."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from benchmarks.figures.alarms import held_alarms
from benchmarks.figures.models import (
    LEGEND,
    OUTPUTS,
    between,
    fit_and_predict,
    incidents_of,
    moment,
    thinned,
)
from benchmarks.figures.plot import WIDTH, Panel, draw, height_of, value_range
from benchmarks.figures.svg import standalone
from vmanomaly.config.model.temporal_envelope import TemporalEnvelopeSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.demo.evaluate import evaluate
from vmanomaly.demo.incidents import Effect, Incident, add, multiply, shift_for_good
from vmanomaly.demo.telemetry import Telemetry
from vmanomaly.model.scoring import score
from vmanomaly.report import ScoredSeries
from vmanomaly.series import FloatArray, IntArray

MODEL = "temporal_envelope"
_CAPTION = 22
_STYLE = """
svg text.setting { font-size: 12.5px; font-weight: 600; fill: var(--text); }
"""


@dataclass(frozen=True)
class Comparison:
    """One series as the model sees it with different settings.

    Attributes
    ----------
    parameter
        What the plot is about.
    settings
        The keys of the model's section, one item a row.
    series
        Values of the labels `metric`, `service` and `instance`.
    unit
        Of its values.
    days
        First and last moment of the plot.
    remark
        What happens to the series, in words.
    changes
        What is done to the telemetry for this plot: begin, end and effect.
    incidents
        The same, of what is to be found: with a name before.
    every
        Minutes between two points.
    """

    parameter: str
    settings: tuple[dict[str, Any], ...]
    series: tuple[str, str, str]
    unit: str
    days: tuple[str, str]
    remark: str
    changes: tuple[tuple[str, str, Effect], ...] = ()
    incidents: tuple[tuple[str, str, str, Effect], ...] = ()
    every: int = 5

    @property
    def name(self) -> str:
        return f"{MODEL}_{self.parameter}"


_CHECKOUT = ("http_requests_per_second", "checkout", "all")

COMPARISONS = (
    Comparison(
        "iqr_threshold",
        ({"iqr_threshold": 2}, {"iqr_threshold": 4}),
        _CHECKOUT,
        "requests/s",
        ("2026-06-08T00:00Z", "2026-06-10T00:00Z"),
        "A third of the traffic is missing",
    ),
    Comparison(
        "quantiles",
        (
            {"quantiles": [0.25, 0.75], "iqr_threshold": 2},
            {"quantiles": [0.01, 0.99], "iqr_threshold": 0},
        ),
        ("queue_messages", "orders", "all"),
        "messages",
        ("2026-06-08T00:00Z", "2026-06-10T12:00Z"),
        "Nothing happens",
    ),
    Comparison(
        "alpha",
        ({"alpha": 0.0005}, {"alpha": 0.005}, {"alpha": 0.05}),
        ("temperature_celsius", "database", "db-1"),
        "°C",
        ("2026-06-13T00:00Z", "2026-06-15T00:00Z"),
        "The weather changes slowly, then a fan fails",
    ),
    Comparison(
        "loss_reactivity",
        ({"loss_reactivity": 5}, {"loss_reactivity": 100}),
        ("http_latency_p99_milliseconds", "payments", "all"),
        "ms",
        ("2026-06-10T12:00Z", "2026-06-12T00:00Z"),
        "An outage on Thursday 4, 11:00 to 13:00, in the fit window; nothing happens now",
    ),
    Comparison(
        "changepoint_window",
        ({"changepoint_window": 16}, {"changepoint_window": 96}),
        ("temperature_celsius", "database", "db-2"),
        "°C",
        ("2026-06-09T12:00Z", "2026-06-11T12:00Z"),
        "An eighth warmer from now on",
        incidents=(
            ("Warmer room", "2026-06-10T08:00Z", "2026-06-10T18:00Z", shift_for_good(1.125)),
        ),
    ),
    Comparison(
        "seasonalities",
        (
            {"seasonalities": []},
            {"seasonalities": ["hod_smooth", "dow_smooth"]},
            {"seasonalities": ["hod_spiky"]},
        ),
        ("cpu_usage_percent", "payments", "payments-1"),
        "%",
        ("2026-06-12T00:00Z", "2026-06-15T00:00Z"),
        "A backup every night, 03:00 to 03:20",
        changes=tuple(
            (f"2026-06-{day:02}T03:00Z", f"2026-06-{day:02}T03:20Z", add(40.0))
            for day in range(1, 15)
        ),
    ),
    Comparison(
        "holidays",
        (
            {"holidays": {}},
            {"holidays": {"special_events": ["2026-06-04", "2026-06-11"]}},
        ),
        _CHECKOUT,
        "requests/s",
        ("2026-06-10T00:00Z", "2026-06-13T00:00Z"),
        "Sales on Thursday 4 and Thursday 11: 60 % more all day",
        changes=(
            ("2026-06-04T00:00Z", "2026-06-05T00:00Z", multiply(1.6)),
            ("2026-06-11T00:00Z", "2026-06-12T00:00Z", multiply(1.6)),
        ),
    ),
    Comparison(
        "forecast_at",
        (
            {"forecast_at": ["1h"], "quantiles": [0.025, 0.975], "iqr_threshold": 0},
            {"forecast_at": ["1d"], "quantiles": [0.025, 0.975], "iqr_threshold": 0},
        ),
        _CHECKOUT,
        "requests/s",
        ("2026-06-11T00:00Z", "2026-06-14T00:00Z"),
        "Forecasts drawn at the time that they are for, the score by them",
    ),
)


def rows(comparison: Comparison, telemetry: Telemetry) -> list[ScoredSeries]:
    """Return the series as it is scored with each of the settings."""
    batch = thinned(telemetry, comparison.series, comparison.every)
    rng = np.random.default_rng(0)
    changes = (*comparison.changes, *(incident[1:] for incident in comparison.incidents))
    for begin, end, effect in changes:
        inside = np.flatnonzero(between(batch.timestamps, (begin, end)))
        effect(batch.values[0], inside[0], inside[-1], rng)
    found = []
    for setting in comparison.settings:
        ahead = setting.get("forecast_at", ())
        wanted = (*OUTPUTS, *(f"{side}_{offset}" for offset in ahead for side in OUTPUTS[2:]))
        predictions = fit_and_predict({"class": MODEL, **setting}, batch, wanted)
        outputs = {name: values[0] for name, values in predictions.outputs.items()}
        for offset in ahead:
            outputs = _due(outputs, offset, predictions.timestamps)
        shown = between(predictions.timestamps, comparison.days)
        found.append(
            ScoredSeries(
                comparison.series[0],
                "anomaly_score",
                batch.labels[0],
                predictions.timestamps[shown],
                {name: values[shown] for name, values in outputs.items()},
            )
        )
    return found


def _due(
    outputs: dict[str, FloatArray], offset: str, timestamps: IntArray
) -> dict[str, FloatArray]:
    """Return the forecasts at the time that they are for, and the score by them."""
    n_steps = Duration.parse(offset) // int(timestamps[1] - timestamps[0])
    blank = np.full(n_steps, np.nan)
    bands = (
        np.concatenate([blank, outputs[f"{side}_{offset}"][:-n_steps]]) for side in OUTPUTS[2:]
    )
    y, (yhat, lower, upper) = outputs["y"], bands
    return dict(zip(OUTPUTS, (score(y, yhat, lower, upper), y, yhat, lower, upper), strict=True))


def figure(comparison: Comparison, telemetry: Telemetry) -> str:
    """Return the plot as an SVG document, the settings below each other on the same axes."""
    scored = rows(comparison, telemetry)
    ranges = [value_range([item]) for item in scored]
    values = min(low for low, _ in ranges), max(high for _, high in ranges)
    incidents = incidents_of(telemetry, scored[0]) + [
        Incident(name, "", comparison.remark, scored[0].series, moment(begin), moment(end))
        for name, begin, end, _ in comparison.incidents
    ]
    parts: list[str] = []
    top = 0
    for number, (item, setting) in enumerate(zip(scored, comparison.settings, strict=True)):
        (evaluation,) = evaluate([item], incidents, held_alarms)
        false = frozenset(evaluation.false_alarms)
        panel = Panel([item], incidents, evaluation.alarms, false, comparison.unit, values)
        drawing = draw(panel, f"{comparison.parameter}-{number}")
        parts.append(f'<text class="setting" x="0" y="{top + 14}">{escape(_text(setting))}</text>')
        parts.append(
            drawing.replace(
                "<svg ",
                f'<svg y="{top + _CAPTION}" width="{WIDTH}" height="{height_of(panel)}" ',
                1,
            )
        )
        top += _CAPTION + height_of(panel)
    metric, service, instance = comparison.series
    rest = "".join(parts)
    return standalone(
        f'<svg viewBox="0 0 {WIDTH} {top}">{rest}</svg>',
        (WIDTH, top),
        f"{comparison.parameter} of {MODEL}, on {metric} of "
        f"{service if instance == 'all' else instance}",
        f"{comparison.remark}; a point every {comparison.every} min; fitted on the first week",
        [(sample, meaning) for sample, meaning in LEGEND if _first_class(sample) in rest],
        _STYLE,
    )


def _first_class(sample: str) -> str:
    """Return `class="..."` of the first element that has one."""
    return sample[sample.index("class=") :].split(" ", maxsplit=1)[0].rstrip("/>")


def _text(setting: dict[str, Any]) -> str:
    text = ", ".join(f"{key}: {_yaml(value)}" for key, value in setting.items())
    chosen, default = (
        TemporalEnvelopeSection.model_validate({"class": MODEL, **keys}).model_dump()
        for keys in (setting, {})
    )
    return f"{text} (default)" if chosen == default else text


def _yaml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    return str(value)
