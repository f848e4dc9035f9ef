"""A small multivariate model: the distance from the mean that knows how channels move together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vmanomaly.model import Column, GroupedBatch, ModelOutput, MultivariateModel, SeriesState
from vmanomaly.model.online import observe
from vmanomaly.model.state import Array
from vmanomaly.series import IntArray, Labels

COLUMNS = (
    Column("mean", np.float64, (8,)),
    Column("precision", np.float64, (8, 8)),
)


@dataclass(frozen=True, kw_only=True)
class Mahalanobis(MultivariateModel):
    """Score a group by its Mahalanobis distance over `threshold`; a channel expects its mean."""

    threshold: float = 3.0

    outputs: ClassVar[tuple[str, ...]] = ("anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper")
    default_outputs: ClassVar[tuple[str, ...]] = ("anomaly_score",)
    online: ClassVar[bool] = False

    def fit(self, batch: GroupedBatch) -> SeriesState:
        state, errors = SeriesState(COLUMNS), {}
        complete = batch.complete
        for labels, channels, usable in zip(batch.labels, batch.slices(), complete, strict=True):
            seen = batch.values[channels][:, usable]
            if seen.shape[1] <= seen.shape[0]:
                errors[labels] = ValueError(f"{seen.shape[1]} complete points are too few")
                continue
            (row,) = state.rows((labels,))
            n = len(seen)
            state["mean"][row, :n] = seen.mean(axis=1)
            state["precision"][row, :n, :n] = np.linalg.inv(np.atleast_2d(np.cov(seen)))
            state["last_seen"][row] = batch.timestamps[usable][-1]
            state["n_samples_seen"][row] = usable.sum()
        state.errors = errors
        return state

    def infer(
        self, state: SeriesState, batch: GroupedBatch, micro_batch_starts: IntArray
    ) -> ModelOutput:
        rows = state.rows(batch.labels)
        seen = np.where(batch.complete, 0.0, np.nan)
        _, eligible, trusted = observe(state, rows, batch.timestamps, seen, micro_batch_starts)
        scores = np.empty(seen.shape)
        expected = np.empty((3, *batch.values.shape))
        for g, (row, channels) in enumerate(zip(rows, batch.slices(), strict=True)):
            n = channels.stop - channels.start
            mean, precision = state["mean"][row, :n, None], state["precision"][row, :n, :n]
            deviation = batch.values[channels] - mean
            scores[g] = np.sqrt(np.einsum("it,ij,jt->t", deviation, precision, deviation))
            spread = np.sqrt(np.diag(np.linalg.inv(precision)))[:, None]
            expected[:, channels] = [mean + k * self.threshold * spread for k in (0, -1, 1)]
        return ModelOutput(
            {"anomaly_score": scores / self.threshold},
            eligible,
            trusted,
            channels=dict(zip(("yhat", "yhat_lower", "yhat_upper"), expected, strict=True)),
        )

    def restore(self, labels: Iterable[Labels], arrays: Mapping[str, Array]) -> SeriesState:
        return SeriesState.from_arrays(COLUMNS, labels, arrays)
