"""Seasonal decomposition that looks back only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vmanomaly.kernel import kernel
from vmanomaly.model.base import LARGEST
from vmanomaly.model.online import OnlineModel, Points, blend, interval
from vmanomaly.model.state import Column, SeriesState
from vmanomaly.series import FloatArray, IntArray


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

    With the last known :math:`m`, the outputs are `trend` :math:`m + \bar s` (an average of the
    past lies behind a series that rises; :math:`\bar s` is by how much), `seasonal`
    :math:`s_i - \bar s`, `yhat` their sum between :math:`yhat \pm z\_threshold \cdot \sigma`, and
    `resid` :math:`y - yhat`. The average needs a season, and a phase is predicted once it has been
    seen twice after that: from the fourth season on.

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
        """The latest sample and the mean of every phase, 20 bytes a phase, and 24 more."""
        phases = (self.period,)
        return (
            Column("latest", np.float64, phases, initial=math.nan),
            Column("phase_mean", np.float64, phases),
            Column("phase_count", np.int32, phases),
            Column("trend", np.float64),
            Column("root", np.float64),
            Column("freedom", np.float64),
        )

    def _walk(self, state: SeriesState, points: Points) -> dict[str, FloatArray]:
        outputs = points.blank_outputs("yhat", "yhat_lower", "yhat_upper", "trend", "seasonal")
        _walk_rows(
            points.rows,
            points.first,
            points.n_seen,
            points.values,
            points.starts,
            points.timestamps // self.step % self.period,
            self.z_threshold,
            self.decay,
            state["latest"],
            state["phase_mean"],
            state["phase_count"],
            state["trend"],
            state["root"],
            state["freedom"],
            *outputs.values(),
        )
        if points.predicted:
            with np.errstate(over="ignore", invalid="ignore"):
                resid = points.values - outputs["yhat"]
            outputs["resid"] = np.clip(resid, -LARGEST, LARGEST)
        return outputs


@kernel
def _difference(a: float, b: float) -> float:
    return min(max(a - b, -LARGEST), LARGEST)


@kernel
def _sum(a: float, b: float) -> float:
    return min(max(a + b, -LARGEST), LARGEST)


@kernel
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


@kernel
def _sum_of_weights(count: int, decay: float) -> float:
    """Return 1 + decay + ..., `count` of them."""
    return float(count) if decay == 1.0 else (1.0 - decay**count) / (1.0 - decay)


@kernel
def _freedom(count: int, decay: float) -> float:
    """Return the degrees of freedom of so many decayed samples about their mean."""
    if count < 2:
        return 0.0
    total = _sum_of_weights(count, decay)
    return total - _sum_of_weights(count, decay * decay) / total


@kernel
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
    rows: IntArray,
    first: IntArray,
    n_seen: IntArray,
    values: FloatArray,
    starts: IntArray,
    phases: IntArray,
    z_threshold: float,
    decay: float,
    latests: FloatArray,
    phase_means: FloatArray,
    phase_counts: IntArray,
    trends: FloatArray,
    roots: FloatArray,
    freedoms: FloatArray,
    yhat: FloatArray,
    yhat_lower: FloatArray,
    yhat_upper: FloatArray,
    trend: FloatArray,
    seasonal: FloatArray,
) -> None:
    n_series, n_timestamps = values.shape
    period = latests.shape[1]
    n_average = period + 1 - period % 2
    season_decay = decay**period
    for s in range(n_series):
        row = rows[s]
        latest, means, counts = latests[row], phase_means[row], phase_counts[row]
        level, root, freedom = trends[row], roots[row], freedoms[row]
        n = n_seen[s]
        for b in range(len(starts)):
            begin = max(starts[b], first[s])
            end = starts[b + 1] if b + 1 < len(starts) else n_timestamps
            if begin < end and freedom > 0.0 and yhat.size > 0:
                lag = _mean_of_seen(means, counts)
                deviation = root / math.sqrt(freedom)
                for t in range(begin, end):
                    phase = phases[t]
                    if counts[phase] >= 2:
                        yhat[s, t] = _sum(level, means[phase])
                        lower, upper = interval(yhat[s, t], z_threshold * deviation)
                        yhat_lower[s, t], yhat_upper[s, t] = lower, upper
                        trend[s, t] = _sum(level, lag)
                        seasonal[s, t] = _difference(means[phase], lag)
            for t in range(begin, end):
                y = values[s, t]
                if math.isfinite(y):
                    n += 1
                    phase = phases[t]
                    average = _moving_average(latest, phase, y)
                    if n >= n_average:
                        level = average
                        count = counts[phase]
                        past = season_decay * _sum_of_weights(count, season_decay)
                        detrended = _difference(y, level)
                        delta = _difference(detrended, means[phase])
                        root = min(
                            math.hypot(
                                math.sqrt(decay) * root, math.sqrt(past / (past + 1.0)) * delta
                            ),
                            LARGEST,
                        )
                        means[phase] = _towards(means[phase], detrended, 1.0 / (past + 1.0))
                        freedom = max(
                            decay * freedom
                            + _freedom(count + 1, season_decay)
                            - season_decay * _freedom(count, season_decay),
                            0.0,
                        )
                        counts[phase] = count + 1
        trends[row], roots[row], freedoms[row] = level, root, freedom


@kernel
def _towards(old: float, new: float, share: float) -> float:
    """Return what lies `share` of the way from `old` to `new`."""
    return blend(old, new, share) if old <= new else blend(new, old, 1.0 - share)


@kernel
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
