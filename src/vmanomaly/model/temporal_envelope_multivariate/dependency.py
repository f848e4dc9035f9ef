"""What the other channels of a group say about each one, learned online."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from vmanomaly.kernel import inner, kernel
from vmanomaly.model.online import Bounds
from vmanomaly.model.state import (
    COUNT,
    FINITE,
    Array,
    Column,
    Range,
    SeriesState,
    ranges_of,
    records,
    width,
)
from vmanomaly.model.temporal_envelope.calendar import WEEK
from vmanomaly.model.temporal_envelope.learn import IQR_OF_NORMAL
from vmanomaly.model.temporal_envelope.tails import (
    ABOVE,
    BELOW,
    IMPATIENT,
    TAIL_RANGES,
    TAILS,
    WEEKLY,
    kept_of_events,
    learn_tails,
    measure_tail,
)
from vmanomaly.model.temporal_envelope_multivariate.factors import (
    LEAST_UNIQUENESS,
    factor_analysis,
    shrunk_covariance,
)
from vmanomaly.model.temporal_envelope_multivariate.whitening import invert
from vmanomaly.series import BoolArray, FloatArray, IntArray

LARGEST_DEVIATION = 2.0
"""Deviations count up to this many distances of the bound, as outliers show no relation."""

LEAST_DISTANCE = 0.1
"""The least distance of a bound from what the other channels suggest, in the same units: anything
less is not a broken relation."""

LEAST_VARIANCE = 1e-12
_LEAST_SPREAD = 0.01
LARGEST_MOMENT = 1e100
MOMENT = Range(-LARGEST_MOMENT, LARGEST_MOMENT)


class Groups(NamedTuple):
    """Which rows are of which group, and what is kept of the factors of all groups.

    Attributes
    ----------
    offsets : ndarray of int64, shape (G + 1,)
        Which rows of the deviations are of which group.
    rows, channel_rows : ndarray of int64, shapes (G,) and (C,)
        Rows of the columns of groups and of channels. Those of a group are neighbours.
    reaches : ndarray of float64, shape (G,)
        From `reach_of_noise`.
    n_learned, factor_moments : ndarray of float64
        The columns of `group_columns`.
    """

    offsets: IntArray
    rows: IntArray
    channel_rows: IntArray
    reaches: FloatArray
    n_learned: FloatArray
    factor_moments: FloatArray


class Relations(NamedTuple):
    """What is kept of each channel's relation to the factors: the columns of `channel_columns`.

    `tails` is of `TAILS`, shape (C,).
    """

    factor_products: FloatArray
    variance: FloatArray
    lower_quantile: FloatArray
    upper_quantile: FloatArray
    tails: Array


def relations_of(channels: SeriesState) -> Relations:
    """Return the columns as the kernels take them; views, valid as long as those of the state."""
    relations = Relations(*(channels[name] for name in Relations._fields))
    return relations._replace(tails=records(relations.tails, TAILS))


class DependencyParameters(NamedTuple):
    """The parameters, as the kernels take them.

    Attributes
    ----------
    lower, upper : float
        The probabilities of the two quantiles.
    width : float
        By how much the bounds are further out than residuals reach.
    window : int
        Points without a residual beyond the bounds that separate one event from the next.
    weeks : float
        Between two points.
    decay : float
        Weight of the past, per point.
    """

    lower: float
    upper: float
    width: float
    window: int
    weeks: float
    decay: float


class FactorRoom(NamedTuple):
    """Room for the factor model of a group of C channels and K factors, and for a point of it.

    Attributes
    ----------
    loadings : ndarray of float64, shape (C, K)
        How much each channel moves with each factor.
    uniquenesses, leverages : ndarray of float64, shape (C,)
        The variance of each channel that the factors do not explain, and the share of a channel in
        what it is fitted by.
    posterior, precision : ndarray of float64, shape (K, K)
        The covariance of the factors given all channels, and its inverse.
    lower, upper : ndarray of float64, shape (C,)
        The bounds, from what is expected.
    clipped, centres : ndarray of float64, shape (C,)
        The deviations of a point as they count, and what is expected of them.
    weighted, factors : ndarray of float64, shape (K,)
        What the channels of a point say of the factors, and the expected factors.
    """

    loadings: FloatArray
    uniquenesses: FloatArray
    leverages: FloatArray
    posterior: FloatArray
    precision: FloatArray
    lower: FloatArray
    upper: FloatArray
    clipped: FloatArray
    centres: FloatArray
    weighted: FloatArray
    factors: FloatArray


def factor_room(n_channels: int, rank: int) -> FactorRoom:
    """Return room for groups of up to that many channels."""
    of_channels = (n_channels,)
    shapes = [(n_channels, rank), of_channels, of_channels, (rank, rank), (rank, rank)]
    shapes += [of_channels] * 4 + [(rank,)] * 2
    return FactorRoom(*(np.empty(shape) for shape in shapes))


def group_columns(rank: int) -> tuple[Column, ...]:
    """Return what is kept of the factors of a group."""
    return factor_columns("n_learned", "factor_moments", rank)


def factor_columns(count: str, moments: str, rank: int) -> tuple[Column, ...]:
    """Return the columns of a model of factors by their names: what it has learned, its moments."""
    return (
        Column(count, np.float64, within=COUNT),
        Column(
            moments,
            np.float64,
            (rank, rank),
            within=MOMENT,
            rule=partial(_moments_problem, name=moments),
        ),
    )


def channel_columns(rank: int) -> tuple[Column, ...]:
    """Return what is kept of each channel's relation to the factors: 8 `rank` + 72 bytes."""
    return (
        Column("factor_products", np.float64, (rank,), within=MOMENT),
        Column("variance", np.float64, within=Range(0.0, LARGEST_MOMENT)),
        Column("lower_quantile", np.float64, within=FINITE),
        Column("upper_quantile", np.float64, within=FINITE),
        Column("tails", np.float64, (width(TAILS),), within=ranges_of(TAILS, TAIL_RANGES)),
    )


def _moments_problem(arrays: Mapping[str, Array], name: str) -> str | None:
    moments = arrays[name]
    if (np.diagonal(moments, axis1=1, axis2=2) < 0.0).any():
        return "a factor has a negative variance"
    return None


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
    group: Mapping[str, Array],
    channels: Mapping[str, Array],
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
        The columns of `channel_columns`, one row per channel.
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
    np.fill_diagonal(covariance, np.maximum(np.diag(covariance), LEAST_VARIANCE))
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
    sigmas, room = spreads / IQR_OF_NORMAL, np.empty(n_samples)
    for side, excesses in ((BELOW, below), (ABOVE, above)):
        for c, tails in enumerate(records(channels["tails"], TAILS)):
            measure_tail(
                tails, side, excesses[c], sigmas[c], reaches[c], window, weeks, WEEKLY, room
            )


def _expect(
    loadings: FloatArray, uniquenesses: FloatArray, deviations: FloatArray, expected: FloatArray
) -> None:
    """Fill in what each channel is expected to be, given all others; shape (C, n)."""
    weighted = loadings / uniquenesses[:, None]
    posterior = np.linalg.inv(np.eye(loadings.shape[1]) + loadings.T @ weighted)
    factors = posterior @ (weighted.T @ deviations)
    leverage = np.einsum("ck,kj,cj->c", loadings, posterior, weighted)
    own = (deviations - loadings @ factors) / (1.0 - leverage)[:, None]
    expected[:] = deviations - own


@inner
def refresh(
    rank: int, products: FloatArray, moments: FloatArray, variances: FloatArray, room: FactorRoom
) -> None:
    """Derive the factor model of a group from what is kept of its first `rank` factors."""
    loadings, uniquenesses = room.loadings, room.uniquenesses
    posterior, precision = room.posterior, room.precision
    for i in range(rank):
        for j in range(rank):
            posterior[i, j] = moments[i, j]
            precision[i, j] = 1.0 if i == j else 0.0
    invert(posterior, rank, room.weighted)
    for c in range(len(products)):
        shared = 0.0
        for k in range(rank):
            loadings[c, k] = 0.0
        for i in range(rank):
            product = products[c, i]
            for k in range(rank):
                loadings[c, k] += product * posterior[i, k]
        for k in range(rank):
            shared += loadings[c, k] * products[c, k]
        variance = max(variances[c], LEAST_VARIANCE)
        uniquenesses[c] = min(max(variance - shared, LEAST_UNIQUENESS * variance), variance)
        weight = 1.0 / uniquenesses[c]
        for i in range(rank):
            weighted = loadings[c, i] * weight
            for k in range(i + 1):
                precision[i, k] += weighted * loadings[c, k]
    for i in range(rank):
        for j in range(i + 1):
            posterior[i, j] = precision[j, i] = precision[i, j]
    invert(posterior, rank, room.weighted)


@inner
def _measure_leverages(n_channels: int, rank: int, room: FactorRoom) -> None:
    """Fill in the share of each channel in what it is fitted by."""
    for c in range(n_channels):
        total = 0.0
        for i in range(rank):
            fitted = 0.0
            for k in range(rank):
                fitted += room.posterior[i, k] * room.loadings[c, k]
            total += room.loadings[c, i] * fitted
        room.leverages[c] = total / room.uniquenesses[c]


