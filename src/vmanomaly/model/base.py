"""The contract that every model keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeAlias, TypeVar

import numpy as np

from vmanomaly.model.grouping import Channel, GroupedBatch
from vmanomaly.model.state import Array, SeriesState
from vmanomaly.series import BoolArray, FloatArray, IntArray, Labels, SeriesBatch

LARGEST = float(np.finfo(np.float64).max)
"""The largest finite float."""

BatchT = TypeVar("BatchT", SeriesBatch, GroupedBatch)


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """The output of a model for a batch, before scoring.

    R is the number of series, or of groups where the model is multivariate.

    Attributes
    ----------
    outputs : dict of str to ndarray of float64, shape (R, T)
        `yhat`, `yhat_lower` and `yhat_upper`, or an `anomaly_score` of the model's own, and
        whatever else it gives, in the order in which it is written. NaN where the model gives
        none.
    eligible : ndarray of bool, shape (R, T)
        Where a point may be scored: its timestamp is later than the last one seen of its series.
        Nothing is written elsewhere.
    trusted : ndarray of bool, shape (R, T)
        Where enough samples were seen for the score to count; elsewhere it is 0.
    channels : dict of str to ndarray of float64, shape (C, T)
        The outputs of a multivariate model for each of its C channels.
    errors : mapping of Labels to Exception
        The series or groups that the model failed on, with the reason; the others are fine.
    """

    outputs: dict[str, FloatArray]
    eligible: BoolArray
    trusted: BoolArray
    channels: dict[str, FloatArray] = field(default_factory=dict)
    errors: Mapping[Labels, BaseException] = field(default_factory=dict)


class BaseModel(ABC, Generic[BatchT]):
    """A model of what is normal.

    A model holds its parameters only; what it learns is in the `SeriesState` that `fit` returns.

    Attributes
    ----------
    outputs : tuple of str
        Everything that `provide_series` may ask for.
    default_outputs : tuple of str
        What is written when `provide_series` is not given; empty for all that `infer` gives.
    online : bool
        Whether `infer` continues learning. Others are given only series that they were fitted on.
    multivariate : bool
        Whether one state describes many series at once.
    applies_policies : bool
        Whether `infer` applies the policies of the queries itself.
    has_kernels : bool
        Whether a warm-up run saves the first run from waiting for the compiler.
    block_bytes : int
        Bytes of values that are learned in well under a second: more are learned and scored block
        by block, so that a run can be stopped in between.
    """

    outputs: ClassVar[tuple[str, ...]]
    default_outputs: ClassVar[tuple[str, ...]]
    online: ClassVar[bool]
    multivariate: ClassVar[bool]
    applies_policies: ClassVar[bool] = False
    has_kernels: ClassVar[bool] = True
    block_bytes: ClassVar[int] = 4 << 20

    @property
    def fit_is_replay(self) -> bool:
        """Whether a fit equals, to the bit, a fit on the first points and learning the rest online.

        False if that is not known.
        """
        return False

    @abstractmethod
    def fit(self, batch: BatchT) -> SeriesState:
        """Learn the batch from scratch and return the state."""

    @abstractmethod
    def infer(self, state: SeriesState, batch: BatchT, micro_batch_starts: IntArray) -> ModelOutput:
        """Return what is expected at every point of the batch.

        Parameters
        ----------
        state
            From `fit`; online models continue learning in it, in place.
        batch
            Series, or groups of series, on T timestamps.
        micro_batch_starts
            int64, ascending, the first one 0: the columns at which a micro-batch begins. Every
            point of a micro-batch is predicted with what was known before the micro-batch.
        """

    @abstractmethod
    def restore(self, labels: Iterable[Labels], arrays: Mapping[str, Array]) -> SeriesState:
        """Rebuild a state from what `labels` and `arrays()` of another gave.

        Raises
        ------
        ValueError
            The arrays are not those of a state of this model.
        """


class Model(BaseModel[SeriesBatch]):
    """A model of single series: its outputs for one do not depend on the others."""

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
    multivariate: ClassVar[bool] = False


class MultivariateModel(BaseModel[GroupedBatch]):
    """A model of groups of series that are scored jointly.

    Its state and its outputs have one row per group. A group always comes with the channels it was
    fitted on, in the order of the fit. A point of a group counts where every channel has a finite
    sample.
    """

    multivariate: ClassVar[bool] = True


AnyModel: TypeAlias = Model | MultivariateModel


def warm_up(model: AnyModel) -> None:
    """Compile or load every kernel of the model, so that its first run is as fast as any."""
    if not model.has_kernels:
        return
    labels = (Labels({"__name__": "warm_up"}),)
    values = np.array([[1.0, 2.0]])
    past, present = np.array([1, 2], np.int64), np.array([3, 4], np.int64)
    starts = np.array([0, 1], np.int64)
    if isinstance(model, Model):
        state = model.fit(SeriesBatch(labels, past, values))
        # Some models need more to learn from.
        if len(state):
            model.infer(state, SeriesBatch(labels, present, values), starts)
    else:
        channels, offsets = (Channel("warm_up", labels[0]),), np.array([0, 1], np.int64)
        state = model.fit(GroupedBatch(labels, channels, offsets, past, values))
        if len(state):
            model.infer(state, GroupedBatch(labels, channels, offsets, present, values), starts)
