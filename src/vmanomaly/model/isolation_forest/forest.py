"""One isolation forest: the fit by scikit-learn, and the anomaly score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vmanomaly.model.base import LARGEST
from vmanomaly.model.isolation_forest.features import scaled_values
from vmanomaly.model.isolation_forest.trees import NO_TREES, Trees, score_samples, trees_of
from vmanomaly.model.scoring import score
from vmanomaly.series import FloatArray, SingleArray


class Forest(NamedTuple):
    """What is learned of one group of C channels, or of one series.

    Attributes
    ----------
    low, high : ndarray of float64, shape (C,)
        The lowest and the highest value of each channel.
    threshold : float
        The score of samples, as scikit-learn counts it, from which on they are normal.
    reach : float
        How far above the threshold the most normal sample is; 0 if all are alike.
    samples_per_tree : int
        That each tree was grown on; 0 without trees.
    trees : Trees
        None if every channel is constant.
    """

    low: FloatArray
    high: FloatArray
    threshold: float
    reach: float
    samples_per_tree: int
    trees: Trees


def fit_forest(
    values: FloatArray,
    calendar: FloatArray,
    contamination: str | float,
    args: Mapping[str, Any],
) -> Forest:
    """Learn the values of the channels of one group.

    Parameters
    ----------
    values : ndarray of float64, shape (C, T)
        Finite, T > 0.
    calendar : ndarray of float64, shape (T, K)
        Further features.
    contamination
        The share of the samples that lie below the threshold, or `auto`.
    args
        Of `IsolationForest`.
    """
    low, high = values.min(axis=1), values.max(axis=1)
    if (low == high).all():
        return Forest(low, high, 0.0, 0.0, 0, NO_TREES)
    # Takes a second to import, and is not needed for scores.
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415

    features = features_of(values, calendar, low, high)
    grown = IsolationForest(**args).fit(features)
    trees, samples_per_tree = trees_of(grown), int(grown.max_samples_)
    scores = score_samples(trees, features, samples_per_tree)
    threshold, reach = threshold_of(scores, contamination)
    return Forest(low, high, threshold, reach, samples_per_tree, trees)


def threshold_of(scores: FloatArray, contamination: str | float) -> tuple[float, float]:
    """Return the threshold, and how far above it the most normal sample is.

    The threshold is that of scikit-learn, unless no sample is above it: with `auto` it is then the
    lowest score, as nothing sets some of the samples apart; with a number, as many samples are
    equally normal, it lies between these and the next ones.

    Parameters
    ----------
    scores
        Of the samples of the fit window, as scikit-learn counts.
    contamination
        The share of the samples that lie below the threshold, or `auto`.

    Examples
    --------
    >>> scores = np.array([-0.7, -0.5, -0.45, -0.4])
    >>> [round(each, 3) for each in threshold_of(scores, "auto")]
    [-0.5, 0.1]
    >>> [round(each, 3) for each in threshold_of(np.array([-0.6, -0.4, -0.4, -0.4]), 0.5)]
    [-0.5, 0.1]
    """
    most_normal = scores.max()
    if contamination == "auto":
        threshold = -0.5 if most_normal > -0.5 else scores.min()
    else:
        threshold = np.percentile(scores, 100.0 * float(contamination))
        below = scores[scores < most_normal]
        if threshold >= most_normal and below.size:
            threshold = (below.max() + most_normal) / 2.0
    return float(threshold), float(most_normal - threshold)


def anomaly_score(forest: Forest, values: FloatArray, calendar: FloatArray) -> FloatArray:
    r"""Return the anomaly score of samples.

    With the decision function :math:`d` of scikit-learn and its largest value :math:`D` in the
    fit window, it is :math:`\max(0, 1 - d / D)`. A channel that was constant scores by itself,
    with its only value as expected and bounds next to it; so does every channel if all samples
    were equally normal, with the nearest value of the fit window as expected.

    Parameters
    ----------
    forest
        From `fit_forest`.
    values : ndarray of float64, shape (C, T)
        What is not finite gives an arbitrary score.
    calendar : ndarray of float64, shape (T, K)
        As for the fit.

    Returns
    -------
    ndarray of float64, shape (T,)
        Finite, >= 0.
    """
    low, high = forest.low, forest.high
    result = np.zeros(values.shape[1])
    if forest.reach > 0.0:
        features = features_of(values, calendar, low, high)
        normality = score_samples(forest.trees, features, forest.samples_per_tree)
        with np.errstate(over="ignore"):
            result = 1.0 - (normality - forest.threshold) / forest.reach
        result = np.clip(result, 0.0, LARGEST)
        judged = np.flatnonzero(low == high)
    else:
        judged = np.arange(len(low))
    for channel in judged:
        expected = np.clip(values[channel], low[channel], high[channel])
        # The least interval of every model, so that rounding is no anomaly.
        width = np.maximum(1e-9 * np.abs(expected), 1e-12)
        with np.errstate(over="ignore"):
            beyond = expected - width, expected + width
        lower, upper = (np.clip(bound, -LARGEST, LARGEST) for bound in beyond)
        alone = score(values[channel], expected, lower, upper)
        result = np.fmax(result, alone)
    return result


def features_of(
    values: FloatArray, calendar: FloatArray, low: FloatArray, high: FloatArray
) -> SingleArray:
    """Return the features of samples, float32, shape (T, C + K)."""
    n_channels, n_times = values.shape
    features = np.empty((n_times, n_channels + calendar.shape[1]), np.float32)
    features[:, :n_channels] = scaled_values(values, low, high).T
    features[:, n_channels:] = calendar
    return features
