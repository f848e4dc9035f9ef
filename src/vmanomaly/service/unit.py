"""The smallest piece of work: one model on the series of its queries, under one scheduler."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar

import numpy as np

from vmanomaly.config.model import INCIDENT_SCORE, ModelSection
from vmanomaly.config.reader import Query
from vmanomaly.episodes import Episodes
from vmanomaly.model.base import BaseModel, BatchT, ModelOutput
from vmanomaly.model.grouping import GroupedBatch, Grouping
from vmanomaly.model.incident import MEMORY
from vmanomaly.model.scoring import Policy
from vmanomaly.model.state import NEVER, SeriesState
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import IntArray, Labels, Origin, Predictions, SeriesBatch
from vmanomaly.state import Content, Members

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_STAGES = ("fit", "infer")

Written = tuple[Predictions, Origin]


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of an infer.

    Attributes
    ----------
    written : list of (Predictions, Origin)
        What is to be written.
    well : bool
        Whether nothing failed.
    """

    written: list[Written]
    well: bool


class Unit(ABC, Generic[BatchT]):
    """Fits one model, keeps its state, and predicts with it.

    A model that raises fails alone: the error is logged with its trace and counted, and the
    other units of the service go on. So does a model that fails on some of its series only.

    Parameters
    ----------
    model
        The model.
    section
        Its section of the configuration.
    queries
        The queries whose series it is run on.
    origin
        Says for the writer where the predictions come from.
    metrics
        Where runs are counted.

    Attributes
    ----------
    key : UnitKey
        What it is called where states are kept.
    state : SeriesState or None
        What it has learned; None before the first fit, and while that is on disk only.
    unfitted : bool
        Whether it waits for its first fit.
    changed : bool
        Whether it has learned something since it was stored.
    """

    def __init__(
        self,
        model: BaseModel[BatchT],
        section: ModelSection,
        queries: Sequence[Query],
        origin: Origin,
        metrics: Metrics,
    ) -> None:
        self.origin = origin
        self.key = origin.unit
        self.state: SeriesState | None = None
        self.unfitted = True
        self.changed = False
        self._model: BaseModel[BatchT] = model
        self._policies = {query.alias: Policy.of(section, query) for query in queries}
        self._provide_series = section.provide_series or model.default_outputs or None
        self._metrics = metrics
        self._labels = metrics.of_model(origin)
        self._episodes = Episodes(logger)
        # From 0 on, so that whoever looks at the increase sees the first one too.
        for counter in (metrics.model_runs_skipped, metrics.model_run_errors):
            for stage in _STAGES:
                counter.labels(stage=stage, **self._labels)

    @property
    def last_seen(self) -> int | None:
        """The newest timestamp the model has seen, Unix milliseconds; None before the first."""
        if self.state is None or len(self.state) == 0:
            return None
        last_seen = int(self.state["last_seen"].max())
        return None if last_seen == NEVER else last_seen

    def unlearned(self) -> Self:
        """Return the same unit without a state."""
        unit = copy(self)
        unit.state = None
        unit.unfitted = True
        unit.changed = False
        unit._episodes = Episodes(logger)
        return unit

    @property
    def content(self) -> Content | None:
        """What has been learned, as views; None before the first fit."""
        if self.state is None:
            return None
        return Content(Members(self.state.labels, self._grouping), self.state.arrays())

    def restore(self, content: Content) -> None:
        """Go on with what another unit of the same signature has learned.

        Raises
        ------
        ValueError
            The content is not that of such a unit.
        """
        state = self._model.restore(content.members.labels, content.arrays)
        self._regroup(content.members.grouping, state)
        self.state = state
        self.unfitted = False
        self._metrics.models_active.labels(**self._labels).set(len(state))

    def take_over(self, other: Unit[Any]) -> None:
        """Go on with what another unit of the same signature has learned, which stops then."""
        if other.state is not None:
            self._regroup(other._grouping, other.state)
        self.state, self.unfitted, self.changed = other.state, other.unfitted, other.changed
        self._episodes = other._episodes

    def release(self) -> None:
        """Let go of what was learned, which is stored and comes back by `restore`."""
        self.state = None

    def note_stored(self) -> None:
        """Note that all that was learned is stored, and let go of it."""
        self.changed = False
        self.release()

    def note_lost(self) -> None:
        """Note that what was stored cannot be had any more: the unit waits for a fit."""
        self.unfitted = True

    def forget(self, before: int) -> int:
        """Forget the series or groups not seen since a time; return their number.

        Parameters
        ----------
        before
            Unix milliseconds. A model that is not online forgets nothing: each fit replaces what
            it knows.
        """
        if self.state is None or not self._model.online:
            return 0
        rows = np.flatnonzero(self.state.last_seen < before)
        if rows.size:
            labels = self.state.labels
            gone = {labels[row] for row in rows.tolist()}
            self.state.remove(rows)
            self._ungroup(gone)
            self.changed = True
            self._metrics.models_active.labels(**self._labels).set(len(self.state))
        return int(rows.size)

    def fit(self, batches: Sequence[SeriesBatch]) -> bool:
        """Learn what the queries returned from scratch. Return whether that went well.

        An empty batch is skipped; a univariate online model then starts cold at the next infer.
        """
        self.unfitted = False
        batch = self._to_fit(batches)
        if not batch.labels:
            self.skip("fit", "there is no data in the fit window")
            if self._model.online and not self._model.multivariate:
                self.state, self.changed = self._model.fit(batch), True
            return True
        logger.info(
            "Fitting on %d/%d valid datapoints: model '%s', query '%s', %d %s",
            batch.n_datapoints,
            batch.values.size,
            self.origin.model_alias,
            self.origin.query_key,
            len(batch.labels),
            "groups" if self._model.multivariate else "series",
        )
        state = self._run("fit", batch, lambda: self._learn(batch))
        if state is None:
            return False
        self._take(state, batch)
        self._report_errors("fit", state.errors)
        return not state.errors

    def infer(self, batches: Sequence[SeriesBatch], micro_batch_starts: IntArray) -> Scored:
        """Score what the queries returned and, if the model is online, learn it.

        Parameters
        ----------
        batches
            One a query, on the same timestamps.
        micro_batch_starts : ndarray of int64
            The columns at which micro-batches start.
        """
        if not any(batch.labels for batch in batches):
            self.skip("infer", "there is no new data")
            return Scored([], well=True)
        state = self.state
        if state is None:
            self.skip("infer", "the model has not been fitted")
            return Scored([], well=False)
        batch = self._to_infer(state, batches)
        if not batch.labels:
            return Scored([], well=False)

        def score() -> tuple[list[Written], Mapping[Labels, Exception]]:
            written: list[Written] = []
            errors: dict[Labels, Exception] = {}
            for block in self._blocks(batch):
                output = self._model.infer(state, block, micro_batch_starts)
                written += self._score(state, block, output)
                errors |= output.errors
            return written, errors

        gathers = INCIDENT_SCORE in (self._provide_series or ())
        self.changed = self.changed or self._model.online or gathers
        result = self._run("infer", batch, score)
        if result is None:
            return Scored([], well=False)
        written, errors = result
        self._report_errors("infer", errors)
        self._metrics.model_datapoints_produced.labels(stage="infer", **self._labels).inc(
            sum(predictions.n_datapoints for predictions, _ in written)
        )
        self._metrics.models_active.labels(**self._labels).set(len(state))
        return Scored(written, well=not errors)

    def skip(self, stage: str, reason: str, level: int = logging.WARNING) -> None:
        """Count a run that cannot be done, and log it unless the last one was skipped alike."""
        self._skip(stage, reason, "run", 1, level)

    def report_error(self, stage: str) -> None:
        """Count and log, with its trace, the exception that is being handled."""
        self._metrics.model_run_errors.labels(stage=stage, **self._labels).inc()
        logger.exception(
            "Error during stage '%s' for model '%s', query '%s'",
            stage,
            self.origin.model_alias,
            self.origin.query_key,
        )

    @abstractmethod
    def _to_fit(self, batches: Sequence[SeriesBatch]) -> BatchT:
        """Return what the model is to learn."""

    @abstractmethod
    def _to_infer(self, state: SeriesState, batches: Sequence[SeriesBatch]) -> BatchT:
        """Return what the model is to score; what it cannot is skipped, counted and logged."""

    def _blocks(self, batch: BatchT) -> Iterable[BatchT]:
        """Cut a batch into the pieces that are scored one after the other."""
        return [batch]

    @abstractmethod
    def _learn(self, batch: BatchT) -> SeriesState:
        """Fit the model."""

    @abstractmethod
    def _score(self, state: SeriesState, batch: BatchT, output: ModelOutput) -> list[Written]:
        """Turn what the model says into what is written; gathers evidence in the state."""

    def _fit_model(self, batch: BatchT) -> SeriesState:
        """Fit the model, and gather the evidence of an incident if the incident score is wanted.

        The last points of the fit window are scored by the model of those before them. So an
        incident goes on where it was at a fit, and the state depends on the fit window only.
        """
        state = self._model.fit(batch)
        n_points = len(batch.timestamps)
        if INCIDENT_SCORE not in (self._provide_series or ()) or n_points <= MEMORY:
            return state
        before = self._model.fit(batch.columns(0, n_points - MEMORY))
        known = [
            row for row, labels in enumerate(batch.labels) if labels in before and labels in state
        ]
        if known:
            last = batch.columns(n_points - MEMORY, n_points).keep(known)
            self._score(before, last, self._model.infer(before, last, np.arange(MEMORY)))
            gathered = before["incident"][before.rows(last.labels)]
            state["incident"][state.rows(last.labels)] = gathered
        return state

    def _take(self, state: SeriesState, batch: BatchT) -> None:
        """Keep what was learned from a batch."""
        self.state = state
        self.changed = True
        self._metrics.models_active.labels(**self._labels).set(len(state))

    @property
    def _grouping(self) -> Grouping | None:
        """The groups of the state; None where there are none."""
        return None

    def _regroup(self, grouping: Grouping | None, state: SeriesState) -> None:
        """Take over the groups of a state.

        Raises
        ------
        ValueError
            They are not those of a unit of this kind.
        """
        if grouping is not None:
            raise ValueError("the stored state is one of groups")

    def _ungroup(self, gone: Collection[Labels]) -> None:
        """Forget groups."""

    def _skip_some(self, stage: str, reason: str, n: int) -> None:
        """Count the parts of a run that cannot be done, and log them when they change."""
        if n:
            self._skip(stage, reason, "part", n)
        else:
            self._episodes.end(("part", stage))

    def _skip(
        self, stage: str, reason: str, topic: str, n: int, level: int = logging.WARNING
    ) -> None:
        self._metrics.model_runs_skipped.labels(stage=stage, **self._labels).inc(n)
        message = (
            f"Skipping run for stage '{stage}' for model '{self.origin.model_alias}', "
            f"query '{self.origin.query_key}': {reason}"
        )
        self._episodes.begin((topic, stage), message, level, cause=reason)

    def _run(self, stage: str, batch: BatchT, work: Callable[[], _Result]) -> _Result | None:
        labels = {"stage": stage, **self._labels}
        started = perf_counter()
        try:
            result = work()
        except Exception:  # noqa: BLE001 - counted and logged
            self.report_error(stage)
            return None
        self._episodes.end(("run", stage))
        self._metrics.model_runs.labels(**labels).inc()
        self._metrics.model_run_duration_seconds.labels(**labels).observe(perf_counter() - started)
        self._metrics.model_datapoints_accepted.labels(**labels).inc(batch.n_datapoints)
        return result

    def _report_errors(self, stage: str, errors: Mapping[Labels, Exception]) -> None:
        """Count the series or groups that failed, and log each kind of error once."""
        if not errors:
            return
        self._metrics.model_run_errors.labels(stage=stage, **self._labels).inc(len(errors))
        kinds: dict[object, list[Labels]] = {}
        for labels, error in errors.items():
            kinds.setdefault((type(error), _origin(error.__traceback__)), []).append(labels)
        for failed in kinds.values():
            more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
            logger.error(
                "Error during stage '%s' for model '%s', query '%s', %s%s",
                stage,
                self.origin.model_alias,
                self.origin.query_key,
                failed[0],
                more,
                exc_info=errors[failed[0]],
            )


AnyUnit: TypeAlias = Unit[SeriesBatch] | Unit[GroupedBatch]


def _origin(trace: TracebackType | None) -> tuple[str, int] | None:
    """Return the file and the line that raised."""
    if trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno
