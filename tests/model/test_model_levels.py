"""The oracle: the recursions and the inverse root of the covariance written out in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, norm, t

from vmanomaly.model.online import Bounds
from vmanomaly.model.scoring import score
from vmanomaly.model.state import SeriesState, records
from vmanomaly.model.temporal_envelope.tails import (
    IMPATIENT,
    TAILS,
    WEEKLY,
    kept_of_events,
    learn_tails,
)
from vmanomaly.model.temporal_envelope_multivariate.dependency import (
    DependencyParameters,
    Groups,
    factor_room,
)
from vmanomaly.model.temporal_envelope_multivariate.factors import LEAST_UNIQUENESS
from vmanomaly.model.temporal_envelope_multivariate.levels import (
    ADOPTION_WINDOWS,
    LEVEL,
    RARE,
    REFERENCE_WINDOWS,
    fit_levels,
    joint_limit,
    level_channel_columns,
    level_group_columns,
    levels_of,
    lone_limit,
    walk_levels,
    whitening_room,
)
from vmanomaly.series import FloatArray, Labels

WINDOW = 4
KNOWN = REFERENCE_WINDOWS * WINDOW
WEEKS = 1e-3
N_TAILS = TAILS.itemsize // 8
NUMBERS = [name for name in LEVEL.names or () if name != "tails"]


class Group:
    """One group of channels, fitted and walked as the model does."""

    def __init__(self, n_channels: int, rank: int = 2, aggregation: str = "l2") -> None:
        self.rank, self.aggregation = rank, aggregation
        self.parameters = DependencyParameters(0.25, 0.75, 1.0, WINDOW, WEEKS, 1.0)
        self.groups = SeriesState(level_group_columns(rank))
        self.groups.rows((Labels(),))
        self.channels = SeriesState(level_channel_columns(rank))
        self.channels.rows(tuple(Labels({"c": str(c)}) for c in range(n_channels)))

    @property
    def level(self) -> Any:
        return records(self.channels["level"], LEVEL)

    def fit(self, values: FloatArray) -> None:
        fit_levels(
            {column.name: self.groups[column.name] for column in level_group_columns(self.rank)},
            {c.name: self.channels[c.name] for c in level_channel_columns(self.rank)},
            values,
            self.parameters,
            seed=42,
        )

    def walk(self, values: FloatArray, width: int = 1, **more: Any) -> Bounds:
        """Return the bounds of points that are predicted `width` at a time."""
        n_channels, n_samples = values.shape
        found = Bounds(*(np.full(values.shape, np.nan) for _ in Bounds._fields))
        walk_levels(
            Groups(
                np.array([0, n_channels]),
                np.arange(1),
                np.arange(n_channels),
                np.array([joint_limit(n_channels, self.aggregation)]),
                *(self.groups[column.name] for column in level_group_columns(self.rank)),
            ),
            np.array([lone_limit(n_channels, self.aggregation)]),
            levels_of(self.channels),
            np.arange(0, n_samples, width),
            more.get("usable", np.ones((1, n_samples), np.bool_)),
            values,
            self.parameters,
            factor_room(n_channels, self.rank),
            whitening_room(n_channels, self.rank),
            found,
        )
        return found

    def scores(self, values: FloatArray, width: int = 1) -> FloatArray:
        """Return the score of each channel."""
        return score(values, *self.walk(values, width))

    def joint(self, values: FloatArray, width: int = 1) -> FloatArray:
        joint: FloatArray = np.sqrt((self.scores(values, width) ** 2).mean(axis=0))
        return joint


def channels_of(seed: int, n_channels: int, n_samples: int) -> FloatArray:
    """Channels of other units that share two factors."""
    rng = np.random.default_rng(seed)
    factors = np.random.default_rng(99).normal(size=(n_channels, 2))
    noise = rng.normal(size=(n_channels, n_samples))
    shared = factors @ rng.normal(size=(2, n_samples))
    scales = 10.0 ** np.arange(n_channels)[:, None]
    values: FloatArray = scales * (5.0 + noise + shared)
    return values


class Oracle:
    """A group at the end of its fit, walked on in NumPy."""

    recent: FloatArray
    reference: FloatArray
    variance: FloatArray
    n_known: FloatArray
    n_swings: FloatArray
    side: FloatArray
    n_beyond: FloatArray

    def __init__(self, group: Group) -> None:
        for name in NUMBERS:
            setattr(self, name, group.level[name].copy())
        self.tails = group.channels["level"][:, -N_TAILS:].copy()
        self.products = group.channels["level_products"].copy()
        self.second = group.channels["level_variance"].copy()
        self.moments = group.groups["level_moments"][0].copy()
        self.weight = group.groups["n_levels_learned"][0]
        self.lone = lone_limit(len(self.recent), group.aggregation)

    def factor_model(self) -> tuple[FloatArray, FloatArray]:
        loadings = np.linalg.solve(self.moments, self.products.T).T
        own = self.second - (loadings * self.products).sum(axis=1)
        return loadings, np.clip(own, LEAST_UNIQUENESS * self.second, self.second)

    def look(self, y: FloatArray, loadings: FloatArray, own: FloatArray) -> None:
        """Say how far a point is out, given the factor model."""
        spread = np.maximum(np.sqrt(self.variance), np.maximum(1e-9 * abs(self.reference), 1e-12))
        freedom = np.maximum(self.n_swings + 1, 2)
        bound = np.sqrt(freedom * (np.exp(RARE**2 * (freedom - 1.5) / (freedom - 1.0) ** 2) - 1.0))
        self.own = spread * bound
        lowest = np.minimum(self.recent, self.reference) - self.own / 4
        highest = np.maximum(self.recent, self.reference) + self.own / 4
        recent = np.clip(self.recent + (y - self.recent) / WINDOW, lowest, highest)
        farthest = 2.0 * self.lone * spread * bound / RARE
        self.difference = np.clip(recent - self.reference, -farthest, farthest)
        self.counted = self.recent + WINDOW * (self.reference + self.difference - self.recent)
        unknown = self.recent + (y - self.recent) / np.minimum(self.n_known + 1, WINDOW)
        self.known = self.n_known >= KNOWN
        self.counted = np.where(self.known, self.counted, y)
        self.difference = np.where(self.known, self.difference, unknown - self.reference)
        self.standard = np.where(self.known, self.difference / (RARE * spread), 0.0)
        # The inverse root of the covariance in units of the noise, by its eigenvectors.
        noise = np.sqrt(own)[:, None]
        values, vectors = np.linalg.eigh(np.eye(len(y)) + (loadings / noise) @ (loadings / noise).T)
        root = vectors / np.sqrt(values) @ vectors.T
        self.whole = root @ (self.standard / (bound / RARE) / noise[:, 0])
        reach = np.where(self.whole > 0, self.tails[:, 1], self.tails[:, 0])
        self.reach = np.maximum(reach / RARE, 1.0)

    def learn(self, y: FloatArray, loadings: FloatArray, own: FloatArray) -> None:
        beyond = (abs(self.whole / self.reach) >= RARE) | (abs(self.difference) >= self.own)
        beyond &= self.known
        for c, tails in enumerate(records(self.tails, TAILS)):
            if self.known[c]:
                kept = kept_of_events(WEEKS, WEEKLY)
                learn_tails(
                    tails, -self.whole[c], self.whole[c], RARE, KNOWN, WEEKS, kept, IMPATIENT
                )
        inside = ~beyond
        self.recent = self.reference + self.difference
        self.n_beyond = np.where(beyond, self.n_beyond + 1, np.maximum(self.n_beyond - 1, 0))
        self.n_known += inside
        self.reference += inside * (self.counted - self.reference) / np.minimum(self.n_known, KNOWN)
        learned = inside & (self.n_known > WINDOW)
        count = np.maximum(self.n_known - WINDOW, 1)
        self.variance += learned * (self.difference**2 - self.variance) / count
        side = np.where(self.difference > 0, 1.0, -1.0)
        self.n_swings += learned & (side * self.side < 0)
        self.side = np.where(learned, side, self.side)
        adopted = self.n_beyond >= ADOPTION_WINDOWS * WINDOW
        for name in ("n_known", "n_swings", "side", "n_beyond"):
            getattr(self, name)[adopted] = 0.0
        self.recent[adopted] = self.reference[adopted] = y[adopted]
        if (self.known & inside).all():
            posterior = np.linalg.inv(np.eye(loadings.shape[1]) + (loadings.T / own) @ loadings)
            z = np.clip(self.standard, -2, 2)
            factors = posterior @ (loadings.T / own) @ z
            self.weight += 1
            self.products += (np.outer(z, factors) - self.products) / self.weight
            moments = posterior + np.outer(factors, factors)
            self.moments += (moments - self.moments) / self.weight
            self.second += (z**2 - self.second) / self.weight


def test_a_walk_is_the_recursion_written_out() -> None:
    group = Group(4)
    group.fit(channels_of(1, 4, 200))
    oracle = Oracle(group)
    present = channels_of(2, 4, 400)
    # Two incidents of one channel, and a level that stays.
    present[0, 40:60] += 20.0
    present[0, 140:150] += 40.0
    present[2, 200:] -= 3_000.0
    scores = group.scores(present, width=3)
    limit = joint_limit(4, "l2")
    for begin in range(0, 400, 3):
        model = oracle.factor_model()
        before = oracle.tails.copy()
        points = range(begin, min(begin + 3, 400))
        for point in points:
            oracle.look(present[:, point], *model)
            expected = np.abs(oracle.whole / oracle.reach) / limit
            known = oracle.known
            # The score is a quotient of differences of large values.
            np.testing.assert_allclose(scores[known, point], expected[known], rtol=1e-5, atol=1e-7)
            assert np.isnan(scores[~known, point]).all()
        assert np.array_equal(before, oracle.tails)
        for point in points:
            oracle.look(present[:, point], *model)
            oracle.learn(present[:, point], *model)
    for name in NUMBERS:
        np.testing.assert_allclose(group.level[name], getattr(oracle, name), rtol=1e-8)
    np.testing.assert_allclose(group.channels["level"][:, -N_TAILS:], oracle.tails, rtol=1e-8)
    np.testing.assert_allclose(group.channels["level_products"], oracle.products, rtol=1e-7)
    # The level that stayed was adopted, and the incidents widened a tail.
    assert group.level["n_known"][2] < 100
    assert group.channels["level"][0, -N_TAILS:].max() > RARE


def test_a_fit_is_a_mean_and_a_variance_that_start_with_nothing() -> None:
    values = channels_of(3, 3, 150)
    group = Group(3)
    group.fit(values)
    recent = reference = values[:, 0]
    variance, swings, side = np.zeros(3), np.zeros(3), np.zeros(3)
    for n in range(2, 151):
        y = values[:, n - 1]
        recent = recent + (y - recent) / min(n, WINDOW)
        difference = recent - reference
        reference = reference + (y - reference) / min(n, KNOWN)
        if n > WINDOW:
            variance = variance + (difference**2 - variance) / (n - WINDOW)
            swings += np.sign(difference) * side < 0
            side = np.sign(difference)
    np.testing.assert_allclose(group.level["recent"], recent)
    np.testing.assert_allclose(group.level["reference"], reference)
    np.testing.assert_allclose(group.level["variance"], variance)
    np.testing.assert_array_equal(group.level["n_swings"], swings)
    assert (group.level["n_known"] == 150).all()
    # In units of the bound, the variance of every channel is that of a standard deviation.
    np.testing.assert_allclose(group.channels["level_variance"], 1.0 / RARE**2, rtol=0.1)


@pytest.mark.parametrize(("n_channels", "rank"), [(1, 3), (2, 3), (5, 3), (12, 3), (12, 8)])
def test_squares_of_whitened_differences_are_those_of_hotelling(n_channels: int, rank: int) -> None:
    group = Group(n_channels, rank)
    group.fit(channels_of(4, n_channels, 600))
    oracle = Oracle(group)
    loadings, own = oracle.factor_model()
    present = channels_of(5, n_channels, 1)
    scores = group.scores(present)[:, 0]
    oracle.look(present[:, 0], loadings, own)
    standard = oracle.standard * RARE * np.sqrt(oracle.variance) / oracle.own
    squared = standard @ np.linalg.solve(loadings @ loadings.T + np.diag(own), standard) * RARE**2
    whitened = scores * joint_limit(n_channels, "l2")
    assert (whitened**2).sum() == pytest.approx(squared / RARE**2 * 1.0, rel=1e-9)


def test_channels_that_hardly_differ_are_whitened_as_exactly() -> None:
    # A hundredth of the variance is noise, the least there is, and some factors are tiny.
    group = Group(6, rank=5)
    group.fit(channels_of(22, 6, 600))
    group.channels["level_products"][:] = np.random.default_rng(23).normal(size=(6, 5))
    group.channels["level_products"][:, 2:] *= 1e-6
    squares = (group.channels["level_products"] ** 2).sum(axis=1)
    group.channels["level_variance"][:] = squares * (1.0 + 1e-4)
    oracle = Oracle(group)
    loadings, own = oracle.factor_model()
    present = channels_of(24, 6, 1)
    found = group.scores(present)[:, 0] * joint_limit(6, "l2")
    oracle.look(present[:, 0], loadings, own)
    np.testing.assert_allclose(found, abs(oracle.whole / oracle.reach), rtol=1e-8)


def test_a_group_of_three_has_two_factors_at_most() -> None:
    past, present = channels_of(25, 3, 300), channels_of(26, 3, 200)
    two, eight = Group(3, rank=2), Group(3, rank=8)
    for group in (two, eight):
        group.fit(past)
    np.testing.assert_array_equal(two.scores(present), eight.scores(present))
    for name, array in two.channels.arrays().items():
        expected = array if name != "level_products" else np.pad(array, ((0, 0), (0, 6)))
        np.testing.assert_array_equal(eight.channels[name], expected)


def test_whitened_normal_noise_is_uncorrelated_and_of_variance_1() -> None:
    group = Group(5)
    group.fit(channels_of(6, 5, 4_000))
    present = channels_of(7, 5, 4_000)
    yhat, lower, _ = group.walk(present)
    whitened = (present - yhat) / (yhat - lower) * joint_limit(5, "l2")
    np.testing.assert_allclose(np.cov(whitened), np.eye(5), atol=0.15)


@pytest.mark.parametrize("n_channels", [1, 4, 30, 1000])
def test_limits_are_those_of_the_distributions(n_channels: int) -> None:
    rare = 2.0 * norm.sf(RARE)
    most = norm.isf(rare / n_channels / 2.0)
    assert joint_limit(n_channels, "max") == pytest.approx(most, rel=1e-6)
    squares = np.sqrt(chi2.isf(rare, n_channels) / n_channels)
    assert joint_limit(n_channels, "l2") == pytest.approx(squares, rel=0.04)
    for aggregation, join in (
        ("max", np.max),
        ("mean", np.mean),
        ("l2", lambda x: np.sqrt(np.mean(x**2))),
    ):
        alone = np.zeros(n_channels)
        alone[0] = lone_limit(n_channels, aggregation)
        assert join(alone) == pytest.approx(joint_limit(n_channels, aggregation))


def test_few_swings_make_the_bound_that_of_student() -> None:
    group = Group(1)
    group.fit(channels_of(8, 1, 200))
    reference, spread = group.level["reference"][0], np.sqrt(group.level["variance"][0])
    kept = {name: array.copy() for name, array in group.channels.arrays().items()}
    for swings in (2, 5, 20, 1_000):
        for name, array in kept.items():
            group.channels[name][:] = array
        group.level["n_swings"] = swings
        group.level["recent"] = reference
        y = np.array([[reference + WINDOW * 0.2 * spread]])
        bound = 0.2 / (group.scores(y)[0, 0] * joint_limit(1, "l2")) * RARE
        rare = norm.sf(RARE)
        own = np.sqrt(group.channels["level_variance"][0]) * RARE
        assert bound / own == pytest.approx(t.isf(rare, swings + 1), rel=0.07)


def test_an_incident_scores_as_long_as_it_lasts_and_is_over_soon() -> None:
    group = Group(4)
    group.fit(channels_of(9, 4, 400))
    present = channels_of(10, 4, 300)
    present[1, 100:200] += 1e4
    joint = group.joint(present)
    assert (joint[:100] < 1.0).all()
    assert (joint[110:200] > 1.0).all()
    assert (joint[200 + 5 * WINDOW :] < 1.0).all()


def test_one_sample_of_any_size_is_no_level() -> None:
    group = Group(3)
    group.fit(channels_of(11, 3, 400))
    present = channels_of(12, 3, 100)
    present[1, 50] = 1e300
    assert (group.joint(present) < 1.0).all()


def test_what_stays_is_the_reference_in_the_end() -> None:
    group = Group(3)
    group.fit(channels_of(13, 3, 400))
    present = channels_of(14, 3, 800)
    present[0, 100:] += 30.0
    joint = group.joint(present)
    assert (joint[120:220] > 1.0).all()
    # There is no score until the new reference is known.
    assert not (joint[100 + ADOPTION_WINDOWS * WINDOW + 10 :] > 1.0).any()
    assert np.isfinite(joint[-100:]).all()
    assert np.isfinite(group.scores(channels_of(15, 3, 5))).all()


def test_a_channel_that_always_wandered_may_wander_on() -> None:
    rng = np.random.default_rng(16)
    values = channels_of(16, 4, 2_000)
    walk = np.cumsum(rng.normal(size=2_000))
    values[3] = 1e4 + 10.0 * walk
    still, wandering = Group(4), Group(4)
    wandering.fit(values[:, :500])
    assert (wandering.joint(values[:, 500:]) > 1.0).mean() < 0.01
    # Where the fit did not show it, it is an incident.
    fixed = values.copy()
    fixed[3, :500] = 1e4 + rng.normal(size=500)
    still.fit(fixed[:, :500])
    assert (still.joint(fixed[:, 500:]) > 1.0).mean() > 0.05


def test_no_alarms_in_noise_of_any_kind() -> None:
    rng = np.random.default_rng(17)
    for noise in (rng.normal(size=(6, 6_000)), rng.standard_t(4, (6, 6_000))):
        shared = rng.normal(size=(6, 2)) @ rng.normal(size=(2, 6_000))
        group = Group(6)
        values = noise + shared
        group.fit(values[:, :1_000])
        assert (group.joint(values[:, 1_000:]) > 1.0).mean() < 1e-3


def test_points_that_are_not_usable_change_nothing() -> None:
    past, present = channels_of(18, 3, 300), channels_of(19, 3, 40)
    usable = np.ones((1, 40), np.bool_)
    usable[0, [0, 4, 5, 20]] = False
    group, without = Group(3), Group(3)
    group.fit(past)
    without.fit(past)
    marked = np.where(usable, present, np.nan)
    found = group.walk(marked, usable=usable)
    expected = without.walk(np.ascontiguousarray(present[:, usable[0]]))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one[:, usable[0]], other)
        assert np.isnan(one[:, ~usable[0]]).all()


@pytest.mark.parametrize("value", [0.0, 1e-300, 7.0, 1e300])
@pytest.mark.parametrize("rank", [0, 2])
def test_channels_that_never_move_and_huge_ones_stay_finite(value: float, rank: int) -> None:
    group = Group(3, rank)
    group.fit(np.full((3, 100), value))
    for sign in (1.0, -1.0):
        for bound in group.walk(np.full((3, 300), sign * value)):
            assert np.isfinite(bound[:, -1]).all()
    for name, array in group.channels.arrays().items():
        assert name == "last_seen" or np.isfinite(array).all()


@pytest.mark.parametrize("n_samples", [0, 1, 2, WINDOW, WINDOW + 1, WINDOW + 2, KNOWN - 1])
def test_nothing_is_said_before_a_reference_is_known(n_samples: int) -> None:
    group = Group(3)
    group.fit(channels_of(20, 3, n_samples))
    scores = group.scores(channels_of(21, 3, KNOWN + 20))
    assert np.isnan(scores[:, : KNOWN - n_samples]).all()
    assert (scores[:, KNOWN - n_samples :] < 2.0).all()
