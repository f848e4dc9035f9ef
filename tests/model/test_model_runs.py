"""What several samples reach together: the oracle sorts the last twelve with NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from vmanomaly.kernel import kernel
from vmanomaly.model import Model
from vmanomaly.model.base import LARGEST
from vmanomaly.model.scoring import score
from vmanomaly.model.state import Record
from vmanomaly.model.temporal_envelope.runs import (
    RUNS,
    add_to_runs,
    forget_runs,
    learn_runs,
    limit_of,
    pair_of,
    spell_of,
)
from vmanomaly.model.temporal_envelope.tails import ABOVE, BELOW, SIDES, TAILS, learn_tails
from vmanomaly.series import FloatArray, Labels, SeriesBatch

STEP = 300_000
WEEK = 2016
START = 1_767_571_200_000
WINDOW = 16
STEP_WEEKS = 1 / WEEK
KEPT = math.exp(-STEP_WEEKS / 2.0)


@kernel
def look(runs: Record, deviation: float, found: FloatArray) -> None:
    found[0], found[1] = limit_of(runs, BELOW), limit_of(runs, ABOVE)
    found[2], found[3] = pair_of(runs, deviation)
    found[4], found[5] = spell_of(runs, deviation)


@kernel
def learn(runs: Record, deviation: float, window: int, weeks: float) -> None:
    learn_runs(runs, deviation, window, weeks, KEPT)


@kernel
def add(runs: Record, deviation: float) -> None:
    add_to_runs(runs, deviation)


@kernel
def forget(runs: Record) -> None:
    forget_runs(runs)


def seen(runs: Record, deviation: float) -> FloatArray:
    found = np.empty(6)
    look(runs, deviation, found)
    return found


@pytest.mark.parametrize("kind", ["normal", "heavy", "counts", "waves"])
def test_what_samples_reach_together_and_their_limits(kind: str) -> None:
    """Against sorting the last twelve, and `learn_tails` on what that gives."""
    rng = np.random.default_rng(3)
    n_points = 3000
    deviations = {
        "normal": rng.normal(size=n_points),
        "heavy": rng.standard_t(2, n_points),
        "counts": rng.poisson(0.7, n_points) - 1.0,
        "waves": 4.0 * np.sin(np.arange(n_points) / 9.0) + rng.normal(size=n_points),
    }[kind]
    runs = np.zeros(1, RUNS)[0]
    pair, spell = np.zeros(1, TAILS)[0], np.zeros(1, TAILS)[0]
    last = np.zeros(11)
    n_limits = 0
    for deviation in deviations:
        twelve = np.sort(np.append(last, deviation))
        pairs = [min(-deviation, -last[-1]), min(deviation, last[-1])]
        spells = [-twelve[7], twelve[-8]]
        expected = []
        for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
            of_pair = 1.25 * max(pair["reach"][side], 2.3)
            of_spell = 2.0 * max(spell["reach"][side], 1.05)
            # With the sample, two of two, or eight of twelve, would be beyond the limit.
            met = [of_pair] if sign * last[-1] >= of_pair else []
            met += [of_spell] if (sign * last >= of_spell).sum() >= 7 else []
            expected.append(min(met, default=math.inf))
        found = seen(runs, deviation)
        np.testing.assert_array_equal(found, [*expected, *pairs, *spells])
        n_limits += int(np.isfinite(expected).sum())
        learn(runs, deviation, WINDOW, STEP_WEEKS)
        learn_tails(pair, pairs[0], pairs[1], 2.3, WINDOW, STEP_WEEKS, KEPT, math.inf)
        learn_tails(spell, spells[0], spells[1], 1.05, WINDOW, STEP_WEEKS, KEPT, math.inf)
        last = np.append(last[1:], deviation)
    assert kind == "normal" or n_limits > 0
    for name in TAILS.names or ():
        np.testing.assert_array_equal(runs["pair"][name], pair[name])
        np.testing.assert_array_equal(runs["spell"][name], spell[name])


def test_nothing_is_left_of_deviations_before_a_new_level() -> None:
    runs = np.zeros(1, RUNS)[0]
    for _ in range(20):
        add(runs, 50.0)
    assert np.isfinite(seen(runs, 0.0)[1])
    forget(runs)
    assert np.isinf(seen(runs, 0.0)[:2]).all()


@pytest.mark.parametrize("place", [-1e300, -0.5, 10.7, 11.0, 1e300])
def test_a_ring_that_contradicts_itself_is_only_wrong(place: float) -> None:
    """A state is checked place by place, not for what places say of each other."""
    runs = np.zeros(1, RUNS)[0]
    runs["recent"], runs["ordered"] = 7.0, np.arange(11.0)
    runs["position"] = place
    for deviation in (3.0, -1e308, 1e308, 0.0):
        add(runs, deviation)
    assert np.isfinite(runs["ordered"]).all()
    assert 0.0 <= runs["position"] <= 10.0


def outputs_of(model: Model, values: FloatArray, n_fit: int) -> dict[str, FloatArray]:
    labels = (Labels({"job": "api"}),)
    times = START + STEP * np.arange(len(values), dtype=np.int64)
    state = model.fit(SeriesBatch(labels, times[:n_fit], values[None, :n_fit].copy()))
    present = SeriesBatch(labels, times[n_fit:], values[None, n_fit:].copy())
    found = model.infer(state, present, np.arange(len(values) - n_fit)).outputs
    outputs = {name: array[0] for name, array in found.items()}
    bounds = outputs["yhat_lower"], outputs["yhat_upper"]
    outputs["score"] = score(values[n_fit:], outputs["yhat"], *bounds)
    return outputs


@pytest.fixture(scope="module")
def latency() -> FloatArray:
    """Three weeks: 100 with a noise of 1, and a slow sample of 10 to 30 more every few hours."""
    rng = np.random.default_rng(5)
    values = 100.0 + rng.normal(size=3 * WEEK)
    slow = rng.random(3 * WEEK) < 0.02
    slow[1:] &= ~slow[:-1]
    values[slow] += rng.uniform(10.0, 30.0, slow.sum())
    return values


def test_isolated_slow_samples_are_normal_and_several_of_them_are_not(
    make_model: Callable[..., Model], latency: FloatArray
) -> None:
    model = make_model("temporal_envelope", seasonalities=[])
    usual = outputs_of(model, latency, 2 * WEEK)
    assert (usual["score"] > 1.0).sum() <= 2
    slower = latency.copy()
    slower[2 * WEEK + 500 : 2 * WEEK + 560] += 12.0
    found = outputs_of(model, slower, 2 * WEEK)
    # The first is one of those that recur; the bound is nearer from the second on.
    assert found["score"][500] < 1.0
    assert found["yhat_upper"][500] == usual["yhat_upper"][500]
    assert (found["score"][501:512] > 1.0).all()
    # One that is usual again is inside, and so is the next one.
    assert found["score"][570:].max() < 1.2


def test_only_the_next_sample_is_judged_with_the_ones_before(
    make_model: Callable[..., Model], latency: FloatArray
) -> None:
    """Later points of a micro-batch have neighbours that are not known when it is predicted."""
    model = make_model("temporal_envelope", seasonalities=[])
    labels = (Labels({"job": "api"}),)
    values = latency.copy()
    last = 2 * WEEK + 299
    values[last] += 25.0
    times = START + STEP * np.arange(len(values), dtype=np.int64)
    state = model.fit(SeriesBatch(labels, times[: last + 1], values[None, : last + 1].copy()))
    present = SeriesBatch(labels, times[last + 1 : last + 21], values[None, last + 1 : last + 21])
    upper = model.infer(state, present, np.zeros(1, np.int64)).outputs["yhat_upper"][0]
    assert upper[0] < upper[1] - 5.0
    np.testing.assert_allclose(upper[1:], upper[1], atol=0.5)


def test_a_range_of_quantiles_stays_one(make_model: Callable[..., Model]) -> None:
    """`iqr_threshold` 0: the bounds are quantiles, whatever samples say together."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=2 * WEEK)
    values[WEEK + 100 : WEEK + 200] += 6.0
    model = make_model("temporal_envelope", seasonalities=[], iqr_threshold=0)
    found = outputs_of(model, values, WEEK)
    widths = found["yhat_upper"][:100] - found["yhat_lower"][:100]
    np.testing.assert_allclose(
        found["yhat_upper"][101:104] - found["yhat"][101:104], 0.67, atol=0.15
    )
    assert widths.min() > 1.0


def test_a_sample_back_at_the_level_before_is_no_evidence(
    make_model: Callable[..., Model],
) -> None:
    rng = np.random.default_rng(8)
    values = 100.0 + rng.normal(size=2 * WEEK)
    values[WEEK + 200 : WEEK + 260] = 60.0
    found = outputs_of(make_model("temporal_envelope", seasonalities=[]), values, WEEK)
    beyond, at = found["beyond_levels"], found["score"]
    assert (np.delete(beyond, np.arange(210, 800)) == LARGEST).all()
    # Adopted after 16 samples; from then on this level is the present one.
    assert (beyond[217:260] == LARGEST).all()
    returned = slice(260, 264)
    upper = found["yhat_upper"][returned]
    y, most = values[WEEK:][returned], upper - 4.0
    assert at[returned].max() > 0.6
    assert (beyond[returned] < 0.75).all()
    np.testing.assert_allclose(
        beyond[returned], np.maximum(y - most, 0.0) / (upper - most), atol=0.3
    )
