"""Quantiles of the last samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vmanomaly.kernel import inner, kernel
from vmanomaly.model.base import LARGEST
from vmanomaly.model.online import (
    Bounds,
    OnlineModel,
    Points,
    blend,
    micro_batch,
    widened,
)
from vmanomaly.model.state import FINITE, Array, Column, Range, SeriesState, row_blocks
from vmanomaly.series import FloatArray, IntArray


class RollingParameters(NamedTuple):
    """The parameters, as the kernels take them.

    Attributes
    ----------
    probabilities : ndarray of float64
        Of the lower bound, the median and the upper bound, and of the quartiles if `iqrs` is not 0.
    iqrs : float
        Interquartile ranges that are added on both sides.
    weights : ndarray of float64
        Of the newest sample, of the one before it, and so on; empty where all weigh the same.
    """

    probabilities: FloatArray
    iqrs: float
    weights: FloatArray


class Windows(NamedTuple):
    """The columns of the state, as the kernels take them; one window per series.

    Attributes
    ----------
    samples : ndarray of float64, shape (S, window_steps)
        The samples as they came; the oldest is replaced.
    ascending : ndarray of int32, shape (S, window_steps)
        Their places in ascending order.
    """

    samples: FloatArray
    ascending: IntArray


@dataclass(frozen=True, kw_only=True)
class RollingQuantileModel(OnlineModel):
    r"""Exact quantiles of the last `window_steps` samples.

    With the quantiles :math:`Q(p)` of the window, and :math:`IQR = Q(0.75) - Q(0.25)`, expected is
    the median :math:`Q(0.5)`, between

    .. math:: Q(1 - quantile) - iqr\_threshold \cdot IQR / 2, \quad
              Q(quantile) + iqr\_threshold \cdot IQR / 2

    Quantiles interpolate linearly: of the n samples in ascending order, the k-th is the quantile
    :math:`(k - 1) / (n - 1)`. With `decay` below 1 the n-th last sample has the weight
    :math:`decay^n`; a sample then stands where the middle of its weight lies between the middles of
    the first and of the last.

    Parameters
    ----------
    quantile
        Of the upper bound, from 0.5 to 1; the lower bound is at 1 - `quantile`.
    window_steps
        Samples in the window, >= 1. Gaps do not count.
    iqr_threshold
        Half interquartile ranges that are added on both sides, >= 0.
    decay
        Weight of the past, per sample learned, in (0, 1].
    min_n_samples_seen
        Samples needed before scores count.

    References
    ----------
    .. [1] R. J. Hyndman and Y. Fan, "Sample quantiles in statistical packages", The American
       Statistician 50(4), 1996: definition 7.

    Examples
    --------
    >>> from vmanomaly.series import Labels, SeriesBatch
    >>> model = RollingQuantileModel(
    ...     quantile=0.75, window_steps=5, iqr_threshold=0.0, decay=1.0, min_n_samples_seen=3
    ... )
    >>> labels = (Labels({"job": "api"}),)
    >>> past = np.array([[90.0, 5.0, 1.0, 4.0, 2.0, 3.0]])
    >>> state = model.fit(SeriesBatch(labels, np.arange(6), past))
    >>> present = SeriesBatch(labels, np.array([6]), np.array([[9.0]]))
    >>> answer = model.infer(state, present, np.array([0])).outputs
    >>> {name: values.item() for name, values in answer.items()}
    {'yhat': 3.0, 'yhat_lower': 2.0, 'yhat_upper': 4.0}
    """

    quantile: float
    window_steps: int
    iqr_threshold: float

    @property
    def fit_is_replay(self) -> bool:
        """True: samples are learned one by one at a fit too."""
        return True

    @property
    def columns(self) -> tuple[Column, ...]:
        """The samples as they came, and their places in ascending order: 12 bytes per sample."""
        return (
            Column("window", np.float64, (self.window_steps,), within=FINITE),
            Column(
                "ascending",
                np.int32,
                (self.window_steps,),
                within=Range(0, self.window_steps - 1),
                rule=_order_problem,
            ),
        )

    def _walk(self, state: SeriesState, points: Points) -> dict[str, FloatArray]:
        bounds = points.blank_bounds()
        quartiles = [0.25, 0.75] if self.iqr_threshold > 0.0 else []
        n_weights = self.window_steps if self.decay < 1.0 else 0
        parameters = RollingParameters(
            np.array([1.0 - self.quantile, 0.5, self.quantile, *quartiles]),
            self.iqr_threshold / 2.0,
            np.power(self.decay, np.arange(n_weights), dtype=np.float64),
        )
        windows = Windows(state["window"], state["ascending"])
        answers, middles = np.empty(len(parameters.probabilities)), np.empty(n_weights)
        _walk_rows(points, parameters, windows, answers, middles, bounds)
        return bounds._asdict()


def _order_problem(arrays: Mapping[str, Array]) -> str | None:
    """Check that the samples are in order, equal ones as they came, so that none is there twice."""
    window, ascending = arrays["window"], arrays["ascending"]
    n_seen, length = arrays["n_samples_seen"], window.shape[1]
    for rows in row_blocks(*window.shape):
        places, n = ascending[rows].astype(np.int64), n_seen[rows, None]
        within = np.arange(length) < n
        # How many samples before it are still in the window.
        age = np.where(n < length, places, (places - n) % length)
        samples = np.take_along_axis(window[rows], places, axis=1)
        follows = (samples[:, :-1] < samples[:, 1:]) | (
            (samples[:, :-1] == samples[:, 1:]) & (age[:, :-1] < age[:, 1:])
        )
        if (within & (places >= n)).any() or (within[:, 1:] & ~follows).any():
            return "not the places of the samples in ascending order"
    return None


@inner
def _learn_one(window: FloatArray, ascending: IntArray, n_seen: int, y: float) -> None:
    """Put the sample `y` in the place of the oldest; equal samples stay in order of arrival."""
    place = n_seen % len(window)
    if n_seen < len(window):
        free, size = n_seen, n_seen + 1
    else:
        free, size = _first_not_below(window, ascending, window[place]), len(window)
    while free + 1 < size and window[ascending[free + 1]] <= y:
        ascending[free] = ascending[free + 1]
        free += 1
    while free > 0 and window[ascending[free - 1]] > y:
        ascending[free] = ascending[free - 1]
        free -= 1
    ascending[free] = place
    window[place] = y


@inner
def _first_not_below(window: FloatArray, ascending: IntArray, y: float) -> int:
    low, high = 0, len(ascending)
    while low < high:
        middle = (low + high) // 2
        if window[ascending[middle]] < y:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def _quantiles(
    window: FloatArray,
    ascending: IntArray,
    size: int,
    probabilities: FloatArray,
    answers: FloatArray,
) -> None:
    """Fill `answers` with the quantiles of the `size` samples in the window, at least one."""
    for i in range(len(probabilities)):
        position = probabilities[i] * (size - 1)
        below = int(position)
        above = min(below + 1, size - 1)
        answers[i] = blend(window[ascending[below]], window[ascending[above]], position - below)


@inner
def _weighted_quantiles(
    window: FloatArray,
    ascending: IntArray,
    n_seen: int,
    weights: FloatArray,
    probabilities: FloatArray,
    middles: FloatArray,
    answers: FloatArray,
) -> None:
    """Fill `answers` with the quantiles of the window, which holds at least one sample.

    Parameters
    ----------
    weights
        Of the newest sample, of the one before it, and so on.
    middles
        Room for the middle of each sample's weight, in ascending order of the samples.
    """
    length = len(window)
    size = min(n_seen, length)
    newest = (n_seen - 1) % length
    passed = 0.0
    for i in range(size):
        age = newest - ascending[i]
        # The newest weighs 1, so the sum of all weights never vanishes.
        weight = weights[age if age >= 0 else age + length]
        middles[i] = passed + weight / 2.0
        passed += weight
    first, last = middles[0], middles[size - 1]
    for i in range(len(probabilities)):
        wanted = first + probabilities[i] * (last - first)
        right = np.searchsorted(middles[:size], wanted)
        if right == 0:
            answers[i] = window[ascending[0]]
        elif right == size:
            answers[i] = window[ascending[size - 1]]
        else:
            share = (wanted - middles[right - 1]) / (middles[right] - middles[right - 1])
            answers[i] = blend(window[ascending[right - 1]], window[ascending[right]], share)


@kernel
def _walk_rows(
    points: Points,
    parameters: RollingParameters,
    windows: Windows,
    answers: FloatArray,
    middles: FloatArray,
    bounds: Bounds,
) -> None:
    """Walk every series; `answers` and `middles` are room for what `_weighted_quantiles` fills."""
    probabilities, weights = parameters.probabilities, parameters.weights
    for s in range(len(points.rows)):
        row = points.rows[s]
        window, ascending = windows.samples[row], windows.ascending[row]
        n = points.n_seen[s]
        for b in range(len(points.starts)):
            begin, end = micro_batch(points, s, b)
            if points.predicted and begin < end and n > 0:
                if len(weights) > 0:
                    _weighted_quantiles(
                        window, ascending, n, weights, probabilities, middles, answers
                    )
                else:
                    _quantiles(window, ascending, min(n, len(window)), probabilities, answers)
                lower, median, upper = answers[0], answers[1], answers[2]
                if parameters.iqrs > 0.0:
                    margin = min(parameters.iqrs * (answers[4] - answers[3]), LARGEST)
                    lower, upper = lower - margin, upper + margin
                lower, upper = widened(median, lower, upper)
                bounds.yhat[s, begin:end] = median
                bounds.yhat_lower[s, begin:end] = lower
                bounds.yhat_upper[s, begin:end] = upper
            for t in range(begin, end):
                y = points.values[s, t]
                if math.isfinite(y):
                    _learn_one(window, ascending, n, y)
                    n += 1
