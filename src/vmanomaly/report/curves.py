"""Arrays as SVG paths, thinned to what a screen can show.

A view is drawn in units of its own, stretched to the width that there is: nothing in here knows
pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, log10

import numpy as np

from vmanomaly.report.contents import ANOMALY_SCORE, INCIDENT_SCORE, ScoredSeries
from vmanomaly.series import BoolArray, FloatArray, IntArray, TimeRange

PLOT_HEIGHT = 150
SCORE_HEIGHT = 30
SCORE_CAP = 3.0
_FARTHEST = 4e307
_HOUR = 3_600_000
_TIME_STEPS = [
    _HOUR // 60 * m
    for m in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 5760, 10080, 20160, 43200)
]
_THOUSANDS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))


@dataclass(frozen=True, slots=True)
class Axes:
    """A span of time and a range of values, and the canvas on which they lie.

    Attributes
    ----------
    span : TimeRange
        From the left edge to the right one.
    low, high : float
        Values at the bottom and at the top.
    width : int
        Units from left to right; no more columns are drawn.
    """

    span: TimeRange
    low: float
    high: float
    width: int

    def x(self, timestamp: float) -> float:
        """Return where a moment is, those outside at the edge."""
        share = (timestamp - self.span.start) / (self.span.end - self.span.start)
        return min(max(share, 0.0), 1.0) * self.width

    def y(self, values: FloatArray) -> FloatArray:
        """Return how far values are below the top, those far outside brought near."""
        with np.errstate(over="ignore"):
            y = PLOT_HEIGHT * ((self.high - values) / (self.high - self.low))
        return np.clip(y, -PLOT_HEIGHT, 2 * PLOT_HEIGHT)

    def columns(self, timestamps: IntArray) -> tuple[FloatArray, BoolArray]:
        """Return the column of every timestamp inside the span, and which those are."""
        inside = (timestamps >= self.span.start) & (timestamps <= self.span.end)
        scale = self.width / (self.span.end - self.span.start)
        x = (timestamps[inside] - self.span.start) * scale
        dense = np.count_nonzero(inside) > self.width
        return (np.floor(x) if dense else np.round(x, 1)), inside


def value_range(item: ScoredSeries) -> tuple[float, float]:
    """Return the ends of the value axis: every value, and most of the expected range.

    They are no further from 0 than `_FARTHEST`, so that the axis has a finite length.
    """
    y = item.output("y")
    edges = [y[np.isfinite(y)]]
    for name in ("yhat_lower", "yhat_upper", "yhat"):
        band = item.output(name)
        band = band[np.isfinite(band)]
        if band.size:
            edges.append(np.percentile(np.clip(band, -_FARTHEST, _FARTHEST), [2, 98]))
    values = np.clip(np.concatenate(edges), -_FARTHEST, _FARTHEST)
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    pad = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - pad, high + pad


def value_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Return round numbers in a range, about as many as wanted.

    Examples
    --------
    >>> value_ticks(-1.0, 11.0)
    [0, 5, 10]
    """
    rough = (high - low) / wanted
    magnitude = 10.0 ** floor(log10(rough))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough)
    first = ceil(low / step)
    ticks = [round(index * step, 12) for index in range(first, floor(high / step) + 1)]
    return [int(tick) if tick == int(tick) else tick for tick in ticks]


def short_number(value: float) -> str:
    """Return a number for an axis.

    Examples
    --------
    >>> short_number(0.25), short_number(1500), short_number(2_500_000)
    ('0.25', '1,500', '2.5M')
    """
    for size, name in _THOUSANDS:
        if abs(value) >= size:
            unit = 1e3 if name == "k" else size
            return f"{value / unit:,.6g}{name}"
    return f"{value:,.6g}"


def time_ticks(span: TimeRange, wanted: int) -> list[tuple[float, str]]:
    """Return round moments in a span: how far from its start, 0 to 1, and how they are called."""
    length = span.end - span.start
    step = next((s for s in _TIME_STEPS if length / s <= wanted), _TIME_STEPS[-1])
    ticks = []
    for timestamp in range(ceil(span.start / step) * step, span.end + 1, step):
        moment = datetime.fromtimestamp(timestamp / 1000, UTC)
        if step >= 24 * _HOUR:
            text = f"{moment.day} {moment:%b}"
        elif moment.hour == 0 and moment.minute == 0:
            text = f"{moment:%a} {moment.day}"
        else:
            text = f"{moment:%H:%M}"
        ticks.append(((timestamp - span.start) / length, text))
    return ticks


def band_path(item: ScoredSeries, axes: Axes) -> str:
    """Return the outline of the expected range."""
    columns, inside = axes.columns(item.timestamps)
    lower_x, lower, _ = extremes(columns, item.output("yhat_lower")[inside])
    upper_x, _, upper = extremes(columns, item.output("yhat_upper")[inside])
    if not lower_x.size or not upper_x.size:
        return ""
    back = line_path(upper_x[::-1], axes.y(upper)[::-1]).replace("M", "L", 1)
    return line_path(lower_x, axes.y(lower)) + back + "Z"


def edges_path(item: ScoredSeries, axes: Axes) -> str:
    """Return the two edges of the expected range."""
    columns, inside = axes.columns(item.timestamps)
    lower_x, lower, _ = extremes(columns, item.output("yhat_lower")[inside])
    upper_x, _, upper = extremes(columns, item.output("yhat_upper")[inside])
    return line_path(lower_x, axes.y(lower)) + line_path(upper_x, axes.y(upper))


def expected_path(item: ScoredSeries, axes: Axes) -> str:
    """Return the line of the expected values."""
    columns, inside = axes.columns(item.timestamps)
    x, low, high = extremes(columns, item.output("yhat")[inside])
    return line_path(x, axes.y(low / 2 + high / 2))


def values_path(item: ScoredSeries, axes: Axes) -> str:
    """Return the line of the values, broken where samples are missing."""
    columns, inside = axes.columns(item.timestamps)
    values = item.output("y")[inside]
    present = np.isfinite(values)
    columns, values = columns[present], values[present]
    timestamps = item.timestamps[inside][present]
    if not values.size:
        return ""
    gaps = np.flatnonzero(np.diff(timestamps) > 5 * max(item.step, 1)) + 1
    path = []
    for piece_columns, piece in zip(np.split(columns, gaps), np.split(values, gaps), strict=True):
        x, low, high = extremes(piece_columns, piece)
        if np.array_equal(low, high):
            path.append(line_path(x, axes.y(high)))
        else:
            rising = np.column_stack([low, high])
            rising[1::2] = rising[1::2, ::-1]
            path.append(line_path(np.repeat(x, 2), axes.y(rising.ravel())))
    return "".join(path)


def high_points_path(item: ScoredSeries, axes: Axes) -> str:
    """Return dots at the values with an anomaly score above 1, the highest of each column."""
    columns, inside = axes.columns(item.timestamps)
    values, score = item.output("y")[inside], item.output(ANOMALY_SCORE)[inside]
    high = np.flatnonzero((score > 1) & np.isfinite(values))
    order = high[np.lexsort((-score[high], columns[high]))]
    _, first = np.unique(columns[order], return_index=True)
    chosen = order[first]
    return "".join(
        f"M{columns[index]:.5g} {y:.1f}h0"
        for index, y in zip(chosen, axes.y(values[chosen]), strict=True)
    )


def score_paths(item: ScoredSeries, axes: Axes) -> tuple[str, str]:
    """Return the areas below the anomaly score: up to 1, and of the columns where it is higher."""
    columns, inside = axes.columns(item.timestamps)
    x, _, peak = extremes(columns, item.output(ANOMALY_SCORE)[inside])
    if not x.size:
        return "", ""
    right = x + np.minimum(np.diff(x, append=x[-1] + axes.width / 100), axes.width / 100)
    height = np.minimum(peak, SCORE_CAP) / SCORE_CAP * SCORE_HEIGHT
    return tuple(  # type: ignore[return-value]
        "".join(
            f"M{a:.5g} {SCORE_HEIGHT}v{-h:.3g}H{b:.5g}V{SCORE_HEIGHT}Z"
            for a, b, h in zip(x[chosen], right[chosen], height[chosen], strict=True)
        )
        for chosen in ((peak <= 1) & (height >= 0.5), peak > 1)
    )


def incident_score_path(item: ScoredSeries, axes: Axes) -> str:
    """Return the line of the incident score."""
    columns, inside = axes.columns(item.timestamps)
    x, _, peak = extremes(columns, item.output(INCIDENT_SCORE)[inside])
    return line_path(x, SCORE_HEIGHT * (1 - np.minimum(peak, SCORE_CAP) / SCORE_CAP))


def extremes(columns: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the columns that have values, and the least and greatest finite value in each.

    Examples
    --------
    >>> extremes(np.array([1.0, 1, 2, 3]), np.array([5.0, 4, 7, np.nan]))
    (array([1., 2.]), array([4., 7.]), array([5., 7.]))
    """
    present = np.isfinite(values)
    columns, values = columns[present], values[present]
    if not values.size:
        return columns, values, values
    x, first = np.unique(columns, return_index=True)
    return x, np.minimum.reduceat(values, first), np.maximum.reduceat(values, first)


def line_path(x: FloatArray, y: FloatArray) -> str:
    """Return path commands for a line, points that lie on it left out.

    Examples
    --------
    >>> line_path(np.array([0.0, 1, 2, 3]), np.array([5.0, 5, 5, 6.5]))
    'M0 5L2 5 3 6.5'
    """
    y = np.round(y, 1)
    if len(x) > 2:
        before, after = np.diff(y)[:-1], np.diff(y)[1:]
        flat = (before == 0) & (after == 0)
        keep = np.concatenate([[True], ~flat, [True]])
        x, y = x[keep], y[keep]
    points = [f"{a:.5g} {b:.4g}" for a, b in zip(x, y, strict=True)]
    if not points:
        return ""
    return f"M{points[0]}" + ("L" + " ".join(points[1:]) if len(points) > 1 else "h0")
