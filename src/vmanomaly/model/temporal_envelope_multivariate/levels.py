"""How far the channels of a group have moved, together, from where they used to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from vmanomaly.kernel import inlined, inner, kernel
from vmanomaly.model.online import Bounds
from vmanomaly.model.state import (
    COUNT,
    NOT_NEGATIVE,
    Array,
    Column,
    Range,
    Record,
    SeriesState,
    ranges_of,
    records,
    width,
)
from vmanomaly.model.temporal_envelope.tails import (
    ABOVE,
    BELOW,
    IMPATIENT,
    TAIL_RANGES,
    TAILS,
    WEEKLY,
    kept_of_events,
    learn_tails,
)
from vmanomaly.model.temporal_envelope_multivariate.dependency import (
    LARGEST_DEVIATION,
    LARGEST_MOMENT,
    LEAST_VARIANCE,
    MOMENT,
    DependencyParameters,
    FactorRoom,
    Groups,
    estimate_factors,
    factor_columns,
    learn_moments,
    refresh,
)
from vmanomaly.model.temporal_envelope_multivariate.factors import (
    factor_analysis,
    shrunk_covariance,
)
from vmanomaly.model.temporal_envelope_multivariate.whitening import find_blend
from vmanomaly.series import BoolArray, FloatArray, IntArray

RARE = 4.0
"""The bound, in standard deviations of normal noise: one of 16,000 points is beyond it."""
REFERENCE_WINDOWS = 16
"""Windows that the reference level is the mean of."""
ADOPTION_WINDOWS = 32
"""Windows after which a level that stays beyond the bound is the new reference."""

_LARGEST_STEP = 0.25
"""How far one point moves the recent level away at most, in distances of the bound."""
_FARTHEST = 2.0
"""How far away the recent level is at most, in what is a score of 1: so it soon returns."""
_LEAST_RELATIVE_SPREAD = 1e-9
_LEAST_SPREAD = 1e-12
_LARGE = 1e150
"""Values beyond it count as if they were it: their squares are finite."""

LEVEL = np.dtype(
    [
        ("recent", np.float64),
        ("reference", np.float64),
        ("variance", np.float64),
        ("n_known", np.float64),
        ("n_swings", np.float64),
        ("side", np.float64),
        ("n_beyond", np.float64),
        ("tails", TAILS),
    ],
    align=True,
)
"""What is known of the level of a channel:

