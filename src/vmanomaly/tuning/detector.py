"""The detector `auto`: another one for each parameter set that its series were tuned to."""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from pydantic import ValidationError

from vmanomaly.config.tuned import tuned_section
from vmanomaly.context import RunContext
from vmanomaly.detector import (
    AnyDetector,
    Failure,
    FitResult,
    InferResult,
    Learned,
    LeftOut,
    Part,
    ToFit,
    create_detector,
)
from vmanomaly.errors import StoppedError, WorkerDiedError
from vmanomaly.executor import Executor
from vmanomaly.model import AnyModel, create_model, create_multivariate_model
from vmanomaly.model.grouping import GroupedBatch, Grouping, group_key, select
from vmanomaly.model.state import Array
from vmanomaly.series import IntArray, Labels, SeriesBatch
from vmanomaly.tuning.parallel import preferred_for, with_workers
from vmanomaly.tuning.report import summary
from vmanomaly.tuning.sample import Batch, Sample
from vmanomaly.tuning.spaces import Dimension, Facts, space_of, start_of
from vmanomaly.tuning.splits import split
from vmanomaly.tuning.state import TunedPart, TunedState, joined, stored_parts
from vmanomaly.tuning.study import Outcome, parameters_at, tune

if TYPE_CHECKING:
    from vmanomaly.config.model import ModelSection
    from vmanomaly.config.model.auto import AutoSection
    from vmanomaly.config.reader import Query

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Routed:
    """Which rows of batches with these labels each part scores, and which none does."""

    state: TunedState
    labels: list[tuple[Labels, ...]]
    rows: list[list[list[int]]]
    unknown: list[list[int]]


