"""Volume under the surface of precision and recall: accuracy that needs no threshold.

For every width w of a buffer around the labelled segments, up to a longest one, labels become
soft: they fall off over w / 2 points on both sides. Range precision and recall are taken at 250
thresholds, and the area under their curve; the volume is the mean of these areas. The packages
`vus` and `TSB-AD` compute it too, but come with tensorflow and torch; the results here are the same
as theirs.

References
----------
J. Paparrizos et al., "Volume under the surface: a new accuracy evaluation measure for time-series
anomaly detection", PVLDB 15(11), 2022.
Q. Liu, J. Paparrizos, "The elephant in the room: towards a reliable time-series anomaly detection
benchmark", NeurIPS 2024.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from vmanomaly.series import BoolArray, FloatArray, IntArray

N_THRESHOLDS = 250
_SHORTEST_PERIOD = 3
_LONGEST_LAG = 400
_DEFAULT_WIDTH = 125


def longest_buffer(values: FloatArray) -> int:
    """Return the width of the longest buffer of a series: its period, as TSB-AD finds it.

    The lag of the highest local maximum of the autocorrelation at lags 4 to 399; 125 where there
    is none or it lies above 303.

    Examples
    --------
    >>> longest_buffer(np.sin(2 * np.pi * np.arange(1000) / 50))
    50
    >>> longest_buffer(np.ones(500))
    125
    """
    values = values[:20_000]
    centred = values - values.mean()
    n_points = len(centred)
    spectrum = np.fft.rfft(centred, 2 * n_points)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: min(_LONGEST_LAG + 1, n_points)]
    lagged = correlation[_SHORTEST_PERIOD:]
    if correlation[0] <= 1e-12 * max(1.0, float(np.abs(values).max())) or len(lagged) < 3:
        return _DEFAULT_WIDTH
    peaks = np.flatnonzero((lagged[1:-1] > lagged[:-2]) & (lagged[1:-1] > lagged[2:])) + 1
    if not peaks.size:
        return _DEFAULT_WIDTH
    best = int(peaks[np.argmax(lagged[peaks])])
    return best + _SHORTEST_PERIOD if _SHORTEST_PERIOD <= best <= 300 else _DEFAULT_WIDTH


def vus_pr(labels: BoolArray, scores: FloatArray, longest: int) -> float:
    """Return the volume, in [0, 1].

    Parameters
    ----------
    labels
        bool, shape (T,): what is anomalous.
    scores
        float64, shape (T,), finite.
    longest
        Width of the longest buffer, in points.

    Returns
    -------
    float
        NaN when nothing is labelled.

    Examples
    --------
    >>> labels = np.zeros(1000, bool)
    >>> labels[400:420] = True
    >>> round(vus_pr(labels, labels + np.linspace(0, 0.1, 1000), 0), 3)
    0.993
    """
    edges = np.flatnonzero(np.diff(labels, prepend=False, append=False))
    segments: IntArray = edges.reshape(-1, 2) - np.array([0, 1])
    if not len(segments):
        return np.nan
    chosen = np.linspace(0, len(scores) - 1, N_THRESHOLDS).astype(np.int64)
    thresholds = -np.sort(-scores)[chosen]
    # The first threshold at which a point is a detection; thresholds fall.
    first_at = np.searchsorted(-thresholds, -scores, side="left")
    n_detected = _at_each_threshold(first_at)
    n_labelled = int(np.count_nonzero(labels))
    inside = _at_each_threshold(first_at[labels])
    areas = []
    for width in range(longest + 1):
        soft = _soft_labels(labels, segments, width)
        buffer = (soft > 0) & ~labels
        around = _at_each_threshold(first_at[buffer], soft[buffer])
        true = inside + around
        found = _share_detected(first_at, _buffered_segments(segments, width, len(labels)))
        recall = found * np.minimum(true / (n_labelled + around / 2.0), 1.0)
        areas.append(np.dot(np.diff(recall, prepend=0.0), true / n_detected))
    return float(np.mean(areas))


def _at_each_threshold(first_at: IntArray, weights: FloatArray | None = None) -> FloatArray:
    counts = np.bincount(first_at, weights, minlength=N_THRESHOLDS + 1)[:N_THRESHOLDS]
    return np.cumsum(counts, dtype=np.float64)


def _soft_labels(labels: BoolArray, segments: IntArray, width: int) -> FloatArray:
    soft = labels.astype(np.float64)
    for first, last in segments:
        after = np.arange(last + 1, min(last + width // 2 + 1, len(labels)))
        soft[after] += np.sqrt(1 - (after - last) / max(width, 1))
        before = np.arange(max(first - width // 2, 0), first)
        soft[before] += np.sqrt(1 - (first - before) / max(width, 1))
    return np.minimum(soft, 1.0)


def _buffered_segments(segments: IntArray, width: int, n_points: int) -> list[tuple[int, int]]:
    """Return the segments with their buffers, those that touch joined."""
    half = width // 2
    joined = []
    begin = max(segments[0][0] - half, 0)
    for (_, last), (next_first, _) in pairwise(segments):
        if last + half < next_first - half:
            joined.append((int(begin), int(last + half)))
            begin = next_first - half
    joined.append((int(begin), int(min(segments[-1][1] + half, n_points - 1))))
    return joined


def _share_detected(first_at: IntArray, segments: list[tuple[int, int]]) -> FloatArray:
    found_at = np.array([first_at[begin : end + 1].min() for begin, end in segments])
    return _at_each_threshold(found_at) / len(segments)
