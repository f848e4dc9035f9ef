"""The real distance between the points of a query."""

from __future__ import annotations

import numpy as np

from vmanomaly.series import SeriesBatch

_MAX_SERIES = 1000
_MIN_GAPS = 10
_REGULAR = 0.8


def apparent_spacing(batch: SeriesBatch) -> int | None:
    """Return the distance, in points of the grid, at which most series have values.

    Parameters
    ----------
    batch
        What a query returned. Of many series, the first are looked at.

    Returns
    -------
    int or None
        None where most series have neighbouring points, or no regular distance.

    Examples
    --------
    >>> from vmanomaly.series import Labels
    >>> values = np.full((1, 100), np.nan)
    >>> values[:, ::5] = 1.0
    >>> apparent_spacing(SeriesBatch((Labels(),), np.arange(100) * 60_000, values))
    5
    """
    rows = batch.values[:_MAX_SERIES]
    spacings = [_spacing(np.flatnonzero(np.isfinite(row))) for row in rows]
    found, counts = np.unique(spacings, return_counts=True)
    if not len(found):
        return None
    most = int(np.argmax(counts))
    return int(found[most]) if found[most] > 1 and 2 * counts[most] > len(spacings) else None


def _spacing(columns: np.ndarray[tuple[int], np.dtype[np.intp]]) -> int:
    """Return the distance that most neighbours have; 0 for none."""
    gaps = np.diff(columns)
    if len(gaps) < _MIN_GAPS:
        return 0
    usual = int(np.median(gaps))
    return usual if np.count_nonzero(gaps == usual) >= _REGULAR * len(gaps) else 0
