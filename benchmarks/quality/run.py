"""Runs a model on a labelled series as the service would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.quality.labelled import LabelledSeries
from vmanomaly.model import Model
from vmanomaly.model.scoring import Policy, predict
from vmanomaly.scheduler.run import micro_batch_starts
from vmanomaly.series import FloatArray, IntArray

SCORES = ("anomaly_score", "incident_score")


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


def run(model: Model, series: LabelledSeries) -> Run:
    """Fit the model on the fit window, and score the rest a step at a time."""
    state = model.fit(series.batch(0, series.n_fit))
    batch = series.batch(series.n_fit, len(series.timestamps))
    starts = micro_batch_starts(batch.timestamps, series.step, int(series.timestamps[0]))
    output = model.infer(state, batch, starts)
    outputs = predict(batch, output, Policy(), model.outputs).outputs
    return Run(series, batch.timestamps, {name: np.ravel(v) for name, v in outputs.items()})
