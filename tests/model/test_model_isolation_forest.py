"""Isolation forests as detectors, against scikit-learn on the same samples."""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from vmanomaly.config.model.isolation_forest import (
    IsolationForestMultivariateSection,
    IsolationForestSection,
)
from vmanomaly.config.reader import Query
from vmanomaly.detector import (
    AnyDetector,
    InferResult,
    Learned,
    UnivariateDetector,
    create_detector,
)
from vmanomaly.errors import ConfigError
from vmanomaly.executor import Executor
from vmanomaly.model import create_model, create_multivariate_model
from vmanomaly.series import FloatArray, Labels, SeriesBatch

MINUTE = 60_000
HOUR = 60 * MINUTE
N_PAST, N_NEW = 400, 40
AT_ONCE = np.zeros(1, np.int64)
ARGS = {"n_estimators": 25}
TOLERANCE = 1e-9
"""Of anomaly scores; those of samples differ by 1e-16."""


def univariate(executor: Executor | None = None, query: Any = (), **keys: Any) -> AnyDetector:
    section = IsolationForestSection.model_validate(
        {"class": "isolation_forest", "args": ARGS, **keys}
    )
    known = Query.model_validate({"alias": "q", "expr": "q", "step": "1m", **dict(query)})
    return create_detector(create_model(section, known), section, [known], executor=executor)


def multivariate(executor: Executor | None = None, query: Any = (), **keys: Any) -> AnyDetector:
    section = IsolationForestMultivariateSection.model_validate(
        {"class": "isolation_forest_multivariate", "args": ARGS, **keys}
    )
    queries = [
        Query.model_validate({"alias": alias, "expr": alias, "step": "1m", **dict(query)})
        for alias in ("cpu", "mem")
    ]
    model = create_multivariate_model(section, queries)
    return create_detector(model, section, queries, executor=executor)


def batch(values: FloatArray, names: str, start: int = 0) -> SeriesBatch:
    labels = tuple(Labels({"host": name, "rack": "1" if name in "ab" else "2"}) for name in names)
    return SeriesBatch(labels, MINUTE * (start + np.arange(values.shape[1])), values)


