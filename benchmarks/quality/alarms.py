"""What alerting on a score above 1 would have found, and when it would have called in vain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.quality.labelled import LabelledSeries, Window
from vmanomaly.series import FloatArray, IntArray

AFTERMATH = 12
"""Steps after a window in which a run of scores above 1 is its echo: neither found nor false."""
_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Alarms:
    """Alarms of one series against its windows.

    Attributes
    ----------
    delays : tuple of int or None
        For each window, milliseconds from its start to the first score above 1 inside; None if
        there is none.
    false_alarms : tuple of (int, int)
        First and last timestamp of each run of scores above 1 that touches no window.
    days : float
        Days scored.
    """

    delays: tuple[int | None, ...]
    false_alarms: tuple[tuple[int, int], ...]
    days: float


def alarms_of(series: LabelledSeries, timestamps: IntArray, scores: FloatArray) -> Alarms:
    """Compare the scores of a series with its windows; NaN scores are left out."""
    present = np.isfinite(scores)
    timestamps, above = timestamps[present], scores[present] > 1.0
    edges = np.flatnonzero(np.diff(above, prepend=False, append=False)).reshape(-1, 2)
    runs = [(int(timestamps[first]), int(timestamps[stop - 1])) for first, stop in edges]
    echo = AFTERMATH * series.step
    return Alarms(
        tuple(_delay(window, timestamps[above]) for window in series.windows),
        tuple(
            (begin, end)
            for begin, end in runs
            if not any(begin <= w.end + echo and end >= w.start for w in series.windows)
        ),
        float(timestamps[-1] - timestamps[0]) / _DAY if len(timestamps) else 0.0,
    )


def _delay(window: Window, alarmed: IntArray) -> int | None:
    inside = alarmed[(alarmed >= window.start) & (alarmed <= window.end)]
    return int(inside[0]) - window.start if inside.size else None
