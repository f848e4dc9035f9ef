"""The frame that every online model of single series runs in."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vmanomaly.kernel import kernel
from vmanomaly.model.base import Model, ModelOutput
from vmanomaly.model.state import Array, Column, SeriesState
from vmanomaly.series import BoolArray, FloatArray, IntArray, SeriesBatch

LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, kw_only=True)
class OnlineModel(Model):
    """A model that learns single series point by point, many series at once.

    `infer` takes only points after the last one seen of their series, walks the micro-batches
    in order, predicts each with the state before it and learns it then. Samples that are NaN or
    infinite are never learned. A series not seen at `fit` starts with nothing. The result does
    not depend on how the points are split into calls, as long as the micro-batches are the same.

    Parameters
    ----------
    decay
        Weight of the past, per sample learned, in (0, 1]; 1 never forgets.
    min_n_samples_seen
        The samples that must have been seen before a micro-batch for its scores to count.
    """

    decay: float
    min_n_samples_seen: int

    outputs: ClassVar[tuple[str, ...]] = (
        "anomaly_score",
        "y",
        "yhat",
        "yhat_lower",
        "yhat_upper",
    )
    default_outputs: ClassVar[tuple[str, ...]] = (
        "anomaly_score",
        "yhat",
        "yhat_lower",
        "yhat_upper",
    )
    online: ClassVar[bool] = True
    multivariate: ClassVar[bool] = False

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """The model's own columns of the state."""

    @abstractmethod
    def _learn(self, state: SeriesState, values: FloatArray) -> None:
        """Learn the fit window, shape (S, T); row s of the fresh state belongs to `values[s]`."""

    @abstractmethod
    def _walk(
        self,
        state: SeriesState,
        rows: IntArray,
        first: IntArray,
        values: FloatArray,
        starts: IntArray,
    ) -> dict[str, FloatArray]:
        """Predict and learn micro-batch after micro-batch.

        Parameters
        ----------
        rows, first
            int64, shape (S,): the row of every series, and its first column to take.
        values
            float64, shape (S, T).
        starts
            int64, shape (B,): the columns at which micro-batches begin.

        Returns
        -------
        dict of str to ndarray of float64, shape (S, T)
            NaN left of `first` and where nothing was learned before.
        """

    def fit(self, batch: SeriesBatch) -> SeriesState:
        """Learn the batch from scratch and return the state."""
        state = SeriesState(self.columns)
        values = _read_only(batch.values, np.float64)
        self._observe(state, batch, values, np.zeros(1, np.int64))
        self._learn(state, values)
        return state

    def infer(
        self, state: SeriesState, batch: SeriesBatch, micro_batch_starts: IntArray
    ) -> ModelOutput:
        """Predict and learn the batch, micro-batch after micro-batch; updates `state`."""
        values = _read_only(batch.values, np.float64)
        starts = _read_only(micro_batch_starts, np.int64)
        rows, first, eligible, trusted = self._observe(state, batch, values, starts)
        return ModelOutput(self._walk(state, rows, first, values, starts), eligible, trusted)

    def _observe(
        self, state: SeriesState, batch: SeriesBatch, values: FloatArray, starts: IntArray
    ) -> tuple[IntArray, IntArray, BoolArray, BoolArray]:
        rows = state.rows(batch.labels)
        first = np.empty(len(rows), np.int64)
        eligible = np.zeros(values.shape, np.bool_)
        trusted = np.zeros(values.shape, np.bool_)
        _observe_rows(
            rows,
            _read_only(batch.timestamps, np.int64),
            values,
            starts,
            self.min_n_samples_seen,
            state.last_seen,
            state.n_samples_seen,
            first,
            eligible,
            trusted,
        )
        return rows, first, eligible, trusted


def _read_only(array: Array, dtype: type[np.generic]) -> Array:
    # A kernel is compiled for each combination of layouts and flags that it meets: meet one.
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


@kernel
def _observe_rows(
    rows: IntArray,
    timestamps: IntArray,
    values: FloatArray,
    starts: IntArray,
    min_n_samples_seen: int,
    last_seen: IntArray,
    n_samples_seen: IntArray,
    first: IntArray,
    eligible: BoolArray,
    trusted: BoolArray,
) -> None:
    """Fill `first`, `eligible` and `trusted`; bring `last_seen` and `n_samples_seen` forward."""
    n_series, n_timestamps = values.shape
    for s in range(n_series):
        row = rows[s]
        first[s] = np.searchsorted(timestamps, last_seen[row], side="right")
        for b in range(len(starts)):
            begin = max(starts[b], first[s])
            end = starts[b + 1] if b + 1 < len(starts) else n_timestamps
            enough = n_samples_seen[row] >= min_n_samples_seen
            for t in range(begin, end):
                eligible[s, t] = True
                trusted[s, t] = enough
                if math.isfinite(values[s, t]):
                    n_samples_seen[row] += 1
                # A gap is not seen: a sample that arrives late in its place still counts.
                if not math.isnan(values[s, t]):
                    last_seen[row] = timestamps[t]


@kernel
def interval(yhat: float, half_width: float) -> tuple[float, float]:
    """Return the bounds around `yhat`, finite and never of zero width.

    The half width is at least 1e-9 of `yhat` and at least 1e-12, so that rounding in a constant
    series is no anomaly.

    Examples
    --------
    >>> interval(10.0, 2.0)
    (8.0, 12.0)
    >>> interval(0.0, 0.0)
    (-1e-12, 1e-12)
    """
    half_width = max(half_width, 1e-9 * abs(yhat), 1e-12)
    return max(yhat - half_width, -LARGEST), min(yhat + half_width, LARGEST)


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


def blank_outputs(shape: tuple[int, ...], *names: str) -> dict[str, Any]:
    """Return a float64 array full of NaN for every name."""
    return {name: np.full(shape, np.nan) for name in names}
