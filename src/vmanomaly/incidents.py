"""Incidents: runs of points with a score above the threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vmanomaly.deviation import deviation_of
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
    deviation : str or None
        In which way the values left what was expected, as `deviation_of` says; None if it is not
        known.
    """

    series: Labels
    start: int
    end: int
    peak: float
    peak_at: int
    n_points: int
    deviation: str | None = None


def find_incidents(
    labels: Sequence[Labels],
    timestamps: IntArray,
    scores: FloatArray,
    step: int,
    threshold: float = THRESHOLD,
    outputs: Mapping[str, FloatArray] | None = None,
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
    outputs
        What else there is of the series, by name, float64 of shape (S, T); the values, what was
        expected and its bounds tell the deviation.

    Examples
    --------
    >>> scores = np.array([[0.2, 1.5, np.nan, 2.0, 0.1]])
    >>> (found,) = find_incidents([Labels({"host": "a"})], np.arange(5) * 60, scores, 60)
    >>> found.start, found.end, found.peak, found.peak_at, found.n_points
    (60, 180, 2.0, 180, 2)
    """
    found = []
    for row, (series, of_series) in enumerate(zip(labels, scores, strict=True)):
        above = np.flatnonzero(of_series > threshold)
        if not above.size:
            continue
        is_apart = np.diff(timestamps[above]) >= JOINED_WITHIN * step
        for run in np.split(above, np.flatnonzero(is_apart) + 1):
            peak = int(run[of_series[run].argmax()])
            there = slice(run[0], run[-1] + 1)
            of_run = {name: values[row, there] for name, values in (outputs or {}).items()}
            found.append(
                Incident(
                    series,
                    int(timestamps[run[0]]),
                    int(timestamps[run[-1]]),
                    float(of_series[peak]),
                    int(timestamps[peak]),
                    len(run),
                    deviation_of(of_run),
                )
            )
    return sorted(found, key=lambda incident: (incident.start, incident.end))
