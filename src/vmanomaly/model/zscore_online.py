"""Online z-score: exponentially weighted mean and standard deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vmanomaly.kernel import inner, kernel
from vmanomaly.model.base import LARGEST
from vmanomaly.model.online import Bounds, OnlineModel, Points, interval, micro_batch
from vmanomaly.model.state import FINITE, NOT_NEGATIVE, Array, Column, SeriesState
from vmanomaly.series import FloatArray, SeriesBatch


class Moments(NamedTuple):
    """The sums that the mean and the variance are made of; float64, one row per series.

    Attributes
    ----------
    mean
        The weighted mean.
    root
        The root of the weighted sum of squares about it.
    weight
        The sum of all weights.
    pair_weight
        The sum over all pairs of different samples of the product of their weights, which is
        W^2 - sum w^2 without the cancellation.
    """

    mean: FloatArray
    root: FloatArray
    weight: FloatArray
    pair_weight: FloatArray


@dataclass(frozen=True, kw_only=True)
class OnlineZscoreModel(OnlineModel):
    r"""Distance from the mean in standard deviations.

    The n-th last sample has the weight :math:`w = decay^n`. With :math:`W = \sum w`, expected is
    the mean :math:`\mu = \sum w y / W`; the bounds are :math:`\mu \pm z\_threshold \cdot \sigma`
    with the variance that is unbiased for such weights,

    .. math:: \sigma^2 = \frac{\sum w (y - \mu)^2}{W - \sum w^2 / W}

    which for `decay` 1 is the ordinary :math:`\sum (y - \mu)^2 / (n - 1)`. One sample has the
    deviation 0. Sums of squares are kept as their roots, so that no finite sample overflows.

    Parameters
    ----------
    z_threshold
        Half width of the expected range in standard deviations, > 0.
    decay
        Weight of the past, per sample learned, in (0, 1].
    min_n_samples_seen
        Samples needed before scores count.
    history_strength
        How much more a sample of the fit window weighs than a later one, > 0. Mean and
        deviation after the fit do not depend on it.

    References
    ----------
    .. [1] T. Finch, "Incremental calculation of weighted mean and variance", University of
       Cambridge, 2009.
    .. [2] D. H. D. West, "Updating mean and variance estimates: an improved method",
       Communications of the ACM 22(9), 1979.

    Examples
    --------
    >>> from vmanomaly.series import Labels, SeriesBatch
    >>> model = OnlineZscoreModel(
    ...     z_threshold=2.0, decay=1.0, min_n_samples_seen=3, history_strength=1.0
    ... )
    >>> labels = (Labels({"job": "api"}),)
    >>> state = model.fit(SeriesBatch(labels, np.array([1, 2, 3]), np.array([[1.0, 2.0, 3.0]])))
    >>> present = SeriesBatch(labels, np.array([4]), np.array([[9.0]]))
    >>> answer = model.infer(state, present, np.array([0])).outputs
    >>> {name: values.item() for name, values in answer.items()}
    {'yhat': 2.0, 'yhat_lower': 0.0, 'yhat_upper': 4.0}
    """

    z_threshold: float
    history_strength: float

    @property
    def fit_is_replay(self) -> bool:
        """True where samples of the fit window weigh no more than later ones."""
        return self.history_strength == 1.0

    @property
    def columns(self) -> tuple[Column, ...]:
        """The sums that the mean and the variance are made of, 32 bytes."""
        return (
            Column("mean", np.float64, within=FINITE),
            Column("root", np.float64, within=NOT_NEGATIVE),
            Column("weight", np.float64, within=NOT_NEGATIVE, rule=_weight_problem),
            Column("pair_weight", np.float64, within=NOT_NEGATIVE, rule=_pair_weight_problem),
        )

    def fit(self, batch: SeriesBatch) -> SeriesState:
        """Learn the batch from scratch and return the state."""
        state = super().fit(batch)
        strength = self.history_strength
        state["weight"][:] *= strength
        state["pair_weight"][:] *= strength**2
        with np.errstate(over="ignore"):
            state["root"][:] = np.minimum(state["root"] * math.sqrt(strength), LARGEST)
        return state

    def _walk(self, state: SeriesState, points: Points) -> dict[str, FloatArray]:
        bounds = points.blank_bounds()
        moments = Moments(*(state[name] for name in Moments._fields))
        _walk_rows(points, self.decay, self.z_threshold, moments, bounds)
        return bounds._asdict()


def _weight_problem(arrays: Mapping[str, Array]) -> str | None:
    n_seen, weight = arrays["n_samples_seen"], arrays["weight"]
    # The last sample weighs at least 1, and no other one more than it.
    if np.where(n_seen > 0, weight < 1.0, weight != 0.0).any():
        return "not the weight of the samples that were seen"
    return None


def _pair_weight_problem(arrays: Mapping[str, Array]) -> str | None:
    weight, pair_weight = arrays["weight"], arrays["pair_weight"]
    with np.errstate(over="ignore"):
        if (pair_weight > weight**2 * (1.0 + 1e-9)).any():
            return "pairs weigh more than all samples together"
    return None


@inner
def _learn_one(
    mean: float, root: float, weight: float, pair_weight: float, y: float, decay: float
) -> tuple[float, float, float, float]:
    """Return the moments after the sample `y`."""
    past = decay * weight
    weight = past + 1.0
    delta = y - mean
    root = min(math.hypot(math.sqrt(decay) * root, math.sqrt(past / weight) * delta), LARGEST)
    # The result is near the heavier of the two, and starts there so that no digits cancel.
    if not math.isfinite(delta):
        mean = mean * (past / weight) + y / weight
    elif past < 1.0:
        mean = y - delta * (past / weight)
    else:
        mean += delta / weight
    return mean, root, weight, decay * decay * pair_weight + 2.0 * past


@inner
def _deviation(root: float, weight: float, pair_weight: float) -> float:
    return root * math.sqrt(weight / pair_weight) if pair_weight > 0.0 else 0.0


@kernel
def _walk_rows(
    points: Points, decay: float, z_threshold: float, moments: Moments, bounds: Bounds
) -> None:
    for s in range(len(points.rows)):
        row = points.rows[s]
        mean, root = moments.mean[row], moments.root[row]
        weight, pair_weight = moments.weight[row], moments.pair_weight[row]
        for b in range(len(points.starts)):
            begin, end = micro_batch(points, s, b)
            if begin < end and weight > 0.0:
                deviation = _deviation(root, weight, pair_weight)
                lower, upper = interval(mean, z_threshold * deviation)
                bounds.yhat[s, begin:end] = mean
                bounds.yhat_lower[s, begin:end] = lower
                bounds.yhat_upper[s, begin:end] = upper
            for t in range(begin, end):
                y = points.values[s, t]
                if math.isfinite(y):
                    mean, root, weight, pair_weight = _learn_one(
                        mean, root, weight, pair_weight, y, decay
                    )
        moments.mean[row], moments.root[row] = mean, root
        moments.weight[row], moments.pair_weight[row] = weight, pair_weight
