"""Temporal envelopes of several channels, and what they suggest about each other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from vmanomaly.config.model import CONTRIBUTION
from vmanomaly.model.base import LARGEST, ModelOutput, MultivariateModel
from vmanomaly.model.grouping import GroupedBatch
from vmanomaly.model.joint import channel_outputs
from vmanomaly.model.online import Bounds, OnlineModel, observe
from vmanomaly.model.scoring import Policy
from vmanomaly.model.state import Array, Column, SeriesState
from vmanomaly.model.temporal_envelope.calendar import WEEK
from vmanomaly.model.temporal_envelope_multivariate.channels import ChannelState, per_channel
from vmanomaly.model.temporal_envelope_multivariate.dependency import (
    DependencyParameters,
    Groups,
    channel_columns,
    factor_room,
    fit_group,
    group_columns,
    reach_of_noise,
    relations_of,
    walk_groups,
)
from vmanomaly.model.temporal_envelope_multivariate.levels import (
    fit_levels,
    joint_limit,
    level_channel_columns,
    level_group_columns,
    levels_of,
    lone_limit,
    walk_levels,
    whitening_room,
)
from vmanomaly.series import BoolArray, FloatArray, IntArray, Labels, SeriesBatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TemporalEnvelopeMultivariateModel(MultivariateModel):
    r"""An envelope for each channel of a group, and one for what the others say about it.

    Each channel has the trend, the patterns and the bounds that `temporal_envelope` gives it
    alone. Its deviation :math:`z = (y - yhat) / |bound - yhat|` is modelled jointly with those of
    the other channels: a factor model of rank `dependency_rank`,

    .. math:: z = L f + e, \quad cov(f) = I, \quad cov(e) = diag(\psi)

    gives the expected :math:`z_i`, given all the others. What is left after that is bounded as
    the residuals of one channel are: by its quantiles, widened by `iqr_threshold` times their
    distance, or by more where there are many points or its tails are heavy. The score of a channel
    is that of the envelope, its own or this one, that it is further out of. So a group
    scores when one of its channels leaves what is normal for it, and also when every channel is
    inside and their relation is broken.

    Both follow within a few points where a channel goes. So the recent levels of all channels are
    compared with where they were for longer, jointly too (`walk_levels`): an incident scores as
    long as it lasts, while a channel that has always wandered does not. The score of the group is
    the larger of the two.

    The policies of the queries are applied to each channel, with each envelope, before the
    scores are combined. A point counts where every channel has a finite sample. The factor models
    continue learning by online expectation maximisation; that of the deviations starts from the
    second half of the fit window, which the envelopes of the first half predict.

    Parameters
    ----------
    channel_model
        What gives each channel its own envelope.
    quantiles, iqr_threshold
        The bounds of what is left, as those of the channel's own residuals.
    changepoint_window
        Points that separate one event from the next, and that the recent level is the mean of.
    decay
        Weight of the past, per sample learned, in (0, 1].
    min_n_samples_seen
        Points that a group needs before its scores count.
    dependency_rank
        How many factors the channels may have in common, at most one less than there are
        channels; 0 scores each channel alone.
    score_aggregation
        How the scores of the channels are combined: `max`, `mean`, or `l2`, the root of the mean of
        their squares.
    max_channels
        A group of more channels is refused.
    recommended_max_channels
        A group of more channels causes a warning.
    random_state
        Seed of the randomised start of the factor analysis.
    step
        Milliseconds between two points.
    policies
        By the alias of a query.

    References
    ----------
    .. [1] D. B. Rubin and D. T. Thayer, "EM algorithms for ML factor analysis", Psychometrika
       47(1), 1982.
    .. [2] O. Cappé and E. Moulines, "On-line expectation-maximization algorithm for latent data
       models", Journal of the Royal Statistical Society B 71(3), 2009.
    .. [3] J. E. Jackson, G. S. Mudholkar, "Control procedures for residuals associated with
       principal component analysis", Technometrics 21(3), 1979.
    """

    channel_model: OnlineModel
    quantiles: tuple[float, float]
    iqr_threshold: float
    changepoint_window: int
    decay: float
    min_n_samples_seen: int
    dependency_rank: int
    score_aggregation: str
    max_channels: int
    recommended_max_channels: int
    random_state: int
    step: int
    policies: Mapping[str, Policy]

    default_outputs: ClassVar[tuple[str, ...]] = ("anomaly_score",)
    online: ClassVar[bool] = True
    applies_policies: ClassVar[bool] = True
    block_bytes: ClassVar[int] = 1 << 20

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The joint score, what each channel's own envelope gives, and its share in the score."""
        forecasts = self.channel_model.default_outputs[len(OnlineModel.default_outputs) :]
        return (*OnlineModel.outputs, CONTRIBUTION, *forecasts)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is kept of the factors, of every channel's relation to them, and of the channel."""
        rank = self.dependency_rank
        of_groups = (*group_columns(rank), *level_group_columns(rank))
        of_channels = (*channel_columns(rank), *level_channel_columns(rank))
        return (*of_groups, *per_channel((*self.channel_model.columns, *of_channels)))

    def restore(self, labels: Iterable[Labels], arrays: Mapping[str, Array]) -> SeriesState:
        """Rebuild a state from what `labels` and `arrays()` of another gave.

        Raises
        ------
        ValueError
            The arrays are not those of a state of this model.
        """
        return ChannelState.from_arrays(self.columns, labels, arrays)

    def fit(self, batch: GroupedBatch) -> SeriesState:
        """Learn the batch from scratch and return the state.

        A group of more than `max_channels` is an error of that group.
        """
        state = ChannelState(self.columns)
        sizes = np.diff(batch.offsets).tolist()
        state.errors = {
            labels: ValueError(
                f"{size} channels are more than max_channels ({self.max_channels}); narrow the "
                "queries, split them by groupby, or raise max_channels"
            )
            for labels, size in zip(batch.labels, sizes, strict=True)
            if size > self.max_channels
        }
        batch = _small_enough(batch, self.max_channels)
        self._warn(batch)
        complete = batch.complete
        state.add(batch.labels, np.diff(batch.offsets).tolist())
        observe(
            state,
            state.rows(batch.labels),
            batch.timestamps,
            np.where(complete, 0.0, np.nan),
            np.zeros(1, np.int64),
            predicted=False,
        )
        values = _complete_only(batch, complete)
        learned = self.channel_model.fit(
            SeriesBatch(state.channels.labels, batch.timestamps, values)
        )
        for name, array in learned.arrays().items():
            state.channels[name][:] = array
        self._fit_factors(state, batch, values)
        self._fit_levels(state, batch)
        return state

    def infer(
        self, state: SeriesState, batch: GroupedBatch, micro_batch_starts: IntArray
    ) -> ModelOutput:
        """Score every group, and learn the batch, one micro-batch after the other."""
        assert isinstance(state, ChannelState)  # noqa: S101 - it is from `fit`
        rows, complete = state.rows(batch.labels), batch.complete
        points, eligible, trusted = observe(
            state,
            rows,
            batch.timestamps,
            np.where(complete, 0.0, np.nan),
            micro_batch_starts,
            min_n_samples_seen=self.min_n_samples_seen,
        )
        channel_rows = state.channel_rows(rows)
        values = _complete_only(batch, complete)
        own = self.channel_model.infer_rows(
            state.channels, channel_rows, batch.timestamps, values, micro_batch_starts
        )
        deviations = _deviations(values, own.outputs)
        sizes = np.diff(batch.offsets)
        largest = int(sizes.max(initial=0))
        conditional = Bounds(*(np.full(deviations.shape, np.nan) for _ in Bounds._fields))
        of_groups = (state[column.name] for column in group_columns(self.dependency_rank))
        reaches = _of_sizes(partial(reach_of_noise, self.step), sizes)
        walk_groups(
            Groups(batch.offsets, rows, channel_rows, reaches, *of_groups),
            relations_of(state.channels),
            points.starts,
            eligible & batch.per_group(np.logical_and, np.isfinite(deviations)),
            deviations,
            self._parameters,
            factor_room(largest, self.dependency_rank),
            conditional,
        )
        levels = self._walk_levels(state, batch, rows, points.starts, eligible & complete)
        wanted, score = ("anomaly_score", *own.outputs), ("anomaly_score",)
        own_answer, conditional_answer, level_answer = (
            channel_outputs(
                batch,
                ModelOutput({}, eligible, trusted, channels=envelope),
                self.policies,
                names,
            )
            for envelope, names in (
                (own.outputs, wanted),
                (_in_units_of_y(conditional._asdict(), own.outputs), score),
                (levels._asdict(), score),
            )
        )
        points_scores = np.fmax(
            own_answer.pop("anomaly_score"), conditional_answer["anomaly_score"]
        )
        level_scores = level_answer["anomaly_score"]
        of_points, of_levels = (
            _join(batch, scores, self.score_aggregation) for scores in (points_scores, level_scores)
        )
        by_level = np.repeat(of_levels > of_points, sizes, axis=0)
        contributions = _shares(batch, np.where(by_level, level_scores, points_scores))
        return ModelOutput(
            {"anomaly_score": np.fmax(of_points, of_levels)},
            eligible,
            trusted,
            channels={**own_answer, CONTRIBUTION: contributions},
        )

    def _walk_levels(
        self,
        state: ChannelState,
        batch: GroupedBatch,
        rows: IntArray,
        starts: IntArray,
        usable: BoolArray,
    ) -> Bounds:
        """Return the bounds of the levels, shape (C, T), and learn these."""
        levels = Bounds(*(np.full(batch.values.shape, np.nan) for _ in Bounds._fields))
        if self.dependency_rank == 0:
            return levels
        sizes = np.diff(batch.offsets)
        largest = int(sizes.max(initial=0))
        limits, lones = (
            _of_sizes(partial(limit, aggregation=self.score_aggregation), sizes)
            for limit in (joint_limit, lone_limit)
        )
        of_groups = (state[column.name] for column in level_group_columns(self.dependency_rank))
        walk_levels(
            Groups(batch.offsets, rows, state.channel_rows(rows), limits, *of_groups),
            lones,
            levels_of(state.channels),
            starts,
            usable,
            np.ascontiguousarray(batch.values),
            self._parameters,
            factor_room(largest, self.dependency_rank),
            whitening_room(largest, self.dependency_rank),
            levels,
        )
        return levels

    @property
    def _parameters(self) -> DependencyParameters:
        lower, upper = self.quantiles
        width, weeks = self.iqr_threshold / 2.0, self.step / WEEK
        return DependencyParameters(lower, upper, width, self.changepoint_window, weeks, self.decay)

    def _fit_factors(self, state: ChannelState, batch: GroupedBatch, values: FloatArray) -> None:
        """Learn how channels move together, from the second half of the fit window."""
        half = len(batch.timestamps) // 2
        labels, past, present = state.channels.labels, slice(half), slice(half, None)
        first = self.channel_model.fit(SeriesBatch(labels, batch.timestamps[past], values[:, past]))
        second = SeriesBatch(labels, batch.timestamps[present], values[:, present])
        every_point = np.arange(len(second.timestamps))
        expected = self.channel_model.infer(first, second, every_point).outputs
        deviations = _deviations(second.values, expected)
        usable = batch.per_group(np.logical_and, np.isfinite(deviations))
        channels = [column.name for column in channel_columns(self.dependency_rank)]
        groups = [column.name for column in group_columns(self.dependency_rank)]
        for g, rows in enumerate(batch.slices()):
            fit_group(
                {name: state[name][g : g + 1] for name in groups},
                {name: state.channels[name][rows] for name in channels},
                deviations[rows][:, usable[g]],
                self.quantiles,
                self.step,
                self.changepoint_window,
                self.random_state,
            )

    def _fit_levels(self, state: ChannelState, batch: GroupedBatch) -> None:
        """Learn how the levels of the channels move, from the whole fit window."""
        if self.dependency_rank == 0:
            return
        channels = [column.name for column in level_channel_columns(self.dependency_rank)]
        groups = [column.name for column in level_group_columns(self.dependency_rank)]
        complete = batch.complete
        for g, rows in enumerate(batch.slices()):
            fit_levels(
                {name: state[name][g : g + 1] for name in groups},
                {name: state.channels[name][rows] for name in channels},
                batch.values[rows][:, complete[g]],
                self._parameters,
                self.random_state,
            )

    def _warn(self, batch: GroupedBatch) -> None:
        sizes = np.diff(batch.offsets)
        for g in np.flatnonzero(sizes > self.recommended_max_channels):
            logger.warning(
                "The group %s has %d channels, more than recommended_max_channels (%d): its "
                "relations are less certain, and cost more",
                batch.labels[g],
                sizes[g],
                self.recommended_max_channels,
            )


