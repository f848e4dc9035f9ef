"""The smallest unit of work: one detector under one scheduler, and what a service adds to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Self, TypeVar

from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.detector import (
    AnyDetector,
    Failure,
    FitResult,
    InferResult,
    Learned,
    LeftOut,
    Part,
)
from vmanomaly.episodes import Episodes
from vmanomaly.errors import StoppedError
from vmanomaly.failures import reason_of
from vmanomaly.model.state import SeriesState
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import IntArray, Labels, Origin, Predictions, SeriesBatch
from vmanomaly.service.spacing import apparent_spacing
from vmanomaly.state import Content, Members

logger = logging.getLogger(__name__)

_ResultT = TypeVar("_ResultT", FitResult, InferResult)

_STAGES = ("fit", "infer")
#: Seconds after which the end of a fit is logged too.
_LONG_FIT_S = 10.0
_NOT_FITTED = "the model has not been fitted"


@dataclass(frozen=True, slots=True)
class Scored:
    """The result of an infer.

    Attributes
    ----------
    written : list of (Predictions, Origin)
        What is to be written.
    errors : tuple of str
        What went wrong; empty if nothing did.
    """

    written: list[tuple[Predictions, Origin]]
    errors: tuple[str, ...] = ()


class Unit:
    """Fits and scores with one detector, keeps what it has learned, counts and logs.

    A model that raises fails alone: the error is logged with its trace and counted, and the
    other units of the service continue. So does a model that fails on only some of its series.

    Parameters
    ----------
    detector
        Fits and scores.
    origin
        Says for the writer where the predictions come from.
    metrics
        Where runs are counted.

    Attributes
    ----------
    origin : Origin
        As given.
    key : UnitKey
        Its name where states are kept.
    learned : Learned or None
        What it has learned; None before the first fit, and while it is only on disk.
    unfitted : bool
        Whether it waits for its first fit.
    changed : bool
        Whether it has learned something since it was stored.
    fitted_to : int or None
        The end of the window of its last fit since it was stored, Unix milliseconds; None where
        it was not fitted since.
    """

    def __init__(self, detector: AnyDetector, origin: Origin, metrics: Metrics) -> None:
        self.origin = origin
        self.key = origin.unit
        self.learned: Learned | None = None
        self.unfitted = True
        self.changed = False
        self.fitted_to: int | None = None
        self._detector = detector
        self._metrics = metrics
        self._labels = metrics.of_model(origin)
        self._episodes = Episodes(logger)
        # From 0 on, so that `increase()` sees the first one too.
        for counter in (metrics.model_runs_skipped, metrics.model_run_errors):
            for stage in _STAGES:
                counter.labels(stage=stage, **self._labels)

    @property
    def state(self) -> SeriesState | None:
        """The state of the model; None as `learned` is."""
        return None if self.learned is None else self.learned.state

    @property
    def scores_groups(self) -> bool:
        """Whether its model scores groups of series jointly."""
        return self._detector.multivariate

    @property
    def last_seen(self) -> int | None:
        """The newest timestamp the model has seen, Unix milliseconds; None before the first."""
        return None if self.learned is None else self.learned.last_seen

    def oldest_last_seen(self, since: int) -> int | None:
        """Return the newest timestamp of the series that is furthest behind, Unix milliseconds.

        Series last seen before `since` are left out; None where there are no others.
        """
        return None if self.learned is None else self.learned.oldest_last_seen(since)

    def series_of(self, query_key: str) -> Sequence[Labels]:
        """Return the label sets of the series that it knows of a query."""
        return () if self.learned is None else self.learned.series_of(query_key)

    def unlearned(self) -> Self:
        """Return the same unit, which has learned nothing."""
        unit = copy(self)
        unit.learned = None
        unit.unfitted = True
        unit.changed = False
        unit.fitted_to = None
        unit._episodes = Episodes(logger)
        return unit

    @property
    def content(self) -> Content | None:
        """What has been learned, as views; None before the first fit."""
        if self.learned is None:
            return None
        state = self.learned.state
        return Content(Members(state.labels, self.learned.grouping), state.arrays())

    def restore(self, content: Content) -> None:
        """Continue with what another unit of the same signature has learned.

        Raises
        ------
        ValueError
            The content is not that of such a unit.
        """
        members = content.members
        self.learned = self._detector.restore(members.labels, members.grouping, content.arrays)
        self.unfitted = False
        self._count_active(self.learned)

    def take_over(self, other: Unit) -> None:
        """Continue with what another unit of the same signature has learned, which then stops."""
        self.learned, self.unfitted, self.changed = other.learned, other.unfitted, other.changed
        self.fitted_to = other.fitted_to
        self._episodes = other._episodes

    def release(self) -> None:
        """Release what was learned, which is stored and comes back by `restore`."""
        self.learned = None

    def note_stored(self) -> None:
        """Note that all that was learned is stored, and release it."""
        self.changed = False
        self.fitted_to = None
        self.release()

    def note_lost(self) -> None:
        """Note that what was stored is lost: the unit waits for a fit."""
        self.learned = None
        self.unfitted = True

    def forget(self, before: int) -> int:
        """Forget the series or groups not seen since a time; return their number.

        Parameters
        ----------
        before
            Unix milliseconds. A model that is not online forgets nothing: each fit replaces what
            it knows.
        """
        if self.learned is None:
            return 0
        self.learned, n_forgotten = self._detector.forget(self.learned, before)
        if n_forgotten:
            self.changed = True
            self._count_active(self.learned)
        return n_forgotten

    def fit(
        self, batches: Sequence[SeriesBatch], context: RunContext | None = None
    ) -> tuple[str, ...]:
        """Learn from scratch what the queries returned. Return what went wrong.

        An empty batch is skipped; a univariate online model then starts cold at the next infer.
        A fit that is stopped is as if there had been none.
        """
        waited, self.unfitted = self.unfitted, False
        detector = self._detector
        self._note_spacing(batches)
        try:
            given = detector.to_fit(batches)
        except BaseException as error:  # noqa: BLE001 - counted and logged
            self.report_error("fit")
            return (reason_of(error),)
        self._note_ungrouped(given.left_out)
        batch = given.batch
        if not batch.labels:
            self.skip("fit", "there is no data in the fit window")
            if detector.starts_without_data:
                self.learned, _ = detector.learn(given)
                self.changed = True
            return ()
        logger.info(
            "Fitting on %d/%d valid datapoints: %s, %d %s",
            batch.n_valid_points,
            batch.values.size,
            self.origin,
            len(batch.labels),
            "groups" if detector.multivariate else "series",
        )
        started = perf_counter()
        done = self._run("fit", lambda: detector.learn(given, context))
        took = perf_counter() - started
        if isinstance(done, BaseException):
            self.unfitted = waited and isinstance(done, StoppedError)
            return (reason_of(done),)
        if took >= _LONG_FIT_S:
            logger.info("Fitted after %.0f s: %s", took, self.origin)
        self.learned, result = done
        self.changed = True
        self._count_active(self.learned)
        self._note_skipped("fit", result.left_out)
        return self._report_failures("fit", result.failures)

    def infer(
        self,
        batches: Sequence[SeriesBatch],
        micro_batch_starts: IntArray,
        context: RunContext | None = None,
    ) -> Scored:
        """Score what the queries returned and, if the model is online, learn it.

        Parameters
        ----------
        batches
            One per query, on the same timestamps.
        micro_batch_starts : ndarray of int64
            The columns at which micro-batches start.
        context
            May stop the infer. What is scored until then is returned, and the stop is an error.
        """
        if not any(batch.labels for batch in batches):
            self.skip("infer", "there is no new data")
            return Scored([])
        learned = self.learned
        if learned is None:
            self.skip("infer", _NOT_FITTED)
            return Scored([], (_NOT_FITTED,))
        done = self._run(
            "infer", lambda: self._detector.infer(learned, batches, micro_batch_starts, context)
        )
        if isinstance(done, BaseException):
            # The series before those that it failed on may have been learned.
            self.changed = self.changed or self._detector.infer_learns
            return Scored([], (reason_of(done),))
        self.learned, result = done
        self._note_ungrouped(result.left_out)
        self._note_skipped("infer", result.left_out)
        errors = self._report_failures("infer", result.failures)
        if result.stopped is not None:
            self.skip("infer", str(result.stopped))
            errors = (*errors, str(result.stopped))
        if not result.n_series:
            return Scored([], errors or (str(result.left_out),))
        self.changed = self.changed or self._detector.infer_learns
        self._metrics.model_datapoints_produced.labels(stage="infer", **self._labels).inc(
            result.n_scored_points
        )
        self._count_active(self.learned)
        return Scored([(part.predictions, self._origin_of(part)) for part in result.parts], errors)

    def skip(self, stage: str, reason: str, level: int = logging.WARNING) -> None:
        """Count a run that cannot be done, and log it unless that was the case last time too."""
        self._skip(stage, reason, "run", 1, level)

    def report_error(self, stage: str) -> None:
        """Count and log, with its trace, the exception that is being handled."""
        self._metrics.model_run_errors.labels(stage=stage, **self._labels).inc()
        logger.exception(
            "Error during stage '%s' for %s",
            stage,
            self.origin,
        )

    def _origin_of(self, part: Part) -> Origin:
        return self.origin if part.query is None else replace(self.origin, queries=(part.query,))

    def _count_active(self, learned: Learned) -> None:
        self._metrics.models_active.labels(**self._labels).set(len(learned.state))

    def _run(
        self, stage: str, work: Callable[[], tuple[Learned, _ResultT]]
    ) -> tuple[Learned, _ResultT] | BaseException:
        """Return what `work` does, or what it raises: user code may raise `SystemExit` too."""
        labels = {"stage": stage, **self._labels}
        started = perf_counter()
        try:
            learned, result = work()
        except StoppedError as error:
            self.skip(stage, str(error))
            return error
        except BaseException as error:  # noqa: BLE001 - counted and logged
            self.report_error(stage)
            return error
        if isinstance(result, FitResult) or result.n_series:
            took = perf_counter() - started
            self._episodes.end(("run", stage))
            self._metrics.model_runs.labels(**labels).inc()
            self._metrics.model_run_duration_seconds.labels(**labels).observe(took)
            self._metrics.model_last_run_timestamp_seconds.labels(**labels).set_to_current_time()
            self._metrics.model_datapoints_accepted.labels(**labels).inc(result.n_valid_points)
        return learned, result

    def _note_spacing(self, batches: Sequence[SeriesBatch]) -> None:
        """Warn of each query whose series have a value only every few steps."""
        for query, batch in zip(self.origin.queries, batches, strict=True):
            every = apparent_spacing(batch)
            if every is None:
                self._episodes.end(("spacing", query))
                continue
            step = int(batch.timestamps[1] - batch.timestamps[0])
            self._episodes.begin(
                ("spacing", query),
                f"Query '{query}' is read with the step {Duration(step)}, but most of its series "
                f"have a value only every {Duration(every * step)}; set its step: "
                f"{Duration(every * step)}",
                cause=every,
            )

    def _note_ungrouped(self, left_out: LeftOut) -> None:
        """Log the series without a group."""
        if left_out.ungrouped:
            logger.warning(
                "Model '%s', query '%s': left out %d series without a label of groupby [%s], "
                "such as %s",
                self.origin.model_alias,
                self.origin.query_key,
                len(left_out.ungrouped),
                ", ".join(left_out.groupby),
                left_out.ungrouped[0],
            )

    def _note_skipped(self, stage: str, left_out: LeftOut) -> None:
        """Count the series and groups that are skipped, and log it when the reason changes."""
        if left_out.n_skipped:
            self._skip(stage, str(left_out), "part", left_out.n_skipped)
        else:
            self._episodes.end(("part", stage))

    def _skip(
        self, stage: str, reason: str, topic: str, n: int, level: int = logging.WARNING
    ) -> None:
        self._metrics.model_runs_skipped.labels(stage=stage, **self._labels).inc(n)
        message = f"Skipping run for stage '{stage}' for {self.origin}: {reason}"
        self._episodes.begin((topic, stage), message, level, cause=reason)

    def _report_failures(self, stage: str, failures: Sequence[Failure]) -> tuple[str, ...]:
        """Count the series or groups that failed, log each kind of failure, and return them."""
        for failure in failures:
            self._metrics.model_run_errors.labels(stage=stage, **self._labels).inc(
                len(failure.labels)
            )
            logger.error(
                "Error during stage '%s' for %s, %s",
                stage,
                self.origin,
                failure.whose,
                exc_info=failure.error,
            )
        return tuple(map(str, failures))
