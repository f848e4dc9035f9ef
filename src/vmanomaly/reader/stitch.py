"""Puts the answers about consecutive pieces of a grid together."""

from __future__ import annotations

import numpy as np

from vmanomaly.reader.scanner import LabelCache
from vmanomaly.series import FloatArray, IntArray, Labels, SeriesBatch


class Stitch:
    """A batch that grows from left to right, and downwards where a series appears later.

    Parameters
    ----------
    timestamps : ndarray of int64, shape (T,)
        The whole grid.
    cache
        Gives the same tuple for the same series again.
    """

    def __init__(self, timestamps: IntArray, cache: LabelCache) -> None:
        self._timestamps = timestamps
        self._cache = cache
        self._column = 0
        self._whole: SeriesBatch | None = None
        self._labels: tuple[Labels, ...] = ()
        self._row_of: dict[Labels, int] = {}
        self._values: FloatArray = np.empty((0, len(timestamps)))

    @property
    def rest(self) -> IntArray:
        """The part of the grid that no piece has covered yet."""
        return self._timestamps[self._column :]

    def add(self, piece: SeriesBatch) -> None:
        """Add the batch that begins where the last one ended."""
        start, self._column = self._column, self._column + len(piece.timestamps)
        if len(piece.timestamps) == len(self._timestamps):
            self._whole = piece
            return
        if piece.labels is self._labels:
            self._values[: len(piece.labels), start : self._column] = piece.values
            return
        for labels in piece.labels:
            self._row_of.setdefault(labels, len(self._row_of))
        known = len(self._values)
        self._values.resize((len(self._row_of), len(self._timestamps)), refcheck=False)
        self._values[known:] = np.nan
        self._values[:, start : self._column] = np.nan
        rows = [self._row_of[labels] for labels in piece.labels]
        self._values[rows, start : self._column] = piece.values
        if len(self._row_of) == len(piece.labels):
            self._labels = piece.labels

    def finish(self) -> SeriesBatch:
        """Return the batch over the whole grid, its series in the order of their appearance."""
        if self._whole is not None:
            return self._whole
        return SeriesBatch(self._cache.as_tuple(list(self._row_of)), self._timestamps, self._values)