- `recent`, `reference`: the means of the last window, and of `REFERENCE_WINDOWS`;
- `variance`: of their difference; `n_known`: the points that are known of it;
- `n_swings`, `side`: how often the difference changed its sign, and the last sign;
- `n_beyond`: the points beyond the bound, less those inside since then;
- `tails`: how far the whitened difference reaches, where it does so repeatedly.
"""

_LEVEL_RANGES = TAIL_RANGES | {
    "recent": Range(-_LARGE, _LARGE),
    "reference": Range(-_LARGE, _LARGE),
    "variance": NOT_NEGATIVE,
    "n_known": COUNT,
    "n_swings": COUNT,
    "side": Range(-1.0, 1.0),
    "n_beyond": COUNT,
}


class Levels(NamedTuple):
    """What is kept of the level of each channel: the columns of `level_channel_columns`.

    `level` is of `LEVEL`, shape (C,).
    """

    level_products: FloatArray
    level_variance: FloatArray
    level: Array


def levels_of(channels: SeriesState) -> Levels:
    """Return the columns as the kernels take them; views, valid as long as those of the state."""
    levels = Levels(*(channels[name] for name in Levels._fields))
    return levels._replace(level=records(levels.level, LEVEL))


class WhiteningRoom(NamedTuple):
    """Room for what whitens a group of C channels and K factors, and for a point of it.

    Attributes
    ----------
    blend, root, ratio, inverse : ndarray of float64, shape (K, K)
        What is taken of the factors, and what it is computed from.
    shares, blended : ndarray of float64, shape (K,)
        Of a point in the factors, and what is taken of these.
    own : ndarray of float64, shape (C,)
        The standard deviation of each channel's own noise.
    recent, difference, spans, units : ndarray of float64, shape (C,)
        The recent level with the point, its distance from the reference, `RARE`th parts of the
        bound of the channel alone, and what whitened differences are multiples of.
    standard, whitened : ndarray of float64, shape (C,)
        The difference in standard deviations, and those of all channels without what they share.
    """

    blend: FloatArray
    root: FloatArray
    ratio: FloatArray
    inverse: FloatArray
    shares: FloatArray
    blended: FloatArray
    own: FloatArray
    recent: FloatArray
    difference: FloatArray
    spans: FloatArray
    units: FloatArray
    standard: FloatArray
    whitened: FloatArray


def whitening_room(n_channels: int, rank: int) -> WhiteningRoom:
    """Return room for groups of up to that many channels."""
    shapes = [(rank, rank)] * 4 + [(rank,)] * 2 + [(n_channels,)] * 7
    return WhiteningRoom(*(np.zeros(shape) for shape in shapes))


def level_group_columns(rank: int) -> tuple[Column, ...]:
    """Return what is kept of the factors of the levels of a group."""
    return factor_columns("n_levels_learned", "level_moments", rank)


def level_channel_columns(rank: int) -> tuple[Column, ...]:
    """Return what is kept of the level of each channel: 8 `rank` + 112 bytes."""
    return (
        Column("level_products", np.float64, (rank,), within=MOMENT),
        Column("level_variance", np.float64, within=Range(0.0, LARGEST_MOMENT)),
        Column(
            "level",
            np.float64,
            (width(LEVEL),),
            within=ranges_of(LEVEL, _LEVEL_RANGES),
            rule=_level_problem,
        ),
    )


def _level_problem(arrays: Mapping[str, Array]) -> str | None:
    level = records(arrays["level"], LEVEL)
    if (level["n_known"] > arrays["n_samples_seen"]).any():
        return "more is known of a level than samples were seen"
    return None


def joint_limit(n_channels: int, aggregation: str) -> float:
    """Return what the joined whitened differences of a group reach as rarely as one does `RARE`.

    Parameters
    ----------
    n_channels
        Of the group.
    aggregation
        `max`; or `l2`, whose limit holds for `mean` too, which is never larger.

    References
    ----------
    .. [1] E. B. Wilson, M. M. Hilferty, "The distribution of chi-square", PNAS 17(12), 1931.

    Examples
    --------
    >>> round(joint_limit(8, "max"), 2), round(joint_limit(8, "l2"), 2)
    (4.47, 2.04)
    """
    normal = NormalDist()
    each = 2.0 * normal.cdf(-RARE)
    if aggregation == "max":
        return -normal.inv_cdf(each / (2.0 * n_channels))
    spread = 2.0 / (9.0 * n_channels)
    mean_square = (1.0 - spread - normal.inv_cdf(each) * math.sqrt(spread)) ** 3
    return math.sqrt(mean_square)


def lone_limit(n_channels: int, aggregation: str) -> float:
    """Return what one whitened difference has to be for the group to be at the joint limit.

    Parameters are those of `joint_limit`.

    Examples
    --------
    >>> round(lone_limit(8, "max"), 2), round(lone_limit(8, "l2"), 2)
    (4.47, 5.78)
    """
    limit = joint_limit(n_channels, aggregation)
    return {"max": 1.0, "l2": math.sqrt(n_channels), "mean": n_channels}[aggregation] * limit


def fit_levels(
    group: Mapping[str, Array],
    channels: Mapping[str, Array],
    values: FloatArray,
    parameters: DependencyParameters,
    seed: int,
) -> None:
    """Learn from scratch how the levels of one group move.

    Parameters
    ----------
    group
        The columns of `level_group_columns`, one row.
    channels
        The columns of `level_channel_columns`, one row per channel.
    values
        float64, shape (C, n), finite.
    parameters
        The parameters.
    seed
        Of the randomised start of the factor analysis.
    """
    n_channels, n_samples = values.shape
    rank = channels["level_products"].shape[1]
    n_factors, window = min(rank, n_channels - 1), parameters.window
    group["level_moments"][0] = np.eye(rank)
    # What few points say of relations counts little: there is none at first.
    group["n_levels_learned"][0] = max(n_samples - window, REFERENCE_WINDOWS * window)
    channels["level_variance"][:] = 1.0 / RARE**2
    differences = np.empty(values.shape)
    level = records(channels["level"], LEVEL)
    walk_first_levels(values, parameters, level, differences)
    if n_factors == 0 or n_samples - window < 2:
        return
    spreads = np.maximum(np.sqrt(level["variance"]), _LEAST_SPREAD)[:, None]
    known = differences[:, window:] / (RARE * spreads)
    known = np.clip(known, -LARGEST_DEVIATION, LARGEST_DEVIATION)
    covariance = shrunk_covariance(known, known.shape[1] / window)
    np.fill_diagonal(covariance, np.maximum(np.diag(covariance), LEAST_VARIANCE))
    loadings, uniquenesses = factor_analysis(covariance, n_factors, seed)
    channels["level_products"][:, :n_factors] = loadings
    channels["level_variance"][:] = uniquenesses + (loadings**2).sum(axis=1)


@kernel
def walk_first_levels(
    values: FloatArray, parameters: DependencyParameters, level: Array, differences: FloatArray
) -> None:
    """Learn the levels of a fit window, and fill in their differences from the reference.

    Parameters
    ----------
    values
        float64, shape (C, n), finite.
    parameters
        The parameters.
    level
        Of `LEVEL`, shape (C,), as if nothing had been seen; changed.
    differences
        float64, shape (C, n); written.
    """
    n_channels, n_samples = values.shape
    for c in range(n_channels):
        x = level[c]
        for t in range(n_samples):
            y = min(max(values[c, t], -_LARGE), _LARGE)
            recent = x.recent + (y - x.recent) / min(x.n_known + 1.0, float(parameters.window))
            differences[c, t] = recent - x.reference if x.n_known > 0.0 else 0.0
            _learn_level(x, y, recent, parameters)


@kernel
def walk_levels(
    groups: Groups,
    lones: FloatArray,
    levels: Levels,
    starts: IntArray,
    usable: BoolArray,
    values: FloatArray,
    parameters: DependencyParameters,
    room: FactorRoom,
    whitening: WhiteningRoom,
    bounds: Bounds,
) -> None:
    r"""Compare the recent levels of all channels with their references, then learn.

    The difference of the level of a channel from its reference is divided by its standard
    deviation, and by how much more than that it may be in doubt: what changed its sign
    :math:`\nu` times is known as well as :math:`\nu + 1` independent samples let know it, so the
    bound is that of Student's distribution [1]_. A channel that wanders has seen few swings, and
    a wide bound.

    Then the factor model of the differences takes out what the channels share, so that the
    squares of what is left add up to Hotelling's :math:`T^2` [2]_: the whitened vector that is most
    like the differences [3]_, in units of the standard deviations of the factor model's own noise.

    No channel beyond a bound moves its reference, or adds to what is known of its spread, until
    it has been there for `ADOPTION_WINDOWS`: then it starts from scratch.

    Parameters
    ----------
    groups, levels
        The columns of the state in them are changed; `groups.reaches` are from `joint_limit`.
    lones : ndarray of float64, shape (G,)
        From `lone_limit`.
    starts
        int64: the columns at which micro-batches begin.
    usable
        bool, shape (G, T): the points to take; all values of the group are finite there.
    values
        float64, shape (C, T).
    parameters
        The parameters.
    room, whitening
        From `factor_room` and `whitening_room`, for the largest group.
    bounds
        Of shape (C, T), filled in units of `values`; left as they are where the level of a channel
        is not known yet.

    References
    ----------
    .. [1] D. P. Gaver, K. Kafadar, "A retrievable recipe for inverse t", The American Statistician
       38(4), 1984.
    .. [2] J. E. Jackson, G. S. Mudholkar, "Control procedures for residuals associated with
       principal component analysis", Technometrics 21(3), 1979.
    .. [3] A. Kessy, A. Lewin, K. Strimmer, "Optimal whitening and decorrelation", The American
       Statistician 72(4), 2018.
    """
    n_timestamps = values.shape[1]
    n_known = float(REFERENCE_WINDOWS * parameters.window)
    for g in range(len(groups.rows)):
        first, group = groups.offsets[g], groups.rows[g]
        n_channels = groups.offsets[g + 1] - first
        if n_channels == 0:
            continue
        mine = slice(groups.channel_rows[first], groups.channel_rows[first] + n_channels)
        products, variances = levels.level_products[mine], levels.level_variance[mine]
        level, moments = levels.level[mine], groups.factor_moments[group]
        # The other factors are 0, as `fit_levels` leaves them, and stay so.
        rank = min(products.shape[1], n_channels - 1)
        limit, lone = groups.reaches[g], lones[g]
        for b in range(len(starts)):
            begin = starts[b]
            end = starts[b + 1] if b + 1 < len(starts) else n_timestamps
            fresh = False
            for t in range(begin, end):
                if not usable[g, t]:
                    continue
                if not fresh:
                    refresh(rank, products, moments, variances, room)
                    find_blend(
                        room.precision,
                        rank,
                        whitening.blend,
                        whitening.root,
                        whitening.ratio,
                        whitening.inverse,
                        whitening.shares,
                    )
                    fresh = True
                present = values[first : first + n_channels, t]
                _whiten(rank, level, present, parameters, lone, room, whitening)
                _bound(level, limit, n_known, whitening, values, first, t, bounds)
            if not fresh:
                continue
            for t in range(begin, end):
                if not usable[g, t]:
                    continue
                present = values[first : first + n_channels, t]
                if end - begin > 1:
                    _whiten(rank, level, present, parameters, lone, room, whitening)
                if _learn_levels(level, present, parameters, whitening):
                    estimate_factors(rank, whitening.standard[:n_channels], room)
                    groups.n_learned[group] = parameters.decay * groups.n_learned[group] + 1.0
                    weight = 1.0 / groups.n_learned[group]
                    learn_moments(rank, weight, room, products, moments, variances)


@inner
def _bound(
    level: Array,
    limit: float,
    n_known: float,
    whitening: WhiteningRoom,
    values: FloatArray,
    first: int,
    t: int,
    bounds: Bounds,
) -> None:
    """Fill in what whitened differences mean in units of the values, from row `first` on."""
    for c in range(len(level)):
        if level[c].n_known >= n_known:
            unit = whitening.units[c]
            yhat = values[first + c, t] - unit * whitening.whitened[c]
            bounds.yhat[first + c, t] = yhat
            bounds.yhat_lower[first + c, t] = yhat - unit * limit
            bounds.yhat_upper[first + c, t] = yhat + unit * limit


@inlined
def _spread(x: Record) -> float:
    least = max(_LEAST_RELATIVE_SPREAD * abs(x.reference), _LEAST_SPREAD)
    spread: float = max(math.sqrt(x.variance), least)
    return spread


@inlined
def _inflation(n_swings: float) -> float:
    """Return by how much the bound of Student's distribution is wider than that of the normal."""
    freedom = max(n_swings + 1.0, 2.0)
    share = (freedom - 1.5) / ((freedom - 1.0) * (freedom - 1.0))
    return math.sqrt(freedom * (math.exp(RARE * RARE * share) - 1.0)) / RARE


