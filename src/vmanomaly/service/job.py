"""The work on the data of some queries under one scheduler: fetched once, used by every unit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

from vmanomaly.config.reader import Query
from vmanomaly.errors import DatasourceError
from vmanomaly.scheduler.run import Outcome, Run, micro_batch_starts
from vmanomaly.scheduler.schedule import Progress
from vmanomaly.series import JobKey, SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.reads import SharedReads
from vmanomaly.service.unit import Unit
from vmanomaly.writer import Writer

logger = logging.getLogger(__name__)


class QueryJob:
    """Reads the data of one query, or of those that a multivariate model looks at together.

    It runs its units on the data and writes what they predict.

    Parameters
    ----------
    key
        What it is called.
    queries
        What is read: one query, or several of the same step and offset.
    units
        The models that run on exactly these queries.
    reads, writer
        Where data comes from and goes to.
    health
        Told how reads and writes went.
    catch_up
        How far back an infer may start in order to begin where the units last saw data,
        milliseconds; None to begin where the scheduler says.
    keeper
        Keeps what the units learn, under schedulers that go on from run to run.
    on_stage_done
        Called after each fit and each infer.

    Attributes
    ----------
    key : JobKey
        What it is called.
    progress : Progress
        How far it has come under such a scheduler.
    units : sequence of Unit
        The models that run on exactly these queries.
    """

    def __init__(
        self,
        key: JobKey,
        queries: Sequence[Query],
        units: Sequence[Unit],
        reads: SharedReads,
        writer: Writer,
        health: Health,
        catch_up: int | None = None,
        keeper: Keeper | None = None,
        on_stage_done: Callable[[], None] | None = None,
    ) -> None:
        self.key = key
        self._queries = queries
        self._step, self._offset = int(queries[0].step), int(queries[0].offset)
        self.units = units
        self.progress = Progress()
        self._reads = reads
        self._writer = writer
        self._health = health
        self._catch_up = catch_up
        self._keeper = keeper
        self._on_stage_done = on_stage_done
        self.on_unit_done: Callable[[str], None] | None = None
        reads.expect(key)

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

    def unlearned(self) -> QueryJob:
        """Return the same job with units that have learned nothing."""
        job = copy(self)
        job.units = [unit.unlearned() for unit in self.units]
        job.progress = Progress()
        job._keeper = None
        return job

    def resume(self, progress: Progress) -> None:
        """Continue from where another job has come."""
        self.progress = replace(progress)

    def keep(self) -> None:
        """Store what was learned and how far the job has come, if it is to outlive the process."""
        if self._keeper is not None:
            self._keeper.save(self)

    def execute(self, run: Run) -> Outcome:
        """Carry out one run: fit first, then infer, as far as the run asks for them."""
        if self._keeper is not None:
            self._keeper.load(self)
        try:
            return self._execute(run)
        finally:
            self._reads.end_run(self.key)

    def _execute(self, run: Run) -> Outcome:
        fitted = inferred = fitted_well = inferred_well = True
        if run.fit is not None:
            fitted, fitted_well = self._contained("fit", self._fit, run.fit, run.refits)
        if run.infer is not None:
            if all(unit.state is None for unit in self.units):
                for unit in self.units:
                    if fitted:
                        unit.skip("infer", "the model has not been fitted")
                    else:  # That is told already.
                        unit.skip("infer", "the fit window could not be read", logging.DEBUG)
                return Outcome(fitted=fitted, inferred=False, failed=not fitted_well)
            inferred, inferred_well = self._contained("infer", self._infer, run.infer, run)
        return Outcome(fitted=fitted, inferred=inferred, failed=not (fitted_well and inferred_well))

    def _contained(
        self, stage: str, work: Callable[..., tuple[bool, bool]], *arguments: object
    ) -> tuple[bool, bool]:
        """Return what `work` does; a bug in it is reported for every unit, and goes no further."""
        try:
            return work(*arguments)
        except Exception:  # noqa: BLE001 - counted and logged by the units
            for unit in self.units:
                unit.report_error(stage)
            return False, False
        finally:
            if self._on_stage_done is not None:
                self._on_stage_done()

    def _fit(self, time_range: TimeRange, refits: bool) -> tuple[bool, bool]:
        """Return whether the range was read, and whether every unit learned it that has to."""
        units = [unit for unit in self.units if refits or unit.unfitted]
        batches = self._read(time_range, "fit", units)
        well = batches is not None
        for unit in units:
            if batches is not None and unit.fit(batches):
                well = False
            self._done(f"fit {unit.origin.model_alias} on {unit.origin.query_key}")
        return batches is not None, well

    def _infer(self, time_range: TimeRange, run: Run) -> tuple[bool, bool]:
        """Return whether the range was read, and whether every unit scored it."""
        batches = self._read(self._from_last_seen(time_range), "infer", self.units)
        if batches is None:
            return False, False
        timestamps = batches[0].timestamps
        if timestamps.size == 0:
            return True, True  # The step is longer than the interval, and none of it ends here.
        well = True
        starts = micro_batch_starts(
            timestamps, run.micro_batch or self._step, run.micro_batch_end + self._offset
        )
        for unit in self.units:
            if unit.unfitted:
                continue  # It is new, and what comes before its first fit is not its business.
            scored = unit.infer(batches, starts)
            for predictions, origin in scored.written:
                self._writer.write(predictions, origin)
                self._health.report_write(origin, self._writer.last_error)
            well = well and not scored.errors
            self._done(f"infer {unit.origin.model_alias} on {unit.origin.query_key}")
        return True, well

    def _read(
        self, time_range: TimeRange, stage: str, units: Sequence[Unit]
    ) -> list[SeriesBatch] | None:
        """Return what each query gives; None if any of them fails."""
        batches = []
        out_of_reach = False
        answers = self._reads.read(self.key, self._queries, time_range, stage)
        for query, answer in zip(self._queries, answers, strict=True):
            if isinstance(answer, DatasourceError):
                self._health.report_read(self.key.scheduler_alias, query.alias, stage, answer)
                out_of_reach = out_of_reach or answer.out_of_reach
                continue
            if answer.timestamps.size:  # Else there was nothing to ask for.
                self._health.report_read(self.key.scheduler_alias, query.alias, stage, None)
            batches.append(answer)
        if len(batches) == len(self._queries):
            return batches
        for unit in units:
            if out_of_reach:  # The reader tells it once for all that it hits.
                unit.skip(stage, "the datasource is out of reach", logging.DEBUG)
            else:
                unit.skip(stage, "the query failed")
        return None

    def _from_last_seen(self, time_range: TimeRange) -> TimeRange:
        if self._catch_up is None:
            return time_range
        seen = [unit.last_seen for unit in self.units if unit.last_seen is not None]
        oldest = time_range.end - max(self._catch_up, self._step)
        start = max(min(seen, default=time_range.start), oldest)
        return TimeRange(min(start, time_range.start), time_range.end)

    def _done(self, description: str) -> None:
        if self.on_unit_done is not None:
            self.on_unit_done(description)