def _small_enough(batch: GroupedBatch, max_channels: int) -> GroupedBatch:
    sizes = np.diff(batch.offsets)
    if (sizes <= max_channels).all():
        return batch
    kept = [g for g, size in enumerate(sizes) if size <= max_channels]
    rows = np.flatnonzero(np.repeat(sizes <= max_channels, sizes))
    return GroupedBatch(
        tuple(batch.labels[g] for g in kept),
        tuple(batch.channels[row] for row in rows),
        np.concatenate(([0], np.cumsum(sizes[kept]))),
        batch.timestamps,
        batch.values[rows],
    )


def _of_sizes(function: Callable[[int], float], sizes: IntArray) -> FloatArray:
    """Return a function of the size of every group, called once for each size there is."""
    distinct, places = np.unique(sizes, return_inverse=True)
    return np.array([function(size) for size in distinct.tolist()], np.float64)[places]


def _complete_only(batch: GroupedBatch, complete: BoolArray) -> FloatArray:
    """Return the values, NaN where one of the channels of the group has no finite sample."""
    of_channels = np.repeat(complete, np.diff(batch.offsets), axis=0)
    return np.where(of_channels, batch.values, np.nan)


def _deviations(y: FloatArray, envelope: Mapping[str, FloatArray]) -> FloatArray:
    """Return the signed distances from `yhat`, in units of the distance of the bound.

    Finite wherever `y` and the envelope are.
    """
    yhat = envelope["yhat"]
    distance = y / 2.0 - yhat / 2.0
    bound = np.where(y < yhat, envelope["yhat_lower"], envelope["yhat_upper"])
    width = np.abs(bound / 2.0 - yhat / 2.0)
    with np.errstate(over="ignore"):
        # There is no width where `yhat` is the largest float, and so is `y` then.
        deviations = np.divide(distance, width, out=np.zeros(y.shape), where=width != 0.0)
    return np.clip(deviations, -LARGEST, LARGEST)


