"""Detection tasks: a model on a query over a stretch of history, as `backtesting` would run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson

from vmanomaly.config.model import ModelSection
from vmanomaly.config.reader import Query
from vmanomaly.config.scheduler import BacktestingSection
from vmanomaly.context import RunContext
from vmanomaly.detector import AnyDetector, create_detector
from vmanomaly.executor import Executor
from vmanomaly.model import create_model, create_multivariate_model
from vmanomaly.reader import Reader
from vmanomaly.scheduler.backtesting import backtesting_runs
from vmanomaly.scheduler.run import Run
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.tasks.history import Piece, score_history
from vmanomaly.tasks.matrix import Matrix
from vmanomaly.tasks.task import Note, TaskError
from vmanomaly.writer.format import kept_labels

MAX_SAMPLES = 5_000_000
"""In the result of a task."""

_SCORE = "anomaly_score"
_READING_SHARE = 0.1
_LONGEST_HISTORY_BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What a detection task is asked for.

    Attributes
    ----------
    query
        What is read. Its alias is the label `for` of the result.
    model
        The model, with the policies of the query.
    stretch
        What is scored, and how it is cut: `inference_only`.
    anomaly_threshold
        A point with a score above it counts as an anomaly.
    executor
        Executes the work of models that compute each series by itself.
    """

    query: Query
    model: ModelSection
    stretch: BacktestingSection
    anomaly_threshold: float = 1.0
    executor: Executor = field(default_factory=Executor)


def detect(
    request: Detection, create_reader: Callable[[], Reader], context: RunContext, note: Note
) -> bytes:
    """Do the work of a detection task.

    Parameters
    ----------
    request
        What is asked for.
    create_reader
        Makes the reader, which is closed in the end: credentials live no longer than that.
    context
        May stop the work.
    note
        Told how far it is.

    Returns
    -------
    bytes
        The series that a writer would write, and `y`, as Prometheus' API would return them.

    Raises
    ------
    TaskError
        There is more than a result may hold.
    DatasourceError
        The data cannot be read.
    StoppedError
        As the context says.
    """
    runs = backtesting_runs(request.stretch)
    note(0.0, "getting data", {"series": 0, "points": 0, "anomalies": 0, "fits": 0})
    history = _read(request, _read_range(runs), create_reader, context)
    counts = {"series": len(history.labels), "points": 0, "anomalies": 0, "fits": 0}
    detector = detector_of(request.model, request.query, request.executor)
    matrix = Matrix()

    def note_half(n_halves: int, stage: str) -> None:
        words = "fitting model" if stage == "fit" else "inferring"
        share = _READING_SHARE + (1 - _READING_SHARE) * n_halves / (2 * len(runs))
        note(share, f"{words} on chunk {n_halves // 2 + 1} of {len(runs)}", counts)

    for piece in score_history(detector, [history], runs, context, note_half):
        if piece.failures and not piece.parts:
            raise TaskError(f"the model failed on {piece.failures[0]}")
        counts["fits"] += 1
        _add(piece, request, matrix, counts)
        if matrix.n_samples > MAX_SAMPLES:
            raise TaskError(
                f"the result has more than {MAX_SAMPLES:,} samples; shorten the interval from "
                "start_infer_s to end_infer_s, make step larger, or select fewer series"
            )
    note(1.0, "writing the result", counts)
    stats = orjson.dumps({"seriesFetched": str(counts["series"])})
    series = b"".join(matrix.json())
    return (
        b'{"status":"success","data":{"resultType":"matrix","result":'
        + series
        + b'},"stats":'
        + stats
        + b"}"
    )


def detector_of(
    section: ModelSection, query: Query, executor: Executor | None = None
) -> AnyDetector:
    """Return the detector of a model on one query.

    Parameters
    ----------
    section
        Of the model.
    query
        With its policies.
    executor
        As for `create_detector`.

    Raises
    ------
    ConfigError
        The library of the model refuses its keys, or is not installed.
    """
    queries = [query]
    model = (
        create_multivariate_model(section, queries)
        if section.multivariate
        else create_model(section, query)
    )
    return create_detector(model, section, queries, executor=executor)


def _read_range(runs: Sequence[Run]) -> TimeRange:
    """Return the range from the start of the first fit window to the end of the last piece."""
    first, last = runs[0].fit, runs[-1].infer
    assert first is not None and last is not None  # noqa: S101, PT018 - of a backtest
    return TimeRange(first.start, last.end)


def _read(
    request: Detection,
    time_range: TimeRange,
    create_reader: Callable[[], Reader],
    context: RunContext,
) -> SeriesBatch:
    reader = create_reader()
    try:
        batch = reader.read(request.query, time_range, "task", stage="fit", context=context)
    finally:
        reader.close()
    if batch.values.nbytes > _LONGEST_HISTORY_BYTES:
        raise TaskError(
            f"{len(batch.labels)} series of {len(batch.timestamps)} points are more than a task "
            "may hold in memory; shorten fit_window or the interval, make step larger, or select "
            "fewer series"
        )
    return batch


def _add(piece: Piece, request: Detection, matrix: Matrix, counts: dict[str, int]) -> None:
    alias = request.query.alias
    for batch in piece.batches:
        for row, labels in enumerate(batch.labels):
            matrix.add(_labels(labels, "y", alias), batch.timestamps, batch.values[row])
    for part in piece.parts:
        predictions = part.predictions
        scores = predictions.outputs.get(_SCORE)
        if scores is not None:
            counts["points"] += int(np.count_nonzero(~np.isnan(scores)))
            counts["anomalies"] += int(np.count_nonzero(scores > request.anomaly_threshold))
        for output, values in predictions.outputs.items():
            if output == "y":
                continue
            for row, labels in enumerate(predictions.labels):
                named = _labels(labels, output, alias)
                matrix.add(named, predictions.timestamps, values[row])


def _labels(labels: Mapping[str, str], output: str, alias: str) -> Labels:
    added = {"__name__": output, "for": alias}
    return Labels({**kept_labels(labels, added), **added})
