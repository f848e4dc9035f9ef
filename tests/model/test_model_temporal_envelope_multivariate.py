"""The oracles: each channel alone, and the relation that the channels were made with."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from vmanomaly.config.model.temporal_envelope_multivariate import (
    TemporalEnvelopeMultivariateSection,
)
from vmanomaly.config.reader import Query
from vmanomaly.model import Channel, GroupedBatch, ModelOutput, create_multivariate_model, warm_up
from vmanomaly.model.scoring import Policy, score_series
from vmanomaly.model.temporal_envelope_multivariate.channels import ChannelState
from vmanomaly.model.temporal_envelope_multivariate.model import TemporalEnvelopeMultivariateModel
from vmanomaly.model.zscore_online import OnlineZscoreModel
from vmanomaly.series import FloatArray, Labels, SeriesBatch

STEP = 60_000
LARGEST = float(np.finfo(np.float64).max)
N_PAST = 600

# What gives the envelopes does not matter here: this one is fast and has no memory of its own.
CHANNEL_MODEL = OnlineZscoreModel(
    z_threshold=3.5, decay=1.0, min_n_samples_seen=1, history_strength=1.0
)


def model_of(**parameters: Any) -> TemporalEnvelopeMultivariateModel:
    return TemporalEnvelopeMultivariateModel(
        **{
            "channel_model": CHANNEL_MODEL,
            "quantiles": (0.25, 0.75),
            "iqr_threshold": 2.0,
            "changepoint_window": 16,
            "decay": 1.0,
            "min_n_samples_seen": 16,
            "dependency_rank": 8,
            "score_aggregation": "l2",
            "max_channels": 1000,
            "recommended_max_channels": 100,
            "random_state": 42,
            "step": STEP,
            "policies": {},
            **parameters,
        }
    )


def channels_of(seed: int, n_timestamps: int) -> FloatArray:
    """Four channels of other units that move together."""
    rng = np.random.default_rng(seed)
    load = rng.normal(size=n_timestamps)
    noise = rng.normal(size=(4, n_timestamps))
    return np.array(
        [
            10.0 + 2.0 * load + 0.3 * noise[0],
            1e6 + 2e4 * load + 3e3 * noise[1],
            -0.1 * load + 0.02 * noise[2],
            5.0 + load + 0.3 * noise[3],
        ]
    )


def configured(**keys: Any) -> TemporalEnvelopeMultivariateModel:
    """The model as a configuration makes it, with envelopes."""
    section = TemporalEnvelopeMultivariateSection.model_validate(
        {"class": "temporal_envelope_multivariate", **keys}
    )
    queries = [
        Query.model_validate({"alias": alias, "expr": alias, "step": "1m", "tz": "Europe/Berlin"})
        for alias in ("cpu", "mem")
    ]
    model = create_multivariate_model(section, queries)
    assert isinstance(model, TemporalEnvelopeMultivariateModel)
    return model


def batch_of(values: FloatArray, start: int = 0, hosts: str = "a") -> GroupedBatch:
    """Groups of equal size, one a host; the last channel of each is of another query."""
    n_channels = len(values) // len(hosts)
    channels = tuple(
        Channel("mem" if c == n_channels - 1 else "cpu", Labels({"host": host, "c": str(c)}))
        for host in hosts
        for c in range(n_channels)
    )
    return GroupedBatch(
        tuple(Labels({"host": host}) for host in hosts),
        channels,
        np.arange(len(hosts) + 1) * n_channels,
        (start + 1 + np.arange(values.shape[1], dtype=np.int64)) * STEP,
        np.ascontiguousarray(values),
    )


def run(
    model: TemporalEnvelopeMultivariateModel, values: FloatArray, n_past: int = N_PAST
) -> ModelOutput:
    state = model.fit(batch_of(values[:, :n_past]))
    return model.infer(state, batch_of(values[:, n_past:], n_past), every_point(values, n_past))


def every_point(values: FloatArray, n_past: int) -> np.ndarray:
    return np.arange(values.shape[1] - n_past)


@pytest.mark.parametrize("aggregation", ["max", "mean", "l2"])
def test_a_broken_relation_scores_although_every_channel_is_normal(aggregation: str) -> None:
    values = channels_of(0, N_PAST + 400)
    broken = slice(N_PAST + 300, N_PAST + 360)
    values[1, broken] = 2e6 - values[1, broken]
    scores = run(model_of(score_aggregation=aggregation), values).outputs["anomaly_score"][0]
    alone = run(model_of(score_aggregation="max", dependency_rank=0), values)
    alone_scores = alone.outputs["anomaly_score"][0]
    # The load is near 0 in some points, where the mirrored channel is what it should be.
    assert (scores[300:360] > 1.0).mean() > 0.15
    assert (alone_scores[300:360] > 1.0).mean() < 0.03
    # The level of the last 16 points is back after as many.
    calm = np.r_[scores[:300], scores[376:]]
    assert (calm > 1.0).mean() < 0.02
    assert np.median(scores[300:360]) > 2.0 * np.median(calm)


@pytest.mark.parametrize("aggregation", ["max", "mean", "l2"])
def test_without_dependency_the_scores_of_single_channels_are_joined(aggregation: str) -> None:
    values = channels_of(1, N_PAST + 50)
    values[0, N_PAST + 10] += 30.0
    values[3, N_PAST + 20] -= 30.0
    policies = {
        "cpu": Policy(detection_direction="above_expected", scale=(1.0, 0.5)),
        "mem": Policy(
            data_range=(0.0, 100.0),
            anomaly_score_outside_data_range=7.0,
            min_dev_from_expected=(0.5, 0.5),
        ),
    }
    model = model_of(dependency_rank=0, score_aggregation=aggregation, policies=policies)
    found = run(model, values)
    past, present = batch_of(values[:, :N_PAST]), batch_of(values[:, N_PAST:], N_PAST)
    scores = []
    for c, channel in enumerate(present.channels):
        labels = (channel.labels,)
        state = CHANNEL_MODEL.fit(SeriesBatch(labels, past.timestamps, past.values[c : c + 1]))
        alone = SeriesBatch(labels, present.timestamps, present.values[c : c + 1])
        answer = CHANNEL_MODEL.infer(state, alone, every_point(values, N_PAST))
        predictions = score_series(alone, answer, policies[channel.query_key], None).outputs
        scores.append(predictions.pop("anomaly_score")[0])
        for name, expected in predictions.items():
            np.testing.assert_array_equal(found.channels[name][c], expected[0])
    joined = {
        "max": np.max(scores, axis=0),
        "mean": np.mean(scores, axis=0),
        "l2": np.sqrt(np.mean(np.square(scores), axis=0)),
    }[aggregation]
    np.testing.assert_allclose(found.outputs["anomaly_score"][0], joined, rtol=1e-12)
    assert joined[20] > 1.0


def test_policies_hold_for_what_the_other_channels_say_too() -> None:
    values = channels_of(2, N_PAST + 60)
    # Less than the others let expect, but not less than is usual.
    load = (values[0, N_PAST:] - 10.0) / 2.0
    values[3, N_PAST:] = 5.0 - load - 1.5
    largest = {"score_aggregation": "max"}
    both = run(model_of(**largest), values).outputs["anomaly_score"][0]
    ignored = run(
        model_of(
            policies={
                "mem": Policy(min_dev_from_expected=(100.0, 100.0)),
                "cpu": Policy(min_dev_from_expected=(1e9, 1e9)),
            },
            **largest,
        ),
        values,
    )
    assert (both > 1.0).mean() > 0.3
    assert (ignored.outputs["anomaly_score"] == 0.0).all()


@examples(15)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 39), width=st.integers(1, 7))
@pytest.mark.slow
def test_groups_are_independent_and_calls_may_be_split(seed: int, cut: int, width: int) -> None:
    model = model_of(min_n_samples_seen=1, decay=0.99)
    values = np.concatenate([channels_of(seed + host, 140) for host in range(3)])
    values[np.random.default_rng(seed).random(values.shape) < 0.02] = np.nan
    cut -= cut % width
    past = batch_of(values[:, :100], hosts="abc")
    state = model.fit(past)
    assert isinstance(state, ChannelState)
    together = model.infer(
        model.fit(past), batch_of(values[:, 100:], 100, "abc"), np.arange(0, 40, width)
    )
    if cut:
        first = model.infer(
            state, batch_of(values[:, 100 : 100 + cut], 100, "abc"), np.arange(0, cut, width)
        )
        restored = model.restore(
            state.labels, {name: array.copy() for name, array in state.arrays().items()}
        )
        second = model.infer(
            restored,
            batch_of(values[:, 100 + cut :], 100 + cut, "abc"),
            np.arange(0, 40 - cut, width),
        )
        pieces = np.hstack([answer.outputs["anomaly_score"] for answer in (first, second)])
        np.testing.assert_array_equal(pieces, together.outputs["anomaly_score"])
    swapped = np.concatenate([values[4 * host : 4 * host + 4] for host in (2, 0)])
    other_state = model.fit(batch_of(swapped[:, :100], hosts="ca"))
    other = model.infer(other_state, batch_of(swapped[:, 100:], 100, "ca"), np.arange(0, 40, width))
    for one, host in enumerate((2, 0)):
        np.testing.assert_array_equal(
            other.outputs["anomaly_score"][one], together.outputs["anomaly_score"][host]
        )


def test_only_points_with_all_channels_count() -> None:
    values = channels_of(3, N_PAST + 20)
    values[2, N_PAST + 5] = np.nan
    values[0, N_PAST + 9] = np.inf
    found = run(model_of(), values)
    missing = np.isnan(found.outputs["anomaly_score"][0])
    assert np.flatnonzero(missing).tolist() == [5, 9]
    without = run(model_of(), np.delete(values, [N_PAST + 5, N_PAST + 9], axis=1))
    np.testing.assert_array_equal(
        found.outputs["anomaly_score"][0][~missing], without.outputs["anomaly_score"][0]
    )


def test_the_warm_up_scores_0() -> None:
    values = channels_of(4, 40)
    scores = run(model_of(min_n_samples_seen=30), values, n_past=20).outputs["anomaly_score"][0]
    assert (scores[:10] == 0.0).all()
    assert (scores[10:] > 0.0).all()


def test_too_many_channels_are_refused_and_many_cause_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    values = channels_of(5, 50)
    state = model_of(max_channels=3).fit(batch_of(values))
    assert len(state) == 0
    (error,) = state.errors.values()
    assert "4 channels are more than max_channels (3)" in str(error)
    batch = batch_of(np.concatenate([values, values[:2]]), hosts="ab")
    assert len(model_of(max_channels=3).fit(batch)) == 2
    with caplog.at_level(logging.WARNING):
        model_of(recommended_max_channels=3).fit(batch_of(values))
    (record,) = caplog.records
    assert "has 4 channels, more than recommended_max_channels (3)" in record.getMessage()


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_scores_are_finite(scale: float) -> None:
    rng = np.random.default_rng(0)
    values = np.clip(rng.normal(size=(4, 120)), -1.7, 1.7) * scale
    values[1, :] = scale
    values[2, 110:] *= -1.0
    values[0, 115] = 1.7e308
    for aggregation in ("max", "mean", "l2"):
        scores = run(model_of(score_aggregation=aggregation), values, 100).outputs
        assert np.isfinite(scores["anomaly_score"]).all()


@pytest.mark.parametrize("value", [LARGEST, -LARGEST])
def test_a_channel_may_always_be_the_largest_float(value: float) -> None:
    values = channels_of(6, 120)
    values[1] = value
    scores = run(model_of(), values, 100).outputs["anomaly_score"][0]
    assert (scores < 2.0).all()


def test_one_channel_is_a_group_too() -> None:
    values = channels_of(6, 200)[:1]
    values[0, 150] += 100.0
    scores = run(model_of(), values, 100).outputs["anomaly_score"][0]
    assert scores[50] > 1.0


def test_the_seed_makes_it_reproducible() -> None:
    values = channels_of(7, 300)
    one, other = (run(model_of(), values, 200).outputs["anomaly_score"] for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_every_channel_has_the_envelope_of_the_section() -> None:
    model = configured(alpha=0.02, seasonalities=["hod_spiky"], forecast_at=["1h"])
    assert model.channel_model.columns[1].shape == (144,)
    assert "yhat_upper_1h" in model.outputs
    assert model.default_outputs == ("anomaly_score",)
    assert list(model.policies) == ["cpu", "mem"]
    warm_up(model)


@examples(10)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 7), change=st.integers(0, 39))
@pytest.mark.slow
def test_a_point_changes_nothing_before_its_micro_batch_ends(
    seed: int, width: int, change: int
) -> None:
    model = configured(min_n_samples_seen=1, provide_series=["anomaly_score", "yhat"])
    values = channels_of(seed, 240)
    other = values.copy()
    other[:, 200 + change] = [1e9, np.nan, -5.0, 0.0]
    starts = np.arange(0, 40, width)
    one, two = (
        model.infer(model.fit(batch_of(v[:, :200])), batch_of(v[:, 200:], 200), starts)
        for v in (values, other)
    )
    until = [t for t in range(min((change // width + 1) * width, 40)) if t != change]
    for name in ("yhat", "yhat_lower"):
        np.testing.assert_array_equal(one.channels[name][:, until], two.channels[name][:, until])
    np.testing.assert_array_equal(
        one.outputs["anomaly_score"][:, until], two.outputs["anomaly_score"][:, until]
    )


def test_every_fit_starts_from_scratch() -> None:
    model = configured()
    values = channels_of(8, 400)
    first = model.fit(batch_of(values[:, :200]))
    model.infer(first, batch_of(values[:, 200:300], 200), np.arange(100))
    again, fresh = (
        fitted.fit(batch_of(values[:, 100:300], 100)) for fitted in (model, configured())
    )
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, fresh.arrays()[name])


@pytest.mark.parametrize("value", [0.0, 7.0, 1e300, np.nan])
def test_constant_channels_and_channels_without_samples(value: float) -> None:
    model = configured(min_n_samples_seen=1)
    state = model.fit(batch_of(np.full((4, 100), value)))
    batch = batch_of(np.full((4, 5), value), 100)
    scores = model.infer(state, batch, np.arange(5)).outputs["anomaly_score"]
    if np.isnan(value):
        assert np.isnan(scores).all()
    else:
        assert (scores < 1e-3).all()


@pytest.mark.parametrize("shape", [(4, 0), (4, 1), (4, 2), (4, 3)])
def test_short_windows(shape: tuple[int, int]) -> None:
    model = configured(min_n_samples_seen=1)
    state = model.fit(batch_of(np.ones(shape)))
    batch = batch_of(channels_of(0, 6), shape[1])
    assert model.infer(state, batch, np.arange(6)).outputs["anomaly_score"].shape == (1, 6)


def test_no_groups() -> None:
    model = configured()
    empty = GroupedBatch((), (), np.zeros(1, np.int64), np.arange(5) * STEP, np.empty((0, 5)))
    state = model.fit(empty)
    assert len(state) == 0
    outputs = model.infer(state, empty, np.zeros(1, np.int64)).outputs
    assert outputs["anomaly_score"].shape == (0, 5)


def test_scores_cross_the_days_on_which_the_clocks_change() -> None:
    values = channels_of(9, 1_600)
    # Sunday, 30 March 2025: at 01:00 UTC it becomes 03:00 in Berlin.
    start = 1_743_289_200_000 // STEP - 800
    model = configured()
    state = model.fit(batch_of(values[:, :700], start))
    scores = model.infer(state, batch_of(values[:, 700:], start + 700), np.arange(900)).outputs
    assert np.isfinite(scores["anomaly_score"]).all()
    assert (scores["anomaly_score"] > 1.0).mean() < 0.02


def test_the_channel_that_is_elsewhere_contributes_most() -> None:
    values = channels_of(10, N_PAST + 200)
    values[2, N_PAST + 50 : N_PAST + 150] += 2.0
    values[0, N_PAST + 120] = np.nan
    found = run(model_of(), values)
    scores, shares = found.outputs["anomaly_score"][0], found.channels["contribution"]
    during = np.r_[60:120, 121:150]
    # Longer than the 16 points after which an envelope would have adopted the level.
    assert (scores[during] > 1.0).all()
    assert (shares[2, during] > 50.0).all()
    assert (shares[2, during] == shares[:, during].max(axis=0)).all()
    np.testing.assert_allclose(np.delete(shares, 120, axis=1).sum(axis=0), 100.0)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_nothing_contributes_to_a_score_of_0(value: float) -> None:
    found = run(configured(), np.full((4, N_PAST + 10), value))
    assert (found.outputs["anomaly_score"] == 0.0).all()
    assert (found.channels["contribution"] == 0.0).all()
