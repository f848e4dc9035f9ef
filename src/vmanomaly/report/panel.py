"""One series in the report: its values, what was expected, and its scores, model by model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import orjson

from vmanomaly.report.contents import (
    ANOMALY_SCORE,
    INCIDENT_SCORE,
    Alarm,
    Known,
    ScoredSeries,
)
from vmanomaly.report.curves import (
    PLOT_HEIGHT,
    SCORE_CAP,
    SCORE_HEIGHT,
    Axes,
    band_path,
    edges_path,
    expected_path,
    high_points_path,
    incident_score_path,
    score_paths,
    short_number,
    time_ticks,
    value_range,
    value_ticks,
    values_path,
)
from vmanomaly.series import FloatArray, Labels, TimeRange

_WHOLE_WIDTH, _CLOSE_WIDTH = 1000, 400
_WHOLE_HOVER, _CLOSE_HOVER = 240, 120
_STRIP_HEIGHT = SCORE_HEIGHT + 8
_MINUTE = 60_000
_HOVERED = ("y", "yhat", "yhat_lower", "yhat_upper", ANOMALY_SCORE, INCIDENT_SCORE)


@dataclass(frozen=True, slots=True)
class Panel:
    """One series of one query, as every model scored it.

    Attributes
    ----------
    identifier : str
        Unique in the document.
    scored : sequence of ScoredSeries
        The same query and series, one item per model; the expected range of the first is filled.
    alarms : sequence of Alarm
        What the models found.
    false_alarms : set of Alarm
        Those that are known to be wrong.
    known : sequence of Known
        What is known to have happened to the series within the time that was scored.
    unit : str
        Unit of the values.
    threshold : float
        The score above which there is an incident.
    """

    identifier: str
    scored: Sequence[ScoredSeries]
    alarms: Sequence[Alarm]
    false_alarms: frozenset[Alarm]
    known: Sequence[Known]
    unit: str
    threshold: float

    @property
    def query(self) -> str:
        """The alias of the query."""
        return self.scored[0].query

    @property
    def series(self) -> Labels:
        """The labels of the series."""
        return self.scored[0].series

    @property
    def span(self) -> TimeRange:
        """From the first point to the last one, at least a minute."""
        start = min(int(item.timestamps[0]) for item in self.scored)
        end = max(int(item.timestamps[-1]) for item in self.scored)
        return TimeRange(start, max(end, start + _MINUTE))


def draw(panel: Panel) -> str:
    """Return the HTML of a panel: the whole time, and a close-up of the worst that happened."""
    low, high = value_range(panel.scored[0])
    whole = panel.span
    views = [_view(panel, Axes(whole, low, high, _WHOLE_WIDTH), _WHOLE_HOVER, is_whole=True)]
    close = _close_up(panel)
    if close is not None:
        axes = Axes(close, low, high, _CLOSE_WIDTH)
        views.append(_view(panel, axes, _CLOSE_HOVER, is_whole=False))
    pairs = ", ".join(f'{name}="{value}"' for name, value in panel.series.items())
    name = describe(panel.series)
    title = f"{panel.query} · {name}" if name else panel.query
    has_values = np.isfinite(panel.scored[0].output("y")).any()
    note = "" if has_values else '<p class="note">The values (<code>y</code>) were not written.</p>'
    return (
        f'<section class="panel" id="{panel.identifier}"><header><h3>{escape(title)}</h3>'
        f'<code class="labels">{{{escape(pairs)}}}</code></header>'
        f'<div class="views">{"".join(views)}</div>{note}</section>'
    )


def describe(series: Labels) -> str:
    """Return the label values that tell a person which series it is, without the metric.

    Examples
    --------
    >>> describe(Labels({"metric": "cpu", "service": "catalog", "instance": "catalog-1"}))
    'catalog-1'
    >>> describe(Labels({"metric": "http_requests", "service": "catalog", "instance": "all"}))
    'catalog'
    >>> describe(Labels({"host": "a", "disk": "sda"}))
    'sda, a'
    """
    if {"service", "instance"} <= series.keys():
        return series["service"] if series["instance"] == "all" else series["instance"]
    return ", ".join(value for name, value in series.items() if name != "metric")


def _close_up(panel: Panel) -> TimeRange | None:
    """Return the time around what happened, if there is any and it is short enough."""
    whole = panel.span
    if panel.known:
        start, end = panel.known[0].start, panel.known[0].end
    elif panel.alarms:
        # Of the model that the report is about; the others are for comparison.
        first = [alarm for alarm in panel.alarms if alarm.model == panel.scored[0].model]
        worst = max(first or panel.alarms, key=lambda alarm: (alarm.peak, -alarm.start))
        start, end = worst.start, worst.end
    else:
        return None
    step = max(item.step for item in panel.scored)
    margin = max(int(0.75 * (end - start)), 30 * step)
    close = TimeRange(max(start - margin, whole.start), min(end + margin, whole.end))
    length = close.end - close.start
    return close if 0 < length < 0.6 * (whole.end - whole.start) else None


def _view(panel: Panel, axes: Axes, hover: int, *, is_whole: bool) -> str:
    kind = "whole" if is_whole else "close"
    label = f"{panel.query} {panel.series}" + ("" if is_whole else ", close-up")
    strips = "".join(_strip(panel, item, axes) for item in panel.scored)
    return (
        f'<div class="view {kind}" tabindex="0" aria-label="{escape(label)}" '
        f'data-points="{escape(_points(panel, axes, hover))}">'
        f'<div class="above">{_above(panel, axes, is_whole=is_whole)}</div>'
        f'<div class="plot">{_plot(panel, axes)}</div>'
        f'<div class="times">{_times(axes, 8 if is_whole else 4)}</div>{strips}'
        '<div class="cursor"></div></div>'
    )


def _above(panel: Panel, axes: Axes, *, is_whole: bool) -> str:
    if not is_whole:
        return '<span class="middle">close-up</span>'
    parts = [f'<span class="unit">{escape(panel.unit)}</span>']
    for known in panel.known:
        middle = 100 * axes.x((known.start + known.end) / 2) / axes.width
        parts.append(
            f'<span class="name" style="left:{min(max(middle, 12), 88):.1f}%">'
            f"{escape(known.name)}</span>"
        )
    return "".join(parts)


def _plot(panel: Panel, axes: Axes) -> str:
    first, *others = panel.scored
    ticks = value_ticks(axes.low, axes.high)
    heights = axes.y(np.array(ticks, dtype=np.float64))
    grid = "".join(f"M0 {height:.1f}H{axes.width}" for height in heights)
    curves = [("grid", grid), ("band", band_path(first, axes))]
    curves += [("other", edges_path(item, axes)) for item in others]
    curves += [
        ("yhat", expected_path(first, axes)),
        ("y", values_path(first, axes)),
        ("anomaly", high_points_path(first, axes)),
    ]
    svg = _svg(axes.width, PLOT_HEIGHT, _shades(panel, axes, PLOT_HEIGHT) + _paths(curves))
    labels = "".join(
        f'<span class="tick" style="top:{100 * height / PLOT_HEIGHT:.1f}%">{short_number(tick)}'
        "</span>"
        for tick, height in zip(ticks, heights, strict=True)
    )
    return svg + labels


def _times(axes: Axes, wanted: int) -> str:
    ticks = time_ticks(axes.span, wanted)
    return "".join(
        f'<span class="{"odd " if number % 2 else ""}{_side(share)}" '
        f'style="left:{100 * share:.1f}%">{text}</span>'
        for number, (share, text) in enumerate(ticks)
    )


def _side(share: float) -> str:
    return "first" if share < 0.04 else "last" if share > 0.96 else ""


def _strip(panel: Panel, item: ScoredSeries, axes: Axes) -> str:
    calm, high = score_paths(item, axes)
    threshold = SCORE_HEIGHT * (1 - min(panel.threshold, SCORE_CAP) / SCORE_CAP)
    curves = [
        ("calm", calm),
        ("high", high),
        ("threshold", f"M0 {threshold:.1f}H{axes.width}"),
        ("incident-score", incident_score_path(item, axes)),
        ("axis", f"M0 {SCORE_HEIGHT}H{axes.width}"),
    ]
    alarms = "".join(
        _alarm(alarm, axes, is_false=alarm in panel.false_alarms)
        for alarm in panel.alarms
        if alarm.model == item.model
        and alarm.end >= axes.span.start
        and alarm.start <= axes.span.end
    )
    content = _shades(panel, axes, _STRIP_HEIGHT) + _paths(curves) + alarms
    return (
        f'<div class="model">{escape(item.model)}</div><div class="strip">'
        f"{_svg(axes.width, _STRIP_HEIGHT, content)}</div>"
    )


def _alarm(alarm: Alarm, axes: Axes, *, is_false: bool) -> str:
    first, last = axes.x(alarm.start), axes.x(alarm.end)
    width = max(last - first, axes.width / 250)
    return (
        f'<rect class="{"false" if is_false else "alarm"}" x="{first:.1f}" '
        f'y="{SCORE_HEIGHT + 3}" width="{width:.1f}" height="4"/>'
    )


def _shades(panel: Panel, axes: Axes, height: int) -> str:
    parts = []
    for known in panel.known:
        first, last = axes.x(known.start), axes.x(known.end)
        parts.append(
            f'<rect class="known" x="{first:.1f}" y="0" '
            f'width="{max(last - first, axes.width / 400):.1f}" height="{height}"/>'
        )
    return "".join(parts)


def _paths(curves: Sequence[tuple[str, str]]) -> str:
    return "".join(f'<path class="{name}" d="{path}"/>' for name, path in curves if path)


def _svg(width: int, height: int, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">'
        f"{content}</svg>"
    )


def _points(panel: Panel, axes: Axes, most: int) -> str:
    """Return what is shown on hover: the point with the highest score of each column, as JSON."""
    first = panel.scored[0]
    columns, inside = Axes(axes.span, 0, 1, most).columns(first.timestamps)
    score = np.nan_to_num(first.output(first.score_name)[inside], nan=-1.0)
    order = np.lexsort((-score, np.floor(columns)))
    _, starts = np.unique(np.floor(columns)[order], return_index=True)
    chosen = first.timestamps[inside][order[starts]]
    models = []
    for item in panel.scored:
        rows = np.searchsorted(item.timestamps, chosen)
        rows = np.minimum(rows, len(item.timestamps) - 1)
        is_there = item.timestamps[rows] == chosen
        values = {
            name: _numbers(np.where(is_there, item.output(name)[rows], np.nan))
            for name in _HOVERED
            if np.isfinite(item.output(name)).any()
        }
        models.append({"name": item.model, **values})
    content: dict[str, Any] = {
        "start": axes.span.start,
        "end": axes.span.end,
        "unit": panel.unit,
        "t": chosen.tolist(),
        "models": models,
    }
    return orjson.dumps(content).decode()


def _numbers(values: FloatArray) -> list[float | None]:
    """Return values with five significant digits, None where there is none."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]
