"""What alerting on a score above a threshold finds, and how often it is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.labelled import LabelledSeries, Window, inside
from vmanomaly.series import BoolArray, FloatArray, IntArray

APART = 12
"""Steps between two runs of points above the threshold from which on they are two alarms."""
THRESHOLDS = np.geomspace(0.1, 10.0, 81)
"""Where the best threshold is looked for."""
_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Alarms:
    """Alarms of one series against its windows.

    Attributes
    ----------
    delays : tuple of int or None
        For each window, milliseconds from its start to the first score above the threshold inside;
        None if there is none.
    false_alarms : tuple of (int, int)
        First and last timestamp of each alarm outside the windows.
    days : float
        Days scored.
    """

    delays: tuple[int | None, ...]
    false_alarms: tuple[tuple[int, int], ...]
    days: float

    @property
    def n_found(self) -> int:
        """Windows with an alarm inside."""
        return len(self.delays) - self.delays.count(None)

    @property
    def false_per_week(self) -> float:
        """False alarms per week scored."""
        return 7.0 * len(self.false_alarms) / max(self.days, 1e-9)


def alarms_of(
    series: LabelledSeries, timestamps: IntArray, scores: FloatArray, threshold: float = 1.0
) -> Alarms:
    """Compare the scores of a series with its windows; NaN scores are left out.

    An alarm is a run of points above the threshold, and runs less than `APART` steps apart are
    one. What of it lies outside the windows is a false alarm: one that outlasts its window too.
    """
    present = np.isfinite(scores)
    timestamps, above = timestamps[present], scores[present] > threshold
    outside = ~inside(timestamps, series.windows)
    return Alarms(
        tuple(_delay(window, timestamps[above]) for window in series.windows),
        tuple(_runs(timestamps, above & outside, APART * series.step)),
        float(timestamps[-1] - timestamps[0]) / _DAY if len(timestamps) else 0.0,
    )


def event_f1(alarms: Sequence[Alarms]) -> float:
    """Return the F1 of events: the harmonic mean of precision and recall.

    Recall is the share of windows found. Precision is the share of windows found among these and
    the false alarms, so several alarms inside a window count as one. NaN without any window.

    Examples
    --------
    One of two windows is found, and one alarm is false:

    >>> event_f1([Alarms((None, 0), ((7, 8),), 1.0)])
    0.5
    """
    n_windows = sum(len(item.delays) for item in alarms)
    n_found = sum(item.n_found for item in alarms)
    n_false = sum(len(item.false_alarms) for item in alarms)
    return 2.0 * n_found / (n_found + n_false + n_windows) if n_windows else np.nan


def _runs(timestamps: IntArray, above: BoolArray, apart: int) -> Iterable[tuple[int, int]]:
    moments = timestamps[above]
    if not moments.size:
        return
    ends = np.flatnonzero(np.diff(moments) >= apart)
    firsts, lasts = np.append(0, ends + 1), np.append(ends, len(moments) - 1)
    for first, last in zip(firsts, lasts, strict=True):
        yield int(moments[first]), int(moments[last])


def _delay(window: Window, alarmed: IntArray) -> int | None:
    within = alarmed[(alarmed >= window.start) & (alarmed <= window.end)]
    return int(within[0]) - window.start if within.size else None
