"""Incidents: runs of points with a score above the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vmanomaly.series import FloatArray, IntArray, Labels

THRESHOLD = 1.0
JOINED_WITHIN = 12
"""Runs less than so many steps apart are one incident."""


@dataclass(frozen=True, slots=True)
class Incident:
    """A run of points with a score above the threshold.

    Attributes
    ----------
    series : Labels
        The series.
    start, end : int
        Its first and its last point, Unix milliseconds, UTC.
    peak : float
        The highest score.
    peak_at : int
        When that was, Unix milliseconds.
    n_points : int
        The points above the threshold.
    """

    series: Labels
    start: int
    end: int
    peak: float
    peak_at: int
    n_points: int


def find_incidents(
    labels: Sequence[Labels],
    timestamps: IntArray,
    scores: FloatArray,
    step: int,
    threshold: float = THRESHOLD,
) -> list[Incident]:
    """Return the incidents of some series, in the order of time.

    Parameters
    ----------
    labels
        Of S series.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, ascending.
    scores : ndarray of float64, shape (S, T)
        NaN where there is none, which neither begins nor ends an incident.
    step
        Milliseconds between two points.
    threshold
        A score above it is one of an incident.

    Examples
    --------
    >>> scores = np.array([[0.2, 1.5, np.nan, 2.0, 0.1]])
    >>> find_incidents([Labels({"host": "a"})], np.arange(5) * 60, scores, 60)
    [Incident(series={host="a"}, start=60, end=180, peak=2.0, peak_at=180, n_points=2)]
    """
    found = []
    for series, of_series in zip(labels, scores, strict=True):
        above = np.flatnonzero(of_series > threshold)
        if not above.size:
            continue
        is_apart = np.diff(timestamps[above]) >= JOINED_WITHIN * step
        for run in np.split(above, np.flatnonzero(is_apart) + 1):
            peak = int(run[of_series[run].argmax()])
            found.append(
                Incident(
                    series,
                    int(timestamps[run[0]]),
                    int(timestamps[run[-1]]),
                    float(of_series[peak]),
                    int(timestamps[peak]),
                    len(run),
                )
            )
    return sorted(found, key=lambda incident: (incident.start, incident.end))
