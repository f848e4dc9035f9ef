"""Few common factors behind the movements of many channels: factor analysis."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vmanomaly.series import FloatArray

LEAST_UNIQUENESS = 0.01
"""The least share of a channel's variance that is its own: no channel is a copy of others."""

_ITERATIONS = 100


class FactorModel(NamedTuple):
    r"""Covariance of C channels as :math:`L L^T + diag(\psi)`.

    Attributes
    ----------
    loadings : ndarray of float64, shape (C, K)
        How much each channel moves with each of K uncorrelated factors of variance 1.
    uniquenesses : ndarray of float64, shape (C,)
        The variance of each channel that the factors do not explain, > 0.
    """

    loadings: FloatArray
    uniquenesses: FloatArray


def shrunk_covariance(samples: FloatArray, n_independent: float | None = None) -> FloatArray:
    """Return the second moments of C channels, what two of them share moved towards 0.

    With n samples, moments of pairs are multiplied by n / (n + C), so that few samples of many
    channels do not show relations that are not there.

    Parameters
    ----------
    samples
        float64, shape (C, n), around 0.
    n_independent
        How many independent samples they are worth, if less than n.

    Examples
    --------
    >>> shrunk_covariance(np.array([[1.0, -1.0], [1.0, -1.0]]))
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    n_channels, n_samples = samples.shape
    moments: FloatArray = samples @ samples.T / n_samples
    n_independent = n_samples if n_independent is None else n_independent
    shrunk: FloatArray = moments * (n_independent / (n_independent + n_channels))
    np.fill_diagonal(shrunk, np.diag(moments))
    return shrunk


def factor_analysis(covariance: FloatArray, n_factors: int, seed: int) -> FactorModel:
    """Fit the factor model of maximum likelihood to a covariance.

    Starts from the leading directions of the correlations, which a randomised range finder gives,
    and continues by expectation maximisation. No uniqueness is less than `LEAST_UNIQUENESS` of the
    variance.

    Parameters
    ----------
    covariance
        float64, shape (C, C), with a positive diagonal.
    n_factors
        K, at least 1 and less than C.
    seed
        Of the random directions that the start is found from.

    References
    ----------
    .. [1] D. B. Rubin and D. T. Thayer, "EM algorithms for ML factor analysis", Psychometrika
       47(1), 1982.
    .. [2] N. Halko, P. G. Martinsson, J. A. Tropp, "Finding structure with randomness", SIAM
       Review 53(2), 2011.

    Examples
    --------
    >>> loadings = np.array([[0.9], [0.8], [0.7]])
    >>> covariance = loadings @ loadings.T + np.diag([0.3, 0.4, 0.5])
    >>> found = factor_analysis(covariance, 1, seed=42)
    >>> np.abs(found.loadings).ravel().round(2)
    array([0.9, 0.8, 0.7])
    """
    deviations = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviations, deviations)
    loadings = _leading_directions(correlation, n_factors, seed)
    uniquenesses = _uniquenesses(1.0 - (loadings**2).sum(axis=1))
    identity = np.eye(n_factors)
    for _ in range(_ITERATIONS):
        weighted = loadings / uniquenesses[:, None]
        posterior = np.linalg.inv(identity + loadings.T @ weighted)
        regression = posterior @ weighted.T
        shared = correlation @ regression.T
        loadings = np.linalg.solve(posterior + regression @ shared, shared.T).T
        uniquenesses = _uniquenesses(1.0 - np.einsum("ck,ck->c", loadings, shared))
    return FactorModel(loadings * deviations[:, None], uniquenesses * deviations**2)


def _uniquenesses(left: FloatArray) -> FloatArray:
    return np.clip(left, LEAST_UNIQUENESS, 1.0)


def _leading_directions(correlation: FloatArray, n_factors: int, seed: int) -> FloatArray:
    n_channels = len(correlation)
    directions = np.random.default_rng(seed).normal(size=(n_channels, n_factors))
    for _ in range(3):
        directions, _ = np.linalg.qr(correlation @ directions)
    eigenvalues, rotation = np.linalg.eigh(directions.T @ correlation @ directions)
    found: FloatArray = directions @ rotation * np.sqrt(np.maximum(eigenvalues, 0.0))
    return found
