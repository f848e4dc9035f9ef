"""What every registered model keeps, whatever it computes."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compiled import compiled
from tests.examples import examples
from tests.model.cases import (
    BUILT_IN,
    CASES,
    FORESTS,
    LIBRARY,
    OFFLINE,
    SEVERAL_PASSES,
    UNDECLARED,
    WITH_YHAT,
    name_of,
    section_of,
)
from vmanomaly.config.model import STANDARD_OUTPUTS, OnlineModelSection
from vmanomaly.model import Model, ModelOutput, SeriesState, warm_up
from vmanomaly.model.scoring import Policy, score_series
from vmanomaly.model.state import Array
from vmanomaly.series import FloatArray, Labels, SeriesBatch

MakeModel = Callable[..., Model]
STEP = 60_000
NAN, INF = math.nan, math.inf


def each(cases: Iterable[str]) -> pytest.MarkDecorator:
    """Run a test with each of these cases; libraries, trees and data frames take time."""
    slow = {*LIBRARY, *FORESTS, "custom", "custom online"}
    return pytest.mark.parametrize(
        "alias",
        [pytest.param(case, marks=pytest.mark.slow) if case in slow else case for case in cases],
    )


each_model = each(CASES)
# Libraries take too long for many examples; they have one of each test, at the end.
each_quick_model = each(case for case in CASES if case not in LIBRARY)
each_library_model = each(LIBRARY)
each_built_in_model = each(BUILT_IN)
each_model_with_yhat = each(WITH_YHAT)
each_online_model = each(
    case
    for case in CASES
    if issubclass(section_of(case), OnlineModelSection) and case not in OFFLINE
)
each_model_that_declares = each(case for case in CASES if case not in UNDECLARED)
each_model_whose_fit_is_a_replay = each(
    case
    for case in CASES
    if issubclass(section_of(case), OnlineModelSection) and case not in (*OFFLINE, *SEVERAL_PASSES)
)
each_model_with_history = each(
    case for case in CASES if "history_strength" in section_of(case).model_fields
)


@pytest.fixture(scope="session")
def make_online(make_model: MakeModel) -> MakeModel:
    def make(alias: str, **parameters: float) -> Model:
        model = make_model(alias, **parameters)
        assert model.online
        return model

    return make


def grid(values: FloatArray, start: int = 0, names: str | None = None) -> SeriesBatch:
    """Series on consecutive minutes after `start` minutes."""
    n_series, n_timestamps = values.shape
    labels = tuple(Labels({"series": name}) for name in names or "abcdefgh"[:n_series])
    timestamps = (start + 1 + np.arange(n_timestamps, dtype=np.int64)) * STEP
    return SeriesBatch(labels, timestamps, np.ascontiguousarray(values))


def every(width: int, n_timestamps: int) -> np.ndarray:
    return np.arange(0, n_timestamps, width, dtype=np.int64)


def same(one: ModelOutput, other: ModelOutput) -> None:
    assert list(one.outputs) == list(other.outputs)
    for name, values in one.outputs.items():
        np.testing.assert_array_equal(values, other.outputs[name], err_msg=name)
    np.testing.assert_array_equal(one.trusted, other.trusted)
    np.testing.assert_array_equal(one.eligible, other.eligible)


def same_state(model: Model, one: SeriesState, other: SeriesState) -> None:
    """Hold that two states know the same: both say the same of anything that may come."""
    assert set(one.labels) == set(other.labels)
    labels = one.labels
    for name in ("last_seen", "n_samples_seen"):
        np.testing.assert_array_equal(one[name][one.rows(labels)], other[name][other.rows(labels)])
    if not labels:
        return
    future = telemetry(99, len(labels), 25)
    begin = max(int(one.last_seen.max()), 0) // STEP
    timestamps = (begin + 1 + np.arange(25, dtype=np.int64)) * STEP
    batch = SeriesBatch(labels, timestamps, future)
    # Learning continues in copies.
    answers = [model.infer(deepcopy(state), batch, every(4, 25)) for state in (one, other)]
    same(*answers)


def what_is_learned(state: SeriesState) -> dict[str, Array]:
    """Return the arrays of a state; centroids in the order of digests, wherever they lie."""
    arrays = dict(state.arrays())
    if "digest_start" in arrays:
        starts, sizes = arrays.pop("digest_start").ravel(), arrays["n_centroids"].ravel()
        pieces = [np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        for name in ("centroid_mean", "centroid_weight"):
            arrays[name] = arrays[name][np.concatenate(pieces)]
    return arrays


def telemetry(seed: int, n_series: int, n_timestamps: int, missing: float = 0.1) -> FloatArray:
    """Noise of many scales and levels, with gaps and infinities."""
    rng = np.random.default_rng(seed)
    values = rng.normal(
        rng.normal(0, 50, (n_series, 1)), 10.0 ** rng.integers(-3, 4, (n_series, 1))
    )
    values = values + rng.standard_t(2, (n_series, n_timestamps))
    values[rng.random(values.shape) < missing] = NAN
    values[rng.random(values.shape) < missing / 10] = INF
    return values


def columns_of(output: ModelOutput, columns: slice | list[int]) -> ModelOutput:
    return ModelOutput(
        {name: values[:, columns] for name, values in output.outputs.items()},
        output.eligible[:, columns],
        output.trusted[:, columns],
    )


@each_model_that_declares
def test_declared_outputs_are_consistent(make_model: MakeModel, alias: str) -> None:
    model = make_model(alias)
    assert set(model.default_outputs) <= set(model.outputs)
    assert "y" not in model.default_outputs
    assert len(set(model.outputs)) == len(model.outputs)
    batch = grid(telemetry(0, 2, 40))
    output = model.infer(model.fit(batch), grid(telemetry(1, 2, 5), 40), every(1, 5))
    predictions = score_series(batch_of(output), output, Policy(), model.outputs)
    assert tuple(predictions.outputs) == model.outputs
    assert (
        tuple(score_series(batch_of(output), output, Policy(), None).outputs)
        == model.default_outputs
    )


def batch_of(output: ModelOutput) -> SeriesBatch:
    return grid(np.zeros(output.trusted.shape))


@each_model
def test_evidence_is_kept_and_not_touched_by_learning(make_model: MakeModel, alias: str) -> None:
    model = make_model(alias)
    state = model.fit(grid(telemetry(0, 3, 130)))
    assert state["incident"].tolist() == [0.0] * 3
    state["incident"][:] = [0.5, 1.0, 1.5]
    restored = model.restore(state.labels, {k: v.copy() for k, v in state.arrays().items()})
    for each in (state, restored):
        model.infer(each, grid(telemetry(1, 3, 5), 130), every(1, 5))
        assert each["incident"].tolist() == [0.5, 1.0, 1.5]


@each_model
def test_warm_up_leaves_nothing_to_compile(make_model: MakeModel, alias: str) -> None:
    """Whether arrays may be written to, and wherever their elements lie."""
    model = make_model(alias)
    warm_up(model)
    before = compiled()
    past, present = grid(telemetry(0, 3, 40)), grid(telemetry(1, 3, 10), 40)
    state = model.fit(past)
    assert len(state) == 3
    model.infer(state, present, every(2, 10))
    for array in (past.values, past.timestamps, present.values, present.timestamps):
        array.flags.writeable = False
    model.infer(model.fit(past), present, every(2, 10))
    columnwise = SeriesBatch(present.labels, present.timestamps, np.asfortranarray(present.values))
    model.infer(model.fit(past), columnwise, every(2, 10))
    assert compiled() == before


@each_model
def test_the_batch_is_not_changed(make_model: MakeModel, alias: str) -> None:
    model = make_model(alias)
    past, present = grid(telemetry(0, 3, 40)), grid(telemetry(1, 3, 10), 40)
    for array in (past.values, past.timestamps, present.values, present.timestamps):
        array.flags.writeable = False
    before = present.values.copy()
    model.infer(model.fit(past), present, every(2, 10))
    np.testing.assert_array_equal(present.values, before)


@each_quick_model
@examples(20)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 12),
    decay=st.sampled_from([1.0, 0.99, 0.5, 1e-3]),
)
def test_many_series_at_once_are_the_same_as_each_alone(
    make_model: MakeModel, alias: str, seed: int, width: int, decay: float
) -> None:
    model = make_model(alias, decay=decay, min_n_samples_seen=5, history_strength=3.0)
    past, present = telemetry(seed, 5, 150), telemetry(seed + 1, 5, 30)
    state = model.fit(grid(past))
    together = model.infer(state, grid(present, 150), every(width, 30))
    order = np.random.default_rng(seed).permutation(5)
    names = "".join("abcde"[s] for s in order)
    shuffled_state = model.fit(grid(past[order], names=names))
    shuffled = model.infer(shuffled_state, grid(present[order], 150, names), every(width, 30))
    same_state(model, state, shuffled_state)
    for position, s in enumerate(order):
        row = slice(s, s + 1)
        alone_state = model.fit(grid(past[row], names="abcde"[s]))
        alone = model.infer(alone_state, grid(present[row], 150, "abcde"[s]), every(width, 30))
        for name, values in alone.outputs.items():
            np.testing.assert_array_equal(values[0], together.outputs[name][s])
            np.testing.assert_array_equal(values[0], shuffled.outputs[name][position])


@each_online_model
@examples(20)
@given(
    seed=st.integers(0, 2**32 - 1),
    starts=st.sets(st.integers(1, 39), max_size=12),
    cuts=st.sets(st.integers(0, 12), max_size=4),
)
def test_calls_may_be_split_between_micro_batches(
    make_online: MakeModel,
    alias: str,
    seed: int,
    starts: set[int],
    cuts: set[int],
) -> None:
    model = make_online(alias, decay=0.98)
    past, present = telemetry(seed, 4, 120), telemetry(seed + 1, 4, 40)
    boundaries = np.array([0, *sorted(starts)], np.int64)
    state = model.fit(grid(past))
    whole = model.infer(state, grid(present, 120), boundaries)
    pieces_state = model.fit(grid(past))
    edges = [0, *sorted({int(boundaries[c]) for c in cuts if c < len(boundaries)} - {0}), 40]
    for begin, end in itertools.pairwise(edges):
        inside = boundaries[(boundaries >= begin) & (boundaries < end)] - begin
        piece = model.infer(pieces_state, grid(present[:, begin:end], 120 + begin), inside)
        same(piece, columns_of(whole, slice(begin, end)))
    same_state(model, state, pieces_state)


@each_online_model
@examples(20)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 10), change=st.integers(0, 39))
def test_a_point_changes_nothing_before_its_micro_batch_ends(
    make_online: MakeModel, alias: str, seed: int, width: int, change: int
) -> None:
    model = make_online(alias, min_n_samples_seen=1)
    past, present = telemetry(seed, 2, 50), telemetry(seed + 1, 2, 40)
    other = present.copy()
    other[:, change] = [1e9, NAN]
    starts = every(width, 40)
    one = model.infer(model.fit(grid(past)), grid(present, 50), starts)
    two = model.infer(model.fit(grid(past)), grid(other, 50), starts)
    until = [t for t in range(min((change // width + 1) * width, 40)) if t != change]
    same(columns_of(one, until), columns_of(two, until))
    # A user's model is asked only where there is a sample.
    asked = np.isfinite(present[:, change]) & np.isfinite(other[:, change])
    rows = asked if alias in UNDECLARED else np.ones(2, np.bool_)
    for name in ("yhat", "yhat_lower", "yhat_upper"):
        np.testing.assert_array_equal(
            one.outputs[name][rows, change], two.outputs[name][rows, change]
        )


@each_model_whose_fit_is_a_replay
def test_learning_at_fit_and_at_infer_are_the_same(make_online: MakeModel, alias: str) -> None:
    model = make_online(alias)
    past = telemetry(3, 4, 200)
    whole = model.fit(grid(past))
    pieces = model.fit(grid(past[:, :77]))
    model.infer(pieces, grid(past[:, 77:], 77), every(10, 123))
    same_state(model, whole, pieces)


@each_built_in_model
def test_a_fit_that_is_said_to_be_a_replay_is_one_to_the_bit(
    make_model: MakeModel, alias: str
) -> None:
    model = make_model(alias)
    assert model.fit_is_replay == (alias not in (*SEVERAL_PASSES, *OFFLINE))
    assert not make_model(alias, history_strength=2.0).fit_is_replay or (
        "history_strength" not in section_of(alias).model_fields
    )
    past = telemetry(4, 4, 300)
    whole, replayed = model.fit(grid(past)), model.fit(grid(past[:, :200]))
    model.infer(replayed, grid(past[:, 200:], 200), every(1, 100))
    learned = what_is_learned(replayed)
    alike = [
        np.array_equal(array, learned[name], equal_nan=array.dtype.kind == "f")
        for name, array in what_is_learned(whole).items()
    ]
    assert all(alike) == model.fit_is_replay


@each_online_model
def test_points_are_never_scored_or_learned_twice(make_online: MakeModel, alias: str) -> None:
    model = make_online(alias)
    values = telemetry(5, 3, 60, missing=0.0)
    state = model.fit(grid(values[:, :40]))
    model.infer(state, grid(values[:, 40:50], 40), every(1, 10))
    again = model.infer(state, grid(values[:, 35:60], 35), every(1, 25))
    once = model.fit(grid(values[:, :40]))
    straight = model.infer(once, grid(values[:, 40:], 40), every(1, 20))
    assert not again.eligible[:, :15].any()
    for outputs in again.outputs.values():
        assert np.isnan(outputs[:, :15]).all()
    same(columns_of(again, slice(15, 25)), columns_of(straight, slice(10, 20)))
    same_state(model, state, once)


@each_online_model
def test_a_sample_that_comes_late_after_the_last_one_still_counts(
    make_online: MakeModel, alias: str
) -> None:
    model = make_online(alias)
    values = telemetry(6, 1, 60, missing=0.0)
    delayed = values.copy()
    delayed[0, 48:50] = NAN
    state = model.fit(grid(values[:, :40]))
    model.infer(state, grid(delayed[:, 40:50], 40), every(1, 10))
    assert state.last_seen.tolist() == [48 * STEP]
    late = model.infer(state, grid(values[:, 45:60], 45), every(1, 15))
    assert late.eligible[0].tolist() == [False] * 3 + [True] * 12


@each_online_model
def test_series_that_are_new_start_cold_and_missing_ones_are_remembered(
    make_online: MakeModel, alias: str
) -> None:
    model = make_online(alias, min_n_samples_seen=4)
    values = telemetry(7, 3, 60, missing=0.0)
    state = model.fit(grid(values[:2, :40], names="ab"))
    first = model.infer(state, grid(values[1:, 40:45], 40, "bc"), every(1, 5))
    assert len(state) == 3
    assert first.trusted.tolist() == [[True] * 5, [False] * 4 + [True]]
    assert np.isnan(first.outputs["yhat"][1, 0])
    batch = grid(values[1:, 40:45], 40, "bc")
    scores = score_series(batch, first, Policy(), ["anomaly_score"]).outputs["anomaly_score"]
    assert scores[1, :4].tolist() == [0.0] * 4
    # `a` was missing for five minutes, and continues from what it knew.
    second = model.infer(state, grid(values[:, 45:50], 45, "abc"), every(1, 5))
    alone = model.fit(grid(values[:1, :40], names="a"))
    expected = model.infer(alone, grid(values[:1, 45:50], 45, "a"), every(1, 5))
    for name, outputs in expected.outputs.items():
        np.testing.assert_array_equal(second.outputs[name][0], outputs[0])


@each_online_model
@examples(20)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 9), least=st.integers(1, 40))
def test_trust_counts_finite_samples_before_the_micro_batch(
    make_online: MakeModel, alias: str, seed: int, width: int, least: int
) -> None:
    model = make_online(alias, min_n_samples_seen=least)
    past, present = telemetry(seed, 3, 15, 0.4), telemetry(seed + 1, 3, 30, 0.4)
    state = model.fit(grid(past))
    assert state.n_samples_seen.tolist() == np.isfinite(past).sum(axis=1).tolist()
    output = model.infer(state, grid(present, 15), every(width, 30))
    for s in range(3):
        for t in range(30):
            before = (
                np.isfinite(past[s]).sum() + np.isfinite(present[s, : t // width * width]).sum()
            )
            assert output.trusted[s, t] == (before >= least)
    both = np.hstack([past, present])
    assert state.n_samples_seen.tolist() == np.isfinite(both).sum(axis=1).tolist()


@each_model_with_yhat
def test_a_constant_series_has_a_tiny_interval(make_model: MakeModel, alias: str) -> None:
    model = make_model(alias)
    for value in (0.0, 0.1, -7.0, 1e300, -1e300, 1e-300):
        past = np.full((1, 300), value)
        present = np.array([[value, value * (1 + 1e-12) + 1e-14, value * 1.01 + 0.01]])
        output = model.infer(model.fit(grid(past)), grid(present, 300), every(3, 3))
        yhat, lower, upper = (
            output.outputs[name][0, 0] for name in ("yhat", "yhat_lower", "yhat_upper")
        )
        # Transforming there and back rounds.
        assert yhat == pytest.approx(value, rel=1e-12, abs=0.0)
        assert lower < yhat < upper
        assert upper - lower <= 2.1 * max(1e-9 * abs(value), 1e-12)
        batch = grid(present, 300)
        scores = score_series(batch, output, Policy(), ["anomaly_score"]).outputs["anomaly_score"][
            0
        ]
        assert scores[0] < 1e-3
        assert scores[1] < 1.0
        assert scores[2] > 1.0


@each_model_with_yhat
@pytest.mark.parametrize("unit", [1e300, -1e300, 1e12, -1.0, -1e-6, 1e-300, -1e-310])
def test_huge_tiny_and_negative_samples(make_model: MakeModel, alias: str, unit: float) -> None:
    model = make_model(alias)
    rng = np.random.default_rng(14)
    past, present = (unit * rng.uniform(9.0, 11.0, (1, n)) for n in (400, 12))
    present[0, 6] *= 100.0
    batch = grid(present, 400)
    output = model.infer(model.fit(grid(past)), batch, every(12, 12))
    for name, found in output.outputs.items():
        assert np.isfinite(found).all(), name
    np.testing.assert_allclose(output.outputs["yhat"] / unit, 10.0, atol=1.1)
    scores = score_series(batch, output, Policy(), ["anomaly_score"]).outputs["anomaly_score"][0]
    assert np.isfinite(scores).all()
    # The least interval is 1e-12 wide: what is smaller is no anomaly.
    assert (scores[6] > 1.0) == (abs(unit) > 1e-12)
    assert (np.delete(scores, 6) < scores[6]).all()


@each_model_that_declares
def test_a_series_without_samples(make_model: MakeModel, alias: str) -> None:
    model = make_model(alias)
    for nothing in (NAN, INF, -INF):
        state = model.fit(grid(np.full((2, 50), nothing)))
        # There is nothing to fit then.
        if alias in (*LIBRARY, *FORESTS):
            assert set(state.skipped.values()) == {"no valid points"}
            assert len(state) == 0
            continue
        assert state.n_samples_seen.tolist() == [0, 0]
        batch = grid(np.full((2, 5), nothing), 50)
        output = model.infer(state, batch, every(1, 5))
        for values in score_series(batch, output, Policy(), model.outputs).outputs.values():
            assert np.isnan(values).all()


@each_model
def test_one_sample(make_model: MakeModel, alias: str) -> None:
    model = make_model(alias, min_n_samples_seen=1)
    state = model.fit(grid(np.array([[3.0]])))
    batch = grid(np.array([[3.0, 4.0]]), 1)
    output = model.infer(state, batch, every(2, 2))
    scores = score_series(batch, output, Policy(), None).outputs["anomaly_score"][0]
    assert scores[0] == 0.0
    if section_of(alias).gives_yhat:
        yhat = output.outputs["yhat"][0]
        # A model may need more than one sample to say something.
        assert ((yhat == 3.0) | np.isnan(yhat)).all()
        assert scores[1] > 1.0 or np.isnan(yhat[1])
    else:
        assert scores[1] > 1.0


@each_model
@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (3, 0)])
def test_empty_batches(make_model: MakeModel, alias: str, shape: tuple[int, int]) -> None:
    model = make_model(alias)
    batch = grid(np.empty(shape))
    state = model.fit(batch)
    output = model.infer(state, batch, np.zeros(1, np.int64))
    wanted = None if alias in UNDECLARED else model.outputs
    predictions = score_series(batch, output, Policy(), wanted)
    assert {values.shape for values in predictions.outputs.values()} == {shape}


@pytest.mark.parametrize("alias", [case for case in WITH_YHAT if case not in LIBRARY])
@examples(60)
@given(
    values=st.lists(
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from([1e300, -1e300, 1.7e308, -1.7e308, 1e-300, -1e-300, 5e-324, 0.0, -0.0]),
        ),
        min_size=1,
        max_size=150,
    ),
    decay=st.sampled_from([1.0, 0.9, 1e-3, 1e-200]),
    history_strength=st.sampled_from([1e-6, 0.5, 1.0, 2.0, 1e6]),
)
def test_finite_samples_give_finite_ordered_bounds_and_scores(
    make_model: MakeModel,
    alias: str,
    values: list[float],
    decay: float,
    history_strength: float,
) -> None:
    model = make_model(alias, decay=decay, history_strength=history_strength, min_n_samples_seen=1)
    half = (len(values) + 1) // 2
    state = model.fit(grid(np.array([values[:half]])))
    batch = grid(np.array([[*values[half:], 0.0]]), half)
    output = model.infer(state, batch, every(1, len(values) - half + 1))
    lower, yhat, upper = (output.outputs[name] for name in ("yhat_lower", "yhat", "yhat_upper"))
    for name, found in output.outputs.items():
        assert (np.isfinite(found) == np.isfinite(yhat)).all(), name
    known = np.isfinite(yhat)
    assert (lower[known] <= yhat[known]).all()
    assert (yhat[known] <= upper[known]).all()
    assert (lower[known] < upper[known]).all()
    scores = score_series(batch, output, Policy(), None).outputs["anomaly_score"]
    assert np.isfinite(scores).all()
    assert (scores >= 0.0).all()


@each_model
def test_every_fit_starts_from_scratch(make_model: MakeModel, alias: str) -> None:
    model = make_model(alias)
    same_state(model, model.fit(grid(telemetry(8, 3, 50))), model.fit(grid(telemetry(8, 3, 50))))


@each_model_with_history
def test_history_strength_keeps_the_prediction_and_slows_what_comes(
    make_online: MakeModel, alias: str
) -> None:
    past = np.random.default_rng(9).normal(10.0, 1.0, (1, 90))
    present = np.full((1, 60), 14.0)
    outputs = {}
    strengths = (0.25, 1.0, 2.0, 8.0)
    for strength in strengths:
        model = make_online(alias, history_strength=strength)
        outputs[strength] = model.infer(
            model.fit(grid(past)), grid(present, 90), every(1, 60)
        ).outputs
    for name in ("yhat", "yhat_lower", "yhat_upper"):
        firsts = [outputs[strength][name][0, 0] for strength in strengths]
        np.testing.assert_allclose(firsts, firsts[0], rtol=1e-12)
    lasts = [outputs[strength]["yhat"][0, -1] for strength in strengths]
    assert lasts == sorted(lasts, reverse=True)
    assert lasts[1] - 10.0 > 1.5 * (lasts[3] - 10.0)


@each_model_with_history
def test_decay_forgets(make_online: MakeModel, alias: str) -> None:
    values = np.concatenate([np.full(500, 5.0), np.full(100, 50.0)])[None]
    for decay, expected in ((1.0, 25.0), (0.9, 50.0)):
        model = make_online(alias, decay=decay)
        yhat = model.infer(
            model.fit(grid(values)), grid(np.array([[50.0]]), 600), every(1, 1)
        ).outputs["yhat"]
        if decay == 1.0:
            assert yhat.item() < expected
        else:
            assert yhat.item() == pytest.approx(expected, rel=0.01)


@each_quick_model
@examples(15)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.sets(st.integers(0, 39), max_size=3),
    width=st.integers(1, 7),
)
def test_a_state_that_is_stored_and_restored_continues_where_it_was(
    make_model: MakeModel, alias: str, seed: int, cuts: set[int], width: int
) -> None:
    """After the fit and in the middle of what comes, by way of files that hold numbers only."""
    model = make_model(alias, decay=0.99)
    past, present = telemetry(seed, 3, 130), telemetry(seed + 1, 3, 40)
    state, stored = model.fit(grid(past)), model.fit(grid(past))
    edges = sorted({0, 40} | {cut // width * width for cut in cuts})
    for begin, end in itertools.pairwise(edges):
        stored = model.restore(stored.labels, through_files(stored.arrays()))
        batch, starts = grid(present[:, begin:end], 130 + begin), every(width, end - begin)
        same(model.infer(state, batch, starts), model.infer(stored, batch, starts))
    same_state(model, state, stored)


def through_files(arrays: Mapping[str, Array]) -> dict[str, Array]:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **dict(arrays))
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        return dict(loaded)


@each_model
def test_series_can_be_removed_and_added_without_touching_the_others(
    make_model: MakeModel, alias: str
) -> None:
    model = make_model(alias)
    values = telemetry(12, 4, 160, missing=0.0)
    state = model.fit(grid(values[:, :120], names="abcd"))
    state.remove(state.rows((Labels({"series": "a"}), Labels({"series": "c"}))))
    state.append(model.fit(grid(values[2:3, :120], names="c")))
    assert [labels["series"] for labels in state.labels] == ["b", "d", "c"]
    whole = model.fit(grid(values[1:, :120], names="bcd"))
    present = grid(values[1:, 120:], 120, "bcd")
    same(model.infer(state, present, every(3, 40)), model.infer(whole, present, every(3, 40)))
    same_state(model, state, whole)


@each_online_model
@examples(15)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from("abcd"), min_size=1, unique=True),
            st.integers(1, 30),
            st.sets(st.sampled_from("abcd"), max_size=2),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_series_appear_vanish_and_are_forgotten_each_for_itself(
    make_online: MakeModel,
    alias: str,
    steps: list[tuple[list[str], int, set[str]]],
) -> None:
    """Each step: which series come, with how many points, and which are removed afterwards."""
    model = make_online(alias, decay=0.97, min_n_samples_seen=3)
    state = blank_state(model)
    alone = {name: blank_state(model) for name in "abcd"}
    start = 0
    for number, (coming, n_points, removed) in enumerate(steps):
        batch = grid(telemetry(number, len(coming), n_points), start, "".join(coming))
        together = model.infer(state, batch, every(4, n_points))
        for row, name in enumerate(coming):
            single = SeriesBatch(
                batch.labels[row : row + 1], batch.timestamps, batch.values[row : row + 1]
            )
            expected = model.infer(alone[name], single, every(4, n_points))
            same(expected, row_of(together, row))
        known = tuple(labels for labels in state.labels if labels["series"] in removed)
        state.remove(state.rows(known))
        alone |= {name: blank_state(model) for name in removed}
        start += n_points
    assert {labels["series"] for labels in state.labels} == {
        name for name, own in alone.items() if len(own)
    }


def blank_state(model: Model) -> SeriesState:
    return model.fit(grid(np.empty((0, 0))))


def row_of(output: ModelOutput, row: int) -> ModelOutput:
    return ModelOutput(
        {name: values[row : row + 1] for name, values in output.outputs.items()},
        output.eligible[row : row + 1],
        output.trusted[row : row + 1],
    )


@each_online_model
@pytest.mark.parametrize(
    ("tz", "midnight"),
    [
        ("Europe/Berlin", 1743199200),
        ("Europe/Berlin", 1761343200),
        ("America/New_York", 1741410000),
        ("America/New_York", 1761969600),
    ],
)
def test_days_on_which_the_clocks_change(
    make_online: MakeModel, alias: str, tz: str, midnight: int
) -> None:
    """Three days around a change, in pieces and at once, alone and together."""
    model = make_online(alias, tz=tz, min_n_samples_seen=1)
    values = telemetry(13, 2, 6 * 24 * 3, missing=0.02)
    timestamps = midnight * 1000 + 10 * STEP * np.arange(values.shape[1], dtype=np.int64)
    labels = (Labels({"series": "a"}), Labels({"series": "b"}))

    def part(begin: int, end: int) -> SeriesBatch:
        return SeriesBatch(labels, timestamps[begin:end], values[:, begin:end].copy())

    whole_state, pieces_state = model.fit(part(0, 50)), model.fit(part(0, 50))
    whole = model.infer(whole_state, part(50, 432), every(6, 382))
    for begin in range(50, 432, 60):
        end = min(begin + 60, 432)
        piece = model.infer(pieces_state, part(begin, end), every(6, end - begin))
        same(piece, columns_of(whole, slice(begin - 50, end - 50)))
    same_state(model, whole_state, pieces_state)
    known = np.isfinite(whole.outputs["yhat"])
    assert known.mean() > 0.5
    scores = score_series(part(50, 432), whole, Policy(), None).outputs["anomaly_score"]
    assert np.isfinite(scores[np.isfinite(values[:, 50:])]).all()


@pytest.mark.parametrize("alias", [case for case in BUILT_IN if case not in UNDECLARED])
def test_the_documentation_names_the_outputs(make_model: MakeModel, alias: str) -> None:
    model = make_model(alias)
    section = section_of(alias)
    forecasts = [
        f"{name}_{offset}"
        for offset in CASES[alias].get("forecast_at", [])
        for name in ("yhat", "yhat_lower", "yhat_upper")
    ]
    assert section.outputs is not None
    assert (*section.outputs, *forecasts) == model.outputs
    page = (Path(__file__).parents[2] / "docs/models.md").read_text()
    chapter = page.partition(f"## `{name_of(alias)}`\n")[2].partition("\n## ")[0]
    others = [f"`{name}`" for name in section.outputs if name not in STANDARD_OUTPUTS]
    assert all(name in chapter for name in others)
    mentioned = set(re.findall(r"^\| `(\w+)` \(output\)", chapter, re.MULTILINE))
    assert mentioned == {name.strip("`") for name in others}


@each_library_model
def test_one_example_of_what_is_drawn_for_others(make_model: MakeModel, alias: str) -> None:
    """Hypothesis draws many for the models above."""
    alone = test_many_series_at_once_are_the_same_as_each_alone
    alone.hypothesis.inner_test(make_model, alias, seed=3, width=4, decay=1.0)
    stored = test_a_state_that_is_stored_and_restored_continues_where_it_was
    stored.hypothesis.inner_test(make_model, alias, seed=4, cuts={17}, width=5)
    bounds = test_finite_samples_give_finite_ordered_bounds_and_scores
    for values in ([0.0, 5e-324, 1.0, 1.0] * 8, [1e300, -1e300, 1.7e308, 0.0] * 8):
        bounds.hypothesis.inner_test(
            make_model, alias, values=values, decay=1.0, history_strength=1.0
        )
