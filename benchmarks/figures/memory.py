"""The memory of `quantile_online` over time: a digest takes room only for what it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import numpy as np

from benchmarks.figures.svg import standalone
from vmanomaly.config.model.quantile_online import QuantileOnlineSection
from vmanomaly.config.reader import Query
from vmanomaly.model import create_model
from vmanomaly.model.digest.tdigest import capacity
from vmanomaly.model.quantile_online import OnlineQuantileModel
from vmanomaly.series import Labels, SeriesBatch

Curve = list[tuple[int, float]]

N_SERIES = 200
INFER_EVERY = 5
"""Minutes."""
HOUR, DAY = 60, 1440
LENGTH = {1: 28 * DAY, 5: 84 * DAY}
"""Minutes between points, and minutes until the end."""

_WIDTH, _HEIGHT = 1180, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 92, 40, 14, 34
_TIMES = {
    HOUR: "1 hour",
    6 * HOUR: "6 hours",
    DAY: "1 day",
    7 * DAY: "1 week",
    28 * DAY: "4 weeks",
    84 * DAY: "12 weeks",
}
_SIZES = (2, 5, 10, 20, 50, 100, 200)
"""KiB."""
_STYLE = """
svg path.one { stroke: var(--line); stroke-width: 2; stroke-linejoin: round; }
svg path.five { stroke: var(--incident-text); stroke-width: 2; stroke-linejoin: round; }
svg path.whole { stroke: var(--anomaly); stroke-width: 1.4; stroke-dasharray: 5 4; }
"""


def week_of_hours() -> OnlineQuantileModel:
    """Return the model with 168 sub-seasons."""
    section = QuantileOnlineSection.model_validate(
        {"class": "quantile_online", "seasonal_interval": "7d", "min_subseason": "1h"}
    )
    model = create_model(section, Query.model_validate({"alias": "q", "expr": "q", "step": "1m"}))
    assert isinstance(model, OnlineQuantileModel)
    return model


def bytes_per_series(step: int, length: int, n_series: int = N_SERIES) -> Curve:
    """Return minutes since a cold start and what the state takes then, gaps and spare included."""
    model = week_of_hours()
    labels = tuple(Labels({"series": str(number)}) for number in range(n_series))
    rng = np.random.default_rng(0)
    state = model.fit(SeriesBatch(labels, np.empty(0, np.int64), np.empty((n_series, 0))))
    n_points = INFER_EVERY // step
    curve = []
    for begin in range(0, length, INFER_EVERY):
        timestamps = 60_000 * (begin + step * np.arange(1, n_points + 1, dtype=np.int64))
        values = rng.normal(size=(n_series, n_points))
        model.infer(state, SeriesBatch(labels, timestamps, values), np.zeros(1, np.int64))
        elapsed = begin + INFER_EVERY
        if elapsed % HOUR == 0:
            curve.append((elapsed, state.nbytes / n_series))
    return curve


def figure(curves: Sequence[Curve]) -> str:
    """Return the plot of the two curves as an SVG document, both axes logarithmic."""
    model = week_of_hours()
    whole = (12 * (capacity(model.compression) + 1) * model.n_subseasons + 24) / 1024
    right, base = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x(minutes: float) -> float:
        share = log10(minutes / HOUR) / log10(84 * DAY / HOUR)
        return _LEFT + share * (right - _LEFT)

    def y(kib: float) -> float:
        return base - log10(kib / 1.5) / log10(300 / 1.5) * (base - _TOP)

    parts = []
    for kib in _SIZES:
        parts.append(f'<path class="grid" d="M{_LEFT} {y(kib):.1f}H{right}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{y(kib) + 4:.1f}" text-anchor="end">'
            f"{kib} KiB</text>"
        )
    for minutes, name in _TIMES.items():
        parts.append(f'<path class="grid" d="M{x(minutes):.1f} {_TOP}V{base}"/>')
        parts.append(
            f'<text class="tick" x="{x(minutes):.1f}" y="{base + 18}" text-anchor="middle">'
            f"{name}</text>"
        )
    parts.append(f'<path class="axis" d="M{_LEFT} {base}H{right}"/>')
    parts.append(f'<path class="whole" d="M{_LEFT} {y(whole):.1f}H{right}"/>')
    for name, curve in zip(("one", "five"), curves, strict=True):
        points = " ".join(f"{x(at):.1f} {y(size / 1024):.1f}" for at, size in curve)
        parts.append(f'<path class="{name}" d="M{points}"/>')
    drawing = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>Memory per series of '
        f"quantile_online over time</title>{''.join(parts)}</svg>"
    )
    return standalone(
        drawing,
        (_WIDTH, _HEIGHT),
        "Memory per series of quantile_online with the 168 hours of a week",
        f"seasonal_interval: 7d, min_subseason: 1h, compression: 100; {N_SERIES} series from a "
        "cold start, everything that the state holds in memory",
        [
            ('<path class="one" d="M0 6H26"/>', "a point every minute"),
            ('<path class="five" d="M0 6H26"/>', "a point every 5 minutes"),
            ('<path class="whole" d="M0 6H26"/>', "168 digests with room for all centroids"),
        ],
        _STYLE,
    )
