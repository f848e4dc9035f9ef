"""Plots of scored series as SVG that stands by itself, for pages that show pictures.

The report of `vmanomaly.report` needs the width of its page; a picture has one of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from math import ceil

import numpy as np

from vmanomaly.demo.incidents import Incident
from vmanomaly.report import Alarm, ScoredSeries
from vmanomaly.report.curves import extremes, line_path, value_ticks
from vmanomaly.series import BoolArray, FloatArray, IntArray, TimeRange

WIDTH = 1180
_LEFT = 92
_GAP = 34
_ZOOM_WIDTH = 330
_TOP = 22
_PLOT_HEIGHT = 150
_STRIP_HEIGHT = 22
_STRIP_GAP = 9
_SCORE_CAP = 3.0
_HOUR = 3_600_000
_TIME_STEPS = [
    _HOUR // 60 * m for m in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200)
]


LEGEND = (
    ('<path class="y" d="M0 8L7 3 13 9 19 4 26 7"/>', "value"),
    (
        '<path class="band" d="M0 1H26V11H0Z"/><path class="yhat" d="M0 6H26"/>',
        "expected, {first}",
    ),
    ('<path class="other" d="M0 2H26M0 10H26"/>', "band of {others}"),
    ('<rect class="incident" width="26" height="12"/>', "planted incident"),
    ('<path class="anomaly" d="M13 6h0"/>', "value with a score above 1, {first}"),
    (
        (
            '<path class="calm" stroke-width="3" d="M5 12V8"/>'
            '<path class="high" stroke-width="3" d="M13 12V1"/>'
            '<path class="threshold" d="M0 6H26"/>'
        ),
        "anomaly score, up to 3; dotted: 1",
    ),
    ('<rect class="alarm" y="4" width="26" height="4"/>', "alarm that found it"),
    ('<rect class="false" x="1" y="4" width="24" height="4"/>', "false alarm"),
)


@dataclass(frozen=True, slots=True)
class Panel:
    """One series of one query, as every model scored it.

    Attributes
    ----------
    scored : sequence of ScoredSeries
        The same query and series, one item per model; the first model's band is filled.
    incidents : sequence of Incident
        What happened to the series within the time that was scored.
    false_alarms : set of Alarm
        The alarms that no incident explains.
    alarms : sequence of Alarm
        Every alarm on the series.
    unit : str
        Unit of the values, for the axis.
    values : tuple of two floats or None
        Ends of the value axis; None for those of `value_range`.
    """

    scored: Sequence[ScoredSeries]
    incidents: Sequence[Incident]
    alarms: Sequence[Alarm]
    false_alarms: frozenset[Alarm]
    unit: str
    values: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where a span of time and a range of values lie on the canvas."""

    left: int
    width: int
    span: TimeRange
    low: float
    high: float

    def x(self, timestamp: float) -> float:
        return self.left + (timestamp - self.span.start) / (self.span.end - self.span.start) * (
            self.width
        )

    def y(self, value: FloatArray) -> FloatArray:
        return _TOP + _PLOT_HEIGHT * (self.high - value) / (self.high - self.low)

    def clamp(self, timestamp: int) -> float:
        return float(np.clip(self.x(timestamp), self.left, self.left + self.width))


