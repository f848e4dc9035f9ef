"""What the other channels of a group say about each one, learned online."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from vmanomaly.kernel import inlined, kernel
from vmanomaly.model.state import Array, Column
from vmanomaly.model.temporal_envelope.calendar import WEEK
from vmanomaly.model.temporal_envelope.learn import IQR_OF_NORMAL
from vmanomaly.model.temporal_envelope.tails import TAIL, TAILS_WIDTH, learn_tail, measure_tail
from vmanomaly.model.temporal_envelope_multivariate.factors import (
    LEAST_UNIQUENESS,
    factor_analysis,
    shrunk_covariance,
)
from vmanomaly.series import BoolArray, FloatArray, IntArray

LARGEST_DEVIATION = 2.0
"""Deviations count up to so many times the distance of the bound, as outliers show no relation."""

LEAST_DISTANCE = 0.1
"""The least distance of a bound from what other channels let expect, in the same units: what is
less than that is no broken relation."""

_LEAST_VARIANCE = 1e-12
_LEAST_SPREAD = 0.01


def group_columns(rank: int) -> tuple[Column, ...]:
    """Return what is kept of the factors of a group."""
    return (
        Column("n_learned", np.float64),
        Column("factor_moments", np.float64, (rank, rank)),
    )


def channel_columns(rank: int) -> tuple[Column, ...]:
    """Return what is kept of each channel's relation to the factors: 8 `rank` + 72 bytes."""
    return (
        Column("factor_products", np.float64, (rank,)),
        Column("variance", np.float64),
        Column("lower_quantile", np.float64),
        Column("upper_quantile", np.float64),
        Column("tails", np.float64, (TAILS_WIDTH,)),
    )


def reach_of_noise(step: int, n_channels: int) -> float:
    """Return how far normal noise reaches beyond a quartile, in distances between the quartiles.

    That is 2, or as far as one of all residuals of a group does in a week.

    Parameters
    ----------
    step
        Milliseconds between two points.
    n_channels
        Of the group.

    Examples
    --------
    >>> reach_of_noise(86_400_000, 2)
    2.0
    >>> round(reach_of_noise(60_000, 5), 2)
    2.66
    """
    each = min(step / (WEEK * n_channels), 1.0)
    quartile = NormalDist().inv_cdf(0.75)
    reach = NormalDist().inv_cdf(1.0 - each / 2.0)
    return max(2.0, (reach - quartile) / (2.0 * quartile))


def fit_group(
    group: dict[str, Array],
    channels: dict[str, Array],
    deviations: FloatArray,
    quantiles: tuple[float, float],
    step: int,
    window: int,
    seed: int,
) -> None:
    """Learn from scratch how the channels of one group move together.

    Parameters
    ----------
    group
        The columns of `group_columns`, one row: `n_learned` of shape (1,), and so on.
    channels
        The columns of `channel_columns`, a row a channel.
    deviations
        float64, shape (C, n), finite: distances from what was expected of each channel alone, in
        units of the distance of the bound.
    quantiles
        Two probabilities: of the residuals that bounds are made of.
    step
        Milliseconds between two points.
    window
        Points without a residual beyond the bounds that separate one event from the next.
    seed
        Of the randomised start of the factor analysis.
    """
    rank = channels["factor_products"].shape[1]
    n_channels, n_samples = deviations.shape
    n_factors = min(rank, n_channels - 1)
    group["factor_moments"][0] = np.eye(rank)
    group["n_learned"][0] = n_samples
    if n_factors == 0 or n_samples < 2:
        channels["variance"][:] = 1.0
        return
    clipped = np.clip(deviations, -LARGEST_DEVIATION, LARGEST_DEVIATION)
    covariance = shrunk_covariance(clipped)
    np.fill_diagonal(covariance, np.maximum(np.diag(covariance), _LEAST_VARIANCE))
    loadings, uniquenesses = factor_analysis(covariance, n_factors, seed)
    # With factors of unit variance, the products of channels and factors are the loadings.
    channels["factor_products"][:, :n_factors] = loadings
    channels["variance"][:] = uniquenesses + (loadings**2).sum(axis=1)
    residuals = np.empty(deviations.shape)
    _expect(loadings, uniquenesses, clipped, residuals)
    residuals = deviations - residuals
    lower, upper = np.quantile(residuals, quantiles, axis=1)
    channels["lower_quantile"][:], channels["upper_quantile"][:] = lower, upper
    spreads = upper - lower
    below = np.minimum(lower, 0.0)[:, None] - residuals
    above = residuals - np.maximum(upper, 0.0)[:, None]
    weeks = n_samples * step / WEEK
    reaches = reach_of_noise(step, n_channels) * spreads
    for side, excesses in enumerate((below, above)):
        for c, tails in enumerate(channels["tails"]):
            measure_tail(
                tails, side, excesses[c], spreads[c] / IQR_OF_NORMAL, reaches[c], window, weeks
            )


def _expect(
    loadings: FloatArray, uniquenesses: FloatArray, deviations: FloatArray, expected: FloatArray
) -> None:
    """Fill what each channel is expected to be, given all others; shape (C, n)."""
    weighted = loadings / uniquenesses[:, None]
    posterior = np.linalg.inv(np.eye(loadings.shape[1]) + loadings.T @ weighted)
    factors = posterior @ (weighted.T @ deviations)
    leverage = np.einsum("ck,kj,cj->c", loadings, posterior, weighted)
    own = (deviations - loadings @ factors) / (1.0 - leverage)[:, None]
    expected[:] = deviations - own


@kernel
def _cholesky(matrix: FloatArray, lower: FloatArray) -> None:
    """Factor a symmetric positive definite matrix into `lower` times its transpose."""
    n = matrix.shape[0]
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i == j:
                lower[i, i] = math.sqrt(max(total, 1e-12))
            else:
                lower[i, j] = total / lower[j, j]


@inlined
def _forward(lower: FloatArray, vector: FloatArray) -> None:
    """Solve `lower` x = `vector` in place."""
    for i in range(len(vector)):
        total = vector[i]
        for k in range(i):
            total -= lower[i, k] * vector[k]
        vector[i] = total / lower[i, i]


@inlined
def _backward(lower: FloatArray, vector: FloatArray) -> None:
    """Solve the transpose of `lower` times x = `vector` in place."""
    n = len(vector)
    for i in range(n - 1, -1, -1):
        total = vector[i]
        for k in range(i + 1, n):
            total -= lower[k, i] * vector[k]
        vector[i] = total / lower[i, i]


@kernel
def _refresh(
    products: FloatArray,
    moments: FloatArray,
    variances: FloatArray,
    loadings: FloatArray,
    uniquenesses: FloatArray,
    leverages: FloatArray,
    posterior: FloatArray,
    lower: FloatArray,
) -> None:
    """Derive the factor model of a group from what is kept of it.

    `lower` becomes the factor of the precision of the factors given all channels, and `posterior`
    its inverse's.
    """
    n_channels, rank = products.shape
    _cholesky(moments, lower)
    for c in range(n_channels):
        loadings[c] = products[c]
        _forward(lower, loadings[c])
        _backward(lower, loadings[c])
        shared = 0.0
        for k in range(rank):
            shared += loadings[c, k] * products[c, k]
        variance = max(variances[c], _LEAST_VARIANCE)
        uniquenesses[c] = min(max(variance - shared, LEAST_UNIQUENESS * variance), variance)
    for i in range(rank):
        for j in range(rank):
            total = 1.0 if i == j else 0.0
            for c in range(n_channels):
                total += loadings[c, i] * loadings[c, j] / uniquenesses[c]
            posterior[i, j] = total
    _cholesky(posterior, lower)
    for i in range(rank):
        posterior[i, :] = 0.0
        posterior[i, i] = 1.0
        _forward(lower, posterior[i])
        _backward(lower, posterior[i])
    scratch = np.empty(rank)
    for c in range(n_channels):
        scratch[:] = loadings[c]
        _forward(lower, scratch)
        total = 0.0
        for k in range(rank):
            total += scratch[k] * scratch[k]
        leverages[c] = total / uniquenesses[c]


@kernel
def walk_groups(
    offsets: IntArray,
    group_rows: IntArray,
    channel_rows: IntArray,
    starts: IntArray,
    usable: BoolArray,
    deviations: FloatArray,
    lower_share: float,
    upper_share: float,
    reaches: FloatArray,
    width: float,
    window: int,
    weeks: float,
    decay: float,
    n_learned: FloatArray,
    factor_moments: FloatArray,
    factor_products: FloatArray,
    variance: FloatArray,
    lower_quantile: FloatArray,
    upper_quantile: FloatArray,
    tails: FloatArray,
    expected: FloatArray,
    lower_bound: FloatArray,
    upper_bound: FloatArray,
) -> None:
    """Predict every channel from the others, micro-batch after micro-batch, and learn.

    The moments are brought forward by online expectation maximisation: each point moves them to
    what the present factor model makes of it, by the weight of one point among those learned.
    Quantiles follow by stochastic approximation.

    Parameters
    ----------
    offsets
        int64, shape (G + 1,): which rows of `deviations` are of which group.
    group_rows, channel_rows
        int64, shapes (G,) and (C,): rows of the columns of groups and of channels.
    starts
        int64: the columns at which micro-batches begin.
    usable
        bool, shape (G, T): the points to take; all channels of the group have a deviation there.
    deviations
        float64, shape (C, T): distances from what was expected of each channel alone, in units of
        the distance of the bound.
    lower_share, upper_share
        The probabilities of the two quantiles.
    reaches
        float64, shape (G,): from `reach_of_noise`.
    width
        By how much the bounds are further out than residuals reach.
    window
        Points without a residual beyond the bounds that separate one event from the next.
    weeks
        Between two points.
    decay
        Weight of the past, per point.
    n_learned, ..., tails
        The columns of `group_columns` and `channel_columns`, changed in place.
    expected, lower_bound, upper_bound
        float64, shape (C, T), filled in units of `deviations`; left as they are where nothing can
        be said.

    References
    ----------
    .. [1] O. Cappé and E. Moulines, "On-line expectation-maximization algorithm for latent data
       models", Journal of the Royal Statistical Society B 71(3), 2009.
    .. [2] L. Tierney, "A space-efficient recursive procedure for estimating a quantile of an
       unknown distribution", SIAM Journal on Scientific and Statistical Computing 4(4), 1983.
    """
    rank = factor_products.shape[1]
    n_timestamps = deviations.shape[1]
    for g in range(len(group_rows)):
        first, n_channels, group = offsets[g], offsets[g + 1] - offsets[g], group_rows[g]
        if rank == 0 or n_channels < 2 or n_learned[group] < 2.0:
            continue
        # The channels of a group are neighbours in the state.
        mine = slice(channel_rows[first], channel_rows[first] + n_channels)
        products, variances = factor_products[mine], variance[mine]
        lowers, uppers, of_tails = lower_quantile[mine], upper_quantile[mine], tails[mine]
        loadings = np.empty((n_channels, rank))
        uniquenesses, leverages = np.empty(n_channels), np.empty(n_channels)
        posterior, triangle = np.empty((rank, rank)), np.zeros((rank, rank))
        lower, upper = np.empty(n_channels), np.empty(n_channels)
        clipped, centres, factors = np.empty(n_channels), np.empty(n_channels), np.empty(rank)
        for b in range(len(starts)):
            begin = starts[b]
            end = starts[b + 1] if b + 1 < len(starts) else n_timestamps
            fresh = False
            for t in range(begin, end):
                if not usable[g, t]:
                    continue
                if not fresh:
                    _refresh(
                        products,
                        factor_moments[group],
                        variances,
                        loadings,
                        uniquenesses,
                        leverages,
                        posterior,
                        triangle,
                    )
                    for c in range(n_channels):
                        reach = reaches[g] * (uppers[c] - lowers[c])
                        below = width * max(reach, of_tails[c, TAIL])
                        above = width * max(reach, of_tails[c, TAIL + 1])
                        lower[c] = min(min(lowers[c], 0.0) - below, -LEAST_DISTANCE)
                        upper[c] = max(max(uppers[c], 0.0) + above, LEAST_DISTANCE)
                    fresh = True
                _estimate_factors(
                    deviations[first : first + n_channels, t],
                    loadings,
                    uniquenesses,
                    leverages,
                    posterior,
                    clipped,
                    factors,
                    centres,
                )
                for c in range(n_channels):
                    expected[first + c, t] = centres[c]
                    lower_bound[first + c, t] = centres[c] + lower[c]
                    upper_bound[first + c, t] = centres[c] + upper[c]
                n_learned[group] = decay * n_learned[group] + 1.0
                weight = 1.0 / n_learned[group]
                _learn_moments(
                    clipped, factors, posterior, weight, products, factor_moments[group], variances
                )
                for c in range(n_channels):
                    residual = deviations[first + c, t] - centres[c]
                    reach = max(reaches[g] * (uppers[c] - lowers[c]), _LEAST_SPREAD)
                    learn_tail(of_tails[c], 0, min(lowers[c], 0.0) - residual, reach, window, weeks)
                    learn_tail(of_tails[c], 1, residual - max(uppers[c], 0.0), reach, window, weeks)
                    step = 2.0 * weight * max(uppers[c] - lowers[c], _LEAST_SPREAD)
                    lowers[c] += step * (lower_share - (1.0 if residual <= lowers[c] else 0.0))
                    uppers[c] += step * (upper_share - (1.0 if residual <= uppers[c] else 0.0))


