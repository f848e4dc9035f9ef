"""Online quantiles, for every part of a season."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np

from vmanomaly.config.values.time import parse_iso
from vmanomaly.kernel import inlined, inner, kernel
from vmanomaly.model.base import LARGEST
from vmanomaly.model.civil_time import civil_time
from vmanomaly.model.digest.digests import (
    Digests,
    DigestState,
    centroids,
    digest_columns,
    learn,
    needed,
)
from vmanomaly.model.digest.tdigest import (
    RENORMALISE_ABOVE,
    quantiles,
    renormalise,
    sample_weight_range,
)
from vmanomaly.model.online import (
    Bounds,
    OnlineModel,
    Points,
    blend,
    micro_batch,
    widened,
)
from vmanomaly.model.state import Column, Range, SeriesState
from vmanomaly.series import FloatArray, IntArray, SeriesBatch

ENOUGH = 32
"""Samples of its own with which a part of a season no longer falls back on all samples."""


class QuantileParameters(NamedTuple):
    """The parameters, as the kernels take them.

    Attributes
    ----------
    probabilities : ndarray of float64
        Of all quantiles that are needed, ascending.
    places : ndarray of int64
        Where those of the lower bound, the expected value and the upper bound are among them,
        and, if `iqr_threshold` is not 0, the two quartiles.
    iqr_threshold, global_smoothing, use_transform, compression, decay
        As in `OnlineQuantileModel`.
    """

    probabilities: FloatArray
    places: IntArray
    iqr_threshold: float
    global_smoothing: float
    use_transform: bool
    compression: int
    decay: float


@dataclass(frozen=True, kw_only=True)
class OnlineQuantileModel(OnlineModel):
    r"""Quantiles of the samples seen in the same part of earlier seasons.

    A season of the length `seasonal_interval` is divided into parts of the length
    `min_subseason`, counted in the civil time of the query from `season_starts_from` on: the hours
    of a week, for example. With the quantiles :math:`Q(p)` of the part that a timestamp belongs
    to, and :math:`IQR = Q(0.75) - Q(0.25)`, expected is the second of `quantiles`, between

    .. math:: Q(lower) - iqr\_threshold \cdot IQR, \quad Q(upper) + iqr\_threshold \cdot IQR

    The quantiles of few samples say little, so a part falls back on those of all samples until it
    has seen :math:`n = 32` of its own. With `global_smoothing` g and
    :math:`w = (1 - g) \min(n / 32, 1)`, :math:`Q(p)` is w times the quantile of the part and
    :math:`1 - w` times that of all samples. With `use_transform`, the quantiles are those of
    :math:`sign(y) \ln(1 + |y|)`, transformed back. The n-th last sample of a series has the weight
    :math:`decay^n`.

    Each part has a t-digest, which takes room only for what it has seen. It is exact as long as it
    has room for every sample, which is until more than 2/3 `compression` were seen.

    Parameters
    ----------
    quantiles
        Three probabilities, ascending: of `yhat_lower`, `yhat` and `yhat_upper`.
    iqr_threshold
        Interquartile ranges that are added on both sides, >= 0.
    seasonal_interval, min_subseason
        Length of the season and of its parts, milliseconds; one part if either is None.
    season_starts_from
        ISO 8601 time at which a season starts, in `tz` unless it says otherwise.
    use_transform
        Whether quantiles are estimated on a logarithmic scale.
    global_smoothing
        Weight of the quantiles of all samples where a part has seen enough, from 0 to 1.
    compression
        Size of the digests: more centroids, smaller error.
    decay
        Weight of the past, per sample learned, in (0, 1].
    min_n_samples_seen
        Samples needed before scores count.
    history_strength
        How much more a sample of the fit window weighs than a later one, > 0. The quantiles after
        the fit do not depend on it.
    tz
        IANA name of the time zone of the query.

    References
    ----------
    .. [1] T. Dunning and O. Ertl, "Computing extremely accurate quantiles using t-digests",
       arXiv:1902.04023, 2019.

    Examples
    --------
    Odd and even minutes:

    >>> from vmanomaly.series import Labels, SeriesBatch
    >>> model = OnlineQuantileModel(
    ...     quantiles=(0.0, 0.5, 1.0), iqr_threshold=0.0, seasonal_interval=120_000,
    ...     min_subseason=60_000, season_starts_from="1970-01-01", use_transform=False,
    ...     global_smoothing=0.0, compression=100, decay=1.0, min_n_samples_seen=3,
    ...     history_strength=1.0, tz="UTC",
    ... )
    >>> labels, minutes = (Labels({"job": "api"}),), 60_000 * np.arange(68)
    >>> values = np.resize([1.0, 70.0, 2.0, 80.0, 3.0, 90.0], (1, 66))
    >>> state = model.fit(SeriesBatch(labels, minutes[:66], values))
    >>> present = SeriesBatch(labels, minutes[66:], np.array([[9.0, 9.0]]))
    >>> answer = model.infer(state, present, np.array([0])).outputs
    >>> {name: values[0].tolist() for name, values in answer.items()}
    {'yhat': [2.0, 80.0], 'yhat_lower': [1.0, 70.0], 'yhat_upper': [3.0, 90.0]}
    """

    quantiles: tuple[float, ...]
    iqr_threshold: float
    seasonal_interval: int | None
    min_subseason: int | None
    season_starts_from: str
    use_transform: bool
    global_smoothing: float
    compression: int
    history_strength: float
    tz: str

    @property
    def n_subseasons(self) -> int:
        """The parts that a season is divided into; 1 without a season."""
        if self.seasonal_interval is None or self.min_subseason is None:
            return 1
        return self.seasonal_interval // self.min_subseason

    @property
    def fit_is_replay(self) -> bool:
        """True where samples of the fit window weigh no more than later ones."""
        return self.history_strength == 1.0

    @property
    def columns(self) -> tuple[Column, ...]:
        """Where the digests are, and what each part has seen: 14 bytes a part, and 20 more."""
        with_parts = self.n_subseasons > 1
        return (
            Column(
                "sample_weight", np.float64, initial=1.0, within=sample_weight_range(self.decay)
            ),
            Column(
                "n_samples_of_part",
                np.int16,
                (self.n_subseasons * with_parts,),
                within=Range(0, ENOUGH),
            ),
            # The quantiles of all samples have a digest of their own, the last one.
            *digest_columns(self.n_subseasons + with_parts, self.compression),
        )

    def subseasons(self, timestamps: IntArray) -> IntArray:
        """Return which part of the season each timestamp belongs to, int64, from 0 on.

        Parameters
        ----------
        timestamps
            int64, Unix milliseconds, UTC.
        """
        if self.seasonal_interval is None or self.min_subseason is None:
            return np.zeros(len(timestamps), np.int64)
        start = np.array([parse_iso(self.season_starts_from, self.tz)], np.int64)
        since_start = civil_time(timestamps, self.tz) - civil_time(start, self.tz)
        return since_start % self.seasonal_interval // self.min_subseason

    def blank_state(self) -> DigestState:
        """Return a state without series."""
        return DigestState(self.columns)

    def fit(self, batch: SeriesBatch) -> SeriesState:
        """Learn the batch from scratch and return the state."""
        state = super().fit(batch)
        # Later samples weigh less: the same as if those learned weighed more.
        state["sample_weight"][:] /= self.history_strength
        cast("DigestState", state).trim()
        return state

    def _walk(self, state: SeriesState, points: Points) -> dict[str, FloatArray]:
        digests = cast("DigestState", state)
        bounds = points.blank_bounds()
        subseasons = self.subseasons(points.timestamps)
        n_digests = digests["digest_start"].shape[1]
        parameters = self._parameters()
        buffer = np.empty((2, len(parameters.probabilities)))
        at_once = needed(min(2 * len(subseasons), n_digests), self.compression)
        done = 0
        while done < len(points.rows):
            digests.reserve(at_once)
            done = _walk_rows(
                done,
                at_once,
                points,
                subseasons,
                parameters,
                digests["n_samples_of_part"],
                digests["sample_weight"],
                digests.digests(),
                buffer,
                bounds,
            )
        return bounds._asdict()

    def _parameters(self) -> QuantileParameters:
        quartiles = [0.25, 0.75] if self.iqr_threshold > 0.0 else []
        probabilities = [*self.quantiles, *quartiles]
        ascending = np.unique(probabilities)
        return QuantileParameters(
            ascending,
            np.searchsorted(ascending, probabilities),
            self.iqr_threshold,
            self.global_smoothing,
            self.use_transform,
            self.compression,
            self.decay,
        )


@inner
def _transform(y: float) -> float:
    return math.copysign(math.log1p(abs(y)), y)


@inner
def _transform_back(x: float) -> float:
    return math.copysign(min(math.expm1(abs(x)), LARGEST), x)


@inlined
def _quantiles_of(
    digests: Digests, row: int, digest: int, probabilities: FloatArray, answers: FloatArray
) -> bool:
    """Fill `answers` with the quantiles of a digest; return whether there are any."""
    if digests.sizes[row, digest] == 0:
        return False
    means, weights = centroids(digests, row, digest)
    quantiles(means, weights, probabilities, answers)
    return True


@inner
def _smoothed_quantiles(
    digests: Digests,
    row: int,
    digest: int,
    global_share: float,
    parameters: QuantileParameters,
    buffer: FloatArray,
) -> bool:
    """Fill the first row of `buffer` with quantiles; return whether any are known."""
    answers, global_answers = buffer[0], buffer[1]
    probabilities = parameters.probabilities
    known = _quantiles_of(digests, row, digest, probabilities, answers)
    if global_share > 0.0:
        # The last digest holds all samples.
        last = digests.starts.shape[1] - 1
        if _quantiles_of(digests, row, last, probabilities, global_answers):
            for i in range(len(answers)):
                own, of_all = answers[i], global_answers[i]
                if not known:
                    answers[i] = of_all
                elif own <= of_all:
                    answers[i] = blend(own, of_all, global_share)
                else:
                    answers[i] = blend(of_all, own, 1.0 - global_share)
            known = True
    if parameters.use_transform:
        for i in range(len(answers)):
            answers[i] = _transform_back(answers[i])
    return known


@inlined
def _global_share(n_samples: IntArray, part: int, global_smoothing: float) -> float:
    """Return the weight of the quantiles of all samples, which falls with what a part has seen."""
    if len(n_samples) == 0:
        return 0.0
    if n_samples[part] >= ENOUGH:
        return global_smoothing
    return 1.0 - float(n_samples[part]) / ENOUGH * (1.0 - global_smoothing)


@inlined
def _expected(
    digests: Digests,
    row: int,
    digest: int,
    global_share: float,
    parameters: QuantileParameters,
    buffer: FloatArray,
) -> tuple[float, float, float]:
    """Return the lower bound, the expected value and the upper bound; NaN if nothing is known."""
    if not _smoothed_quantiles(digests, row, digest, global_share, parameters, buffer):
        return math.nan, math.nan, math.nan
    answers, places = buffer[0], parameters.places
    lower, yhat, upper = answers[places[0]], answers[places[1]], answers[places[2]]
    if parameters.iqr_threshold > 0.0:
        iqr = answers[places[4]] - answers[places[3]]
        margin = min(parameters.iqr_threshold * iqr, LARGEST)
        lower, upper = lower - margin, upper + margin
    lower, upper = widened(yhat, lower, upper)
    return lower, yhat, upper


@kernel
def _walk_rows(
    done: int,
    at_once: int,
    points: Points,
    subseasons: IntArray,
    parameters: QuantileParameters,
    n_samples: IntArray,
    sample_weights: FloatArray,
    digests: Digests,
    buffer: FloatArray,
    bounds: Bounds,
) -> int:
    """Walk the series from `done` on until there is no room, and return the first one left.

    `buffer` is room for the quantiles of one digest and of all samples, one row each.
    """
    n_series = len(points.rows)
    for s in range(done, n_series):
        if digests.used[0] + at_once > len(digests.means):
            return int(s)
        row = points.rows[s]
        for b in range(len(points.starts)):
            begin, end = micro_batch(points, s, b)
            if points.predicted:
                last = -1
                expected = math.nan, math.nan, math.nan
                for t in range(begin, end):
                    if subseasons[t] != last:
                        last = subseasons[t]
                        share = _global_share(n_samples[row], last, parameters.global_smoothing)
                        expected = _expected(digests, row, last, share, parameters, buffer)
                    bounds.yhat_lower[s, t], bounds.yhat[s, t], bounds.yhat_upper[s, t] = expected
            for t in range(begin, end):
                y = points.values[s, t]
                if math.isfinite(y):
                    value = _transform(y) if parameters.use_transform else y
                    sample_weights[row] = _learn_one(
                        digests,
                        row,
                        subseasons[t],
                        value,
                        sample_weights[row],
                        n_samples[row],
                        parameters,
                    )
    return int(n_series)


@inlined
def _learn_one(
    digests: Digests,
    row: int,
    digest: int,
    value: float,
    weight: float,
    n_samples: IntArray,
    parameters: QuantileParameters,
) -> float:
    """Add a sample to its digest and to that of all samples; return the next one's weight.

    Increasing the weight of later samples is the same as decaying all earlier ones.
    """
    learn(digests, row, digest, value, weight, parameters.compression)
    n_digests = digests.starts.shape[1]
    if len(n_samples) > 0:
        learn(digests, row, n_digests - 1, value, weight, parameters.compression)
        if n_samples[digest] < ENOUGH:
            n_samples[digest] += 1
    weight /= parameters.decay
    if weight > RENORMALISE_ABOVE:
        for other in range(n_digests):
            if digests.sizes[row, other] > 0:
                _, weights = centroids(digests, row, other)
                renormalise(weights, weight)
        weight = 1.0
    return weight
