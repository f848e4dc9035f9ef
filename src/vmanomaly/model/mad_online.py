"""Online MAD: median and median absolute deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vmanomaly.kernel import inner, kernel
from vmanomaly.model.digest.tdigest import (
    MOST_WEIGHT,
    RENORMALISE_ABOVE,
    add,
    capacity,
    median_and_deviation,
    renormalise,
    sample_weight_range,
)
from vmanomaly.model.online import Bounds, OnlineModel, Points, interval, micro_batch
from vmanomaly.model.state import FINITE, Array, Column, Range, SeriesState, row_blocks
from vmanomaly.series import FloatArray, IntArray, SeriesBatch, SingleArray

SIGMA_PER_MAD = 1.4826
"""Makes the median absolute deviation of a normal distribution its standard deviation."""


class DigestColumns(NamedTuple):
    """The columns of the state, as the kernels take them, with their names; one digest per series.

    Attributes
    ----------
    centroid_mean : ndarray of float64, shape (S, capacity)
        The means of the centroids.
    centroid_weight : ndarray of float32, shape (S, capacity)
        Their weights.
    n_centroids : ndarray of int64, shape (S,)
        How many there are.
    sample_weight : ndarray of float64, shape (S,)
        The weight of the next sample.
    """

    centroid_mean: FloatArray
    centroid_weight: SingleArray
    n_centroids: IntArray
    sample_weight: FloatArray


@dataclass(frozen=True, kw_only=True)
class OnlineMADModel(OnlineModel):
    r"""Distance from the median in median absolute deviations, which outliers hardly move.

    Expected is the running median; the bounds are
    :math:`median \pm threshold \cdot 1.4826 \cdot MAD`, with the median absolute deviation
    :math:`MAD = median(|y - median(y)|)`. The n-th last sample has the weight :math:`decay^n`.

    The samples are kept in one t-digest per series, from which both medians are read: they are
    exact until more than `compression` + 16 samples were seen, and of bounded error afterwards.

    Parameters
    ----------
    threshold
        Half width of the expected range in (scaled) median absolute deviations, > 0.
    compression
        Size of the digest: more centroids, smaller error.
    decay
        Weight of the past, per sample learned, in (0, 1].
    min_n_samples_seen
        Samples needed before scores count.
    history_strength
        How much more a sample of the fit window weighs than a later one, > 0. The medians after
        the fit do not depend on it.

    References
    ----------
    .. [1] P. J. Rousseeuw and C. Croux, "Alternatives to the median absolute deviation", Journal
       of the American Statistical Association 88(424), 1993.
    .. [2] T. Dunning and O. Ertl, "Computing extremely accurate quantiles using t-digests",
       arXiv:1902.04023, 2019.

    Examples
    --------
    >>> from vmanomaly.series import Labels, SeriesBatch
    >>> model = OnlineMADModel(
    ...     threshold=2.0, compression=100, decay=1.0, min_n_samples_seen=3, history_strength=1.0
    ... )
    >>> labels = (Labels({"job": "api"}),)
    >>> state = model.fit(SeriesBatch(labels, np.array([1, 2, 3]), np.array([[1.0, 2.0, 90.0]])))
    >>> present = SeriesBatch(labels, np.array([4]), np.array([[9.0]]))
    >>> answer = model.infer(state, present, np.array([0])).outputs
    >>> {name: round(values.item(), 4) for name, values in answer.items()}
    {'yhat': 2.0, 'yhat_lower': -0.9652, 'yhat_upper': 4.9652}
    """

    threshold: float
    compression: int
    history_strength: float

    @property
    def fit_is_replay(self) -> bool:
        """True where samples of the fit window weigh no more than later ones."""
        return self.history_strength == 1.0

    @property
    def columns(self) -> tuple[Column, ...]:
        """The digest: 12 bytes for each of `compression` + 16 centroids, and 16 more."""
        shape = (capacity(self.compression),)
        return (
            Column("centroid_mean", np.float64, shape, within=FINITE, rule=_means_problem),
            Column(
                "centroid_weight",
                np.float32,
                shape,
                within=Range(0.0, MOST_WEIGHT),
                rule=_weights_problem,
            ),
            Column("n_centroids", np.int64, within=Range(0, shape[0]), rule=_sizes_problem),
            Column(
                "sample_weight", np.float64, initial=1.0, within=sample_weight_range(self.decay)
            ),
        )

    def fit(self, batch: SeriesBatch) -> SeriesState:
        """Learn the batch from scratch and return the state."""
        state = super().fit(batch)
        # Later samples weigh less: the same as if those learned weighed more.
        state["sample_weight"][:] /= self.history_strength
        return state

    def _walk(self, state: SeriesState, points: Points) -> dict[str, FloatArray]:
        bounds = points.blank_bounds()
        digests = DigestColumns(*(state[name] for name in DigestColumns._fields))
        mads = self.threshold * SIGMA_PER_MAD
        _walk_rows(points, self.decay, self.compression, mads, digests, bounds)
        return bounds._asdict()


def _sizes_problem(arrays: Mapping[str, Array]) -> str | None:
    sizes, n_seen = arrays["n_centroids"], arrays["n_samples_seen"]
    if ((sizes > n_seen) | ((sizes == 0) != (n_seen == 0))).any():
        return "not the centroids of the samples that were seen"
    return None


def _means_problem(arrays: Mapping[str, Array]) -> str | None:
    means, sizes = arrays["centroid_mean"], arrays["n_centroids"]
    for rows in row_blocks(*means.shape):
        within = np.arange(1, means.shape[1]) < sizes[rows, None]
        if (within & (means[rows, 1:] < means[rows, :-1])).any():
            return "the means of a digest are not ascending"
    return None


def _weights_problem(arrays: Mapping[str, Array]) -> str | None:
    weights, sizes = arrays["centroid_weight"], arrays["n_centroids"]
    for rows in row_blocks(*weights.shape):
        within = np.arange(weights.shape[1]) < sizes[rows, None]
        totals = np.where(within, weights[rows], 0.0).sum(axis=1, dtype=np.float64)
        if (((totals <= 0.0) & (sizes[rows] > 0)) | (totals > MOST_WEIGHT)).any():
            return "a digest weighs nothing, or too much"
    return None


@inner
def _learn_one(
    means: FloatArray,
    weights: SingleArray,
    size: int,
    sample_weight: float,
    y: float,
    decay: float,
    compression: int,
) -> tuple[int, float]:
    """Add the sample `y`, and return the digest's size and the next sample's weight.

    Increasing the weight of later samples is the same as decaying all earlier ones.
    """
    size = add(means, weights, size, y, sample_weight, compression)
    sample_weight /= decay
    if sample_weight > RENORMALISE_ABOVE:
        renormalise(weights[:size], sample_weight)
        sample_weight = 1.0
    return size, sample_weight


@kernel
def _walk_rows(
    points: Points,
    decay: float,
    compression: int,
    mads: float,
    digests: DigestColumns,
    bounds: Bounds,
) -> None:
    for s in range(len(points.rows)):
        row = points.rows[s]
        means, weights = digests.centroid_mean[row], digests.centroid_weight[row]
        size, sample_weight = digests.n_centroids[row], digests.sample_weight[row]
        for b in range(len(points.starts)):
            begin, end = micro_batch(points, s, b)
            if begin < end and size > 0:
                median, deviation = median_and_deviation(means[:size], weights[:size])
                lower, upper = interval(median, mads * deviation)
                bounds.yhat[s, begin:end] = median
                bounds.yhat_lower[s, begin:end] = lower
                bounds.yhat_upper[s, begin:end] = upper
            for t in range(begin, end):
                y = points.values[s, t]
                if math.isfinite(y):
                    size, sample_weight = _learn_one(
                        means, weights, size, sample_weight, y, decay, compression
                    )
        digests.n_centroids[row], digests.sample_weight[row] = size, sample_weight
