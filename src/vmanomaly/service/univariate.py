"""A unit whose model takes every series of one query for itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vmanomaly.config.model import ModelSection
from vmanomaly.config.reader import Query
from vmanomaly.model import Model, ModelOutput, SeriesState
from vmanomaly.model.incident import add_incident_score
from vmanomaly.model.scoring import needed_outputs, predict, scored
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Origin, SeriesBatch
from vmanomaly.service.unit import Unit, Written

# Large enough to keep every core busy, small beside the data of a fit that is worth cutting.
_BLOCK_BYTES = 32 << 20


class UnivariateUnit(Unit[SeriesBatch]):
    """One model on the series of one query.

    Parameters
    ----------
    model, section, origin, metrics
        As for `Unit`.
    query
        The query whose series it is run on.
    min_block_series
        At least so many series are taken at a time.
    """

    def __init__(
        self,
        model: Model,
        section: ModelSection,
        query: Query,
        origin: Origin,
        metrics: Metrics,
        min_block_series: int = 1,
    ) -> None:
        super().__init__(model, section, [query], origin, metrics)
        self._policy = self._policies[query.alias]
        self._min_block_series = min_block_series

    def _to_fit(self, batches: Sequence[SeriesBatch]) -> SeriesBatch:
        return batches[0]

    def _to_infer(self, state: SeriesState, batches: Sequence[SeriesBatch]) -> SeriesBatch:
        """Leave out, for a model that is not online, the series that it was not fitted on."""
        (batch,) = batches
        if self._model.online:
            return batch
        known = [row for row, labels in enumerate(batch.labels) if labels in state]
        n_unknown = len(batch.labels) - len(known)
        self._skip_some("infer", f"{n_unknown} series were not there at the fit", n_unknown)
        if not n_unknown:
            return batch
        return batch.keep(known)

    def _blocks(self, batch: SeriesBatch) -> Iterable[SeriesBatch]:
        """Cut the series into blocks, which bounds what a model needs beside its data."""
        return batch.blocks(_BLOCK_BYTES, self._min_block_series)

    def _learn(self, batch: SeriesBatch) -> SeriesState:
        states = (self._fit_model(block) for block in self._blocks(batch))
        state = next(states)
        for more in states:
            state.append(more)
        return state

    def _score(self, state: SeriesState, batch: SeriesBatch, output: ModelOutput) -> list[Written]:
        wanted = self._provide_series
        needed = None if wanted is None else needed_outputs(wanted)
        if self._model.applies_policies:
            predictions = scored(batch, output, needed)
        else:
            predictions = predict(batch, output, self._policy, needed)
        return [(add_incident_score(predictions, state, wanted or ()), self.origin)]
