"""Evidence of an incident, gathered from the anomaly scores of a series over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vmanomaly.config.model import BEYOND_LEVELS, DRIFT_SCORE, FLATLINE_SCORE, INCIDENT_SCORE
from vmanomaly.kernel import kernel
from vmanomaly.model.state import MOST_EVIDENCE, SeriesState
from vmanomaly.series import FloatArray, IntArray, Predictions

MEMORY = 64
"""Points after which less than 2 % is left of the evidence that there was."""
POINTS = 16.0
LARGEST_COUNTED = 2.5
ENOUGH = 0.4
PRESENT = 0.8
"""The score of a point that still belongs to an incident."""


def incident_score(scores: FloatArray, evidence: FloatArray, rows: IntArray) -> FloatArray:
    r"""Return the incident score of every point, and update the evidence.

    The evidence is a mean, with forgetting, of the cubes of the scores :math:`s` so far:

    .. math::

        E \leftarrow \min\left(E + \frac{\min(s, 2.5)^3 - E}{16},\ 1.6\right), \qquad
        incident\_score = \min(E / 0.4,\ s / 0.8)

    The evidence says that there is an incident, the present score that it is not over: a point
    with a score below 0.8 is none, however much evidence there is. If the scores come back while
    there is, it continues at once.

    The cube tells a mild deviation that lasts from noise: what is three times as far off counts
    27-fold. Scores of 0.85 exceed 1 with the 17th point, of 0.9 with the 13th, of 1.2 with the
    5th, of 2 at once. Both bounds keep the memory short: 22 points with scores of 0.3 after an
    incident of any size, it takes as much evidence as ever for a new one.

    Parameters
    ----------
    scores : ndarray of float64, shape (S, T)
        Anomaly scores in the order of time, with all policies applied. NaN where a point is not
        scored: such a point changes nothing, and has no incident score.
    evidence : ndarray of float64, shape (R,)
        The evidence of every series in the state; changed in place.
    rows : ndarray of int64, shape (S,)
        The row of every series in `evidence`.

    Returns
    -------
    ndarray of float64, shape (S, T)
        Above 1 while an incident is in progress.

    Notes
    -----
    This is the exponentially weighted mean of a power of the deviation, as control charts use it
    with the square [1]_, but bounded. Points are counted, not time.

    References
    ----------
    .. [1] J. F. MacGregor, T. J. Harris, "The exponentially weighted moving variance", Journal of
       Quality Technology 25(2), 1993.

    Examples
    --------
    >>> evidence = np.zeros(1)
    >>> mild, spike = np.full((1, 40), 0.9), np.array([[50.0, 0.2, 0.2]])
    >>> incident_score(mild, evidence, np.array([0]))[0, [0, 9, 39]].round(2)
    array([0.11, 0.87, 1.12])
    >>> incident_score(spike, np.zeros(1), np.array([0])).round(2)
    array([[2.44, 0.25, 0.25]])
    """
    result = np.full(scores.shape, np.nan)
    _gather(scores, evidence, rows, result)
    return result


def add_incident_score(
    predictions: Predictions, state: SeriesState, provide_series: Sequence[str]
) -> Predictions:
    """Return the outputs asked for, with the incident score if it is among them.

    Parameters
    ----------
    predictions
        What `needed_outputs` of the outputs asked for names.
    state
        Of the model; the evidence in it is updated if the incident score is asked for.
    provide_series
        The outputs asked for, in order.
    """
    if INCIDENT_SCORE not in provide_series:
        return predictions
    # Rows first: they may make room, and move the column.
    rows = state.rows(predictions.labels)
    scores = predictions.outputs["anomaly_score"]
    if BEYOND_LEVELS in predictions.outputs:
        scores = np.fmin(scores, predictions.outputs[BEYOND_LEVELS])
    for name in (FLATLINE_SCORE, DRIFT_SCORE):
        if name in predictions.outputs:
            scores = np.fmax(scores, predictions.outputs[name])
    outputs = {
        **predictions.outputs,
        INCIDENT_SCORE: incident_score(scores, state["incident"], rows),
    }
    return Predictions(
        predictions.labels, predictions.timestamps, {name: outputs[name] for name in provide_series}
    )


@kernel
def _gather(scores: FloatArray, evidence: FloatArray, rows: IntArray, result: FloatArray) -> None:
    n_series, n_timestamps = scores.shape
    for s in range(n_series):
        gathered = evidence[rows[s]]
        for t in range(n_timestamps):
            if math.isnan(scores[s, t]):
                continue
            score = max(scores[s, t], 0.0)
            counted = min(score, LARGEST_COUNTED)
            gathered += (counted * counted * counted - gathered) / POINTS
            gathered = min(gathered, MOST_EVIDENCE)
            result[s, t] = min(gathered / ENOUGH, score / PRESENT)
        evidence[rows[s]] = gathered
