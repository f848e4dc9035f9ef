"""The work on the data of one query under one scheduler: fetched once, used by every unit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy

from vmanomaly.config.reader import Query
from vmanomaly.errors import DatasourceError
from vmanomaly.reader import Reader
from vmanomaly.scheduler.run import Outcome, Run, micro_batch_starts
from vmanomaly.series import SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.unit import Unit
from vmanomaly.writer import Writer

logger = logging.getLogger(__name__)


class QueryJob:
    """Reads the data of a query, runs its units on it, and writes what they predict.

    Parameters
    ----------
    query
        What is read.
    scheduler_alias
        On whose behalf.
    units
        The models that run on the query.
    reader, writer
        Where data comes from and goes to.
    health
        Told whether the two can reach their datasources.
    catch_up
        How far back an infer may start in order to begin where the units last saw data,
        milliseconds; None to begin where the scheduler says.
    """

    def __init__(
        self,
        query: Query,
        scheduler_alias: str,
        units: Sequence[Unit],
        reader: Reader,
        writer: Writer,
        health: Health,
        catch_up: int | None = None,
    ) -> None:
        self._query = query
        self._scheduler_alias = scheduler_alias
        self._units = units
        self._reader = reader
        self._writer = writer
        self._health = health
        self._catch_up = catch_up
        self.on_unit_done: Callable[[str], None] | None = None

    @property
    def name(self) -> str:
        """Scheduler and query, as in logs."""
        return f"scheduler '{self._scheduler_alias}', query '{self._query.alias}'"

    @property
    def n_units(self) -> int:
        """The number of models that run on the query."""
        return len(self._units)

    def unlearned(self) -> QueryJob:
        """Return the same job with units that have learned nothing."""
        job = copy(self)
        job._units = [unit.unlearned() for unit in self._units]
        return job

    def execute(self, run: Run) -> Outcome:
        """Carry out one run: fit first, then infer, as far as the run asks for them."""
        fitted = inferred = fitted_well = inferred_well = True
        if run.fit is not None:
            fitted, fitted_well = self._contained("fit", self._fit, run.fit)
        if run.infer is not None:
            if all(unit.state is None for unit in self._units):
                for unit in self._units:
                    unit.skip("infer", "the model has not been fitted")
                return Outcome(fitted=fitted, inferred=False, failed=not fitted_well)
            inferred, inferred_well = self._contained("infer", self._infer, run.infer, run)
        return Outcome(fitted=fitted, inferred=inferred, failed=not (fitted_well and inferred_well))

    def _contained(
        self, stage: str, work: Callable[..., tuple[bool, bool]], *arguments: object
    ) -> tuple[bool, bool]:
        """Return what `work` does; a bug in it is reported for every unit, and goes no further."""
        try:
            return work(*arguments)
        except Exception:  # noqa: BLE001 - reported with its trace
            for unit in self._units:
                unit.report_error(stage)
            return False, False

    def _fit(self, time_range: TimeRange) -> tuple[bool, bool]:
        """Return whether the range was read, and whether every unit learned it."""
        batch = self._read(time_range, "fit")
        well = batch is not None
        for unit in self._units:
            if batch is not None and not unit.fit(batch):
                well = False
            self._done(f"fit {unit.destination.model_alias} on {self._query.alias}")
        return batch is not None, well

    def _infer(self, time_range: TimeRange, run: Run) -> tuple[bool, bool]:
        """Return whether the range was read, and whether every unit scored it."""
        batch = self._read(self._from_last_seen(time_range), "infer")
        if batch is None:
            return False, False
        if batch.timestamps.size == 0:
            return True, True  # The step is longer than the interval, and none of it ends here.
        well = True
        starts = micro_batch_starts(
            batch.timestamps,
            run.micro_batch or int(self._query.step),
            run.origin + int(self._query.offset),
        )
        for unit in self._units:
            predictions = unit.infer(batch, starts)
            if predictions is not None:
                self._writer.write(predictions, unit.destination)
                self._health.report_datasource("writer", self._writer.last_error)
            elif batch.labels:
                well = False
            self._done(f"infer {unit.destination.model_alias} on {self._query.alias}")
        return True, well

    def _read(self, time_range: TimeRange, stage: str) -> SeriesBatch | None:
        try:
            batch = self._reader.read(self._query, time_range, self._scheduler_alias, stage=stage)
        except DatasourceError as error:
            self._health.report_datasource("reader", error)
            for unit in self._units:
                unit.skip(stage, "the query failed")
            return None
        self._health.report_datasource("reader", None)
        return batch

    def _from_last_seen(self, time_range: TimeRange) -> TimeRange:
        if self._catch_up is None:
            return time_range
        seen = [unit.last_seen for unit in self._units if unit.last_seen is not None]
        oldest = time_range.end - max(self._catch_up, int(self._query.step))
        start = max(min(seen, default=time_range.start), oldest)
        return TimeRange(min(start, time_range.start), time_range.end)

    def _done(self, description: str) -> None:
        if self.on_unit_done is not None:
            self.on_unit_done(description)
