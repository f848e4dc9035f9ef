"""The framework that every online model of single series runs in."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from vmanomaly.kernel import inlined, kernel
from vmanomaly.model.base import LARGEST, Model, ModelOutput
from vmanomaly.model.state import Array, Column, SeriesState
from vmanomaly.series import BoolArray, FloatArray, IntArray, Labels, SeriesBatch


class Points(NamedTuple):
    """Points of S series on T timestamps, as the kernels take them: contiguous.

    A kernel is compiled for each combination of layouts and flags that it is given, so only
    `observe` makes them.

    Attributes
    ----------
    rows : ndarray of int64, shape (S,)
        The row of every series in the state.
    first : ndarray of int64, shape (S,)
        The first column to take of every series.
    n_seen : ndarray of int64, shape (S,)
        How many finite samples of every series were seen before these.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, UTC.
    values : ndarray of float64, shape (S, T)
        The samples.
    starts : ndarray of int64, shape (B,)
        The columns at which micro-batches begin.
    predicted : bool
        Whether predictions are wanted. In a fit they are not: no series has been seen before, and
        all its points are one micro-batch.
    """

    rows: IntArray
    first: IntArray
    n_seen: IntArray
    timestamps: IntArray
    values: FloatArray
    starts: IntArray
    predicted: bool

    def of(self, values: FloatArray) -> Points:
        """Return points with other values in the place of these, shape (S, T)."""
        return self._replace(values=_read_only(values, np.float64))

    def blanks(self, n: int) -> Iterator[FloatArray]:
        """Yield `n` float64 arrays filled with NaN, to receive predictions.

        Of shape (S, T), or (S, 0) where no predictions are wanted.
        """
        n_series, n_timestamps = self.values.shape
        shape = (n_series, n_timestamps if self.predicted else 0)
        return (np.full(shape, np.nan) for _ in range(n))

    def blank_bounds(self) -> Bounds:
        """Return `Bounds` filled with NaN."""
        return Bounds(*self.blanks(len(Bounds._fields)))


class Bounds(NamedTuple):
    """The outputs that every model has; of one shape.

    Attributes
    ----------
    yhat, yhat_lower, yhat_upper : ndarray of float64, shape (S, T)
        What is expected, and the bounds of what is normal.
    """

    yhat: FloatArray
    yhat_lower: FloatArray
    yhat_upper: FloatArray


@dataclass(frozen=True, kw_only=True)
class OnlineModel(Model):
    """A model that learns single series point by point, many series at once.

    `infer` takes only points after the last one seen of their series, walks the micro-batches
    in order, predicts each with the state before it and then learns it. Samples that are NaN or
    infinite are never learned. A series not seen at `fit` starts with nothing. The result does
    not depend on how the points are split into calls, as long as the micro-batches are the same.

    Parameters
    ----------
    decay
        Weight of the past, per sample learned, in (0, 1]; 1 never forgets.
    min_n_samples_seen
        How many samples must have been seen before a micro-batch for its scores to count.
    """

    decay: float
    min_n_samples_seen: int

    online: ClassVar[bool] = True

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """The model's own columns of the state."""

    def blank_state(self) -> SeriesState:
        """Return a state without series."""
        return SeriesState(self.columns)

    def restore(self, labels: Iterable[Labels], arrays: Mapping[str, Array]) -> SeriesState:
        """Rebuild a state from what `labels` and `arrays()` of another gave.

        Raises
        ------
        ValueError
            The arrays are not those of a state of this model.
        """
        return type(self.blank_state()).from_arrays(self.columns, labels, arrays)

    @abstractmethod
    def _walk(self, state: SeriesState, points: Points) -> dict[str, FloatArray]:
        """Predict and learn one micro-batch after the other.

        A micro-batch is predicted only for a series of which something is already known. So
        nothing is predicted in a fit, and the arrays of `points.blanks` need no columns.

        Returns
        -------
        dict of str to ndarray of float64, shape (S, T)
            NaN left of `points.first` and where nothing was learned before.
        """

    def fit(self, batch: SeriesBatch) -> SeriesState:
        """Learn the batch from scratch and return the state."""
        state = self.blank_state()
        points, _, _ = self._observe(state, batch, np.zeros(1, np.int64), predicted=False)
        self._walk(state, points)
        return state

    def infer(
        self, state: SeriesState, batch: SeriesBatch, micro_batch_starts: IntArray
    ) -> ModelOutput:
        """Predict and learn the batch, one micro-batch after the other; updates `state`."""
        rows = state.rows(batch.labels)
        return self.infer_rows(state, rows, batch.timestamps, batch.values, micro_batch_starts)

    def infer_rows(
        self,
        state: SeriesState,
        rows: IntArray,
        timestamps: IntArray,
        values: FloatArray,
        micro_batch_starts: IntArray,
    ) -> ModelOutput:
        """Predict and learn as `infer` does, given where the series are in the state.

        Parameters
        ----------
        state
            Updated.
        rows
            int64, shape (S,): the row of every series.
        timestamps, values, micro_batch_starts
            As for `infer`.
        """
        points, eligible, trusted = observe(
            state,
            rows,
            timestamps,
            values,
            micro_batch_starts,
            min_n_samples_seen=self.min_n_samples_seen,
        )
        return ModelOutput(self._walk(state, points), eligible, trusted)

    def _observe(
        self, state: SeriesState, batch: SeriesBatch, starts: IntArray, *, predicted: bool
    ) -> tuple[Points, BoolArray, BoolArray]:
        return observe(
            state,
            state.rows(batch.labels),
            batch.timestamps,
            batch.values,
            starts,
            min_n_samples_seen=self.min_n_samples_seen,
            predicted=predicted,
        )


