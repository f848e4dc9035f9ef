"""Scoring a stretch of history that was read once, as `backtesting` would score it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from vmanomaly.context import RunContext
from vmanomaly.detector import AnyDetector, Part
from vmanomaly.detector.result import Failure, LeftOut
from vmanomaly.scheduler.run import Run, micro_batch_starts
from vmanomaly.series import IntArray, SeriesBatch, TimeRange


@dataclass(frozen=True, slots=True)
class Piece:
    """What came of one run: a fit, and the scores of the piece of history after it.

    Attributes
    ----------
    timestamps : ndarray of int64
        The grid of the piece, Unix milliseconds.
    batches : tuple of SeriesBatch
        What was scored, one a query.
    parts : tuple of Part
        The predictions; none where nothing was fitted or read.
    failures : tuple of Failure
        Of single series or groups, in the fit or in the infer.
    left_out : LeftOut
        What was read and not scored.
    """

    timestamps: IntArray
    batches: tuple[SeriesBatch, ...]
    parts: tuple[Part, ...]
    failures: tuple[Failure, ...] = ()
    left_out: LeftOut = field(default_factory=LeftOut)


def score_history(
    detector: AnyDetector,
    history: Sequence[SeriesBatch],
    runs: Sequence[Run],
    context: RunContext,
    note: Callable[[int, str], None] = lambda n_halves, stage: None,
) -> Iterator[Piece]:
    """Fit and score run after run, and yield what comes of each.

    Every run starts from nothing: it fits the detector on its window and scores the piece after
    that. The data is not read again, however many windows a timestamp is in.

    Parameters
    ----------
    detector
        The detector.
    history
        One batch a query, on the same timestamps: everything from the start of the first window
        to the end of the last piece.
    runs
        In the order of time; each has a fit and an infer.
    context
        May stop the work between two blocks of series.
    note
        Told before each half of a run, a fit or an infer, how many halves are done, and which
        stage begins: `fit` or `infer`.

    Yields
    ------
    Piece
        One a run.

    Raises
    ------
    StoppedError
        As the context says.
    Exception
        Whatever the model raises.
    """
    grid = history[0].timestamps
    step = int(np.diff(grid).min()) if len(grid) > 1 else 1
    for number, run in enumerate(runs):
        assert run.fit is not None and run.infer is not None  # noqa: S101, PT018 - of a backtest
        context.check()
        note(2 * number, "fit")
        timestamps = _of(grid, run.infer)
        batches = tuple(_stretch(batch, run.infer) for batch in history)
        window = [_stretch(batch, run.fit) for batch in history]
        given = detector.to_fit(window)
        if not (given.batch.labels or detector.starts_without_data):
            yield Piece(timestamps, batches, ())
            continue
        learned, fitted = detector.learn(given, context)
        note(2 * number + 1, "infer")
        if not any(batch.labels for batch in batches):
            yield Piece(timestamps, batches, (), fitted.failures)
            continue
        starts = micro_batch_starts(timestamps, run.micro_batch or step, run.micro_batch_end)
        _, result = detector.infer(learned, batches, starts, context)
        if result.stopped is not None:
            raise result.stopped
        failures = (*fitted.failures, *result.failures)
        yield Piece(timestamps, batches, result.parts, failures, result.left_out)


def _of(grid: IntArray, time_range: TimeRange) -> IntArray:
    first, stop = _columns(grid, time_range)
    return grid[first:stop]


def _columns(grid: IntArray, time_range: TimeRange) -> tuple[int, int]:
    edges = np.searchsorted(grid, [time_range.start, time_range.end], side="right")
    return int(edges[0]), int(edges[1])


def _stretch(batch: SeriesBatch, time_range: TimeRange) -> SeriesBatch:
    """Return a stretch of a batch, as a reader would: without the series that have no sample."""
    stretch = batch.columns(*_columns(batch.timestamps, time_range))
    has_samples = ~np.isnan(stretch.values).all(axis=1)
    if has_samples.all():
        return stretch
    return stretch.keep(np.flatnonzero(has_samples).tolist())
