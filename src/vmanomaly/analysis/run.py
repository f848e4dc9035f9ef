"""Running a detector over data that is there already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vmanomaly.analysis.detection import Detection
from vmanomaly.config.loading.model_spec import read_model_spec
from vmanomaly.config.model import INCIDENT_SCORE, ModelSection
from vmanomaly.config.model.auto import AutoSection
from vmanomaly.config.model.base import OnlineModelSection
from vmanomaly.config.reader import Query
from vmanomaly.config.scheduler import BacktestingSection
from vmanomaly.config.tuned import tuned_section
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.detector import AnyDetector, create_detector
from vmanomaly.detector.result import Failure
from vmanomaly.episodes import counted
from vmanomaly.errors import UsageError
from vmanomaly.model import create_model, create_multivariate_model
from vmanomaly.model.registry import check_with_library
from vmanomaly.scheduler.backtesting import backtesting_runs
from vmanomaly.series import FloatArray, IntArray, Labels, SeriesBatch
from vmanomaly.tasks.history import Piece, score_history

DEFAULT_MODEL = "temporal_envelope"
_DAY = Duration(86_400_000)
_LONGEST_DEFAULT_FIT = Duration(14 * 86_400_000)


def detect_batch(
    batch: SeriesBatch,
    step: Duration,
    model: str = DEFAULT_MODEL,
    fit: Duration | None = None,
    fit_every: Duration | None = None,
    tz: str = "UTC",
    settings: Mapping[str, Any] | None = None,
    context: RunContext | None = None,
) -> Detection:
    """Fit a model on the beginning of some series, and score the rest point by point.

    Every point is scored by a model that has not seen it or anything after it, as in the service:
    this is `backtesting` with `exact`.

    Parameters
    ----------
    batch
        The series.
    step
        Milliseconds between two points.
    model
        The class of the model.
    fit
        The length of the window that the model is fitted on; it is not scored. None for a third
        of the data, at most two weeks.
    fit_every
        How often the model is fitted again. None for once if it is online, and else daily.
    tz
        IANA name of the zone of calendar patterns.
    settings
        Keys of the model, and policies such as `detection_direction`.
    context
        May stop the work; told of each piece.

    Raises
    ------
    ConfigError
        Model or settings are wrong.
    UsageError
        There is too little data.
    StoppedError
        As the context says.
    """
    context = context or RunContext()
    section = read_section_of(model, settings or {})
    span = int(batch.timestamps[-1] - batch.timestamps[0]) + int(step) if batch.values.size else 0
    window = fit or Duration(min(span // 3 // int(step) * int(step), int(_LONGEST_DEFAULT_FIT)))
    if fit is None and int(window) < int(step):
        raise UsageError(
            f"there are {counted(span // int(step), 'point')}, which is too little to fit a model "
            "on some of them and score the others"
        )
    if int(window) < int(step) or int(window) >= span:
        raise UsageError(
            f"the data covers {Duration(span)}, and the first {window} of it are for the fit: "
            "nothing is left to score; choose a shorter fit window"
        )
    first = int(batch.timestamps[0]) - int(step)
    is_online = isinstance(_inner(section), OnlineModelSection)
    runs = backtesting_runs(
        BacktestingSection(
            from_time=first + int(window),
            to_time=int(batch.timestamps[-1]),
            fit_window=window,
            fit_every=fit_every or (Duration(span) if is_online else _DAY),
            infer_every=step,
            exact=True,
            inference_only=True,
        )
    )
    detector = create_detector_of(section, step, tz)
    context.expect(len(runs))
    pieces = []
    for piece in score_history(detector, [batch], runs, context):
        pieces.append(piece)
        context.step("piece")
    return collect(pieces, section, step)


def read_section_of(model: str, settings: Mapping[str, Any]) -> ModelSection:
    """Return the section of a model that gives all its outputs, and the incident score.

    Raises
    ------
    ConfigError
        Model or settings are wrong.
    """
    spec = {"class": model, **settings}
    section = read_model_spec(spec)
    check_with_library(section, [Query(alias="data", expr="data", step=Duration(60_000))])
    if section.provide_series is not None:
        return section
    inner = _inner(section)
    outputs = [*(inner.outputs or ()), INCIDENT_SCORE]
    forecasts = getattr(inner, "forecast_at", ())
    outputs += [f"yhat_{offset}" for offset in forecasts]
    return read_model_spec({**spec, "provide_series": outputs})


def _inner(section: ModelSection) -> ModelSection:
    """Return the section of the class that `auto` tunes; any other as it is."""
    return tuned_section(section) if isinstance(section, AutoSection) else section


def create_detector_of(section: ModelSection, step: Duration, tz: str) -> AnyDetector:
    """Return the detector of a model on series with a step."""
    query = Query(alias="data", expr="data", step=step, tz=tz)
    if section.multivariate:
        return create_detector(create_multivariate_model(section, [query]), section, [query])
    return create_detector(create_model(section, query), section, [query])


def collect(pieces: Iterable[Piece], section: ModelSection, step: Duration) -> Detection:
    """Put pieces that follow each other together."""
    pieces = list(pieces)
    timestamps: IntArray = np.concatenate([piece.timestamps for piece in pieces])
    rows: dict[Labels, int] = {}
    for piece in pieces:
        for labels in (
            *(labels for batch in piece.batches for labels in batch.labels),
            *(labels for part in piece.parts for labels in part.predictions.labels),
        ):
            rows.setdefault(labels, len(rows))
    outputs: dict[str, FloatArray] = {}

    def place(output: str, labels: Iterable[Labels], start: int, values: FloatArray) -> None:
        if output not in outputs:
            outputs[output] = np.full((len(rows), len(timestamps)), np.nan)
        places = [rows[each] for each in labels]
        outputs[output][places, start : start + values.shape[1]] = values

    start = 0
    failures: list[Failure] = []
    for piece in pieces:
        for batch in piece.batches:
            place("y", batch.labels, start, batch.values)
        for part in piece.parts:
            for output, values in part.predictions.outputs.items():
                if output != "y":
                    place(output, part.predictions.labels, start, values)
        start += len(piece.timestamps)
        failures += piece.failures
    return Detection(
        labels=tuple(rows),
        timestamps=timestamps,
        outputs=outputs,
        step=step,
        model=section,
        failures=tuple(failures),
    )
