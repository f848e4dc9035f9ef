"""One matrix from the answers about consecutive pieces of a grid."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vmanomaly.errors import TooLargeError
from vmanomaly.series import BoolArray, FloatArray, IntArray, Labels

# A quarter more rows each time: little memory stays unused.
_GROWTH = 4
# More would be filled with zeros for so long that other threads notice.
_MAX_GROWTH_BYTES = 64 << 20

# Bytes of samples after which a matrix in a file releases the memory they were written through.
_RELEASE_BYTES = 16 << 20


class Rows(Protocol):
    """Where a matrix is kept: in memory, or as `mapped.MappedRows` in a file."""

    values: FloatArray

    def reserve(self, n_rows: int) -> None:
        """Make `values` at least that many rows long; it must be fetched again afterwards."""
        ...

    def trim(self, n_rows: int) -> FloatArray:
        """Return the first `n_rows` rows; nothing can be added afterwards."""
        ...

    def release(self) -> None:
        """Release the memory of what was written, if possible."""
        ...


class MemoryRows:
    """A float64 matrix in memory, to which rows are added.

    Parameters
    ----------
    n_columns
        Length of a row.
    """

    def __init__(self, n_columns: int) -> None:
        self.values: FloatArray = np.empty((0, n_columns))

    def reserve(self, n_rows: int) -> None:
        """Make `values` at least that many rows long; it must be fetched again afterwards."""
        if n_rows > len(self.values):
            most = _MAX_GROWTH_BYTES // max(self.values.shape[1] * self.values.itemsize, 1)
            n_rows = max(n_rows, len(self.values) + min(len(self.values) // _GROWTH, most))
            self.values.resize((n_rows, self.values.shape[1]), refcheck=False)

    def trim(self, n_rows: int) -> FloatArray:
        """Return the first `n_rows` rows; nothing can be added afterwards."""
        self.values.resize((n_rows, self.values.shape[1]), refcheck=False)
        return self.values

    def release(self) -> None:
        """Do nothing: there is nowhere else to keep it."""


class Stitch:
    """A matrix that grows from left to right, and downwards where a series appears later.

    Every piece is begun, filled with blocks of series as they arrive, and ended. A piece that is
    begun again starts empty.

    Parameters
    ----------
    timestamps : ndarray of int64, shape (T,)
        The whole grid.
    rows
        Takes the values; T columns.
    max_rows
        The most series that are taken; None for any number.

    Attributes
    ----------
    labels : list of Labels
        One label set per row.
    timestamps : ndarray of int64, shape (T,)
        The whole grid.
    n_merged : int
        Series that were merged into one with the same label set; the last sample wins.

    Examples
    --------
    >>> stitch = Stitch(np.array([10, 20, 30]), MemoryRows(3))
    >>> a, b = Labels({"job": "a"}), Labels({"job": "b"})
    >>> for n_columns, labels in ((2, [a]), (1, [b, a])):
    ...     stitch.begin(n_columns)
    ...     stitch.place(labels, np.full((len(labels), n_columns), float(n_columns)))
    ...     stitch.end()
    >>> stitch.labels
    [{job="a"}, {job="b"}]
    >>> stitch.finish()
    array([[ 2.,  2.,  1.],
           [nan, nan,  1.]])
    """

    def __init__(self, timestamps: IntArray, rows: Rows, max_rows: int | None = None) -> None:
        self._max_rows = sys.maxsize if max_rows is None else max_rows
        self.labels: list[Labels] = []
        self.n_merged = 0
        self.timestamps = timestamps
        self._rows = rows
        self._row_of: dict[Labels, int] = {}
        self._start = self._end = 0
        self._n_before = 0
        self._n_rows = 0
        self._next_row = 0
        self._in_order = True
        self._seen: BoolArray = np.zeros(0, np.bool_)
        self._unreleased_bytes = 0

    @property
    def rest(self) -> IntArray:
        """The part of the grid that no piece has covered yet."""
        return self.timestamps[self._start :]

    def begin(self, n_columns: int) -> None:
        """Begin a piece of that many columns; what was placed since the last `end` is undone."""
        del self.labels[self._n_before :]
        self._n_rows = self._n_before
        self._row_of = {}
        self._end = self._start + n_columns
        self._next_row = 0
        self._in_order = True
        self._seen = np.zeros(self._n_before, np.bool_)

    def place(self, labels: Sequence[Labels], values: FloatArray) -> None:
        """Put the next series of the piece into their rows.

        Parameters
        ----------
        labels
            One label set per series.
        values : ndarray of float64, shape (n, columns of the piece)
            Their samples, NaN where there is none; copied.

        Raises
        ------
        TooLargeError
            There are more series than `max_rows`.
        """
        start, stop = self._next_row, self._next_row + len(labels)
        self._unreleased_bytes += values.nbytes
        if self._unreleased_bytes > _RELEASE_BYTES:
            self._rows.release()
            self._unreleased_bytes = 0
        if self._in_order and self._n_before == 0:
            # Twins are found at the end of the piece.
            self.labels += labels
            self._make_rows()
        elif not (self._in_order and self.labels[start:stop] == list(labels)):
            self._in_order = False
            self._place_by_labels(labels, values)
            return
        self._rows.values[start:stop, self._start : self._end] = values
        self._seen[start:stop] = True
        self._next_row = stop

    def end(self) -> None:
        """End the piece: series that did not occur in it have no samples there."""
        if self._n_before == 0 and len(set(self.labels)) < len(self.labels):
            self._merge_twins()
        unseen = np.flatnonzero(~self._seen[: self._n_rows])
        self._rows.values[unseen, self._start : self._end] = np.nan
        self._start = self._end
        self._n_before = self._n_rows

    def finish(self) -> FloatArray:
        """Return the matrix, shape (S, T), a row for each of `labels`."""
        self._rows.release()
        return self._rows.trim(self._n_rows)

    def _place_by_labels(self, labels: Sequence[Labels], values: FloatArray) -> None:
        if not self._row_of:
            self._row_of = {known: row for row, known in enumerate(self.labels)}
        row_of = self._row_of
        found = [row_of.setdefault(label_set, len(row_of)) for label_set in labels]
        self.labels += list(row_of)[len(self.labels) :]
        self._make_rows()
        rows = np.array(found, np.int64)
        columns = slice(self._start, self._end)
        if not self._seen[rows].any() and len(set(found)) == len(found):
            self._rows.values[rows, columns] = values
            self._seen[rows] = True
            return
        for row, source in zip(found, values, strict=True):
            target = self._rows.values[row, columns]
            if self._seen[row]:
                np.copyto(target, source, where=~np.isnan(source))
                self.n_merged += 1
            else:
                target[:] = source
                self._seen[row] = True

    def _make_rows(self) -> None:
        """Make rows for new labels, without samples in earlier pieces."""
        known, self._n_rows = self._n_rows, len(self.labels)
        if self._n_rows > self._max_rows:
            raise TooLargeError(
                f"The answer holds more than {self._max_rows} series, and no more of "
                f"{len(self.timestamps)} points each fit into the memory that the service may use. "
                f"Narrow the query, read a shorter range, or allow more memory"
            )
        if self._n_rows > known:
            self._rows.reserve(self._n_rows)
            self._rows.values[known : self._n_rows, : self._start] = np.nan
        if self._n_rows > len(self._seen):
            more = np.zeros(len(self._rows.values) - len(self._seen), np.bool_)
            self._seen = np.concatenate((self._seen, more))

    def _merge_twins(self) -> None:
        """Merge rows with the same label set into one, in the first piece."""
        values = self._rows.values[:, self._start : self._end]
        row_of: dict[Labels, int] = {}
        for row, label_set in enumerate(self.labels):
            if label_set in row_of:
                np.copyto(values[row_of[label_set]], values[row], where=~np.isnan(values[row]))
                self.n_merged += 1
            else:
                # Not below `row`: what was there has moved up already.
                values[len(row_of)] = values[row]
                row_of[label_set] = len(row_of)
        self.labels[:] = row_of
        self._n_rows = len(row_of)
