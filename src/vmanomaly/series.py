"""The values that travel between reader, models and writer, and what they are called.

A `SeriesBatch` holds S series on one shared grid of T timestamps; `Predictions` holds the outputs
of a model for them on the same grid; an `Origin` names the model and its queries. Nothing here
knows how data is read or written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vmanomaly.keys import query_key
from vmanomaly.mapped import release

# Small compared with what is worth keeping in a file.
_COUNTED_BYTES = 16 << 20

FloatArray: TypeAlias = NDArray[np.float64]
SingleArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]


class Labels(Mapping[str, str]):
    """An immutable, hashable label set, ordered by label name.

    Parameters
    ----------
    labels
        Label names and values, as a mapping or as pairs. Later pairs win.

    Examples
    --------
    >>> cpu = Labels({"mode": "user", "cpu": "0"})
    >>> cpu
    {cpu="0", mode="user"}
    >>> cpu == Labels([("cpu", "0"), ("mode", "user")])
    True
    >>> cpu.without("mode")
    {cpu="0"}
    """

    __slots__ = ("_hash", "_labels")

    def __init__(self, labels: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._labels = dict(sorted(dict(labels).items()))
        self._hash = hash(tuple(self._labels.items()))

    def __getitem__(self, name: str) -> str:
        return self._labels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, Labels):
            return self._hash == other._hash and self._labels == other._labels
        return NotImplemented

    def __deepcopy__(self, memo: dict[int, object]) -> Labels:
        return self

    def __reduce__(self) -> tuple[type[Labels], tuple[dict[str, str]]]:
        # Hashes of text differ from process to process.
        return Labels, (self._labels,)

    def __repr__(self) -> str:
        pairs = (f'{name}="{_escape(value)}"' for name, value in self._labels.items())
        return "{" + ", ".join(pairs) + "}"

    def as_dict(self) -> dict[str, str]:
        """Return the labels as a new dict, faster than `dict` does."""
        return self._labels.copy()

    def without(self, *names: str) -> Labels:
        """Return the label set without the labels called `names`."""
        return Labels({name: value for name, value in self._labels.items() if name not in names})


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The timestamps after `start` up to and including `end`, both Unix milliseconds, UTC.

    Consecutive ranges cover every timestamp once.

    Examples
    --------
    >>> TimeRange(0, 180_000).grid(60_000)
    array([ 60000, 120000, 180000])
    """

    start: int
    end: int

    def grid(self, step: int) -> IntArray:
        """Return the multiples of `step` milliseconds in the range, int64, ascending."""
        first = (self.start // step + 1) * step
        return np.arange(first, self.end + 1, step, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class SeriesBatch:
    """S series on one grid of T timestamps.

    Attributes
    ----------
    labels : tuple of Labels
        One label set per series, without duplicates, `__name__` included if the source gave it.
        A reader that meets the same series again gives the same `Labels` objects.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, UTC, strictly ascending.
    values : ndarray of float64, shape (S, T)
        C-contiguous; NaN where a series has no sample.
    """

    labels: tuple[Labels, ...]
    timestamps: IntArray
    values: FloatArray

    def __post_init__(self) -> None:
        expected = (len(self.labels), len(self.timestamps))
        if self.values.shape != expected:
            raise ValueError(f"values have the shape {self.values.shape}, expected {expected}")

    def keep(self, rows: Sequence[int]) -> SeriesBatch:
        """Return only the series of these rows."""
        return SeriesBatch(
            tuple(self.labels[row] for row in rows), self.timestamps, self.values[rows]
        )

    def columns(self, first: int, stop: int) -> SeriesBatch:
        """Return only the timestamps from column `first` to before `stop`."""
        values = np.ascontiguousarray(self.values[:, first:stop])
        return SeriesBatch(self.labels, self.timestamps[first:stop], values)

    def blocks(self, n_bytes: int, n_series: int = 1) -> Iterator[SeriesBatch]:
        """Yield the series in blocks of at most `n_bytes` of values, but at least `n_series`.

        Values in a file are released from memory when the next block is requested.

        Examples
        --------
        >>> labels = tuple(Labels({"cpu": str(i)}) for i in range(5))
        >>> batch = SeriesBatch(labels, np.array([1, 2]), np.zeros((5, 2)))
        >>> [len(block.labels) for block in batch.blocks(n_bytes=32)]
        [2, 2, 1]
        """
        row_bytes = max(len(self.timestamps) * self.values.itemsize, 1)
        n_rows = max(n_bytes // row_bytes, n_series)
        if n_rows >= len(self.labels):
            yield self
            release(self.values)
            return
        for row in range(0, len(self.labels), n_rows):
            rows = slice(row, row + n_rows)
            yield SeriesBatch(self.labels[rows], self.timestamps, self.values[rows])
            release(self.values)

    @property
    def n_valid_points(self) -> int:
        """The number of values that are not NaN."""
        return sum(
            int(block.values.size - np.count_nonzero(np.isnan(block.values)))
            for block in self.blocks(_COUNTED_BYTES)
        )


@dataclass(frozen=True, slots=True)
class Predictions:
    """The outputs of a model for the series of a batch, on the batch's grid.

    Attributes
    ----------
    labels : tuple of Labels
        One label set per series.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, UTC, strictly ascending.
    outputs : dict of str to ndarray of float64, shape (S, T)
        By output name (`anomaly_score`, `y`, `yhat`, `yhat_lower`, `yhat_upper`, ...), in the
        order in which they are written. NaN where there is nothing to write.
    """

    labels: tuple[Labels, ...]
    timestamps: IntArray
    outputs: dict[str, FloatArray]

    @property
    def n_points(self) -> int:
        """The number of values that are not NaN, over all outputs."""
        return sum(int(np.count_nonzero(~np.isnan(values))) for values in self.outputs.values())

    def after(self, timestamp: int) -> Predictions:
        """Return only the points after a timestamp.

        Examples
        --------
        >>> predictions = Predictions((), np.array([1, 2, 3]), {"y": np.zeros((0, 3))})
        >>> predictions.after(1).timestamps
        array([2, 3])
        """
        first = int(np.searchsorted(self.timestamps, timestamp, side="right"))
        outputs = {name: values[:, first:] for name, values in self.outputs.items()}
        return Predictions(self.labels, self.timestamps[first:], outputs)


class JobKey(NamedTuple):
    """A job: what is read together under a scheduler.

    Examples
    --------
    >>> print(JobKey("daily", ("cpu",)))
    scheduler 'daily', query 'cpu'
    """

    scheduler_alias: str
    queries: tuple[str, ...]

    def __str__(self) -> str:
        return f"scheduler '{self.scheduler_alias}', query '{query_key(self.queries)}'"


class UnitKey(NamedTuple):
    """A unit of work: a model on a query, or on several together, under a scheduler.

    Examples
    --------
    >>> print(UnitKey("daily", "robust", ("cpu",)))
    scheduler 'daily', model 'robust', query 'cpu'
    """

    scheduler_alias: str
    model_alias: str
    queries: tuple[str, ...]

    @property
    def job(self) -> JobKey:
        """The job that it is part of."""
        return JobKey(self.scheduler_alias, self.queries)

    def __str__(self) -> str:
        return (
            f"scheduler '{self.scheduler_alias}', model '{self.model_alias}', "
            f"query '{query_key(self.queries)}'"
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """Where predictions come from: a model on some queries under a scheduler.

    Attributes
    ----------
    queries : tuple of str
        Aliases of the queries, in order: one, or those that a multivariate model scores jointly.
    model_alias : str
        Alias of the model.
    scheduler_alias : str
        Alias of the scheduler.
    preset : str
        Preset of the configuration, `default` when it has none.

    Examples
    --------
    >>> origin = Origin(("mem", "cpu"), "robust", "daily")
    >>> origin.query_key
    'cpu,mem'
    >>> print(origin)
    model 'robust', query 'cpu,mem'
    """

    queries: tuple[str, ...]
    model_alias: str
    scheduler_alias: str
    preset: str = "default"

    @property
    def query_key(self) -> str:
        """The common name of the queries."""
        return query_key(self.queries)

    @property
    def unit(self) -> UnitKey:
        """The unit of work."""
        return UnitKey(self.scheduler_alias, self.model_alias, self.queries)

    def __str__(self) -> str:
        return f"model '{self.model_alias}', query '{self.query_key}'"


_USUAL = (1e-100, 1e100)


def of_usual_size(values: FloatArray) -> FloatArray:
    """Return the values, in another unit if they are too large or too small to be multiplied.

    Ratios of them are the same, and sums and squares neither overflow nor vanish.

    Parameters
    ----------
    values
        float64, of any shape; may be infinite or NaN.

    Returns
    -------
    ndarray of float64, of the same shape
        The values, or these times a power of two.

    Examples
    --------
    >>> of_usual_size(np.array([3.0, -1.0]))
    array([ 3., -1.])
    >>> of_usual_size(np.array([3 * 2.0**900, -(2.0**900)]))
    array([ 0.75, -0.25])
    """
    largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    if largest == 0.0 or _USUAL[0] <= largest <= _USUAL[1]:
        return values
    scaled: FloatArray = np.ldexp(values, -np.frexp(largest)[1])
    return scaled
