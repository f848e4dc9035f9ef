"""The trees of isolation forests, against scikit-learn's own scores, and forged trees."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest

from vmanomaly.model.isolation_forest.features import seasonal_features
from vmanomaly.model.isolation_forest.forest import anomaly_score, fit_forest
from vmanomaly.model.isolation_forest.trees import Trees, score_samples, trees_of

LARGEST = float(np.finfo(np.float64).max)
TOLERANCE = 1e-12
"""Absolute, of scores between -1 and 0."""

FORMS: dict[str, tuple[int, dict[str, Any]]] = {
    "one feature": (1, {}),
    "many features": (6, {}),
    "some features in each tree": (6, {"max_features": 0.5}),
    "with replacement": (2, {"bootstrap": True, "max_samples": 300}),
    "small samples": (2, {"max_samples": 2}),
    "one sample": (2, {"max_samples": 1}),
    "large samples": (2, {"max_samples": 1.0}),
}


def data(n_features: int, n_rows: int = 600) -> np.ndarray:
    rng = np.random.default_rng(n_features)
    values = rng.normal(50.0, 10.0, (n_rows, n_features))
    values[:, 0] = values[:, 0].round()
    return values.astype(np.float32)


def wild(n_features: int) -> np.ndarray:
    rng = np.random.default_rng(99)
    values = rng.choice(
        [0.0, -0.0, 1e-40, 49.0, 50.5, 3e38, -3e38, np.inf, -np.inf], (50, n_features)
    )
    return values.astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
def test_scores_are_those_of_scikit_learn(form: str) -> None:
    n_features, args = FORMS[form]
    grown = IsolationForest(n_estimators=30, random_state=1, **args).fit(data(n_features))
    trees, samples_per_tree = trees_of(grown), int(grown.max_samples_)
    trees.check(n_features, samples_per_tree)
    for rows in (data(n_features), wild(n_features)):
        np.testing.assert_allclose(
            score_samples(trees, rows, samples_per_tree),
            grown.score_samples(rows),
            rtol=0,
            atol=TOLERANCE,
        )


@pytest.mark.parametrize("n_rows", [2, 3, 5])
def test_few_samples(n_rows: int) -> None:
    rows = data(2, n_rows)
    grown = IsolationForest(n_estimators=20, random_state=1).fit(rows)
    scores = score_samples(trees_of(grown), rows, n_rows)
    np.testing.assert_allclose(scores, grown.score_samples(rows), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("contamination", ["auto", 0.01, 0.1, 0.5])
def test_the_anomaly_score_is_1_where_the_decision_function_is_0(
    contamination: str | float,
) -> None:
    rows = data(3)
    args = {"n_estimators": 40, "random_state": 3}
    grown = IsolationForest(contamination=contamination, **args).fit(rows)
    calendar = np.empty((len(rows), 0))
    forest = fit_forest(rows.T.astype(np.float64), calendar, contamination, args)
    decision = grown.decision_function(rows)
    expected = np.maximum(0.0, 1.0 - decision / decision.max())
    found = anomaly_score(forest, rows.T.astype(np.float64), calendar)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert found.min() == 0.0
    clear = np.abs(decision) > TOLERANCE
    assert ((found > 1.0) == (grown.predict(rows) == -1))[clear].all()
    if contamination != "auto":
        assert (found > 1.0).mean() <= float(contamination)


def calendar_of(values: np.ndarray) -> np.ndarray:
    return np.empty((values.shape[1], 0))


def scores(
    past: np.ndarray, present: np.ndarray, contamination: str | float = "auto"
) -> list[float]:
    args = {"n_estimators": 50, "random_state": 0}
    forest = fit_forest(past, calendar_of(past), contamination, args)
    return [float(each) for each in anomaly_score(forest, present, calendar_of(present))]


@pytest.mark.parametrize("value", [0.0, 7.0, -1e9, 1e300, 1.7e308, LARGEST, -5e-324])
def test_a_constant_series_expects_its_value(value: float) -> None:
    past = np.full((1, 300), value)
    other = value * 1.001 + 0.001 if value < 1e308 else 1.6e308
    rounded = min(value * (1 + 1e-12), LARGEST)
    found = scores(past, np.array([[value, rounded, other, -1.7e308, 1e306]]))
    assert found[0] == 0.0
    assert found[1] < 1.0
    assert min(found[2:]) > 1.0
    assert all(map(math.isfinite, found))


def test_a_constant_channel_is_judged_by_itself() -> None:
    rng = np.random.default_rng(0)
    past = np.stack([rng.normal(0.0, 1.0, 500), np.full(500, 3.0)])
    usual, broken = scores(past, np.array([[0.1, 0.1], [3.0, 3.5]]), 0.01)
    assert usual < 1.0
    assert broken == pytest.approx(0.5 / 3e-9)


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_two_values_that_are_equally_common_are_both_normal(contamination: str | float) -> None:
    past = np.tile([0.0, 1.0], (1, 200))
    assert max(scores(past, np.array([[0.0, 1.0]]), contamination)) <= 1.0


@pytest.mark.parametrize("contamination", [0.02, 0.1, 0.4])
def test_what_is_rare_stands_out_from_one_value(contamination: float) -> None:
    """Scikit-learn's threshold is then the score of that value itself."""
    past = np.zeros((1, 1000))
    past[0, ::100] = 1.0
    usual, rare = scores(past, np.array([[0.0, 1.0]]), contamination)
    assert usual == 0.0
    assert rare > 1.0