@inlined
def _recent(x: Record, y: float, bound: float, farthest: float, window: int) -> float:
    """Return the recent level with one more sample.

    It moves towards the reference as far as the sample says, and beyond or away from it by a share
    of the bound at most.
    """
    step = _LARGEST_STEP * bound
    recent = x.recent + (y - x.recent) / window
    recent = max(recent, min(x.recent, x.reference) - step)
    recent = min(recent, max(x.recent, x.reference) + step)
    nearest: float = min(max(recent, x.reference - farthest), x.reference + farthest)
    return nearest


@inlined
def _learn_level(x: Record, y: float, recent: float, parameters: DependencyParameters) -> None:
    """Move the reference, and learn the spread of the difference from it."""
    difference = recent - x.reference
    x.recent = recent
    x.n_known += 1.0
    x.reference += (y - x.reference) / min(x.n_known, float(REFERENCE_WINDOWS * parameters.window))
    n_different = x.n_known - parameters.window
    if n_different > 0.0:
        weight = max(1.0 / n_different, 1.0 - parameters.decay)
        x.variance += weight * (difference * difference - x.variance)
        side = 1.0 if difference > 0.0 else -1.0
        if side * x.side < 0.0:
            x.n_swings += 1.0
        x.side = side


@inner
def _whiten(
    rank: int,
    level: Array,
    values: FloatArray,
    parameters: DependencyParameters,
    lone: float,
    room: FactorRoom,
    whitening: WhiteningRoom,
) -> None:
    """Fill in how far a point of all channels is from their references."""
    n_channels = len(values)
    loadings, shares, whitened = room.loadings, whitening.shares, whitening.whitened
    n_known = float(REFERENCE_WINDOWS * parameters.window)
    for k in range(rank):
        shares[k] = whitening.blended[k] = 0.0
    for c in range(n_channels):
        x = level[c]
        y = min(max(values[c], -_LARGE), _LARGE)
        spread, inflation = _spread(x), _inflation(x.n_swings)
        known = x.n_known >= n_known
        unit = spread * inflation
        if known:
            recent = _recent(x, y, RARE * unit, _FARTHEST * lone * unit, parameters.window)
        else:
            recent = x.recent + (y - x.recent) / min(x.n_known + 1.0, float(parameters.window))
        difference = recent - x.reference
        whitening.recent[c], whitening.difference[c] = recent, difference
        whitening.spans[c] = whitening.units[c] = unit
        whitening.standard[c] = difference / (RARE * spread) if known else 0.0
        whitening.own[c] = own = math.sqrt(room.uniquenesses[c])
        whitened[c] = whitening.standard[c] / (inflation * own)
        weight = whitened[c] / own
        for k in range(rank):
            shares[k] += loadings[c, k] * weight
    for j in range(rank):
        for k in range(rank):
            whitening.blended[k] += whitening.blend[j, k] * shares[j]
    for c in range(n_channels):
        shared = 0.0
        for k in range(rank):
            shared += loadings[c, k] * whitening.blended[k]
        whitened[c] -= shared / whitening.own[c]
        side = ABOVE if whitened[c] > 0.0 else BELOW
        reach = max(level[c].tails.reach[side] / RARE, 1.0)
        whitening.units[c] *= reach
        whitened[c] /= reach


