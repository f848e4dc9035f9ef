"""States whose arrays no history can have left are refused before a kernel sees them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.endurance.state_subjects import NAMES, Subject, subject
from vmanomaly.model.state import (
    FINITE,
    Array,
    Column,
    Range,
    check_columns,
    ranges_of,
    records,
)
from vmanomaly.model.temporal_envelope.columns import ENVELOPE
from vmanomaly.series import SeriesBatch
from vmanomaly.state import Content

Forge = Callable[[dict[str, Array]], object]


@pytest.fixture(scope="module")
def subjects() -> dict[str, Subject]:
    return {name: subject(name) for name in NAMES}


def put(name: str, value: Any, *place: int) -> Forge:
    def forge(arrays: dict[str, Array]) -> None:
        arrays[name][place or ...] = value

    return forge


def swapped(name: str, row: int, one: int, other: int) -> Forge:
    def forge(arrays: dict[str, Array]) -> None:
        arrays[name][row, [one, other]] = arrays[name][row, [other, one]]

    return forge


def repeated_sample(arrays: dict[str, Array]) -> None:
    arrays["ascending"][0, 1] = arrays["ascending"][0, 0]


def overlapping_digests(arrays: dict[str, Array]) -> None:
    placed = np.flatnonzero(arrays["digest_room"])
    arrays["digest_start"].ravel()[placed[-1]] = arrays["digest_start"].ravel()[placed[0]]


def many_channels(arrays: dict[str, Array]) -> None:
    arrays["n_channels"][-1] = 10**9


def exchanged_sizes(arrays: dict[str, Array]) -> None:
    arrays["n_channels"][:] = [1, 3]
    arrays["first_channel"][:] = [0, 1]


def one_and_three_channels(arrays: dict[str, Array]) -> None:
    arrays["low_offsets"][1] = arrays["high_offsets"][1] = 1


def two_channels(arrays: dict[str, Array]) -> None:
    for name in ("low", "high"):
        arrays[name] = np.append(arrays[name], 1e9)
        arrays[f"{name}_offsets"][-1] += 1


def without_trees(arrays: dict[str, Array]) -> None:
    for name in ("feature", "value", "right"):
        arrays[name] = arrays[name][:0]
        arrays[f"{name}_offsets"][:] = 0
    n_rows = len(arrays["reach"])
    arrays["tree_starts"] = np.zeros(n_rows, np.int64)
    arrays["tree_starts_offsets"] = np.arange(n_rows + 1)


def late_base(arrays: dict[str, Array]) -> None:
    records(arrays["envelope"], ENVELOPE)["base_since"][0] = 2.0**50


def later_counter(arrays: dict[str, Array]) -> None:
    arrays["counter"][0] = 1.0, 5.0, 2.0**50


FORGERIES: list[tuple[str, Forge, str]] = [
    ("mad_online", put("n_centroids", 10**9, 0), "column n_centroids: found 1000000000"),
    ("mad_online", put("n_centroids", -1, 0), "column n_centroids: found -1, expected 0 to 36"),
    ("mad_online", put("n_centroids", 0, 1), "n_centroids: not the centroids of the samples"),
    ("mad_online", put("centroid_mean", math.nan, 0, 3), "centroid_mean: found nan"),
    ("mad_online", put("centroid_mean", 1e9, 0, 0), "centroid_mean: the means of a digest"),
    ("mad_online", put("centroid_weight", math.nan, 0, 3), "centroid_weight: found nan"),
    ("mad_online", put("centroid_weight", 3e38, 0, 3), "centroid_weight: found 3"),
    ("mad_online", put("centroid_weight", 9e36), "centroid_weight: a digest weighs nothing, or"),
    ("mad_online", put("centroid_weight", 0.0, 0), "centroid_weight: a digest weighs nothing, or"),
    ("mad_online", put("sample_weight", 2.0, 0), "sample_weight: found 2.0"),
    ("mad_online", put("sample_weight", 0.0, 0), "sample_weight: found 0.0"),
    ("mad_online", put("n_samples_seen", -1, 0), "n_samples_seen: found -1"),
    ("mad_online", put("n_samples_seen", 2**63 - 1, 0), "n_samples_seen: found 9223"),
    ("mad_online", put("last_seen", 2**62, 0), "last_seen: found 4611"),
    ("mad_online", put("incident", -1e300, 0), "incident: found -1e"),
    ("mad_online", put("incident", math.nan, 0), "incident: found nan"),
    ("rolling_quantile", put("ascending", 2**31 - 1, 0, 3), "ascending: found 2147483647"),
    ("rolling_quantile", put("ascending", -(2**31), 0, 3), "ascending: found -2147483648"),
    ("rolling_quantile", put("window", math.inf, 0, 3), "window: found inf"),
    ("rolling_quantile", swapped("ascending", 1, 2, 9), "ascending: not the places"),
    ("rolling_quantile", repeated_sample, "ascending: not the places"),
    ("rolling_quantile decayed", put("n_samples_seen", 3, 0), "ascending: not the places"),
    ("quantile_online", put("digest_start", 2**63 - 1, 0, 0), "digest_start: found 9223"),
    ("quantile_online", put("digest_start", 2**53, 0, 0), "next to each other"),
    ("quantile_online seasonal", overlapping_digests, "next to each other"),
    ("quantile_online", put("digest_room", 5, 0, 0), "digest_room: no digest has such room"),
    ("quantile_online", put("centroid_mean", math.nan, 0), "centroid_mean: found nan"),
    ("quantile_online", put("centroid_weight", -1.0, 0), "centroid_weight: found -1.0"),
    ("zscore_online", put("mean", math.nan, 0), "mean: found nan"),
    ("zscore_online", put("root", -1.0, 0), "root: found -1.0"),
    ("zscore_online", put("weight", 0.0, 0), "weight: not the weight of the samples"),
    ("zscore_online", put("pair_weight", 1e300, 0), "pair_weight: pairs weigh more"),
    ("std", put("latest", math.inf, 0, 0), "latest: found inf"),
    ("std", put("latest", math.nan, 0, 0), "phase_count: a phase was seen"),
    ("std", put("phase_count", -1, 0, 0), "phase_count: found -1"),
    ("std", put("phase_count", 10**6, 0, 0), "phase_count: more than the samples"),
    ("std", put("freedom", 1e9, 0), "freedom: more than the samples"),
    ("temporal_envelope", put("envelope", math.nan, 0, 3), "envelope: found nan"),
    ("temporal_envelope", put("envelope", 7.0, 0, 0), "n_learned is not the number of samples"),
    ("temporal_envelope", put("envelope", 2.0**50, 0, 1), "last_time is after"),
    ("temporal_envelope", late_base, "base_since is after"),
    ("temporal_envelope", put("counter", 2.0, 0, 0), "counter: found 2.0"),
    ("temporal_envelope", later_counter, "counter: last_time is after"),
    ("temporal_envelope", put("profile_visits", -1.0, 0, 0), "profile_visits: found -1.0"),
    ("temporal_envelope forecasts", put("forecast", 2.0**50), "forecast: "),
    ("temporal_envelope_multivariate", many_channels, "not the sizes of groups of 4 channels"),
    ("temporal_envelope_multivariate", exchanged_sizes, "is not that of its group|other channels"),
    ("temporal_envelope_multivariate", put("factor_moments", math.nan, 0), "factor_moments: found"),
    ("temporal_envelope_multivariate", put("channel.variance", -1.0, 0), "variance: found -1.0"),
    ("temporal_envelope_multivariate", put("channel.last_seen", 0, 1), "last_seen of a channel"),
    ("temporal_envelope_multivariate", put("channel.tails", -1.0, 0, 0), "tails: found -1.0"),
    ("isolation_forest", put("right", 0, 0), "column right: not the place of a later node"),
    ("isolation_forest", put("right", 2**31 - 1, 0), "column right: not the place"),
    ("isolation_forest", put("right", -(2**31), 0), "column right: not the place"),
    ("isolation_forest", put("feature", 5, 0), "column feature: not one of 5"),
    ("isolation_forest", put("feature", -2, 0), "column feature: not one of 5"),
    ("isolation_forest", put("feature", 0, -1), "column right: not the place"),
    ("isolation_forest", put("value", math.nan, 0), "column value: found a number that is not"),
    ("isolation_forest", put("value", 1e6, -1), "column value: a leaf holds 1 to 32 samples"),
    ("isolation_forest", put("tree_starts", 2**62, 1), "column tree_starts: not the trees"),
    ("isolation_forest", put("tree_starts_offsets", 2, 1), "column tree_starts: not the trees"),
    ("isolation_forest", put("feature_offsets", 7, 1), "tree_starts: not the trees of 7 nodes"),
    (
        "isolation_forest",
        put("samples_per_tree", 2**40, 0),
        "samples_per_tree: found 1099511627776",
    ),
    ("isolation_forest", put("samples_per_tree", 0, 0), "column value: a leaf holds"),
    ("isolation_forest", put("threshold", -2.0, 0), "threshold: found -2.0"),
    ("isolation_forest", put("reach", math.nan, 0), "reach: found nan"),
    ("isolation_forest", put("low", math.inf, 0), "low: found inf"),
    ("isolation_forest", put("high", -1e9, 0), "column high: a value is below that in low"),
    ("isolation_forest", put("high_offsets", 0, 1), "column high: not as many values as in low"),
    ("isolation_forest", two_channels, "column low: not one channel per series"),
    ("isolation_forest", without_trees, "column reach: a forest without trees has none"),
    ("isolation_forest_multivariate", one_and_three_channels, "feature: not one|other channels"),
    ("temporal_envelope_multivariate", put("level_moments", math.inf, 0), "level_moments: found"),
    ("temporal_envelope_multivariate", put("level_moments", -1.0), "level_moments: a factor has a"),
    ("temporal_envelope_multivariate", put("n_levels_learned", -1.0, 0), "n_levels_learned: found"),
    ("temporal_envelope_multivariate", put("channel.level", 1e200, 0, 0), "level: found 1e"),
    ("temporal_envelope_multivariate", put("channel.level", -1.0, 0, 2), "level: found -1.0"),
    ("temporal_envelope_multivariate", put("channel.level", 1e9, 0, 3), "more is known of a level"),
    ("temporal_envelope_multivariate", put("channel.level", 2.0, 0, 5), "level: found 2.0"),
    ("temporal_envelope_multivariate", put("channel.level_variance", -1.0, 0), "level_variance: f"),
    ("custom", put("offsets", 2**62, 1), "not the bytes of one object per series"),
    ("custom batch", put("std", -1.0, 0), "column std: found -1.0"),
]


@pytest.mark.parametrize(("name", "forge", "problem"), FORGERIES)
def test_a_forged_column_is_refused(
    subjects: dict[str, Subject], name: str, forge: Forge, problem: str
) -> None:
    content = subjects[name].content
    arrays = {key: array.copy() for key, array in content.arrays.items()}
    forge(arrays)
    with pytest.raises(ValueError, match=problem):
        subjects[name].restored(Content(content.members, arrays))


@pytest.mark.parametrize("name", NAMES)
def test_what_was_learned_is_not_refused(subjects: dict[str, Subject], name: str) -> None:
    subjects[name].restored(subjects[name].content)


EXTREMES = np.array([0.0, -0.0, 1.0, 1e-320, 1e-9, 1e9, 1e160, 1.7e308, -1.7e308, np.inf, np.nan])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("custom")])
def test_what_extreme_samples_leave_is_not_refused(
    subjects: dict[str, Subject], name: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    known = subjects[name]
    n_fit, n_times = 150, 200
    times = known.new.timestamps[0] + 60_000 * np.arange(n_times)
    values = rng.choice(EXTREMES, (4, n_times))
    values[0] = rng.normal(0.0, 1.0, n_times)
    values[0, 170:] = 1.7e308
    values[1] = np.where(rng.random(n_times) < 0.9, 5.0, values[1])
    batch = SeriesBatch(known.new.labels, times, values)
    learned, _ = known.detector.fit([batch.columns(0, n_fit)])
    for start in range(n_fit, n_times, 10):
        part = batch.columns(start, start + 10)
        learned, _ = known.detector.infer(learned, [part], np.arange(0, 10, 2))
        state = learned.state
        again = known.detector.restore(state.labels, learned.grouping, state.arrays())
        assert len(again.state) == len(state)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("custom")])
def test_every_column_says_what_it_may_hold(subjects: dict[str, Subject], name: str) -> None:
    state = subjects[name].learned.state
    channels = getattr(state, "channels", state)
    for column in (*state.columns, *channels.columns):
        assert column.within is not None, column.name


def test_a_column_that_declares_nothing_may_hold_anything() -> None:
    check_columns([Column("x", np.float64)], 2, {"x": np.array([np.nan, np.inf])})


def test_ranges_name_what_they_found() -> None:
    column = Column("x", np.float64, (2,), within=(FINITE, Range(0.0, 1.0, or_nan=True)))
    check_columns([column], 2, {"x": np.array([[-5.0, np.nan], [7.0, 1.0]])})
    with pytest.raises(ValueError, match=r"column x: found 1\.5, expected 0 to 1"):
        check_columns([column], 2, {"x": np.array([[0.0, np.nan], [0.0, 1.5]])})


def test_ranges_of_rows_within_rows() -> None:
    inner = np.dtype([("low", np.float64), ("high", np.float64)])
    row = np.dtype([("a", np.float64), ("b", inner), ("c", np.float64, (2,))])
    one = Range(0.0, 1.0)
    assert ranges_of(row, {"high": one, "c": one}) == (FINITE, FINITE, one, one, one)