def observe(
    state: SeriesState,
    rows: IntArray,
    timestamps: IntArray,
    values: FloatArray,
    starts: IntArray,
    *,
    min_n_samples_seen: int = 0,
    predicted: bool = True,
) -> tuple[Points, BoolArray, BoolArray]:
    """Record in the state what is seen, and return what to walk, what is eligible and trusted.

    Parameters
    ----------
    state
        Its `last_seen` and `n_samples_seen` are updated.
    rows, timestamps, values, starts, predicted
        As in `Points`.
    min_n_samples_seen
        How many samples must have been seen before a micro-batch for its scores to count.

    Returns
    -------
    points : Points
        What to walk.
    eligible, trusted : ndarray of bool, shape (S, T)
        As in `ModelOutput`.
    """
    points = Points(
        _read_only(rows, np.int64),
        np.empty(len(rows), np.int64),
        state.n_samples_seen[rows],
        _read_only(timestamps, np.int64),
        _read_only(values, np.float64),
        _read_only(starts, np.int64),
        predicted,
    )
    eligible = np.zeros(values.shape, np.bool_)
    trusted = np.zeros(values.shape, np.bool_)
    _observe_rows(
        points, min_n_samples_seen, state.last_seen, state.n_samples_seen, eligible, trusted
    )
    return points, eligible, trusted


def _read_only(array: Array, dtype: type[np.generic]) -> Array:
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


@kernel
def _observe_rows(
    points: Points,
    min_n_samples_seen: int,
    last_seen: IntArray,
    n_samples_seen: IntArray,
    eligible: BoolArray,
    trusted: BoolArray,
) -> None:
    """Fill `points.first`, `eligible` and `trusted`; update the columns of the state."""
    for s in range(len(points.rows)):
        row = points.rows[s]
        points.first[s] = _first_after(points.timestamps, last_seen[row])
        for b in range(len(points.starts)):
            begin, end = micro_batch(points, s, b)
            enough = n_samples_seen[row] >= min_n_samples_seen
            for t in range(begin, end):
                eligible[s, t] = True
                trusted[s, t] = enough
                if math.isfinite(points.values[s, t]):
                    n_samples_seen[row] += 1
                # A gap does not count as seen: a sample that arrives there late still counts.
                if not math.isnan(points.values[s, t]):
                    last_seen[row] = points.timestamps[t]


@inlined
def micro_batch(points: Points, s: int, b: int) -> tuple[int, int]:
    """Return where the micro-batch `b` begins for the series `s`, and where it ends."""
    end = points.starts[b + 1] if b + 1 < len(points.starts) else len(points.timestamps)
    return max(points.starts[b], points.first[s]), end


@inlined
def _first_after(timestamps: IntArray, moment: int) -> int:
    """Return the first column whose timestamp is later than the moment."""
    low, high = 0, len(timestamps)
    while low < high:
        middle = (low + high) // 2
        if timestamps[middle] <= moment:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def interval(yhat: float, half_width: float) -> tuple[float, float]:
    """Return the bounds around `yhat`, finite and never of zero width.

    Examples
    --------
    >>> interval(10.0, 2.0)
    (8.0, 12.0)
    >>> interval(0.0, 0.0)
    (-1e-12, 1e-12)
    """
    return widened(yhat, yhat - half_width, yhat + half_width)


@kernel
def widened(yhat: float, lower: float, upper: float) -> tuple[float, float]:
    """Return the bounds, made finite and moved away from `yhat` if they are too close.

    They are at least 1e-9 of `yhat` and at least 1e-12 away, so that rounding in a constant series
    is not an anomaly.

    Examples
    --------
    >>> widened(0.0, 0.0, 3.0)
    (-1e-12, 3.0)
    """
    least = max(1e-9 * abs(yhat), 1e-12)
    return max(min(lower, yhat - least), -LARGEST), min(max(upper, yhat + least), LARGEST)


@kernel
def blend(low: float, high: float, share: float) -> float:
    """Return `(1 - share) * low + share * high`, never outside [low, high] and never infinite.

    Examples
    --------
    >>> blend(1.0, 3.0, 0.25)
    1.5
    >>> blend(-1.7e308, 1.7e308, 0.5)
    0.0
    """
    if low == high:
        return low
    return min(max((1.0 - share) * low + share * high, low), high)