class AutoDetector:
    """Tunes a class at every fit, series by series or group by group.

    Series with the same parameters share a detector of the class, which fits and scores them
    together. A series that appears between two fits of an online class starts with nothing and
    the defaults; the next fit tunes it.

    Parameters
    ----------
    model
        The model with the defaults of the class.
    section
        Of `auto`.
    queries, min_block_size, executor
        As for `create_detector`.
    """

    def __init__(
        self,
        model: AnyModel,
        section: AutoSection,
        queries: Sequence[Query],
        min_block_size: int = 1,
        executor: Executor | None = None,
    ) -> None:
        self._section = section
        self._executor = executor
        self._queries = tuple(queries)
        self._min_block_size = min_block_size
        self._model = model
        self._default = create_detector(
            model, tuned_section(section), self._queries, min_block_size, executor
        )
        self._detectors: dict[bytes, AnyDetector] = {}
        self._routed: _Routed | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_routed": None}

    @property
    def multivariate(self) -> bool:
        """Whether it scores groups of series jointly."""
        return self._default.multivariate

    @property
    def infer_learns(self) -> bool:
        """Whether `infer` changes what was learned."""
        return self._default.infer_learns

    @property
    def starts_without_data(self) -> bool:
        """Whether a fit of no series at all is one: every series may appear later."""
        return self._default.starts_without_data

    def fit(
        self, batches: Sequence[SeriesBatch], context: RunContext | None = None
    ) -> tuple[Learned, FitResult]:
        """Tune, and learn from scratch; as `Detector.fit`."""
        return self.learn(self.to_fit(batches), context)

    def to_fit(self, batches: Sequence[SeriesBatch]) -> ToFit[Any]:
        """Return what of the batches is to be learned."""
        return self._default.to_fit(batches)

    def learn(
        self, given: ToFit[Any], context: RunContext | None = None
    ) -> tuple[Learned, FitResult]:
        """Tune, and learn from scratch what `to_fit` gave.

        Raises
        ------
        StoppedError
            As the context says.
        """
        context = context or RunContext()
        batch: Batch = given.batch
        space = self._space(batch)
        rows_of: dict[bytes, list[int]] = {}
        if self.starts_without_data:
            rows_of[_key(parameters_at(space, start_of(space)))] = []
        failures: list[Failure] = []
        for row, found in enumerate(self._tune(batch, context)):
            if isinstance(found, BaseException):
                failures.append(Failure(found, (batch.labels[row],)))
            else:
                rows_of.setdefault(_key(found.parameters), []).append(row)
        # What earlier fits chose is not needed any more.
        self._detectors = {key: self._detector(key) for key in rows_of}
        parts: list[TunedPart] = []
        n_valid_points = 0
        skipped: dict[Labels, str] = {}
        for key, rows in rows_of.items():
            part: ToFit[Any] = ToFit(_rows(batch, rows), LeftOut())
            learned, result = self._detector(key).learn(part, context)
            parts.append(TunedPart(orjson.loads(key), learned))
            failures += result.failures
            skipped |= result.left_out.skipped
            n_valid_points += result.n_valid_points
        left_out = replace(given.left_out, skipped=skipped)
        return self._joined(parts), FitResult(tuple(failures), left_out, n_valid_points)

    def infer(
        self,
        learned: Learned,
        batches: Sequence[SeriesBatch],
        micro_batch_starts: IntArray,
        context: RunContext | None = None,
    ) -> tuple[Learned, InferResult]:
        """Score what the queries returned, each series with its parameters."""
        state = _state_of(learned)
        rows, left_out = self._rows_by_part(learned, state, batches)
        parts = list(state.parts)
        results: list[InferResult] = []
        context = context or RunContext()
        for number, part in enumerate(state.parts):
            own = [
                batch if len(of_batch) == len(batch.labels) else batch.keep(of_batch)
                for batch, of_batch in zip(batches, rows[number], strict=True)
            ]
            # A group that is not there at all is a mismatch, which its detector reports.
            if not self.multivariate and not any(batch.labels for batch in own):
                continue
            detector = self._detector(_key(part.parameters))
            after, result = detector.infer(part.learned, own, micro_batch_starts, context)
            parts[number] = TunedPart(part.parameters, after)
            results.append(result)
            if result.stopped is not None:
                break
        is_same = all(map(operator.is_, (part.learned for part in parts), state.learned))
        return learned if is_same else self._joined(parts), _sum(results, left_out)

    def restore(
        self, labels: Iterable[Labels], grouping: Grouping | None, arrays: Mapping[str, Array]
    ) -> Learned:
        """Rebuild what was learned.

        Raises
        ------
        ValueError
            It is not that of such a detector.
        """
        if (grouping is not None) != self.multivariate:
            raise ValueError("the stored state is not one of this class")
        parts = []
        for part in stored_parts(labels, grouping, arrays):
            try:
                detector = self._detector(_key(part.parameters))
            except ValidationError as error:
                raise ValueError(f"the stored parameters {part.parameters} are wrong") from error
            restored = detector.restore(part.labels, part.grouping, part.arrays)
            parts.append(TunedPart(part.parameters, restored))
        return self._joined(parts)

    def forget(self, learned: Learned, before: int) -> tuple[Learned, int]:
        """Forget the series or groups not seen since a time; as `Detector.forget`."""
        parts, n_forgotten = [], 0
        for part in _state_of(learned).parts:
            detector = self._detector(_key(part.parameters))
            left, n_of_part = detector.forget(part.learned, before)
            parts.append(TunedPart(part.parameters, left))
            n_forgotten += n_of_part
        return (self._joined(parts), n_forgotten) if n_forgotten else (learned, 0)

    def _tune(self, batch: Batch, context: RunContext) -> list[Outcome | BaseException]:
        """Return what was found for each series or group, or that a worker died of it."""
        n_rows = len(batch.labels)
        context.expect(n_rows)
        n_jobs = self._section.optimization_params.n_jobs
        tune_row = partial(_tune_one, self._section, self._queries)
        if n_rows == 1:
            outcome = tune_row(batch, context, n_jobs, self._executor)
            self._note_tuned(batch.labels[0], outcome, context)
            return [outcome]
        # Many series are tuned next to each other; the trials of a single one are.
        workers = with_workers(self._executor or Executor(), n_jobs)
        return workers.map(
            tune_row,
            [(_rows(batch, [row]), context, 1, None) for row in range(n_rows)],
            context,
            preferred_for(self._section.tuned_class_name),
            lambda row, outcome: self._note_tuned(batch.labels[row], outcome, context),
        )

    def _note_tuned(
        self, labels: Labels, outcome: Outcome | BaseException, context: RunContext
    ) -> None:
        context.step("tuning")
        if isinstance(outcome, WorkerDiedError):
            return
        if isinstance(outcome, BaseException):
            raise outcome
        logger.info(
            "Tuned %s of query '%s', series %s: %s",
            self._section.tuned_class_name,
            ",".join(query.alias for query in self._queries),
            labels,
            summary(outcome),
        )

    def _space(self, batch: Batch) -> tuple[Dimension, ...]:
        return _space(self._section, self._queries, len(batch.timestamps), 1.0)

    def _detector(self, key: bytes) -> AnyDetector:
        """Return the detector with some parameters."""
        detector = self._detectors.get(key)
        if detector is None:
            section = tuned_section(self._section, orjson.loads(key))
            model = _model(section, self._queries)
            detector = create_detector(
                model, section, self._queries, self._min_block_size, self._executor
            )
            self._detectors[key] = detector
        return detector

    def _joined(self, parts: Sequence[TunedPart]) -> Learned:
        groupings = [part.learned.grouping for part in parts if part.learned.grouping is not None]
        if self.multivariate and not groupings:
            empty = Grouping(self._section.groupby, (), (), np.zeros(1, np.int64))
            return Learned(TunedState(parts), empty)
        return Learned(TunedState(parts), joined(groupings) if groupings else None)

    def _rows_by_part(
        self, learned: Learned, state: TunedState, batches: Sequence[SeriesBatch]
    ) -> tuple[list[list[list[int]]], LeftOut]:
        """Return the rows of each batch that each part scores, and what none does."""
        labels = [batch.labels for batch in batches]
        last = self._routed
        # Tuples compare by identity first: the same series as last time cost almost nothing.
        if last is None or last.state is not state or last.labels != labels:
            last = _Routed(state, labels, *self._route(learned, state, labels))
            self._routed = last
        return last.rows, self._left_out(batches, last.unknown)

    def _route(
        self, learned: Learned, state: TunedState, labels: Sequence[tuple[Labels, ...]]
    ) -> tuple[list[list[list[int]]], list[list[int]]]:
        rows: list[list[list[int]]] = [[[] for _ in labels] for _ in state.parts]
        unknown: list[list[int]] = [[] for _ in labels]
        part_of = self._parts_by_group(learned, state) if learned.grouping is not None else None
        newcomers = 0 if self.starts_without_data else None
        for number, of_batch in enumerate(labels):
            for row, each in enumerate(of_batch):
                if part_of is None:
                    part = state.part_of(each)
                    part = newcomers if part is None else part
                else:
                    part = part_of.get(group_key(self._section.groupby, each))
                (unknown if part is None else rows[part])[number].append(row)
        return rows, unknown

    def _parts_by_group(self, learned: Learned, state: TunedState) -> dict[Any, int]:
        grouping = learned.grouping
        assert grouping is not None  # noqa: S101 - of groups
        parts = [state.part_of(labels) for labels in grouping.labels]
        return {
            key: part for key, part in zip(grouping.keys(), parts, strict=True) if part is not None
        }

    def _left_out(
        self, batches: Sequence[SeriesBatch], unknown: Sequence[Sequence[int]]
    ) -> LeftOut:
        if not any(unknown):
            return LeftOut()
        left = [batch.keep(rows) for batch, rows in zip(batches, unknown, strict=True)]
        if not self.multivariate:
            return LeftOut(unknown=left[0].labels)
        nothing = Grouping(self._section.groupby, (), (), np.zeros(1, np.int64))
        aliases = [query.alias for query in self._queries]
        return LeftOut(mismatches=select(nothing, aliases, left).mismatches)