@inner
def _learn_levels(
    level: Array, values: FloatArray, parameters: DependencyParameters, whitening: WhiteningRoom
) -> bool:
    """Learn a point of all channels, and tell whether it says how they usually move together."""
    n_known = n_quiet = REFERENCE_WINDOWS * parameters.window
    kept = kept_of_events(parameters.weeks, WEEKLY)
    usual = True
    for c in range(len(values)):
        x = level[c]
        y = min(max(values[c], -_LARGE), _LARGE)
        whitened = whitening.whitened[c]
        known = x.n_known >= n_known
        beyond = abs(whitened) >= RARE
        # The unit holds the tails, of which the bound of the channel itself knows nothing.
        own = RARE * whitening.spans[c]
        beyond = known and (beyond or abs(whitening.difference[c]) >= own)
        usual = usual and known and not beyond
        if known:
            side = ABOVE if whitened > 0.0 else BELOW
            whole = whitened * max(x.tails.reach[side] / RARE, 1.0)
            learn_tails(x.tails, -whole, whole, RARE, n_quiet, parameters.weeks, kept, IMPATIENT)
        if not beyond:
            x.n_beyond = max(x.n_beyond - 1.0, 0.0)
            # As much of the sample as moved the recent level.
            moved = x.recent + parameters.window * (whitening.recent[c] - x.recent)
            _learn_level(x, moved if known else y, whitening.recent[c], parameters)
            continue
        x.recent = whitening.recent[c]
        x.n_beyond += 1.0
        if x.n_beyond >= ADOPTION_WINDOWS * parameters.window:
            x.recent = x.reference = y
            x.n_known = x.n_swings = x.side = x.n_beyond = 0.0
    return usual
