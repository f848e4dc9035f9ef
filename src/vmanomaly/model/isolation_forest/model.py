"""The models `isolation_forest` and `isolation_forest_multivariate`."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np

from vmanomaly.config.problems import wrong_value
from vmanomaly.errors import SkippedError
from vmanomaly.model.base import BatchT, Model, ModelOutput, MultivariateModel
from vmanomaly.model.grouping import GroupedBatch
from vmanomaly.model.isolation_forest.features import seasonal_features
from vmanomaly.model.isolation_forest.forest import anomaly_score, fit_forest
from vmanomaly.model.isolation_forest.state import COLUMNS, RAGGED, ForestState, as_row
from vmanomaly.model.library.arguments import LEFT_TO_LIBRARY, Bounds, check_arguments
from vmanomaly.model.library.extras import required
from vmanomaly.model.library.model import fitted_state
from vmanomaly.model.online import observe
from vmanomaly.model.parallel import ParallelModel, Run, in_turn
from vmanomaly.model.state import Array, Column, SeriesState
from vmanomaly.series import BoolArray, FloatArray, IntArray, Labels, SeriesBatch

logger = logging.getLogger(__name__)

_SEED = 42
_BOUNDS = {
    "n_estimators": Bounds(1, 10_000, others=LEFT_TO_LIBRARY),
    "n_jobs": Bounds(-1_000, 1_000, others=LEFT_TO_LIBRARY),
}


@dataclass(frozen=True, kw_only=True)
class ForestModel(ParallelModel[BatchT]):
    r"""How easily a sample is told apart from those of the fit window, by random splits [1]_.

    A forest is grown by scikit-learn for each series, or each group of them, and kept as arrays,
    which compiled code scores. With the decision function :math:`d` of scikit-learn and its
    largest value :math:`D` in the fit window, the score is :math:`\max(0, 1 - d / D)`. A channel
    whose values are all equal expects that value.

    Parameters
    ----------
    contamination
        The share of the samples of the fit window that score above 1, in (0, 0.5], or `auto`.
    seasonal_features
        Parts of the calendar that trees look at: `minute`, `hod`, `dow`, `month`.
    args
        Of `sklearn.ensemble.IsolationForest`.
    tz
        IANA name of the time zone of the calendar.

    References
    ----------
    .. [1] F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation forest", ICDM 2008.
    """

    contamination: str | float = "auto"
    seasonal_features: tuple[str, ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)
    tz: str = "UTC"

    default_outputs: ClassVar[tuple[str, ...]] = ("anomaly_score",)
    outputs: ClassVar[tuple[str, ...]] = ("anomaly_score", "y")
    online: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check `args`.

        Raises
        ------
        ConfigError
            scikit-learn is not installed, or does not take them.
        """
        user = "the model isolation_forest"
        constructor = required("sklearn.ensemble", user, "sklearn").IsolationForest
        refused = {"contamination": "set it on the model, not in args"}
        check_arguments(self.args, constructor, refused=refused, bounds=_BOUNDS)
        try:
            constructor(**self.args)._validate_params()
        except ValueError as error:
            raise wrong_value(("args",), str(error)) from None

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is kept of every forest, in addition to its trees."""
        return COLUMNS

    def fit(self, batch: BatchT, run: Run = in_turn) -> ForestState:
        """Grow a forest for each series or group; `run` executes it."""
        seen = self._seen(batch)
        known = np.isfinite(seen)
        self._warn(batch, known)
        pieces = [
            (batch.timestamps[of_row], batch.values[channels][:, of_row])
            for channels, of_row in zip(self._channels(batch), known, strict=True)
        ]
        found = run(partial(_fit, self), pieces, "processes")
        state = fitted_state(ForestState, COLUMNS, RAGGED, batch.labels, found)
        fitted = [row for row, labels in enumerate(batch.labels) if labels in state]
        _observe(state, [batch.labels[row] for row in fitted], batch.timestamps, seen[fitted])
        return state

    def infer(
        self,
        state: SeriesState,
        batch: BatchT,
        micro_batch_starts: IntArray,
        run: Run = in_turn,
    ) -> ModelOutput:
        """Score every point that is later than the last one seen of its series or group."""
        assert isinstance(state, ForestState)  # noqa: S101 - from `fit`
        seen, rows = self._seen(batch), state.rows(batch.labels)
        wanted = np.isfinite(seen) & (batch.timestamps > state.last_seen[rows][:, None])
        scores = np.full(seen.shape, np.nan)
        asked = np.flatnonzero(wanted.any(axis=1))
        channels = self._channels(batch)
        calendar = self._calendar(batch.timestamps)

        def score(r: int) -> FloatArray:
            of_row = wanted[r]
            values = batch.values[channels[r]][:, of_row]
            return anomaly_score(state.forest(rows[r]), values, calendar[of_row])

        for r, found in zip(asked, run(score, [(r,) for r in asked], "here"), strict=True):
            if isinstance(found, BaseException):
                raise found
            scores[r, wanted[r]] = found
        _, eligible, trusted = observe(state, rows, batch.timestamps, seen, micro_batch_starts)
        return ModelOutput({"anomaly_score": scores}, eligible, trusted)

    def restore(self, labels: Iterable[Labels], arrays: Mapping[str, Array]) -> ForestState:
        """Rebuild a state from what `labels` and `arrays()` of another gave.

        Raises
        ------
        ValueError
            The arrays are not those of a state of this model.
        """
        state = ForestState.restored(COLUMNS, RAGGED, labels, arrays)
        state.check(2 * len(self.seasonal_features))
        return state

    @abstractmethod
    def _seen(self, batch: BatchT) -> FloatArray:
        """Return what is finite where a series or group has a sample; shape (R, T)."""

    @abstractmethod
    def _channels(self, batch: BatchT) -> list[slice]:
        """Return where the values of each series or group are."""

    @abstractmethod
    def _warn(self, batch: BatchT, known: BoolArray) -> None:
        """Log what makes a forest unreliable."""

    def _calendar(self, timestamps: IntArray) -> FloatArray:
        return seasonal_features(timestamps, self.seasonal_features, self.tz)


class IsolationForestModel(ForestModel[SeriesBatch], Model):
    """An isolation forest for every series.

    Examples
    --------
    >>> labels, minutes = (Labels({"job": "api"}),), 60_000 * np.arange(1000)
    >>> noise = np.random.default_rng(0).normal(50.0, 1.0, (1, 1000))
    >>> model = IsolationForestModel(contamination=0.01)
    >>> state = model.fit(SeriesBatch(labels, minutes, noise))
    >>> present = SeriesBatch(labels, minutes[:2] + 60_000_000, np.array([[50.0, 58.0]]))
    >>> model.infer(state, present, np.array([0])).outputs["anomaly_score"] > 1
    array([[False,  True]])
    """

    def _seen(self, batch: SeriesBatch) -> FloatArray:
        return batch.values

    def _channels(self, batch: SeriesBatch) -> list[slice]:
        return [slice(row, row + 1) for row in range(len(batch.labels))]

    def _warn(self, batch: SeriesBatch, known: BoolArray) -> None:
        """Nothing: one channel needs few samples."""

    def restore(self, labels: Iterable[Labels], arrays: Mapping[str, Array]) -> ForestState:
        """Rebuild a state; as for every forest, with one channel in each row."""
        state = super().restore(labels, arrays)
        if (state.group_sizes != 1).any():
            raise ValueError("column low: not one channel per series")
        return state


class IsolationForestMultivariateModel(ForestModel[GroupedBatch], MultivariateModel):
    """An isolation forest for every group of series.

    A point of a group counts where every channel has a finite sample.
    """

    def _seen(self, batch: GroupedBatch) -> FloatArray:
        return np.where(batch.complete, 0.0, np.nan)

    def _channels(self, batch: GroupedBatch) -> list[slice]:
        return batch.slices()

    def _warn(self, batch: GroupedBatch, known: BoolArray) -> None:
        sizes, counts = np.diff(batch.offsets), np.count_nonzero(known, axis=1)
        for g in np.flatnonzero((counts > 0) & (counts < sizes)):
            logger.warning(
                "The group %s has %d channels, but only %d points in the fit window at which all "
                "of them have a value: its scores mean little; fit on more of them, or group by "
                "more labels",
                batch.labels[g],
                sizes[g],
                counts[g],
            )


def _fit(model: ForestModel[Any], timestamps: IntArray, values: FloatArray) -> dict[str, Any]:
    """Grow one forest; runs wherever the executor has it run."""
    n_channels, n_samples = values.shape
    if not n_samples:
        raise SkippedError("no valid points" if n_channels == 1 else _NEVER_COMPLETE)
    calendar = seasonal_features(timestamps, model.seasonal_features, model.tz)
    args = _arguments(model.args, n_samples, n_channels + calendar.shape[1])
    return as_row(fit_forest(values, calendar, model.contamination, args))


_NEVER_COMPLETE = "at no point do all channels have a value"


def _arguments(args: Mapping[str, Any], n_samples: int, n_features: int) -> dict[str, Any]:
    """Return the arguments for scikit-learn, which refuses some of them only now."""
    given = {**args, "verbose": 0}
    if given.get("random_state") is None:
        given["random_state"] = _SEED
    max_samples, max_features = given.get("max_samples"), given.get("max_features")
    if isinstance(max_samples, int):
        # scikit-learn does so too, and warns.
        given["max_samples"] = min(max_samples, n_samples)
    elif isinstance(max_samples, float) and int(max_samples * n_samples) < 1:
        raise SkippedError(f"{n_samples} points are too few for args.max_samples: {max_samples}")
    if isinstance(max_features, int) and not 1 <= max_features <= n_features:
        raise SkippedError(
            f"args.max_features is {max_features}, but there are {n_features} features"
        )
    return given


def _observe(
    state: ForestState, labels: list[Labels], timestamps: IntArray, seen: FloatArray
) -> None:
    rows, starts = state.rows(tuple(labels)), np.zeros(1, np.int64)
    observe(state, rows, timestamps, seen, starts, predicted=False)