def _tune_one(
    section: AutoSection,
    queries: Sequence[Query],
    batch: Batch,
    context: RunContext,
    n_jobs: int,
    executor: Executor | None,
) -> Outcome:
    """Tune one series or group. Runs wherever the executor has it run."""
    sample = Sample(queries, (batch,))
    space = _space(section, queries, sample.n_columns, sample.spread)
    params = section.optimization_params.model_copy(update={"n_jobs": n_jobs})
    return tune(partial(tuned_section, section), sample, space, params, context, executor=executor)


def _space(
    section: AutoSection, queries: Sequence[Query], n_columns: int, spread: float
) -> tuple[Dimension, ...]:
    params = section.optimization_params
    folds = split(n_columns, params.n_splits, params.validation_scheme, params.train_val_ratio)
    facts = Facts(
        step=int(queries[0].step),
        n_points=min((fold.n_fit for fold in folds), default=0),
        tz=queries[0].tz,
        limit=params.anomaly_percentage,
        spread=spread,
    )
    return space_of(
        section.tuned_class_name, facts, section.frozen, params.optimized_business_params
    )


def _model(section: ModelSection, queries: Sequence[Query]) -> AnyModel:
    if section.multivariate:
        return create_multivariate_model(section, queries)
    return create_model(section, queries[0])


def _rows(batch: Batch, rows: Sequence[int]) -> Batch:
    if len(rows) == len(batch.labels):
        return batch
    if isinstance(batch, GroupedBatch):
        return batch.keep(rows)
    return batch.keep(list(rows))


def _key(parameters: Mapping[str, Any]) -> bytes:
    return orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS)


def _state_of(learned: Learned) -> TunedState:
    assert isinstance(learned.state, TunedState)  # noqa: S101 - from `learn` or `restore`
    return learned.state


def _sum(results: Sequence[InferResult], left_out: LeftOut) -> InferResult:
    parts: list[Part] = []
    failures: list[Failure] = []
    stopped: StoppedError | None = None
    mismatches = list(left_out.mismatches)
    for result in results:
        parts += result.parts
        failures += result.failures
        mismatches += result.left_out.mismatches
        stopped = stopped or result.stopped
    return InferResult(
        tuple(parts),
        tuple(failures),
        replace(left_out, mismatches=tuple(mismatches)),
        sum(result.n_series for result in results),
        sum(result.n_valid_points for result in results),
        sum(result.n_scored_points for result in results),
        stopped,
    )