@kernel
def _estimate_factors(
    deviations: FloatArray,
    loadings: FloatArray,
    uniquenesses: FloatArray,
    leverages: FloatArray,
    posterior: FloatArray,
    clipped: FloatArray,
    factors: FloatArray,
    centres: FloatArray,
) -> None:
    """Fill the expected factors given all channels, and each channel's mean given the others."""
    n_channels, rank = loadings.shape
    for c in range(n_channels):
        clipped[c] = min(max(deviations[c], -LARGEST_DEVIATION), LARGEST_DEVIATION)
    factors[:] = 0.0
    for k in range(rank):
        weighted = 0.0
        for c in range(n_channels):
            weighted += loadings[c, k] * clipped[c] / uniquenesses[c]
        for i in range(rank):
            factors[i] += posterior[i, k] * weighted
    for c in range(n_channels):
        fitted = 0.0
        for k in range(rank):
            fitted += loadings[c, k] * factors[k]
        centres[c] = clipped[c] - (clipped[c] - fitted) / (1.0 - leverages[c])


@kernel
def _learn_moments(
    clipped: FloatArray,
    factors: FloatArray,
    posterior: FloatArray,
    weight: float,
    products: FloatArray,
    moments: FloatArray,
    variances: FloatArray,
) -> None:
    """Move the moments to what a point says they are, by its weight among all points."""
    rank = len(factors)
    for i in range(rank):
        for j in range(rank):
            moment = posterior[i, j] + factors[i] * factors[j]
            moments[i, j] += weight * (moment - moments[i, j])
    for c in range(len(clipped)):
        for k in range(rank):
            products[c, k] += weight * (clipped[c] * factors[k] - products[c, k])
        variances[c] += weight * (clipped[c] * clipped[c] - variances[c])
