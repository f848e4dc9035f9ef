"""Seasonal decomposition that looks back only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from vmanomaly.kernel import inner, kernel
from vmanomaly.model.base import LARGEST
from vmanomaly.model.online import (
    Bounds,
    OnlineModel,
    Points,
    blend,
    interval,
    micro_batch,
)
from vmanomaly.model.state import FINITE, NOT_NEGATIVE, Array, Column, Range, SeriesState
from vmanomaly.series import FloatArray, IntArray


class Decomposition(NamedTuple):
    """The columns of the state, as the kernels take them, with their names.

    Attributes
    ----------
    latest, phase_mean : ndarray of float64, shape (S, period)
        The latest sample of every phase, and the mean of what was left of its samples without
        the trend.
    phase_count : ndarray of int32, shape (S, period)
        The samples in that mean.
    trend, root, freedom : ndarray of float64, shape (S,)
        The moving average, the root of the sum of squares about the phases' means, and its
        degrees of freedom.
    recent : ndarray of float64, shape (S,)
        The root mean square about the phases' means of about the last season.
    """

    latest: FloatArray
    phase_mean: FloatArray
    phase_count: IntArray
    trend: FloatArray
    root: FloatArray
    freedom: FloatArray
    recent: FloatArray


class Components(NamedTuple):
    """The outputs that `yhat` is the sum of; float64, of its shape."""

    trend: FloatArray
    seasonal: FloatArray


@dataclass(frozen=True, kw_only=True)
class StdModel(OnlineModel):
    r"""Trend, season and residual, by one-sided moving averages.

    The classical additive decomposition [1]_, with a trend that looks back only. A point belongs
    to one of the `period` phases of the season, by its place on the grid of the query.

    - :math:`m` is the moving average over the last season, the latest sample of each phase; for an
      even `period`, the first and the last of `period` + 1 samples count half.
    - :math:`s_i` is the mean of :math:`y - m` in the phase i, and :math:`\bar s` the mean of all
      :math:`s_i`.
    - :math:`\sigma` is the standard deviation of :math:`y - m` about :math:`s_i`, unbiased: one
      degree of freedom is lost in every phase.
    - :math:`\sigma_m` is the standard error of :math:`m`, the mean of `period` samples:
      :math:`\sigma_m^2 = v / period`, with :math:`v` the mean square of :math:`y - m - s_i` that
      forgets, :math:`v \leftarrow v + ((y - m - s_i)^2 - v) / period`. It grows with a sample far
      from the others, by as much as that sample moves :math:`m`.

    With the last known :math:`m`, the outputs are `trend` :math:`m + \bar s` (an average of the
    past lies behind a series that rises; :math:`\bar s` is by how much), `seasonal`
    :math:`s_i - \bar s`, `yhat` their sum between
    :math:`yhat \pm z\_threshold \cdot \sqrt{\sigma^2 + \sigma_m^2}`, and `resid`
    :math:`y - yhat`. The average needs a season, and a phase is predicted once it has been seen
    twice after that: from the fourth season on.

    The n-th last sample has the weight :math:`decay^n`.

    Parameters
    ----------
    period
        Points in a season, >= 2.
    z_threshold
        Half width of the expected range in standard deviations, > 0.
    decay
        Weight of the past, per sample learned, in (0, 1].
    min_n_samples_seen
        Samples needed before scores count.
    step
        Time between two points of the query, milliseconds.

    References
    ----------
    .. [1] M. G. Kendall and A. Stuart, "The advanced theory of statistics", volume 3, 1983; as in
       statsmodels' `seasonal_decompose(model="additive", two_sided=False)`.

    Examples
    --------
    >>> from vmanomaly.series import Labels, SeriesBatch
    >>> model = StdModel(period=2, z_threshold=3.0, decay=1.0, min_n_samples_seen=3, step=60_000)
    >>> labels, minutes = (Labels({"job": "api"}),), 60_000 * np.arange(10)
    >>> past = SeriesBatch(labels, minutes[:8], np.array([[1.0, 5.0] * 4]))
    >>> state = model.fit(past)
    >>> present = SeriesBatch(labels, minutes[8:], np.array([[1.0, 9.0]]))
    >>> answer = model.infer(state, present, np.array([0])).outputs
    >>> {name: answer[name][0].tolist() for name in ("yhat", "trend", "seasonal", "resid")}
    {'yhat': [1.0, 5.0], 'trend': [3.0, 3.0], 'seasonal': [-2.0, 2.0], 'resid': [0.0, 4.0]}
    """

    period: int
    z_threshold: float
    step: int

    outputs: ClassVar[tuple[str, ...]] = (*OnlineModel.outputs, "trend", "seasonal", "resid")
    default_outputs: ClassVar[tuple[str, ...]] = (
        *OnlineModel.default_outputs,
        "trend",
        "seasonal",
        "resid",
    )

    @property
    def fit_is_replay(self) -> bool:
        """True: samples are learned one by one at a fit too."""
        return True

    @property
    def columns(self) -> tuple[Column, ...]:
        """The latest sample and the mean of every phase, 20 bytes a phase, and 32 more."""
        phases = (self.period,)
        return (
            Column("latest", np.float64, phases, initial=math.nan, within=Range(or_nan=True)),
            Column("phase_mean", np.float64, phases, within=FINITE),
            Column("phase_count", np.int32, phases, within=Range(0, 1 << 30), rule=_count_problem),
            Column("trend", np.float64, within=FINITE),
            Column("root", np.float64, within=NOT_NEGATIVE),
            Column("freedom", np.float64, within=NOT_NEGATIVE, rule=_freedom_problem),
            Column("recent", np.float64, within=NOT_NEGATIVE),
        )

    def _walk(self, state: SeriesState, points: Points) -> dict[str, FloatArray]:
        bounds, components = points.blank_bounds(), Components(*points.blanks(2))
        phases = points.timestamps // self.step % self.period
        decomposition = Decomposition(*(state[name] for name in Decomposition._fields))
        _walk_rows(points, phases, self.z_threshold, self.decay, decomposition, bounds, components)
        outputs = bounds._asdict() | components._asdict()
        if points.predicted:
            with np.errstate(over="ignore", invalid="ignore"):
                resid = points.values - bounds.yhat
            outputs["resid"] = np.clip(resid, -LARGEST, LARGEST)
        return outputs


def _count_problem(arrays: Mapping[str, Array]) -> str | None:
    counts, n_seen = arrays["phase_count"], arrays["n_samples_seen"]
    n_latest = np.isfinite(arrays["latest"]).sum(axis=1)
    if ((counts.sum(axis=1, dtype=np.int64) > n_seen) | (n_latest > n_seen)).any():
        return "more than the samples that were seen"
    if ((counts > 0) & np.isnan(arrays["latest"])).any() or ((n_seen > 0) & (n_latest == 0)).any():
        return "a phase was seen that has no latest sample"
    return None


def _freedom_problem(arrays: Mapping[str, Array]) -> str | None:
    if (arrays["freedom"] > arrays["phase_count"].sum(axis=1, dtype=np.float64)).any():
        return "more than the samples that were seen"
    return None


@inner
def _difference(a: float, b: float) -> float:
    return min(max(a - b, -LARGEST), LARGEST)


@inner
def _sum(a: float, b: float) -> float:
    return min(max(a + b, -LARGEST), LARGEST)


@inner
def _mean(values: FloatArray, origin: float) -> tuple[float, int]:
    """Return the mean of the values that are not NaN, and how many these are.

    Differences from `origin` are averaged, which is exact for equal values; halved, so that they
    do not overflow.
    """
    share = 1.0 / len(values)
    total = 0.0
    count = 0
    for value in values:
        if not math.isnan(value):
            total += (value / 2.0 - origin / 2.0) * share
            count += 1
    if count == 0:
        return math.nan, 0
    half = total / count * len(values)
    return origin + half + half, count


@inner
def _sum_of_weights(count: int, decay: float) -> float:
    """Return 1 + decay + ..., `count` of them."""
    return float(count) if decay == 1.0 else (1.0 - decay**count) / (1.0 - decay)


@inner
def _freedom(count: int, decay: float) -> float:
    """Return the degrees of freedom of that many decayed samples about their mean."""
    if count < 2:
        return 0.0
    total = _sum_of_weights(count, decay)
    return total - _sum_of_weights(count, decay * decay) / total


@inner
def _moving_average(latest: FloatArray, phase: int, y: float) -> float:
    """Put `y` in its phase, and return the average over the season that ends with it."""
    before = latest[phase]
    latest[phase] = y
    mean, count = _mean(latest, y)
    if len(latest) % 2 == 0 and not math.isnan(before):
        mean = _sum(mean, (before / 2.0 - y / 2.0) / count)
    return mean


@kernel
def _walk_rows(
    points: Points,
    phases: IntArray,
    z_threshold: float,
    decay: float,
    state: Decomposition,
    bounds: Bounds,
    components: Components,
) -> None:
    period = state.latest.shape[1]
    n_average = period + 1 - period % 2
    season_decay = decay**period
    # Of one sample in the moving average, as a factor of its deviation.
    weight = 1.0 / math.sqrt(period)
    for s in range(len(points.rows)):
        row = points.rows[s]
        latest, means, counts = state.latest[row], state.phase_mean[row], state.phase_count[row]
        level, root, freedom = state.trend[row], state.root[row], state.freedom[row]
        recent = state.recent[row]
        n = points.n_seen[s]
        for b in range(len(points.starts)):
            begin, end = micro_batch(points, s, b)
            if points.predicted and begin < end and freedom > 0.0:
                lag = _mean_of_seen(means, counts)
                deviation = math.hypot(root / math.sqrt(freedom), recent * weight)
                for t in range(begin, end):
                    phase = phases[t]
                    if counts[phase] >= 2:
                        yhat = _sum(level, means[phase])
                        lower, upper = interval(yhat, z_threshold * deviation)
                        bounds.yhat[s, t] = yhat
                        bounds.yhat_lower[s, t], bounds.yhat_upper[s, t] = lower, upper
                        components.trend[s, t] = _sum(level, lag)
                        components.seasonal[s, t] = _difference(means[phase], lag)
            for t in range(begin, end):
                y = points.values[s, t]
                if math.isfinite(y):
                    n += 1
                    phase = phases[t]
                    average = _moving_average(latest, phase, y)
                    if n >= n_average:
                        level = average
                        count = counts[phase] + 1
                        past = season_decay * _sum_of_weights(count - 1, season_decay)
                        detrended = _difference(y, level)
                        delta = _difference(detrended, means[phase])
                        root = min(
                            math.hypot(
                                math.sqrt(decay) * root, math.sqrt(past / (past + 1.0)) * delta
                            ),
                            LARGEST,
                        )
                        means[phase] = _towards(means[phase], detrended, 1.0 / (past + 1.0))
                        left = _difference(detrended, means[phase])
                        recent = math.hypot(recent * math.sqrt(1.0 - 1.0 / period), left * weight)
                        recent = min(recent, LARGEST)
                        freedom = max(
                            decay * freedom
                            + _freedom(count, season_decay)
                            - season_decay * _freedom(count - 1, season_decay),
                            0.0,
                        )
                        counts[phase] = count
        state.trend[row], state.root[row], state.freedom[row] = level, root, freedom
        state.recent[row] = recent


@inner
def _towards(old: float, new: float, share: float) -> float:
    """Return what lies `share` of the way from `old` to `new`."""
    return blend(old, new, share) if old <= new else blend(new, old, 1.0 - share)


@inner
def _mean_of_seen(means: FloatArray, counts: IntArray) -> float:
    """Return the mean over the phases that have been seen."""
    total = 0.0
    n = 0
    for phase in range(len(means)):
        if counts[phase] > 0:
            n += 1
    for phase in range(len(means)):
        if counts[phase] > 0:
            total += means[phase] / n
    return total