@pytest.mark.parametrize(
    ("origin", "unit"), [(1e12, 1.0), (-5e15, 4.0), (0.0, 1e-200), (0.0, 1e200)]
)
def test_values_that_float32_cannot_tell_apart(origin: float, unit: float) -> None:
    rng = np.random.default_rng(0)
    past = rng.normal(0.0, 1.0, (1, 800))
    present = np.array([[0.0, 1.0, -8.0, 8.0]])
    found = scores(origin + unit * past, origin + unit * present, 0.01)
    assert max(found[:2]) < 1.0 < min(found[2:])
    if origin == 0.0:
        # Nothing but the size of the numbers differs.
        high = np.abs(past).max()
        expected = scores(past / high, present / high, 0.01)
        np.testing.assert_allclose(found, expected, atol=0.1)


@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"])
def test_seasonal_features_are_civil_time(tz: str) -> None:
    rng = np.random.default_rng(0)
    timestamps = 1_700_000_000_000 + rng.integers(0, 400 * 86_400_000, 200)
    # Sundays, midnight, and both sides of a change of the clocks.
    timestamps[:4] = [1743292800000, 1743285600000, 1743296340000, 1743296400000]
    names = ("minute", "hod", "dow", "month")
    found = seasonal_features(timestamps, names, tz)
    for row, timestamp in zip(found, timestamps, strict=True):
        moment = datetime.fromtimestamp(timestamp / 1000, ZoneInfo(tz))
        expected = [
            side(2.0 * math.pi * number / period)
            for number, period in (
                (moment.minute, 60),
                (moment.hour, 24),
                (moment.isoweekday(), 7),
                (moment.month, 12),
            )
            for side in (math.sin, math.cos)
        ]
        assert row == pytest.approx(expected, abs=1e-12)


def test_no_seasonal_feature() -> None:
    assert seasonal_features(np.arange(3), (), "UTC").shape == (3, 0)


@pytest.fixture(scope="module")
def trees() -> Trees:
    grown = IsolationForest(n_estimators=5, max_samples=32, random_state=1).fit(data(2))
    return trees_of(grown)


@given(data=st.data())
@settings(max_examples=300)
@pytest.mark.slow
def test_a_forged_tree_is_refused_or_ends(trees: Trees, data: st.DataObject) -> None:
    """Whatever passes the check is scored, without a look beyond the arrays."""
    arrays: list[Any] = [array.copy() for array in trees]
    for _ in range(data.draw(st.integers(1, 3))):
        array = arrays[data.draw(st.integers(0, 3))]
        place = data.draw(st.integers(0, len(array) - 1))
        if array.dtype == np.float32:
            array[place] = data.draw(st.floats(width=32))
        else:
            least, most = np.iinfo(array.dtype).min, np.iinfo(array.dtype).max
            near = st.integers(-3, len(trees.feature) + 3)
            array[place] = data.draw(st.one_of(near, st.integers(int(least), int(most))))
    forged = Trees(*arrays)
    try:
        forged.check(2, 32)
    except ValueError:
        return
    for start, end in zip(forged.starts[:-1], forged.starts[1:], strict=True):
        for node in range(start, end):
            if forged.feature[node] >= 0:
                assert node < node + 1 < node + forged.right[node] < end
    assert np.isfinite(score_samples(forged, wild(2), 32)).all()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"starts": [0, 1, 5]}, "tree_starts: not the trees of 3 nodes"),
        ({"starts": [0, 0, 3]}, "tree_starts: not the trees of 3 nodes"),
        ({"starts": [1, 3]}, "tree_starts: not the trees"),
        ({"starts": []}, "tree_starts: not the trees"),
        ({"right": [2]}, "tree_starts: not the trees"),
        ({"feature": [2, -1, -1]}, "feature: not one of 2"),
        ({"feature": [-2, -1, -1]}, "feature: not one of 2"),
        ({"value": [math.nan, 1, 1]}, "value: found a number that is not finite"),
        ({"value": [0, 0.5, 1]}, "value: a leaf holds 1 to 9 samples"),
        ({"value": [0, 0, 1]}, "value: a leaf holds 1 to 9 samples"),
        ({"value": [0, 10, 1]}, "value: a leaf holds 1 to 9 samples"),
        ({"right": [0, 0, 0]}, "right: not the place of a later node"),
        ({"right": [-2, 0, 0]}, "right: not the place of a later node"),
        ({"right": [3, 0, 0]}, "right: not the place of a later node"),
        ({"right": [2**31 - 1, 0, 0]}, "right: not the place of a later node"),
        ({"feature": [0, -1, 1]}, "right: not the place of a later node"),
    ],
)
def test_a_check_says_what_is_wrong(change: dict[str, list[float]], problem: str) -> None:
    parts: dict[str, list[float]] = {
        "starts": [0, 3],
        "feature": [0, -1, -1],
        "value": [0.5, 4, 5],
        "right": [2, 0, 0],
    }
    types = [np.int64, np.int32, np.float32, np.int32]

    def made(parts: dict[str, list[float]]) -> Trees:
        return Trees(*(np.array(part, t) for part, t in zip(parts.values(), types, strict=True)))

    made(parts).check(2, 9)
    with pytest.raises(ValueError, match=problem):
        made(parts | change).check(2, 9)


def test_another_order_of_nodes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tree:
        node_count = 3
        children_left = np.array([2, -1, -1])
        children_right = np.array([1, -1, -1])

    class Grown:
        estimators_: ClassVar = [type("One", (), {"tree_": Tree})]

    with pytest.raises(RuntimeError, match="orders the nodes of its trees differently"):
        trees_of(Grown())
