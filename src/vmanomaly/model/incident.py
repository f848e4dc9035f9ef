"""Evidence of an incident, gathered from the anomaly scores of a series over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vmanomaly.config.model import INCIDENT_SCORE
from vmanomaly.kernel import kernel
from vmanomaly.model.state import SeriesState
from vmanomaly.series import FloatArray, IntArray, Predictions

MEMORY = 64
"""Points after which less than 2 % is left of the evidence that there was."""
POINTS = 16.0
LARGEST_COUNTED = 3.0
ENOUGH = 0.75


def incident_score(scores: FloatArray, evidence: FloatArray, rows: IntArray) -> FloatArray:
    r"""Return the incident score of every point, and bring the evidence forward.

    The evidence is a mean of the scores :math:`s` so far that forgets, and in which a point
    outside the bounds weighs as much as the square of its score:

    .. math::

        v = \min(s, 3), \qquad E \leftarrow E + \frac{\max(1, v^2)}{16} (v - E), \qquad
        incident\_score = E / 0.75

    Deviations that last add up: scores of 0.8 exceed 1 with the 43rd point, of 0.9 with the 28th,
    of 1.2 with the 11th, of 2 with the second. One score of 3 or more, however large, exceeds 1 for
    19 points if the others are 0.3, about what noise gives. The incident score lies between 0 and
    4: an incident is over at most 28 points after scores have become 0.3 again.

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
    This is an exponentially weighted moving average, as control charts use [1]_, with the weight of
    a robust scheme turned round [2]_: large deviations are counted faster, not slower, and bounded.

    References
    ----------
    .. [1] S. W. Roberts, "Control chart tests based on geometric moving averages", Technometrics
       1(3), 1959.
    .. [2] G. Capizzi, G. Masarotto, "An adaptive exponentially weighted moving average control
       chart", Technometrics 45(3), 2003.

    Examples
    --------
    >>> evidence = np.zeros(1)
    >>> mild, spike = np.full((1, 40), 0.9), np.array([[50.0, 0.2, 0.2]])
    >>> incident_score(mild, evidence, np.array([0]))[0, [0, 9, 39]].round(2)
    array([0.08, 0.57, 1.11])
    >>> incident_score(spike, np.zeros(1), np.array([0])).round(2)
    array([[2.25, 2.13, 2.01]])
    """
    result = np.full(scores.shape, np.nan)
    _gather(scores, evidence, rows, result)
    return result


def needed_outputs(provide_series: Sequence[str]) -> tuple[str, ...]:
    """Return the outputs that must be there for `add_incident_score` to give those asked for.

    Examples
    --------
    >>> needed_outputs(["incident_score", "yhat"])
    ('yhat', 'anomaly_score')
    """
    if INCIDENT_SCORE not in provide_series:
        return tuple(provide_series)
    others = [name for name in provide_series if name != INCIDENT_SCORE]
    return tuple(dict.fromkeys([*others, "anomaly_score"]))


def add_incident_score(
    predictions: Predictions, state: SeriesState, provide_series: Sequence[str]
) -> Predictions:
    """Return the outputs asked for, with the incident score if it is among them.

    Parameters
    ----------
    predictions
        What `needed_outputs` of the outputs asked for names.
    state
        Of the model; the evidence in it is brought forward if the incident score is asked for.
    provide_series
        The outputs asked for, in order.
    """
    if INCIDENT_SCORE not in provide_series:
        return predictions
    # Rows first: they may make room, and move the column.
    rows = state.rows(predictions.labels)
    scores = predictions.outputs["anomaly_score"]
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
            score = min(max(scores[s, t], 0.0), LARGEST_COUNTED)
            gathered += max(score * score, 1.0) / POINTS * (score - gathered)
            result[s, t] = gathered / ENOUGH
        evidence[rows[s]] = gathered
