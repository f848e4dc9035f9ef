"""What every detector does: fit a model, and score with it, block by block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np

from vmanomaly.config.model import INCIDENT_SCORE
from vmanomaly.context import RunContext
from vmanomaly.detector.incident import MEMORY
from vmanomaly.detector.result import FitResult, InferResult, LeftOut, Part, failures_of
from vmanomaly.errors import StoppedError
from vmanomaly.executor import Executor
from vmanomaly.model.base import BaseModel, BatchT, ModelOutput
from vmanomaly.model.grouping import Grouping
from vmanomaly.model.parallel import ParallelModel, Run
from vmanomaly.model.state import NEVER, Array, SeriesState
from vmanomaly.series import IntArray, Labels, SeriesBatch


@dataclass(frozen=True, slots=True)
class Learned:
    """What a detector has learned.

    Attributes
    ----------
    state : SeriesState
        Of the model; one row per series, or per group.
    grouping : Grouping or None
        The channels of the groups that it was fitted on; None if it scores single series.
    """

    state: SeriesState
    grouping: Grouping | None = None

    @property
    def last_seen(self) -> int | None:
        """The newest timestamp that was seen, Unix milliseconds; None before the first."""
        if len(self.state) == 0:
            return None
        last_seen = int(self.state.last_seen.max())
        return None if last_seen == NEVER else last_seen

    def oldest_last_seen(self, since: int) -> int | None:
        """Return the oldest of the newest timestamps of each series or group.

        Parameters
        ----------
        since
            Unix milliseconds. What was last seen before that counts as gone.
        """
        alive = self.state.last_seen[self.state.last_seen >= since]
        return int(alive.min()) if alive.size else None

    def series_of(self, query_key: str) -> Sequence[Labels]:
        """Return the label sets of the series that are known of a query."""
        if self.grouping is None:
            return self.state.labels
        channels = self.grouping.channels
        return [channel.labels for channel in channels if channel.query_key == query_key]


@dataclass(frozen=True, slots=True)
class ToFit(Generic[BatchT]):
    """What is to be learned.

    Attributes
    ----------
    batch : SeriesBatch or GroupedBatch
    left_out : LeftOut
        What was read and is not in the batch.
    """

    batch: BatchT
    left_out: LeftOut


class Detector(ABC, Generic[BatchT]):
    """A model, and how its outputs become scores.

    It holds settings only: what it learns is returned, and passed back in. So it can be used by
    several threads at once, for different `Learned`, and pickled to run somewhere else. It knows
    no clocks, logs or metrics: what went wrong is raised, or returned if it concerns only some of
    the series.

    Parameters
    ----------
    model
        The model.
    provide_series
        The outputs wanted, in order; None for the model's own choice.
    min_block_size
        At least that many series or groups are processed at a time.
    executor
        What executes the work of a `ParallelModel`; None for this thread.

    Attributes
    ----------
    model : BaseModel
        The model.
    """

    def __init__(
        self,
        model: BaseModel[BatchT],
        provide_series: Sequence[str] | None = None,
        min_block_size: int = 1,
        executor: Executor | None = None,
    ) -> None:
        self.model: BaseModel[BatchT] = model
        self._executor = executor or Executor()
        self._provide_series = tuple(provide_series or model.default_outputs) or None
        self._min_block_size = min_block_size

    @property
    def multivariate(self) -> bool:
        """Whether it scores groups of series jointly."""
        return self.model.multivariate

    @property
    def infer_learns(self) -> bool:
        """Whether `infer` changes what was learned."""
        return self.model.online or self._gathers_evidence

    @property
    def starts_without_data(self) -> bool:
        """Whether a fit of no series at all is one: every series may appear later."""
        return self.model.online and not self.model.multivariate

    def fit(
        self, batches: Sequence[SeriesBatch], context: RunContext | None = None
    ) -> tuple[Learned, FitResult]:
        """Learn from scratch.

        Parameters
        ----------
        batches
            What the queries of the detector returned, one per query, on the same timestamps.
        context
            May stop the fit between two blocks of series.

        Returns
        -------
        learned : Learned
            For `infer`.
        result : FitResult
            What was left out or failed.

        Raises
        ------
        StoppedError
            As the context says.
        Exception
            Whatever the model raises.
        """
        return self.learn(self.to_fit(batches), context)

    @abstractmethod
    def to_fit(self, batches: Sequence[SeriesBatch]) -> ToFit[BatchT]:
        """Return what of the batches is to be learned; the first half of `fit`."""

    def learn(
        self, given: ToFit[BatchT], context: RunContext | None = None
    ) -> tuple[Learned, FitResult]:
        """Learn from scratch what `to_fit` gave; the second half of `fit`."""
        context = context or RunContext()
        state: SeriesState | None = None
        errors: dict[Labels, BaseException] = {}
        skipped: dict[Labels, str] = {}
        n_valid_points = 0
        for block in self._blocks(given.batch):
            context.check()
            of_block = self._fit_block(block, context)
            errors |= of_block.errors
            skipped |= of_block.skipped
            # They would keep the frames of their traces.
            of_block.errors, of_block.skipped = {}, {}
            n_valid_points += block.n_valid_points
            if state is None:
                state = of_block
            else:
                state.append(of_block)
        assert state is not None  # noqa: S101 - there is a block, if an empty one
        learned = Learned(state, self._grouping_of(given.batch, state))
        left_out = replace(given.left_out, skipped=skipped)
        return learned, FitResult(failures_of(errors), left_out, n_valid_points)

    def infer(
        self,
        learned: Learned,
        batches: Sequence[SeriesBatch],
        micro_batch_starts: IntArray,
        context: RunContext | None = None,
    ) -> tuple[Learned, InferResult]:
        """Score what the queries returned and, if the model is online, learn it.

        Parameters
        ----------
        learned
            From `fit` or an earlier `infer`. It must not be used afterwards, unless this raises:
            an online model continues to learn in it.
        batches
            As for `fit`.
        micro_batch_starts : ndarray of int64
            The columns at which micro-batches start; the first is 0.
        context
            May stop the infer between two blocks of series.

        Returns
        -------
        learned : Learned
            With what was learned now.
        result : InferResult
            The predictions, and what was left out or failed.

        Raises
        ------
        Exception
            Whatever the model raises.
        """
        context = context or RunContext()
        batch, left_out = self._to_infer(learned, batches)
        parts: list[Part] = []
        errors: dict[Labels, BaseException] = {}
        n_series = n_valid_points = n_scored_points = 0
        stopped: StoppedError | None = None
        for block in self._blocks(batch) if batch.labels else ():
            try:
                context.check()
                output = self._infer_block(learned.state, block, micro_batch_starts, context)
            except StoppedError as error:
                # What is learned already must not be lost: it will never be scored again.
                stopped = error
                break
            parts += self._score(learned.state, block, output)
            errors |= output.errors
            n_series += len(block.labels)
            n_valid_points += block.n_valid_points
            n_scored_points += self._n_scored_points(block, output)
        return learned, InferResult(
            tuple(parts),
            failures_of(errors),
            left_out,
            n_series,
            n_valid_points,
            n_scored_points,
            stopped,
        )

    def restore(
        self, labels: Iterable[Labels], grouping: Grouping | None, arrays: Mapping[str, Array]
    ) -> Learned:
        """Rebuild what was learned.

        Parameters
        ----------
        labels, arrays
            What `labels` and `arrays()` of the state gave.
        grouping
            As in `Learned`.

        Raises
        ------
        ValueError
            They are not those of such a detector.
        """
        state = self.model.restore(labels, arrays)
        self._check_grouping(grouping, state)
        return Learned(state, grouping)

    def forget(self, learned: Learned, before: int) -> tuple[Learned, int]:
        """Forget the series or groups not seen since a time.

        Parameters
        ----------
        learned
            Must not be used afterwards.
        before
            Unix milliseconds. A model that is not online forgets nothing: each fit replaces what
            it knows.

        Returns
        -------
        learned : Learned
            Without them.
        n_forgotten : int
            Their number.
        """
        state, grouping = learned.state, learned.grouping
        rows = np.flatnonzero(state.last_seen < before)
        if not (self.model.online and rows.size):
            return learned, 0
        state.remove(rows)
        if grouping is not None:
            kept = [g for g, labels in enumerate(grouping.labels) if labels in state]
            grouping = grouping.keep(kept)
        return replace(learned, grouping=grouping), int(rows.size)

    @property
    def _gathers_evidence(self) -> bool:
        return INCIDENT_SCORE in (self._provide_series or ())

    @abstractmethod
    def _to_infer(self, learned: Learned, batches: Sequence[SeriesBatch]) -> tuple[BatchT, LeftOut]:
        """Return what of the batches can be scored."""

    @abstractmethod
    def _blocks(self, batch: BatchT) -> Iterator[BatchT]:
        """Cut a batch into blocks of series or groups; one if it has none."""

    @abstractmethod
    def _score(self, state: SeriesState, batch: BatchT, output: ModelOutput) -> list[Part]:
        """Turn the output of the model into predictions; gathers evidence in the state."""

    @abstractmethod
    def _n_scored_points(self, batch: BatchT, output: ModelOutput) -> int:
        """Return the number of points that the model has scored, each once."""

    @abstractmethod
    def _grouping_of(self, batch: BatchT, state: SeriesState) -> Grouping | None:
        """Return the groups of a batch that are in the state."""

    @abstractmethod
    def _check_grouping(self, grouping: Grouping | None, state: SeriesState) -> None:
        """Raise a ValueError unless the groups are those of the state."""

    def _fit_block(self, block: BatchT, context: RunContext) -> SeriesState:
        """Fit the model, and gather the evidence of an incident if the incident score is wanted.

        The evidence is that of the last points of the window, so that an incident is still one
        after a fit, and the state depends on nothing but the window. A second fit, of the points
        before them, would double the time that a fit takes. Where learning points one by one
        gives the same state as a fit, the last points are learned so, and scored on the way by
        what was known before them. Other models score them with what they know after the fit,
        in a copy that is thrown away.
        """
        first = len(block.timestamps) - MEMORY
        if not self._gathers_evidence or first <= 0:
            return self._fit_model(block, context)
        last = block.columns(first, len(block.timestamps))
        if self.model.fit_is_replay:
            state = self._fit_model(block.columns(0, first), context)
            starts = np.arange(MEMORY)
            self._score(state, last, self._infer_block(state, last, starts, context))
            return state
        state = self._fit_model(block, context)
        fitted = [row for row, labels in enumerate(block.labels) if labels in state]
        if fitted:
            last = last.keep(fitted)
            copy = state.as_of(int(block.timestamps[first - 1]))
            starts = np.zeros(1, np.int64)
            self._score(copy, last, self._infer_block(copy, last, starts, context))
            state["incident"][state.rows(last.labels)] = copy["incident"][copy.rows(last.labels)]
        return state

    def _fit_model(self, block: BatchT, context: RunContext) -> SeriesState:
        if isinstance(self.model, ParallelModel):
            return self.model.fit(block, self._run_in(context))
        return self.model.fit(block)

    def _infer_block(
        self, state: SeriesState, block: BatchT, micro_batch_starts: IntArray, context: RunContext
    ) -> ModelOutput:
        if isinstance(self.model, ParallelModel):
            return self.model.infer(state, block, micro_batch_starts, self._run_in(context))
        return self.model.infer(state, block, micro_batch_starts)

    def _run_in(self, context: RunContext) -> Run:
        """Return what executes the pieces of the work that the context may stop."""
        return lambda function, pieces, preferred: self._executor.map(
            function, pieces, context, preferred
        )