def draw(panel: Panel, identifier: str) -> str:
    """Return an `svg` element: values, bands, incidents, anomalies and scores.

    Parameters
    ----------
    panel
        What to draw. With an incident a second plot to the right looks at it closely.
    identifier
        Unique in the document; names the clip paths.
    """
    timestamps = panel.scored[0].timestamps
    first, last = int(timestamps[0]), int(timestamps[-1])
    whole = TimeRange(first, max(last, first + _HOUR // 60))
    low, high = panel.values or value_range(panel.scored)
    if panel.incidents:
        width = WIDTH - _LEFT - _GAP - _ZOOM_WIDTH
        views = [
            _Axes(_LEFT, width, whole, low, high),
            _Axes(_LEFT + width + _GAP, _ZOOM_WIDTH, _around(panel.incidents[0], whole), low, high),
        ]
    else:
        views = [_Axes(_LEFT, WIDTH - _LEFT - 2, whole, low, high)]
    height = height_of(panel)
    parts = [_value_axis(views[0], panel.unit)]
    for number, axes in enumerate(views):
        clip = f"{identifier}-{number}"
        parts.append(
            f'<clipPath id="{clip}"><rect x="{axes.left}" y="{_TOP}" width="{axes.width}" '
            f'height="{_PLOT_HEIGHT}"/></clipPath>'
        )
        parts.append(_incidents(panel.incidents, axes, height - 4, named=number == 0))
        parts.append(_grid(axes))
        parts.append(f'<g clip-path="url(#{clip})">{_curves(panel.scored, axes)}</g>')
        parts.append(_time_axis(axes))
        for row, item in enumerate(panel.scored):
            parts.append(_strip(item, panel, axes, _strip_top(row), named=number == 0))
    title = escape(f"{panel.scored[0].query} {panel.scored[0].series}")
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img"><title>{title}</title>'
        + "".join(parts)
        + "</svg>"
    )


def height_of(panel: Panel) -> int:
    """Return the height of what `draw` returns, which is `WIDTH` wide."""
    return _strip_top(len(panel.scored)) + 4


def _strip_top(row: int) -> int:
    return _TOP + _PLOT_HEIGHT + 26 + row * (_STRIP_HEIGHT + _STRIP_GAP)


def _around(incident: Incident, whole: TimeRange) -> TimeRange:
    """Return the span of an incident with some time before and after, within `whole`."""
    margin = max(int(0.75 * (incident.end - incident.start)), _HOUR // 2)
    return TimeRange(
        max(incident.start - margin, whole.start), min(incident.end + margin, whole.end)
    )


def value_range(scored: Sequence[ScoredSeries]) -> tuple[float, float]:
    """Return the ends of the value axis: every value, and most of the first model's band."""
    outputs = scored[0].outputs
    edges = [outputs["y"][~np.isnan(outputs["y"])]]
    for name in ("yhat_lower", "yhat_upper"):
        band = outputs[name][np.isfinite(outputs[name])]
        if band.size:
            edges.append(np.percentile(band, [2, 98]))
    values = np.concatenate(edges)
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    pad = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - pad, high + pad


def _value_axis(axes: _Axes, unit: str) -> str:
    labels = [
        f'<text class="tick" x="{axes.left - 8}" y="{float(axes.y(np.array(value))) + 4:.1f}" '
        f'text-anchor="end">{value:,.10g}</text>'
        for value in value_ticks(axes.low, axes.high, 4)
    ]
    labels.append(
        f'<text class="unit" x="{axes.left - 8}" y="{_TOP - 9}" text-anchor="end">'
        f"{escape(unit)}</text>"
    )
    return "".join(labels)


def _grid(axes: _Axes) -> str:
    right = axes.left + axes.width
    path = "".join(
        f"M{axes.left} {float(axes.y(np.array(value))):.1f}H{right}"
        for value in value_ticks(axes.low, axes.high, 4)
    )
    base = _TOP + _PLOT_HEIGHT
    return f'<path class="grid" d="{path}"/><path class="axis" d="M{axes.left} {base}H{right}"/>'


def _time_axis(axes: _Axes) -> str:
    span = axes.span.end - axes.span.start
    wanted = axes.width / 95
    step = next((s for s in _TIME_STEPS if span / s <= wanted), _TIME_STEPS[-1])
    base = _TOP + _PLOT_HEIGHT
    parts = []
    slack = span // 500
    first = ceil((axes.span.start - slack) / step) * step
    for timestamp in range(first, axes.span.end + 1, step):
        moment = datetime.fromtimestamp(timestamp / 1000, UTC)
        text = f"{moment:%a} {moment.day} {moment:%b}" if step >= 24 * _HOUR else f"{moment:%H:%M}"
        if step < 24 * _HOUR and moment.hour == 0 and moment.minute == 0:
            text = f"{moment:%a} {moment.day}"
        x = max(axes.x(timestamp), axes.left)
        if step >= 24 * _HOUR and x + 60 > axes.left + axes.width:
            continue
        anchor = "start" if step >= 24 * _HOUR or x - axes.left < 15 else "middle"
        if anchor == "middle" and x + 15 > axes.left + axes.width:
            anchor = "end"
        parts.append(f'<path class="axis" d="M{x:.1f} {base}v5"/>')
        parts.append(
            f'<text class="tick" x="{x + (3 if anchor == "start" else 0):.1f}" y="{base + 16}" '
            f'text-anchor="{anchor}">{text}</text>'
        )
    return "".join(parts)


def _incidents(incidents: Sequence[Incident], axes: _Axes, bottom: int, *, named: bool) -> str:
    parts = []
    for incident in incidents:
        first, last = axes.clamp(incident.start), axes.clamp(incident.end)
        width = max(last - first, 2.0)
        parts.append(
            f'<rect class="incident" x="{first:.1f}" y="{_TOP}" width="{width:.1f}" '
            f'height="{bottom - _TOP}"><title>{escape(incident.name)}: {escape(incident.story)}'
            "</title></rect>"
        )
        if named:
            middle = (first + last) / 2
            parts.append(
                f'<text class="name" x="{np.clip(middle, axes.left + 50, WIDTH - 60):.1f}" '
                f'y="{_TOP - 7}" text-anchor="middle">{escape(incident.name)}</text>'
            )
        else:
            parts.append(
                f'<text class="tick" x="{axes.left + axes.width / 2:.1f}" y="{_TOP - 7}" '
                'text-anchor="middle">close-up</text>'
            )
    return "".join(parts)


def _curves(scored: Sequence[ScoredSeries], axes: _Axes) -> str:
    parts = []
    for number, item in enumerate(scored):
        columns, inside = _columns(item.timestamps, axes)
        if not columns.size:
            continue
        x, lower, _ = extremes(columns, item.outputs["yhat_lower"][inside])
        upper_x, _, upper = extremes(columns, item.outputs["yhat_upper"][inside])
        lower_y, upper_y = _clip(axes.y(lower)), _clip(axes.y(upper))
        if number == 0:
            outline = line_path(x, lower_y) + line_path(upper_x[::-1], upper_y[::-1]).replace(
                "M", "L", 1
            )
            parts.append(f'<path class="band" d="{outline}Z"/>')
            middle_x, middle, top = extremes(columns, item.outputs["yhat"][inside])
            parts.append(
                f'<path class="yhat" d="{line_path(middle_x, _clip(axes.y((middle + top) / 2)))}"/>'
            )
        else:
            outline = line_path(x, lower_y) + line_path(upper_x, upper_y)
            parts.append(f'<path class="other" d="{outline}"/>')
    item = scored[0]
    columns, inside = _columns(item.timestamps, axes)
    if columns.size:
        parts.append(_values(item, columns, inside, axes))
    return "".join(parts)


def _values(item: ScoredSeries, columns: FloatArray, inside: BoolArray, axes: _Axes) -> str:
    """Return the line of the values, broken where samples are missing, and the anomalies."""
    present = ~np.isnan(item.outputs["y"][inside])
    columns = columns[present]
    timestamps = item.timestamps[inside][present]
    values = item.outputs["y"][inside][present]
    score = item.outputs["anomaly_score"][inside][present]
    if not values.size:
        return ""
    step = int(np.median(np.diff(timestamps))) if len(timestamps) > 1 else 1
    pieces = np.flatnonzero(np.diff(timestamps) > 5 * step) + 1
    path = []
    for piece_columns, piece in zip(
        np.split(columns, pieces), np.split(values, pieces), strict=True
    ):
        x, low, high = extremes(piece_columns, piece)
        if np.array_equal(low, high):
            path.append(line_path(x, axes.y(high)))
        else:
            rising = np.column_stack([low, high])
            rising[1::2] = rising[1::2, ::-1]
            path.append(line_path(np.repeat(x, 2), axes.y(rising.ravel())))
    parts = [f'<path class="y" d="{"".join(path)}"/>']
    above = np.flatnonzero(score > 1)
    if above.size:
        order = above[np.lexsort((-score[above], columns[above]))]
        _, first = np.unique(columns[order], return_index=True)
        dots = "".join(
            f"M{columns[index]:.4g} {y:.1f}h0"
            for index, y in zip(order[first], axes.y(values[order[first]]), strict=True)
        )
        parts.append(f'<path class="anomaly" d="{dots}"/>')
    return "".join(parts)


def _strip(item: ScoredSeries, panel: Panel, axes: _Axes, top: int, *, named: bool) -> str:
    """Return the strip of one model's scores with its alarms below."""
    base = top + _STRIP_HEIGHT
    right = axes.left + axes.width
    parts = [f'<path class="axis" d="M{axes.left} {base}H{right}"/>']
    columns, inside = _columns(item.timestamps, axes)
    score = item.outputs["anomaly_score"][inside]
    if columns.size:
        x, _, peak = extremes(columns[~np.isnan(score)], score[~np.isnan(score)])
        height = np.minimum(peak, _SCORE_CAP) / _SCORE_CAP * _STRIP_HEIGHT
        width = 1.15 * axes.width / max(len(np.unique(columns)), 1)
        for name, chosen in (("calm", (peak <= 1) & (height >= 0.5)), ("high", peak > 1)):
            bars = "".join(
                f"M{a:.4g} {base}v{-h:.1f}" for a, h in zip(x[chosen], height[chosen], strict=True)
            )
            if bars:
                parts.append(
                    f'<path class="{name}" stroke-width="{max(width, 1):.2f}" d="{bars}"/>'
                )
    threshold = base - _STRIP_HEIGHT / _SCORE_CAP
    parts.append(f'<path class="threshold" d="M{axes.left} {threshold:.1f}H{right}"/>')
    for alarm in panel.alarms:
        if alarm.model != item.model:
            continue
        if alarm.end < axes.span.start or alarm.start > axes.span.end:
            continue
        first, last = axes.clamp(alarm.start), axes.clamp(alarm.end)
        name = "false" if alarm in panel.false_alarms else "alarm"
        parts.append(
            f'<rect class="{name}" x="{first:.1f}" y="{base + 1.5}" '
            f'width="{max(last - first, 2):.1f}" height="4"/>'
        )
    if named:
        parts.append(
            f'<text class="model" x="{axes.left - 8}" y="{base - 1}" text-anchor="end">'
            f"{escape(_short(item.model))}</text>"
        )
    return "".join(parts)


def _short(alias: str, length: int = 14) -> str:
    return alias if len(alias) <= length else alias[: length - 1] + "…"


def _columns(timestamps: IntArray, axes: _Axes) -> tuple[FloatArray, BoolArray]:
    """Return the pixel column of every timestamp inside the span, and which those are."""
    inside = (timestamps >= axes.span.start) & (timestamps <= axes.span.end)
    x = axes.left + (timestamps[inside] - axes.span.start) * (
        axes.width / (axes.span.end - axes.span.start)
    )
    dense = np.count_nonzero(inside) > axes.width
    return (np.floor(x) if dense else np.round(x, 1)), inside


def _clip(y: FloatArray) -> FloatArray:
    """Return heights on the canvas, those far outside brought near: the clip path hides them."""
    return np.clip(y, -_PLOT_HEIGHT, 3 * _PLOT_HEIGHT)
