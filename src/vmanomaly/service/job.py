"""The work on the data of some queries under one scheduler: read once, used by every unit."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from vmanomaly.config.reader import Query
from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError, StoppedError
from vmanomaly.failures import reason_of
from vmanomaly.scheduler.run import Run, RunResult, micro_batch_starts
from vmanomaly.scheduler.schedule import Progress
from vmanomaly.series import IntArray, JobKey, Origin, Predictions, SeriesBatch, TimeRange
from vmanomaly.service.delivered import without_states
from vmanomaly.service.gaps import known_series, on_common_grid, with_zeros
from vmanomaly.service.health import Health
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.reads import SharedReads
from vmanomaly.service.stuck import StuckModels
from vmanomaly.service.unit import Unit
from vmanomaly.slots import Slots, Turn
from vmanomaly.writer import Writer

logger = logging.getLogger(__name__)

_LATE_STEPS = 3


@dataclass(frozen=True, slots=True)
class JobDependencies:
    """What the jobs of a scheduler share.

    Attributes
    ----------
    reads, writer
        Where data comes from and goes to.
    health
        Where the outcome of reads and writes is reported.
    keeper
        Keeps what the units learn, under schedulers that continue from run to run.
    fits
        How many fits hold their data at a time; None for no limit.
    """

    reads: SharedReads
    writer: Writer
    health: Health
    keeper: Keeper | None = None
    fits: Slots | None = None


class QueryJob:
    """Reads the data of one query, or of those that a multivariate model scores jointly.

    It runs its units on the data and writes what they predict.

    Parameters
    ----------
    key
        Its name.
    queries
        What is read: one query, or several with the same step and offset.
    units
        The models that run on exactly these queries.
    dependencies
        What it reads, writes, reports and stores with.
    catch_up
        How far back an infer may start in order to begin where the units last saw data,
        milliseconds; None to begin where the scheduler says.
    look_back
        How long before its range an infer may start in order to score late samples of single
        series, milliseconds, at least three steps; None if none are late.

    Attributes
    ----------
    key : JobKey
        Its name.
    progress : Progress
        How far it has come under such a scheduler.
    delivered : Progress or None
        What a process without the states needs to continue where all scores are delivered; None
        before the first run.
    units : sequence of Unit
        The models that run on exactly these queries.
    """

    def __init__(
        self,
        key: JobKey,
        queries: Sequence[Query],
        units: Sequence[Unit],
        dependencies: JobDependencies,
        catch_up: int | None = None,
        look_back: int | None = None,
    ) -> None:
        self.key = key
        self._queries = queries
        self._step, self._shift = int(queries[0].step), queries[0].shift
        self.units = units
        self.progress = Progress()
        self.delivered: Progress | None = None
        self._reads = dependencies.reads
        self._writer = dependencies.writer
        self._health = dependencies.health
        self._keeper = dependencies.keeper
        self._fits = dependencies.fits
        self._catch_up = catch_up
        self._look_back = look_back
        self._stuck_models = StuckModels(self.name, self._health)
        self._reads.expect(key)

    @property
    def name(self) -> str:
        """Scheduler and query, as in logs."""
        return str(self.key)

    @property
    def n_units(self) -> int:
        """The number of models that run on the query."""
        return len(self.units)

    @property
    def unfitted(self) -> bool:
        """Whether a model of the job waits for its first fit."""
        return any(unit.unfitted for unit in self.units)

    @property
    def settled(self) -> int | None:
        """Up to where no score is still to come, Unix milliseconds; None before the first.

        That is before `progress.covered` while samples of some series are late.
        """
        covered = self.progress.covered
        return None if covered is None else self._from_last_seen(TimeRange(covered, covered)).start

    def unlearned(self) -> QueryJob:
        """Return the same job with units that have learned nothing."""
        job = copy(self)
        job.units = [unit.unlearned() for unit in self.units]
        job.progress = Progress()
        job.delivered = None
        job._keeper = None
        return job

    def resume(self, progress: Progress) -> None:
        """Continue from where another job has come."""
        self.progress = replace(progress)

    def keep(self) -> None:
        """Store what was learned and how far the job has come, if it is to outlive the process."""
        self._note_delivered()
        if self._keeper is not None:
            self._keeper.save(self, scores_are_safe=not self._writer.n_in_memory)

    def _note_delivered(self) -> None:
        if self.progress.replay is not None or self._writer.n_queued:
            return
        fits = {unit.fitted_to for unit in self.units}
        # A replay begins with one fit of all models.
        fitted_to = fits.pop() if len(fits) == 1 else None
        self.delivered = without_states(self.progress, fitted_to, self.settled)

    def checkpoint(self) -> None:
        """Store now what was learned, if it is to outlive the process. No run is under way."""
        if self._keeper is not None:
            self._keeper.checkpoint(self, scores_are_safe=not self._writer.n_in_memory)

    def stop_reading(self) -> None:
        """End the reads in progress, and begin no others. Returns at once."""
        self._reads.stop()

    def n_steps(self, run: Run) -> int:
        """Return how many steps the context of a run will count: each model's fit and infer."""
        return self.n_units * ((run.fit is not None) + (run.infer is not None))

    def execute(self, run: Run, context: RunContext | None = None) -> RunResult:
        """Carry out one run: fit first, then infer, as far as the run includes them."""
        if self._keeper is not None:
            self._keeper.load(self)
        try:
            return self._execute(run, (context or RunContext()).child())
        finally:
            self._reads.end_run(self.key)

    def _execute(self, run: Run, context: RunContext) -> RunResult:
        fitted, inferred = run.fit is None, run.infer is None
        reasons: list[str] = []
        try:
            if run.fit is not None:
                with self._contained("fit", reasons):
                    fitted = self._fit(run.fit, run.refits, context, reasons)
            if run.infer is not None:
                with self._contained("infer", reasons):
                    if any(unit.state is not None for unit in self.units):
                        inferred = self._infer(run.infer, run, context, reasons)
                    else:
                        self._skip_infer(fitted, context)
        except StoppedError as error:
            reasons.append(f"{self.name}: {error}")
        return RunResult(fitted, inferred, tuple(dict.fromkeys(reasons)))

    @contextmanager
    def _contained(self, stage: str, reasons: list[str]) -> Iterator[None]:
        """Have every unit report a bug, and end the run."""
        try:
            yield
        except StoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - counted and logged by the units
            reasons.append(f"{self.name}: {stage} failed: {reason_of(error)}")
            for unit in self.units:
                unit.report_error(stage)

    def _fit(
        self, time_range: TimeRange, refits: bool, context: RunContext, reasons: list[str]
    ) -> bool:
        """Have every unit that needs a fit learn the range. Return whether it was read."""
        units = [unit for unit in self.units if refits or unit.unfitted]
        with self._fit_slot(context) as turn:
            batches = self._read(time_range, "fit", units, context, reasons, turn)
            for unit in units:
                if batches is not None:
                    before = unit.learned
                    reasons += self._learn(unit, batches, context, turn)
                    if unit.learned is not before:
                        unit.fitted_to = time_range.end
                context.step(_step("fit", unit))
        return batches is not None

    @contextmanager
    def _fit_slot(self, context: RunContext) -> Iterator[Turn]:
        """Wait until there is room for the data of a fit. No scheduler waits for another one."""
        if self._fits is None:
            yield Turn()
            return
        with self._fits.taken(context, self.key, self.key.scheduler_alias) as turn:
            yield turn

    def _learn(
        self, unit: Unit, batches: list[SeriesBatch], context: RunContext, turn: Turn
    ) -> list[str]:
        def give_back() -> None:
            if self._fits is not None:
                self._fits.give_back(turn)

        alias = unit.origin.model_alias
        with self._stuck_models.watched("fit", alias, context, give_back):
            return _failures("fit", unit, unit.fit(batches, context))

    def _infer(
        self, time_range: TimeRange, run: Run, context: RunContext, reasons: list[str]
    ) -> bool:
        """Have every unit score the range, and write that. Return whether it was read."""
        batches = self._read(
            self._from_last_seen(time_range), "infer", self.units, context, reasons
        )
        starts = np.empty(0, np.int64)
        if batches is not None:
            starts = micro_batch_starts(
                batches[0].timestamps,
                run.micro_batch or self._step,
                run.micro_batch_end + self._shift,
            )
            batches = self._without_gaps(batches)
        for unit in self.units:
            # One that is unfitted is new, and what comes before its first fit does not concern it.
            # Without starts, the step is longer than the interval, and none of it ends here.
            if batches is not None and starts.size and not unit.unfitted:
                self._score(unit, batches, starts, run, context, reasons)
            context.step(_step("infer", unit))
        if run.written_to is not None:
            context.check()  # A replay that was stopped is done from its start again.
        return batches is not None

    def _score(
        self,
        unit: Unit,
        batches: list[SeriesBatch],
        starts: IntArray,
        run: Run,
        context: RunContext,
        reasons: list[str],
    ) -> None:
        for part, part_starts in self._parts(unit, batches, starts, run):
            with self._stuck_models.watched("infer", unit.origin.model_alias, context):
                scored = unit.infer(part, part_starts, context)
            for predictions, origin in scored.written:
                self._write(predictions, origin, run)
            reasons += _failures("infer", unit, scored.errors)

    def _parts(
        self, unit: Unit, batches: list[SeriesBatch], starts: IntArray, run: Run
    ) -> Iterator[tuple[list[SeriesBatch], IntArray]]:
        """Give what a unit is to score at a time, with the starts of its micro-batches.

        A group is scored while exactly its channels are there. So a replay takes groups through
        micro-batches one at a time, each with the series that the run at that time has met.
        """
        if run.written_to is None or not unit.scores_groups:
            yield batches, starts
            return
        ends = [*starts[1:], len(batches[0].timestamps)]
        for start, end in zip(starts, ends, strict=True):
            part = [batch.columns(int(start), int(end)) for batch in batches]
            yield [batch.keep(_present(batch)) for batch in part], np.zeros(1, np.int64)

    def _write(self, predictions: Predictions, origin: Origin, run: Run) -> None:
        """Write what is not written yet."""
        if run.written_to is not None:
            predictions = predictions.after(run.written_to + self._shift)
            if not predictions.timestamps.size:
                return
        self._writer.write(predictions, origin)
        self._health.report_write(origin, self._writer.last_error)

    def _skip_infer(self, is_fit_window_read: bool, context: RunContext) -> None:
        for unit in self.units:
            if is_fit_window_read:
                unit.skip("infer", "the model has not been fitted")
            else:  # This is logged already.
                unit.skip("infer", "the fit window could not be read", logging.DEBUG)
            context.step(_step("infer", unit))

    def _read(
        self,
        time_range: TimeRange,
        stage: str,
        units: Sequence[Unit],
        context: RunContext,
        reasons: list[str],
        turn: Turn | None = None,
    ) -> list[SeriesBatch] | None:
        """Return what each query gives; None if any of them fails. Note timeouts in `turn`."""
        batches = []
        out_of_reach = False
        answers = self._reads.read(self.key, self._queries, time_range, stage, context)
        for query, answer in zip(self._queries, answers, strict=True):
            if isinstance(answer, DatasourceError):
                self._health.report_read(self.key.scheduler_alias, query.alias, stage, answer)
                reasons.append(str(answer))
                out_of_reach = out_of_reach or answer.out_of_reach
                if turn is not None and answer.code == "timeout":
                    turn.timed_out = True
                continue
            if answer.timestamps.size:  # Else there was nothing to ask for.
                self._health.report_read(self.key.scheduler_alias, query.alias, stage, None)
            batches.append(answer)
        if len(batches) == len(self._queries):
            return on_common_grid(batches)
        for unit in units:
            if out_of_reach:  # The reader tells it once for all that it hits.
                unit.skip(stage, "the datasource is out of reach", logging.DEBUG)
            else:
                unit.skip(stage, "the query failed")
        return None

    def _without_gaps(self, batches: list[SeriesBatch]) -> list[SeriesBatch]:
        """Return the data with the value 0 where a query gives none for a series that is known."""
        return [
            with_zeros(batch, known_series(self.units, query.alias)) if query.fills_gaps else batch
            for query, batch in zip(self._queries, batches, strict=True)
        ]

    def _from_last_seen(self, time_range: TimeRange) -> TimeRange:
        """Extend the range to where late samples may be that are not scored yet."""
        if self._look_back is None:
            return time_range
        starts = [time_range.start]
        if self._catch_up is not None:
            seen = [unit.last_seen for unit in self.units if unit.last_seen is not None]
            oldest = time_range.end - max(self._catch_up, self._step)
            starts += [max(last - self._shift, oldest) for last in seen]
        since = time_range.start - max(self._look_back, _LATE_STEPS * self._step)
        behind = [unit.oldest_last_seen(since + self._shift) for unit in self.units]
        # What was seen up to the last point of the grid is not behind.
        starts += [
            last - self._shift
            for last in behind
            if last is not None and last - self._shift + self._step <= time_range.start
        ]
        return TimeRange(min(starts), time_range.end)


def _present(batch: SeriesBatch) -> list[int]:
    """Return the rows that have a value."""
    rows: list[int] = np.flatnonzero(~np.isnan(batch.values).all(axis=1)).tolist()
    return rows


def _step(stage: str, unit: Unit) -> str:
    return f"{stage} {unit.origin.model_alias} on {unit.origin.query_key}"


def _failures(stage: str, unit: Unit, errors: Sequence[str]) -> list[str]:
    return [f"{unit.origin}: {stage} failed: {error}" for error in errors]
