"""The oracles: the conditional normal distribution, and the recursions written out in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from tests.examples import examples
from vmanomaly.model.online import Bounds
from vmanomaly.model.state import SeriesState
from vmanomaly.model.temporal_envelope_multivariate import dependency
from vmanomaly.model.temporal_envelope_multivariate.dependency import (
    LARGEST_DEVIATION,
    LEAST_DISTANCE,
    DependencyParameters,
    channel_columns,
    factor_room,
    fit_group,
    group_columns,
    reach_of_noise,
    relations_of,
    walk_groups,
)
from vmanomaly.model.temporal_envelope_multivariate.factors import LEAST_UNIQUENESS
from vmanomaly.series import FloatArray, Labels

QUANTILES = (0.25, 0.75)
REACH = 2.5
STEP, WEEK = 60_000, 7 * 86_400_000


class Groups:
    """Some groups of channels, fitted and walked as the model does."""

    def __init__(self, sizes: list[int], rank: int) -> None:
        self.offsets = np.concatenate(([0], np.cumsum(sizes)))
        self.groups = SeriesState(group_columns(rank))
        self.groups.rows(tuple(Labels({"g": str(g)}) for g in range(len(sizes))))
        self.channels = SeriesState(channel_columns(rank))
        self.channels.rows(tuple(Labels({"c": str(c)}) for c in range(sum(sizes))))
        self.rank = rank

    def fit(self, deviations: FloatArray) -> None:
        for g in range(len(self.offsets) - 1):
            rows = slice(self.offsets[g], self.offsets[g + 1])
            fit_group(
                {c.name: self.groups[c.name][g : g + 1] for c in group_columns(self.rank)},
                {c.name: self.channels[c.name][rows] for c in channel_columns(self.rank)},
                deviations[rows],
                QUANTILES,
                STEP,
                window=16,
                seed=42,
            )

    def walk(
        self, deviations: FloatArray, starts: list[int], decay: float = 1.0, **more: Any
    ) -> Bounds:
        n_groups = len(self.offsets) - 1
        usable = more.get("usable", np.ones((n_groups, deviations.shape[1]), np.bool_))
        found = Bounds(*(np.full(deviations.shape, np.nan) for _ in range(3)))
        of_groups = (self.groups[column.name] for column in group_columns(self.rank))
        walk_groups(
            dependency.Groups(
                self.offsets,
                np.arange(n_groups),
                np.arange(len(deviations)),
                np.full(n_groups, REACH),
                *of_groups,
            ),
            relations_of(self.channels),
            np.array(starts),
            usable,
            deviations,
            DependencyParameters(*QUANTILES, width=1.0, window=16, weeks=STEP / WEEK, decay=decay),
            factor_room(len(deviations), self.rank),
            found,
        )
        return found


def related(seed: int, n_channels: int, n_samples: int, n_factors: int = 2) -> FloatArray:
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(n_channels, n_factors))
    common = loadings @ rng.normal(size=(n_factors, n_samples))
    deviations: FloatArray = 0.2 * (common + 0.4 * rng.normal(size=(n_channels, n_samples)))
    return deviations


def conditional_means(covariance: FloatArray, deviations: FloatArray) -> FloatArray:
    """The mean of each channel of a normal distribution, given all others."""
    means = np.empty(deviations.shape)
    for c in range(len(covariance)):
        others = np.arange(len(covariance)) != c
        weights = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, c])
        means[c] = weights @ deviations[others]
    return means


def stored_covariance(groups: Groups, rows: slice, g: int) -> FloatArray:
    products = groups.channels["factor_products"][rows]
    loadings = np.linalg.solve(groups.groups["factor_moments"][g], products.T).T
    variance = groups.channels["variance"][rows]
    own = variance - np.einsum("ck,ck->c", loadings, products)
    own = np.clip(own, LEAST_UNIQUENESS * variance, variance)
    covariance: FloatArray = loadings @ loadings.T + np.diag(own)
    return covariance


@pytest.mark.parametrize("n_channels", [2, 3, 7, 12])
def test_a_channel_is_expected_where_the_others_say(n_channels: int) -> None:
    groups = Groups([n_channels], rank=8)
    past, present = related(1, n_channels, 1_000), related(2, n_channels, 20)
    groups.fit(past)
    covariance = stored_covariance(groups, slice(n_channels), 0)
    tails = groups.channels["tails"].copy()
    expected, lower, upper = groups.walk(present, [0])
    means = conditional_means(covariance, np.clip(present, -LARGEST_DEVIATION, LARGEST_DEVIATION))
    np.testing.assert_allclose(expected, means, rtol=1e-6, atol=1e-9)
    clipped = np.clip(past, -LARGEST_DEVIATION, LARGEST_DEVIATION)
    left = past - conditional_means(covariance, clipped)
    low, high = np.quantile(left, QUANTILES, axis=1)
    reach = REACH * (high - low)
    below = np.minimum(np.minimum(low, 0) - np.maximum(reach, tails[:, 0]), -LEAST_DISTANCE)
    above = np.maximum(np.maximum(high, 0) + np.maximum(reach, tails[:, 1]), LEAST_DISTANCE)
    np.testing.assert_allclose(lower - expected, np.tile(below[:, None], 20), rtol=1e-4)
    np.testing.assert_allclose(upper - expected, np.tile(above[:, None], 20), rtol=1e-4)


def test_learning_is_the_recursion_written_out() -> None:
    groups, decay = Groups([4], rank=2), 0.99
    past, present = related(3, 4, 300), related(4, 4, 30)
    present[1, 7] = 50.0
    groups.fit(past)
    products = groups.channels["factor_products"].copy()
    moments = groups.groups["factor_moments"][0].copy()
    variance, n_learned = groups.channels["variance"].copy(), 300.0
    low = groups.channels["lower_quantile"].copy()
    high = groups.channels["upper_quantile"].copy()
    starts = [0, 1, 5, 6, 20]
    expected, _, _ = groups.walk(present, starts, decay)
    for t in range(30):
        if t in starts:
            loadings = np.linalg.solve(moments, products.T).T
            own = np.clip(variance - (loadings * products).sum(1), 0.01 * variance, variance)
            covariance = loadings @ loadings.T + np.diag(own)
            posterior = np.linalg.inv(np.eye(2) + (loadings.T / own) @ loadings)
        z = np.clip(present[:, t], -LARGEST_DEVIATION, LARGEST_DEVIATION)
        means = conditional_means(covariance, z[:, None])[:, 0]
        np.testing.assert_allclose(expected[:, t], means, rtol=1e-8)
        factors = posterior @ (loadings.T / own) @ z
        n_learned = decay * n_learned + 1
        products += (np.outer(z, factors) - products) / n_learned
        moments += (posterior + np.outer(factors, factors) - moments) / n_learned
        variance += (z**2 - variance) / n_learned
        left = present[:, t] - means
        step = 2 / n_learned * np.maximum(high - low, 0.01)
        low, high = (
            low + step * (QUANTILES[0] - (left <= low)),
            high + step * (QUANTILES[1] - (left <= high)),
        )
    np.testing.assert_allclose(groups.channels["factor_products"], products, rtol=1e-8)
    np.testing.assert_allclose(groups.groups["factor_moments"][0], moments, rtol=1e-8)
    np.testing.assert_allclose(groups.channels["variance"], variance, rtol=1e-8)
    np.testing.assert_allclose(groups.channels["lower_quantile"], low, rtol=1e-8)
    np.testing.assert_allclose(groups.channels["upper_quantile"], high, rtol=1e-8)
    assert groups.groups["n_learned"][0] == pytest.approx(n_learned)


def test_a_relation_that_changes_is_learned_again() -> None:
    groups = Groups([3], rank=1)
    groups.fit(related(5, 3, 500, n_factors=1))
    other = related(6, 3, 4_000, n_factors=1)
    expected, _, _ = groups.walk(other, list(range(4_000)), decay=0.995)
    fresh = Groups([3], rank=1)
    fresh.fit(other[:, :3_000])
    best, _, _ = fresh.walk(other[:, 3_000:], [0])
    error = np.abs(other[:, 3_000:] - expected[:, 3_000:]).mean()
    assert error < 1.1 * np.abs(other[:, 3_000:] - best).mean()
    assert error < 0.5 * np.abs(other[:, :50] - expected[:, :50]).mean()


def test_quantiles_approach_those_of_the_samples() -> None:
    groups = Groups([3], rank=1)
    samples = related(7, 3, 20_000, n_factors=1)
    groups.fit(samples[:, :100])
    expected, _, _ = groups.walk(samples[:, 100:], list(range(19_900)))
    left = samples[:, 100:] - expected
    low, high = np.quantile(left, QUANTILES, axis=1)
    np.testing.assert_allclose(groups.channels["lower_quantile"], low, rtol=0.1)
    np.testing.assert_allclose(groups.channels["upper_quantile"], high, rtol=0.1)


@examples(30)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5))
@pytest.mark.slow
def test_groups_do_not_know_of_each_other(seed: int, sizes: list[int]) -> None:
    past, present = related(seed, sum(sizes), 60), related(seed + 1, sum(sizes), 15)
    together = Groups(sizes, rank=3)
    together.fit(past)
    found = together.walk(present, [0, 4, 9])
    for g, size in enumerate(sizes):
        rows = slice(together.offsets[g], together.offsets[g + 1])
        alone = Groups([size], rank=3)
        alone.fit(past[rows])
        for one, other in zip(alone.walk(present[rows], [0, 4, 9]), found, strict=True):
            np.testing.assert_array_equal(one, other[rows])
            assert np.isnan(one).all() == (size == 1)


def test_points_that_are_not_usable_change_nothing() -> None:
    past, present = related(8, 3, 100), related(9, 3, 10)
    usable = np.ones((1, 10), np.bool_)
    usable[0, [0, 4, 5]] = False
    groups, without = Groups([3], rank=2), Groups([3], rank=2)
    groups.fit(past)
    without.fit(past)
    marked = present.copy()
    marked[:, ~usable[0]] = np.nan
    found = groups.walk(marked, [0, 5], usable=usable)
    expected = without.walk(np.ascontiguousarray(present[:, usable[0]]), [0, 3])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one[:, usable[0]], other)
        assert np.isnan(one[:, ~usable[0]]).all()


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e300])
def test_channels_that_never_move_and_huge_ones_stay_finite(value: float) -> None:
    groups = Groups([3], rank=8)
    groups.fit(np.full((3, 50), value))
    for bound in groups.walk(np.full((3, 20), -value), list(range(20))):
        assert np.isfinite(bound).all()
    for column in channel_columns(8):
        assert np.isfinite(groups.channels[column.name]).all()


def test_too_few_points_say_nothing() -> None:
    groups = Groups([3], rank=2)
    groups.fit(related(0, 3, 1))
    for bound in groups.walk(related(1, 3, 5), [0]):
        assert np.isnan(bound).all()


@pytest.mark.parametrize(("step", "n_channels"), [(1_000, 2), (60_000, 10), (86_400_000, 3)])
def test_normal_noise_reaches_the_bounds_of_a_group_once_a_week_at_most(
    step: int, n_channels: int
) -> None:
    quartile = norm.ppf(0.75)
    reach = reach_of_noise(step, n_channels)
    a_week = 2 * norm.sf(quartile + 2 * quartile * reach) * n_channels * WEEK / step
    assert a_week <= 1.0 + 1e-9
    assert reach == 2.0 or a_week == pytest.approx(1.0)


def test_heavy_tails_move_the_bounds_apart() -> None:
    heavy = related(10, 3, 5_000)
    heavy += 0.05 * np.random.default_rng(10).standard_t(2, heavy.shape)
    groups = Groups([3], rank=1)
    groups.fit(heavy[:, :3_000])
    _, lower, upper = groups.walk(heavy[:, 3_000:], list(range(2_000)))
    outside = (heavy[:, 3_000:] < lower) | (heavy[:, 3_000:] > upper)
    spreads = groups.channels["upper_quantile"] - groups.channels["lower_quantile"]
    assert (groups.channels["tails"][:, :2] > REACH * spreads[:, None]).all()
    # Bounds for normal noise are left by several per cent of it.
    assert outside.mean() < 0.005
