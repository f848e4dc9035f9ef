"""The smallest piece of work: one model on the series of one query, under one scheduler."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import copy
from time import perf_counter
from typing import TypeVar

from vmanomaly.config.model import ModelSection
from vmanomaly.config.reader import Query
from vmanomaly.model import Model
from vmanomaly.model.scoring import Policy, predict
from vmanomaly.model.state import NEVER, SeriesState
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import IntArray, Predictions, SeriesBatch
from vmanomaly.writer.format import Destination

logger = logging.getLogger(__name__)

# Large enough to keep every core busy, small beside the data of a fit that is worth cutting.
_BLOCK_BYTES = 32 << 20

_Result = TypeVar("_Result")


class Unit:
    """Fits one model, keeps its state, and predicts with it.

    A model that raises fails alone: the error is logged with its trace and counted, and the
    other units of the service go on.

    Parameters
    ----------
    model
        The model.
    section
        Its section of the configuration.
    query
        The query whose series it is run on.
    destination
        Says for the writer where the predictions come from.
    metrics
        Where runs are counted.
    min_block_series
        A fit takes at least so many series at a time.
    """

    def __init__(
        self,
        model: Model,
        section: ModelSection,
        query: Query,
        destination: Destination,
        metrics: Metrics,
        min_block_series: int = 1,
    ) -> None:
        self.destination = destination
        self.state: SeriesState | None = None
        self._skipped: tuple[str, str] | None = None
        self._model = model
        self._policy = Policy.of(section, query)
        self._provide_series = section.provide_series or model.default_outputs
        self._metrics = metrics
        self._min_block_series = min_block_series
        self._labels = {
            "query_key": destination.query_key,
            "model_alias": destination.model_alias,
            "scheduler_alias": destination.scheduler_alias,
            "preset": destination.preset,
        }

    @property
    def last_seen(self) -> int | None:
        """The newest timestamp the model has seen, Unix milliseconds; None before the first."""
        if self.state is None or len(self.state) == 0:
            return None
        last_seen = int(self.state["last_seen"].max())
        return None if last_seen == NEVER else last_seen

    def unlearned(self) -> Unit:
        """Return the same unit without a state."""
        unit = copy(self)
        unit.state = None
        unit._skipped = None
        return unit

    def fit(self, batch: SeriesBatch) -> bool:
        """Learn the batch from scratch. Return whether that went well.

        An empty batch is skipped; an online model then starts cold at the next infer.
        """
        if not batch.labels:
            self.skip("fit", "there is no data in the fit window")
            if self._model.online:
                self.state = self._model.fit(batch)
            return True
        logger.debug(
            "Fitting on %d/%d valid datapoints: model '%s', query '%s', %d series",
            batch.n_datapoints,
            batch.values.size,
            self.destination.model_alias,
            self.destination.query_key,
            len(batch.labels),
        )
        state = self._run("fit", batch, lambda: self._learn(batch))
        if state is None:
            return False
        self.state = state
        self._metrics.models_active.labels(**self._labels).set(len(state))
        return True

    def _learn(self, batch: SeriesBatch) -> SeriesState:
        """Fit block by block, which bounds what a model needs beside its data."""
        if self._model.multivariate:
            return self._model.fit(batch)
        blocks = batch.blocks(_BLOCK_BYTES, self._min_block_series)
        states = (self._model.fit(block) for block in blocks)
        state = next(states)
        for more in states:
            state.append(more)
        return state

    def infer(self, batch: SeriesBatch, micro_batch_starts: IntArray) -> Predictions | None:
        """Score a batch and, if the model is online, learn it.

        Parameters
        ----------
        batch
            The series.
        micro_batch_starts : ndarray of int64
            The columns at which micro-batches start.

        Returns
        -------
        Predictions or None
            None when there was nothing to score or the model failed.
        """
        if not batch.labels:
            self.skip("infer", "there is no new data")
            return None
        state = self.state
        if state is None:
            self.skip("infer", "the model has not been fitted")
            return None

        def score() -> Predictions:
            output = self._model.infer(state, batch, micro_batch_starts)
            return predict(batch, output, self._policy, self._provide_series)

        predictions = self._run("infer", batch, score)
        if predictions is not None:
            self._metrics.model_datapoints_produced.labels(stage="infer", **self._labels).inc(
                predictions.n_datapoints
            )
            self._metrics.models_active.labels(**self._labels).set(len(state))
        return predictions

    def skip(self, stage: str, reason: str) -> None:
        """Count a run that cannot be done, and log it unless the last one was skipped alike."""
        self._metrics.model_runs_skipped.labels(stage=stage, **self._labels).inc()
        level = logging.DEBUG if self._skipped == (stage, reason) else logging.WARNING
        self._skipped = (stage, reason)
        logger.log(
            level,
            "Skipping run for stage '%s' for model '%s', query '%s': %s",
            stage,
            self.destination.model_alias,
            self.destination.query_key,
            reason,
        )

    def report_error(self, stage: str) -> None:
        """Count and log, with its trace, the exception that is being handled."""
        self._metrics.model_run_errors.labels(stage=stage, **self._labels).inc()
        logger.exception(
            "Error during stage '%s' for model '%s', query '%s'",
            stage,
            self.destination.model_alias,
            self.destination.query_key,
        )

    def _run(self, stage: str, batch: SeriesBatch, work: Callable[[], _Result]) -> _Result | None:
        labels = {"stage": stage, **self._labels}
        started = perf_counter()
        try:
            result = work()
        except Exception:  # noqa: BLE001 - reported with its trace
            self.report_error(stage)
            return None
        self._skipped = None
        self._metrics.model_runs.labels(**labels).inc()
        self._metrics.model_run_duration_seconds.labels(**labels).observe(perf_counter() - started)
        self._metrics.model_datapoints_accepted.labels(**labels).inc(batch.n_datapoints)
        return result
