"""What a model has learned: one row per series, one column per quantity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vmanomaly.series import IntArray, Labels

Array: TypeAlias = NDArray[Any]

Record: TypeAlias = Any
"""A row of float64 with named places, as kernels see it."""

NEVER = int(np.iinfo(np.int64).min)
"""`last_seen` of a series of which no sample was seen."""


MOST_EVIDENCE = 1.6
"""The largest evidence of an incident."""


@dataclass(frozen=True, slots=True)
class Range:
    """What elements of a column may be: finite, and from `least` to `most`.

    Attributes
    ----------
    least, most : float
        The smallest and the largest of them.
    or_nan : bool
        Whether NaN is allowed too.
    """

    least: float = -float(np.finfo(np.float64).max)
    most: float = float(np.finfo(np.float64).max)
    or_nan: bool = False

    def __contains__(self, array: object) -> bool:
        """Tell whether all elements of an array are in the range.

        Examples
        --------
        >>> np.array([0.0, 2.5]) in Range(0.0), np.array([0.0, np.nan]) in Range(0.0)
        (True, False)
        """
        assert isinstance(array, np.ndarray)  # noqa: S101 - not asked of anything else
        if self.or_nan:
            array = array[~np.isnan(array)]
        if array.size == 0:
            return True
        # Numbers of Python, as not every bound is one of the array's type; a NaN passes through.
        return bool(self.least <= array.min().item() and array.max().item() <= self.most)


FINITE = Range()
NOT_NEGATIVE = Range(0.0)
COUNT = Range(0, 2**53)

Rule: TypeAlias = Callable[[Mapping[str, "Array"]], "str | None"]
"""Given the arrays of a state by name, returns what is wrong with a column, None if nothing is.