def telemetry(n_series: int, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    values = rng.normal(50.0, 5.0, (n_series, N_PAST + N_NEW))
    values[:, N_PAST::7] += 40.0
    values[rng.random(values.shape) < 0.02] = np.nan
    values[rng.random(values.shape) < 0.005] = np.inf
    return values


def expected(past: FloatArray, present: FloatArray, contamination: str | float) -> FloatArray:
    """Return scikit-learn's decision function, as the score is defined; rows are features."""
    known = np.isfinite(past).all(axis=0)
    forest = IsolationForest(contamination=contamination, random_state=42, **ARGS)
    forest.fit(past[:, known].T)
    most = forest.decision_function(past[:, known].T).max()
    scores = np.full(present.shape[1], np.nan)
    present_known = np.isfinite(present).all(axis=0)
    decision = forest.decision_function(present[:, present_known].T)
    scores[present_known] = np.maximum(0.0, 1.0 - decision / most)
    return scores


def through_files(detector: AnyDetector, learned: Learned) -> Learned:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **learned.state.arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return detector.restore(learned.state.labels, learned.grouping, dict(arrays))


def scores_of(result: InferResult) -> FloatArray:
    assert result.failures == ()
    return result.parts[0].predictions.outputs["anomaly_score"]


@pytest.mark.parametrize("contamination", ["auto", 0.02])
def test_scores_are_those_of_scikit_learn_also_when_restored(contamination: str | float) -> None:
    values = telemetry(3)
    detector = univariate(contamination=contamination)
    learned, _ = detector.fit([batch(values[:, :N_PAST], "abc")])
    restored = through_files(detector, learned)
    present = batch(values[[2, 0, 1], N_PAST:], "cab", N_PAST)
    learned, result = detector.infer(learned, [present], AT_ONCE)
    wanted = [
        expected(row[None, :N_PAST], row[None, N_PAST:], contamination) for row in values[[2, 0, 1]]
    ]
    np.testing.assert_allclose(scores_of(result), wanted, rtol=0, atol=TOLERANCE)
    again = detector.infer(restored, [present], np.arange(N_NEW))[1]
    np.testing.assert_array_equal(scores_of(again), scores_of(result))
    assert np.nanmax(scores_of(result)) > 1.0


def test_groups_are_scored_where_every_channel_has_a_value_in_whatever_order() -> None:
    values = telemetry(8, 1)
    cpu, mem = values[:4], values[4:]
    detector = multivariate(contamination=0.05, groupby=["rack"])
    learned, _ = detector.fit(
        [batch(cpu[:, :N_PAST], "abcd"), batch(mem[[3, 1, 0, 2], :N_PAST], "dbac")]
    )
    restored = through_files(detector, learned)
    present = [batch(cpu[::-1, N_PAST:], "dcba", N_PAST), batch(mem[:, N_PAST:], "abcd", N_PAST)]
    _, result = detector.infer(learned, present, AT_ONCE)
    wanted = []
    for rack in ([0, 1], [2, 3]):
        group = np.concatenate([cpu[rack], mem[rack]])
        wanted.append(expected(group[:, :N_PAST], group[:, N_PAST:], 0.05))
    np.testing.assert_allclose(scores_of(result), wanted, rtol=0, atol=TOLERANCE)
    assert np.isnan(wanted).any()
    predictions = result.parts[0].predictions
    assert predictions.labels == (Labels({"rack": "1"}), Labels({"rack": "2"}))
    again = detector.infer(restored, present, AT_ONCE)[1]
    np.testing.assert_array_equal(scores_of(again), scores_of(result))


@pytest.mark.slow
def test_processes_change_nothing() -> None:
    values = telemetry(4, 2)
    keys = {"contamination": 0.02, "seasonal_features": ["minute"]}
    past, present = batch(values[:, :N_PAST], "abcd"), batch(values[:, N_PAST:], "abcd", N_PAST)
    for make in (univariate, multivariate):
        n_queries = 1 if make is univariate else 2
        found = []
        for executor in (Executor(), Executor("processes", 2)):
            detector = make(executor, **keys)
            learned, fitted = detector.fit([past] * n_queries)
            assert fitted.failures == ()
            arrays = learned.state.arrays()
            found.append((detector.infer(learned, [present] * n_queries, AT_ONCE)[1], arrays))
        np.testing.assert_array_equal(scores_of(found[0][0]), scores_of(found[1][0]))
        for name, array in found[0][1].items():
            np.testing.assert_array_equal(array, found[1][1][name], err_msg=name)


def test_a_detector_can_be_pickled() -> None:
    detector = univariate()
    assert isinstance(detector, UnivariateDetector)
    again = pickle.loads(pickle.dumps(detector))  # noqa: S301 - our own
    assert again.model == detector.model


def test_a_seed_of_none_is_the_same_every_time() -> None:
    values = telemetry(1)[:, :N_PAST]
    arrays = []
    for seed in (None, None, 42, 7):
        detector = univariate(args={**ARGS, "random_state": seed})
        arrays.append(detector.fit([batch(values, "a")])[0].state.arrays())
    assert all((arrays[0][name] == arrays[1][name]).all() for name in arrays[0])
    assert all((arrays[0][name] == arrays[2][name]).all() for name in arrays[0])
    assert len(arrays[0]["value"]) != len(arrays[3]["value"])


def test_only_what_is_asked_for_is_written() -> None:
    values = telemetry(1)
    past, present = batch(values[:, :N_PAST], "a"), batch(values[:, N_PAST:], "a", N_PAST)
    for asked in (None, ["y"], ["anomaly_score"], ["y", "anomaly_score", "incident_score"]):
        detector = univariate(provide_series=asked)
        learned, _ = detector.fit([past])
        _, result = detector.infer(learned, [present], AT_ONCE)
        (part,) = result.parts
        assert list(part.predictions.outputs) == (asked or ["anomaly_score"])


def test_a_group_gives_the_values_of_its_channels_if_asked() -> None:
    values = telemetry(2)
    detector = multivariate(provide_series=["y"])
    past, present = batch(values[:, :N_PAST], "ab"), batch(values[:, N_PAST:], "ab", N_PAST)
    learned, _ = detector.fit([past, past])
    _, result = detector.infer(learned, [present, present], AT_ONCE)
    outputs = [(part.query, list(part.predictions.outputs)) for part in result.parts]
    assert ("cpu", ["y"]) in outputs
    assert ("mem", ["y"]) in outputs
    assert "anomaly_score" not in {name for _, names in outputs for name in names}


@pytest.mark.parametrize("make", [univariate, multivariate])
def test_values_outside_data_range_are_anomalies(make: Any) -> None:
    past = np.random.default_rng(0).normal(50.0, 5.0, (1, N_PAST))
    detector = make(
        query={"data_range": [40, 60]}, anomaly_score_outside_data_range=5.0, contamination=0.01
    )
    n_queries = 1 if make is univariate else 2
    learned, _ = detector.fit([batch(past, "a")] * n_queries)
    present = batch(np.array([[50.0, 61.0]]), "a", N_PAST)
    _, result = detector.infer(learned, [present] * n_queries, AT_ONCE)
    usual, outside = scores_of(result)[0]
    assert usual < 1.0
    assert outside == 5.0


def test_series_without_a_value_are_skipped_and_new_ones_wait_for_a_fit() -> None:
    values = telemetry(2)
    values[1, :N_PAST] = np.nan
    detector = univariate()
    learned, fitted = detector.fit([batch(values[:, :N_PAST], "ab")])
    assert str(fitted.left_out) == '{host="b", rack="1"}: no valid points'
    assert (fitted.left_out.n_skipped, fitted.failures) == (1, ())
    _, result = detector.infer(learned, [batch(values[:, N_PAST:], "ab", N_PAST)], AT_ONCE)
    assert result.left_out.n_skipped == 1
    assert result.n_series == 1


def test_a_group_that_is_never_complete_is_skipped() -> None:
    values = telemetry(2)[:, :N_PAST]
    values[0, ::2] = values[1, 1::2] = np.nan
    _, fitted = multivariate().fit([batch(values[:1], "a"), batch(values[1:], "a")])
    assert str(fitted.left_out) == (
        '{host="a", rack="1"}: at no point do all channels have a value'
    )


def test_fewer_points_than_channels_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    values = np.random.default_rng(0).normal(size=(3, 5))
    detector = multivariate()
    detector.fit([batch(values, "abc"), batch(values, "abc")])
    (message,) = caplog.messages
    assert message.startswith("The group {} has 6 channels, but only 5 points in the fit window")
    caplog.clear()
    detector.fit([batch(values[:2], "ab"), batch(values[:2], "ab")])
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({"n_estimator": 5}, "args.n_estimator: IsolationForest does not take it; did you mean n_"),
        ({"contamination": 0.1}, "args.contamination: set it on the model, not in args"),
        ({"n_estimators": -1}, "args.n_estimators: expected a whole number from 1 to 10,000"),
        ({"n_estimators": 10**9}, "args.n_estimators: .* from 1 to 10,000, got 1000000000"),
        ({"n_jobs": 10**6}, "args.n_jobs: expected a whole number from -1,000 to 1,000"),
        ({"max_samples": "some"}, "args: The 'max_samples' parameter"),
        ({"random_state": "x"}, "args: The 'random_state' parameter"),
    ],
)
@pytest.mark.parametrize("make", [univariate, multivariate])
def test_wrong_arguments_are_refused_before_anything_is_read(
    make: Any, args: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        make(args=args)


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"max_samples": 1000}, None),
        ({"max_samples": 0.001}, "400 points are too few for args.max_samples: 0.001"),
        ({"max_features": 0.01}, None),
        ({"max_features": 2}, "args.max_features is 2, but there are 1 features"),
        ({"verbose": 3}, None),
    ],
)
def test_arguments_that_the_data_decides_on(
    args: dict[str, Any], reason: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(0).normal(size=(1, N_PAST))
    _, fitted = univariate(args={**ARGS, **args}).fit([batch(values, "a")])
    assert fitted.failures == ()
    assert list(fitted.left_out.skipped.values()) == ([] if reason is None else [reason])
    assert capfd.readouterr() == ("", "")


def test_without_scikit_learn_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(ConfigError, match=r"pip install 'vmanomaly\[sklearn\]'"):
        univariate()


def days(n_days: int, seed: int = 0) -> FloatArray:
    """Return the load of each hour, which is high from nine to five in Tokyo."""
    hours = np.arange(24 * n_days)
    local = (hours + 9) % 24
    rng = np.random.default_rng(seed)
    return np.where((local >= 9) & (local < 17), 80.0, 20.0) + rng.normal(0.0, 3.0, len(hours))


@pytest.mark.parametrize(
    ("keys", "is_found"), [({}, False), ({"seasonal_features": ["hod"]}, True)]
)
def test_a_value_of_the_day_at_night_is_known_by_the_calendar(
    keys: dict[str, Any], is_found: bool
) -> None:
    load = days(40)
    detector = univariate(
        query={"tz": "Asia/Tokyo", "step": "1h"}, contamination=0.05, args={}, **keys
    )
    labels = (Labels({"host": "a"}),)
    times = HOUR * np.arange(len(load))
    learned, _ = detector.fit([SeriesBatch(labels, times, load[None])])
    new_times = times[-1] + HOUR * np.arange(1, 25)
    at_three = (new_times // HOUR + 9) % 24 == 3
    new = np.where((np.arange(24) + 9) % 24 == 3, 80.0, days(1, 1))
    _, result = detector.infer(learned, [SeriesBatch(labels, new_times, new[None])], AT_ONCE)
    scores = scores_of(result)[0]
    assert (scores[at_three] > 1.0).all() == is_found
    assert (scores[~at_three] > 1.0).sum() <= 3


def test_known_incidents_are_found_among_channels_that_move_together() -> None:
    """Each channel stays in its own range throughout; only their relation breaks."""
    rng = np.random.default_rng(4)
    swing = rng.uniform(0.0, 100.0, N_PAST * 5)
    past = np.stack([swing, swing + rng.normal(0.0, 1.0, len(swing))])
    usual = rng.uniform(5.0, 95.0, 100)
    incidents = np.stack([np.full(20, 10.0), np.full(20, 90.0)])
    present = np.concatenate([np.stack([usual, usual]), incidents], axis=1)
    detector = multivariate(contamination=0.01, args={"n_estimators": 200})
    learned, _ = detector.fit([batch(past[:1], "a"), batch(past[1:], "a")])
    new = [batch(row[None], "a", past.shape[1]) for row in present]
    scores = scores_of(detector.infer(learned, new, AT_ONCE)[1])[0]
    assert (scores[100:] > 1.0).all()
    assert (scores[:100] > 1.0).mean() <= 0.05
