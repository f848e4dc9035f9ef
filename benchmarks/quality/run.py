"""Runs a model on a labelled series as `backtesting` with `exact` does."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.quality.labelled import LabelledSeries
from vmanomaly.config.model import INCIDENT_SCORE, ModelSection
from vmanomaly.config.reader import Query
from vmanomaly.detector import create_detector
from vmanomaly.model import create_model
from vmanomaly.scheduler.run import micro_batch_starts
from vmanomaly.series import FloatArray, IntArray

SCORES = ("anomaly_score", INCIDENT_SCORE)


@dataclass(frozen=True, slots=True)
class Run:
    """What a model wrote about one series after the fit window.

    Attributes
    ----------
    series : LabelledSeries
    timestamps : ndarray of int64, shape (T,)
    outputs : dict of str to ndarray of float64, shape (T,)
        Every output of the model by name.
    """

    series: LabelledSeries
    timestamps: IntArray
    outputs: dict[str, FloatArray]


def run(section: ModelSection, series: LabelledSeries) -> Run:
    """Fit a model on the fit window of a series, and score the rest a step at a time.

    The service's own detector does both, on data whose timestamps need not be on a grid.

    Raises
    ------
    RuntimeError
        The model failed on the series.
    """
    query = Query.model_validate(
        {"alias": series.name, "expr": series.name, "step": f"{series.step}ms"}
    )
    model = create_model(section, query)
    provide_series = (*model.outputs, INCIDENT_SCORE)
    section = section.model_copy(update={"provide_series": provide_series})
    detector = create_detector(model, section, [query])
    batch = series.batch(series.n_fit, len(series.timestamps))
    starts = micro_batch_starts(
        batch.timestamps, series.step, int(series.timestamps[series.n_fit - 1])
    )
    learned, fitted = detector.fit([series.batch(0, series.n_fit)])
    _, result = detector.infer(learned, [batch], starts)
    for failure in (*fitted.failures, *result.failures):
        raise RuntimeError(f"{section.class_name} on {series.name}: {failure}")
    ((_, predictions),) = result.parts
    return Run(
        series,
        predictions.timestamps,
        {name: values[0] for name, values in predictions.outputs.items()},
    )