All columns are of their types and shapes and in their ranges by then. It can be pickled.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A quantity that is kept for every series.

    What it may hold is declared here too, and checked when a state is restored: the checksum of a
    stored state does not tell who wrote it, and kernels check nothing.

    Attributes
    ----------
    name : str
        Its name, also in a stored state.
    dtype : numpy dtype
        The type of its elements.
    shape : tuple of int
        The shape of one series' part; `()` for a scalar.
    initial : float
        The value of every element for a series not seen before.
    within : Range or tuple of Range or None
        What all elements may be, or those at each place of the last axis; None for anything.
    rule : Rule or None
        What else holds, such as an order, or a relation to other columns.
    """

    name: str
    dtype: type[np.generic]
    shape: tuple[int, ...] = ()
    initial: float = 0
    within: Range | tuple[Range, ...] | None = None
    rule: Rule | None = None


_NO_ROWS: IntArray = np.empty(0, np.int64)
_NO_ROWS.flags.writeable = False

GENERIC_COLUMNS = (
    Column("last_seen", np.int64, initial=NEVER, within=Range(NEVER, 2**53)),
    Column("n_samples_seen", np.int64, within=COUNT),
    Column("incident", np.float64, within=Range(0.0, MOST_EVIDENCE)),
)


class SeriesState:
    """A structure of arrays with a row per series.

    Parameters
    ----------
    columns
        The model's own columns, which follow `last_seen` (int64, Unix milliseconds of the last
        sample seen, `NEVER` if none), `n_samples_seen` (int64, finite samples learned) and
        `incident` (float64, evidence of an incident, moved by the incident score only).

    Examples
    --------
    >>> state = SeriesState([Column("mean", np.float64)])
    >>> up, down = Labels({"mode": "up"}), Labels({"mode": "down"})
    >>> state.rows((up, down))
    array([0, 1])
    >>> state["mean"][:] = [0.5, 2.5]
    >>> state.rows((down, Labels({"mode": "new"})))
    array([1, 2])
    >>> state["mean"]
    array([0.5, 2.5, 0. ])

    Attributes
    ----------
    errors : mapping of Labels to Exception
        The series that could not be fitted, with the reason. They have no row. Not stored.
    skipped : mapping of Labels to str
        The series that were not fitted for want of data, with the reason. As `errors` otherwise.
    """

    errors: Mapping[Labels, BaseException] = MappingProxyType({})
    skipped: Mapping[Labels, str] = MappingProxyType({})

    def __init__(self, columns: Iterable[Column]) -> None:
        self._columns = (*GENERIC_COLUMNS, *columns)
        self._row_of: dict[Labels, int] = {}
        self._capacity = 0
        self._arrays = {column.name: _blank(column, 0) for column in self._columns}
        self._asked: dict[Labels, tuple[tuple[Labels, ...], IntArray]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Rows read from a pickle are not read-only, and kernels would be compiled for these too.
        return {**self.__dict__, "_asked": {}}

    @classmethod
    def from_arrays(
        cls, columns: Iterable[Column], labels: Iterable[Labels], arrays: Mapping[str, Array]
    ) -> Self:
        """Rebuild a state from what `labels` and `arrays()` of another gave.

        Raises
        ------
        ValueError
            A column is missing, has another type or shape than declared, or holds what it
            declares that it does not.
        """
        state = cls(columns)
        n_series = len(state.rows(tuple(labels)))
        check_columns(state._columns, n_series, arrays)
        for column in state._columns:
            state[column.name][:] = arrays[column.name]
        return state

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, labels: object) -> bool:
        """Tell whether there is a row for a label set."""
        return labels in self._row_of

    def __getitem__(self, name: str) -> Array:
        """Return a column, shape (rows, *column.shape), to be read and changed in place.

        A view: take it again after `rows` or `remove`.
        """
        return self._arrays[name][: len(self)]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The model's own columns."""
        return self._columns[len(GENERIC_COLUMNS) :]

    @property
    def labels(self) -> tuple[Labels, ...]:
        """The label set of every row."""
        return tuple(self._row_of)

    @property
    def last_seen(self) -> IntArray:
        """The column `last_seen`: Unix milliseconds, `NEVER` where no sample was seen."""
        return self["last_seen"]

    @property
    def n_samples_seen(self) -> IntArray:
        """The column `n_samples_seen`."""
        return self["n_samples_seen"]

    @property
    def group_sizes(self) -> IntArray | None:
        """The channels of the group of every row, where the state keeps something of each."""
        return None

    @property
    def bytes_per_series(self) -> int:
        """The bytes that a row takes in all columns, without its entry in the label index."""
        return sum(
            int(np.prod(column.shape, dtype=np.int64)) * np.dtype(column.dtype).itemsize
            for column in self._columns
        )

    @property
    def nbytes(self) -> int:
        """The bytes that all columns take, spare room included."""
        return sum(array.nbytes for array in self._arrays.values())

    def arrays(self) -> dict[str, Array]:
        """Return every column by name, as views."""
        return {column.name: self[column.name] for column in self._columns}

    def rows(self, labels: tuple[Labels, ...]) -> IntArray:
        """Return the row of every label set; label sets not seen before get a new row.

        Parameters
        ----------
        labels
            S label sets without duplicates. For the same ones as in an earlier call, its answer
            is returned, in a few nanoseconds per series.

        Returns
        -------
        ndarray of int64, shape (S,)
            Read-only; valid until `remove`.
        """
        if not labels:
            return _NO_ROWS
        asked = self._asked.get(labels[0])
        # Tuples compare by identity first, so labels from the same reader need no hashing.
        if asked is not None and asked[0] == labels:
            return asked[1]
        row_of = self._row_of
        found = (row_of.setdefault(label_set, len(row_of)) for label_set in labels)
        rows = np.fromiter(found, np.int64, len(labels))
        rows.flags.writeable = False
        self._reserve(len(row_of))
        # Series that come in other blocks than before would be kept twice.
        if sum(len(others) for others, _ in self._asked.values()) > len(row_of):
            self._asked.clear()
        self._asked[labels[0]] = labels, rows
        return rows

    def append(self, other: SeriesState) -> None:
        """Add rows, errors and skipped series of another state of the same model; all are new."""
        start = len(self)
        self.rows(other.labels)
        for column in self._columns:
            self[column.name][start:] = other[column.name]
        # They come in other blocks from now on.
        self._asked.clear()
        self.errors = {**self.errors, **other.errors}
        self.skipped = {**self.skipped, **other.skipped}

    def remove(self, rows: IntArray) -> None:
        """Forget the series of `rows`; the rows after them move up, in order."""
        keep = np.ones(len(self), np.bool_)
        keep[rows] = False
        kept = [label_set for label_set, row in self._row_of.items() if keep[row]]
        self._arrays = {column.name: self[column.name][keep] for column in self._columns}
        self._capacity = len(kept)
        self._row_of = {label_set: row for row, label_set in enumerate(kept)}
        self._asked.clear()

    def as_of(self, timestamp: int) -> Self:
        """Return a copy that has learned the same, but counts no later point as seen.

        Parameters
        ----------
        timestamp
            Unix milliseconds.
        """
        other = deepcopy(self)
        np.minimum(other.last_seen, timestamp, out=other.last_seen)
        return other

    def _reserve(self, n_rows: int) -> None:
        if n_rows <= self._capacity:
            return
        used = self._capacity
        # A quarter more each time: constant cost per series, and never much unused memory.
        self._capacity = max(n_rows, used + used // 4)
        for column in self._columns:
            array = _blank(column, self._capacity)
            array[:used] = self._arrays[column.name]
            self._arrays[column.name] = array


def check_columns(columns: Iterable[Column], n_rows: int, arrays: Mapping[str, Array]) -> None:
    """Check that arrays are what columns declare: the one look at them before a kernel's.

    Parameters
    ----------
    columns
        What is expected.
    n_rows
        The length of every column.
    arrays
        What was stored, by name; may hold more.

    Raises
    ------
    ValueError
        They are something else; names the first column and what is wrong with it.

    Examples
    --------
    >>> column = Column("n_centroids", np.int64, within=Range(0, 116))
    >>> check_columns([column], 1, {"n_centroids": np.array([1_000_000_000])})
    Traceback (most recent call last):
    ...
    ValueError: column n_centroids: found 1000000000, expected 0 to 116
    """
    columns = tuple(columns)
    for column in columns:
        array = arrays.get(column.name)
        expected = (n_rows, *column.shape)
        if array is None or array.dtype != column.dtype or array.shape != expected:
            found = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise ValueError(
                f"column {column.name}: found {found}, expected {np.dtype(column.dtype)} {expected}"
            )
        for part, within in _parts(column, array):
            if part not in within:
                inside = (part >= within.least) & (part <= within.most)
                if within.or_nan:
                    inside |= np.isnan(part)
                raise ValueError(
                    f"column {column.name}: found {part[~inside][0]}, "
                    f"expected {within.least:g} to {within.most:g}"
                )
    for column in columns:
        problem = column.rule(arrays) if column.rule is not None else None
        if problem is not None:
            raise ValueError(f"column {column.name}: {problem}")


def _parts(column: Column, array: Array) -> Iterator[tuple[Array, Range]]:
    if isinstance(column.within, tuple):
        for place, within in enumerate(column.within):
            yield array[..., place], within
    elif column.within is not None:
        yield array, column.within


def row_blocks(n_rows: int, row_size: int) -> Iterator[slice]:
    """Yield slices of rows with so few elements that temporary arrays stay in the cache.

    Examples
    --------
    >>> list(row_blocks(3, 100_000))
    [slice(0, 1, None), slice(1, 2, None), slice(2, 3, None)]
    """
    n_at_once = max((1 << 17) // max(row_size, 1), 1)
    for start in range(0, n_rows, n_at_once):
        yield slice(start, min(start + n_at_once, n_rows))


def ranges_of(row: np.dtype[np.void], ranges: Mapping[str, Range]) -> tuple[Range, ...]:
    """Return the range of each place of a row of float64 whose places have names.

    Parameters
    ----------
    row
        May hold rows of its own, and arrays.
    ranges
        By name; places of other names are `FINITE`.

    Examples
    --------
    >>> row = np.dtype([("mean", np.float64), ("visits", np.float64, (2,))])
    >>> ranges_of(row, {"visits": COUNT}) == (FINITE, COUNT, COUNT)
    True
    """
    found: list[Range] = []
    for name in row.names or ():
        place = row[name]
        base, n_times = place.base, int(np.prod(place.shape, dtype=np.int64))
        one = (ranges.get(name, FINITE),) if base.names is None else ranges_of(base, ranges)
        found += one * n_times
    return tuple(found)


def width(row: np.dtype[np.void]) -> int:
    """Return the length of a row of float64 with named places.

    Examples
    --------
    >>> width(np.dtype([("mean", np.float64), ("bounds", np.float64, (2,))]))
    3
    """
    return row.itemsize // np.dtype(np.float64).itemsize


def records(column: Array, row: np.dtype[np.void]) -> Array:
    """Return a view of the rows of a column, its last axis, by the names of their places.

    Examples
    --------
    >>> row = np.dtype([("mean", np.float64), ("bounds", np.float64, (2,))])
    >>> records(np.arange(6.0).reshape(2, 3), row)["mean"]
    array([0., 3.])
    """
    return column.view(row)[..., 0]


def _blank(column: Column, n_rows: int) -> Array:
    return np.full((n_rows, *column.shape), column.initial, column.dtype)
