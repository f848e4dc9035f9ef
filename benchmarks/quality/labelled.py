"""Series whose incidents are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vmanomaly.series import BoolArray, FloatArray, IntArray, Labels, SeriesBatch

START = 1_767_571_200_000
"""Of all series made up: Monday 2026-01-05T00:00:00Z, Unix milliseconds."""
PROBATION = 0.15
MAX_PROBATION = 750


@dataclass(frozen=True, slots=True)
class Window:
    """When something was wrong, Unix milliseconds, both ends included; `kind` says what."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class LabelledSeries:
    """One series with the truth about it.

    Attributes
    ----------
    source, family, name : str
        Where it belongs: a data set, a part of it, and the series itself.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, ascending.
    values : ndarray of float64, shape (T,)
    windows : tuple of Window
        In order of time.
    n_fit : int
        The first points, which models are fitted on and which are not scored.
    """

    source: str
    family: str
    name: str
    timestamps: IntArray
    values: FloatArray
    windows: tuple[Window, ...]
    n_fit: int

    @property
    def step(self) -> int:
        """Milliseconds between points."""
        return int(np.median(np.diff(self.timestamps)))

    def batch(self, first: int, stop: int) -> SeriesBatch:
        """Return the points from column `first` to before `stop`."""
        labels = Labels({"source": self.source, "family": self.family, "name": self.name})
        return SeriesBatch(
            (labels,), self.timestamps[first:stop], self.values[first:stop].reshape(1, -1)
        )


def probation(n_points: int) -> int:
    """Return how many points of a series NAB leaves to the detector to learn from.

    Examples
    --------
    >>> probation(4000), probation(16000)
    (600, 750)
    """
    return min(int(PROBATION * n_points), MAX_PROBATION)


def inside(timestamps: IntArray, windows: tuple[Window, ...]) -> BoolArray:
    """Return which timestamps lie in a window.

    Examples
    --------
    >>> inside(np.arange(5), (Window(1, 2, "spike"),))
    array([False,  True,  True, False, False])
    """
    result = np.zeros(len(timestamps), np.bool_)
    for window in windows:
        result |= (timestamps >= window.start) & (timestamps <= window.end)
    return result