@kernel
def walk_groups(
    groups: Groups,
    relations: Relations,
    starts: IntArray,
    usable: BoolArray,
    deviations: FloatArray,
    parameters: DependencyParameters,
    room: FactorRoom,
    bounds: Bounds,
) -> None:
    """Predict every channel from the others, one micro-batch after the other, and learn.

    The moments are updated by online expectation maximisation: each point moves them towards what
    the present factor model makes of it, by the weight of one point among those learned.
    Quantiles follow by stochastic approximation.

    Parameters
    ----------
    groups, relations
        The columns of the state in them are changed.
    starts
        int64: the columns at which micro-batches begin.
    usable
        bool, shape (G, T): the points to take; all channels of the group have a deviation there.
    deviations
        float64, shape (C, T): distances from what was expected of each channel alone, in units of
        the distance of the bound.
    parameters
        The parameters.
    room
        From `factor_room`, for the largest group.
    bounds
        Of shape (C, T), filled in units of `deviations`; left as they are where nothing can be
        said.

    References
    ----------
    .. [1] O. Cappé and E. Moulines, "On-line expectation-maximization algorithm for latent data
       models", Journal of the Royal Statistical Society B 71(3), 2009.
    .. [2] L. Tierney, "A space-efficient recursive procedure for estimating a quantile of an
       unknown distribution", SIAM Journal on Scientific and Statistical Computing 4(4), 1983.
    """
    rank = relations.factor_products.shape[1]
    n_timestamps = deviations.shape[1]
    n_learned = groups.n_learned
    kept = kept_of_events(parameters.weeks, WEEKLY)
    for g in range(len(groups.rows)):
        first, group = groups.offsets[g], groups.rows[g]
        n_channels = groups.offsets[g + 1] - first
        if rank == 0 or n_channels < 2 or n_learned[group] < 2.0:
            continue
        mine = slice(groups.channel_rows[first], groups.channel_rows[first] + n_channels)
        # The other factors are 0, as `fit_group` leaves them, and stay so.
        n_factors = min(rank, n_channels - 1)
        products, variances = relations.factor_products[mine], relations.variance[mine]
        lowers, uppers = relations.lower_quantile[mine], relations.upper_quantile[mine]
        tails, moments = relations.tails[mine], groups.factor_moments[group]
        for b in range(len(starts)):
            begin = starts[b]
            end = starts[b + 1] if b + 1 < len(starts) else n_timestamps
            fresh = False
            for t in range(begin, end):
                if not usable[g, t]:
                    continue
                if not fresh:
                    refresh(n_factors, products, moments, variances, room)
                    _measure_leverages(n_channels, n_factors, room)
                    for c in range(n_channels):
                        reach = groups.reaches[g] * (uppers[c] - lowers[c])
                        below = parameters.width * max(reach, tails[c].reach[BELOW])
                        above = parameters.width * max(reach, tails[c].reach[ABOVE])
                        room.lower[c] = min(min(lowers[c], 0.0) - below, -LEAST_DISTANCE)
                        room.upper[c] = max(max(uppers[c], 0.0) + above, LEAST_DISTANCE)
                    fresh = True
                estimate_factors(n_factors, deviations[first : first + n_channels, t], room)
                for c in range(n_channels):
                    fitted = 0.0
                    for k in range(n_factors):
                        fitted += room.loadings[c, k] * room.factors[k]
                    own = (room.clipped[c] - fitted) / (1.0 - room.leverages[c])
                    centre = room.centres[c] = room.clipped[c] - own
                    bounds.yhat[first + c, t] = centre
                    bounds.yhat_lower[first + c, t] = centre + room.lower[c]
                    bounds.yhat_upper[first + c, t] = centre + room.upper[c]
                n_learned[group] = parameters.decay * n_learned[group] + 1.0
                weight = 1.0 / n_learned[group]
                learn_moments(n_factors, weight, room, products, moments, variances)
                for c in range(n_channels):
                    residual = deviations[first + c, t] - room.centres[c]
                    reach = max(groups.reaches[g] * (uppers[c] - lowers[c]), _LEAST_SPREAD)
                    below = min(lowers[c], 0.0) - residual
                    above = residual - max(uppers[c], 0.0)
                    learn_tails(
                        tails[c],
                        below,
                        above,
                        reach,
                        parameters.window,
                        parameters.weeks,
                        kept,
                        IMPATIENT,
                    )
                    step = 2.0 * weight * max(uppers[c] - lowers[c], _LEAST_SPREAD)
                    lowers[c] += step * (parameters.lower - (1.0 if residual <= lowers[c] else 0.0))
                    uppers[c] += step * (parameters.upper - (1.0 if residual <= uppers[c] else 0.0))


@inner
def estimate_factors(rank: int, deviations: FloatArray, room: FactorRoom) -> None:
    """Fill in the deviations as they count, and the expected factors given all of them."""
    clipped, weighted, factors = room.clipped, room.weighted, room.factors
    for k in range(rank):
        weighted[k] = factors[k] = 0.0
    for c in range(len(deviations)):
        clipped[c] = min(max(deviations[c], -LARGEST_DEVIATION), LARGEST_DEVIATION)
        weight = clipped[c] / room.uniquenesses[c]
        for k in range(rank):
            weighted[k] += room.loadings[c, k] * weight
    for k in range(rank):
        for i in range(rank):
            factors[i] += room.posterior[k, i] * weighted[k]


@inner
def learn_moments(
    rank: int,
    weight: float,
    room: FactorRoom,
    products: FloatArray,
    moments: FloatArray,
    variances: FloatArray,
) -> None:
    """Move the moments to what a point says they are, by its weight among all points."""
    clipped, factors = room.clipped, room.factors
    for i in range(rank):
        for j in range(rank):
            moment = room.posterior[i, j] + factors[i] * factors[j]
            moments[i, j] += weight * (moment - moments[i, j])
    for c in range(len(variances)):
        for k in range(rank):
            products[c, k] += weight * (clipped[c] * factors[k] - products[c, k])
        variances[c] += weight * (clipped[c] * clipped[c] - variances[c])