def _in_units_of_y(
    deviations: Mapping[str, FloatArray], envelope: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Return what `_deviations` made these deviations from."""
    yhat, lower, upper = (envelope[name] for name in Bounds._fields)
    with np.errstate(over="ignore"):
        return {
            name: np.clip(
                yhat + values * np.where(values < 0.0, yhat - lower, upper - yhat),
                -LARGEST,
                LARGEST,
            )
            for name, values in deviations.items()
        }


def _shares(batch: GroupedBatch, scores: FloatArray) -> FloatArray:
    """Return the share of each channel in the sum of the squares of its group, in percent."""
    sizes = np.diff(batch.offsets)
    largest = np.repeat(batch.per_group(np.fmax, scores), sizes, axis=0)
    squares = np.divide(scores, largest, out=np.zeros(scores.shape), where=largest > 0.0) ** 2
    totals = np.repeat(batch.per_group(np.add, squares), sizes, axis=0)
    shares = np.divide(squares, totals, out=np.zeros(scores.shape), where=totals > 0.0)
    percent: FloatArray = 100.0 * shares
    return percent


def _join(batch: GroupedBatch, scores: FloatArray, aggregation: str) -> FloatArray:
    """Return one score per group, shape (G, T).

    Means are taken of shares in the largest score, so that none overflows.
    """
    largest = batch.per_group(np.maximum, scores)
    if aggregation == "max":
        return largest
    sizes = np.diff(batch.offsets)
    of_channels = np.repeat(largest, sizes, axis=0)
    shares = np.divide(scores, of_channels, out=np.zeros(scores.shape), where=of_channels > 0.0)
    power = 2 if aggregation == "l2" else 1
    mean = batch.per_group(np.add, shares**power) / sizes[:, None]
    return largest * mean ** (1.0 / power)
