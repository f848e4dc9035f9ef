"""The contract that every model keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vmanomaly.model.state import SeriesState
from vmanomaly.series import BoolArray, FloatArray, IntArray, Labels, SeriesBatch


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """What a model says about a batch, before scoring.

    Attributes
    ----------
    outputs : dict of str to ndarray of float64, shape (S, T)
        `yhat`, `yhat_lower` and `yhat_upper`, or an `anomaly_score` of the model's own, and
        whatever else it gives, in the order in which it is written. NaN where the model cannot
        say.
    eligible : ndarray of bool, shape (S, T)
        Where a point may be scored: its timestamp comes after the last one seen of its series.
        Nothing is written elsewhere.
    trusted : ndarray of bool, shape (S, T)
        Where enough samples were seen for the score to count; elsewhere it is 0.
    """

    outputs: dict[str, FloatArray]
    eligible: BoolArray
    trusted: BoolArray


class Model(ABC):
    """A model of what is normal for a set of series.

    A model holds its parameters only; what it learns is in the `SeriesState` that `fit` returns.

    Attributes
    ----------
    outputs : tuple of str
        Everything that `provide_series` may ask for.
    default_outputs : tuple of str
        What is written when `provide_series` is not given.
    online : bool
        Whether `infer` goes on learning.
    multivariate : bool
        Whether one state describes many series at once.
    """

    outputs: ClassVar[tuple[str, ...]]
    default_outputs: ClassVar[tuple[str, ...]]
    online: ClassVar[bool]
    multivariate: ClassVar[bool]

    @abstractmethod
    def fit(self, batch: SeriesBatch) -> SeriesState:
        """Learn the batch from scratch and return the state."""

    @abstractmethod
    def infer(
        self, state: SeriesState, batch: SeriesBatch, micro_batch_starts: IntArray
    ) -> ModelOutput:
        """Say what was to be expected for every point of the batch.

        Parameters
        ----------
        state
            From `fit`; online models go on learning in it, in place.
        batch
            S series on T timestamps.
        micro_batch_starts
            int64, ascending, the first one 0: the columns at which a micro-batch begins. Every
            point of a micro-batch is predicted with what was known before the micro-batch.
        """


def warm_up(model: Model) -> None:
    """Compile or load every kernel of the model, so that its first run is as fast as any."""
    labels = (Labels({"__name__": "warm_up"}),)
    past = SeriesBatch(labels, np.array([1, 2], np.int64), np.array([[1.0, 2.0]]))
    present = SeriesBatch(labels, np.array([3, 4], np.int64), np.array([[1.0, 2.0]]))
    model.infer(model.fit(past), present, np.array([0, 1], np.int64))
