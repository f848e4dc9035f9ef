from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vmanomaly.model.base import ModelOutput
from vmanomaly.model.scoring import Policy, adjusted, policed_score, score, score_series
from vmanomaly.series import FloatArray, Labels, SeriesBatch

LARGEST = float(np.finfo(np.float64).max)
NAN, INF = math.nan, math.inf

finite = st.floats(allow_nan=False, allow_infinity=False)
ordinary = st.floats(-1e6, 1e6)
three_ascending = st.lists(finite, min_size=3, max_size=3, unique=True).map(sorted)


def score_one(y: float, yhat: float, lower: float, upper: float) -> float:
    return float(score(*(np.array([x], np.float64) for x in (y, yhat, lower, upper)))[0])


@given(finite, three_ascending)
def test_score_is_the_ratio_of_the_distances(y: float, ascending: list[float]) -> None:
    lower, yhat, upper = ascending
    bound = lower if y < yhat else upper
    exact = abs(Fraction(y) - Fraction(yhat)) / abs(Fraction(bound) - Fraction(yhat))
    result = score_one(y, yhat, lower, upper)
    assert math.isfinite(result)
    expected = LARGEST if exact > Fraction(LARGEST) else float(exact)
    assert result == pytest.approx(expected, rel=1e-15, abs=1e-300)


@given(finite, finite, finite, finite)
def test_score_is_finite_and_0_only_at_yhat(y: float, yhat: float, a: float, b: float) -> None:
    result = score_one(y, yhat, min(a, b, yhat), max(a, b, yhat))
    assert 0.0 <= result <= LARGEST
    assert score_one(yhat, yhat, min(a, b, yhat), max(a, b, yhat)) == 0.0


@given(finite, finite, finite, finite, finite)
def test_score_grows_with_the_distance_on_each_side(
    yhat: float, a: float, b: float, y1: float, y2: float
) -> None:
    lower, upper = min(a, b, yhat), max(a, b, yhat)
    near, far = sorted((y1, y2), key=lambda y: abs(Fraction(y) - Fraction(yhat)))
    assume((near < yhat) == (far < yhat))
    assert score_one(near, yhat, lower, upper) <= score_one(far, yhat, lower, upper)


@given(ordinary, st.floats(1e-3, 1e6), st.floats(1e-3, 1e6), ordinary)
def test_score_is_continuous(yhat: float, down: float, up: float, y: float) -> None:
    lower, upper = yhat - down, yhat + up
    assume(lower < yhat < upper)
    step = 1e-9 * max(abs(y), abs(yhat), 1.0)
    here, there = (score_one(value, yhat, lower, upper) for value in (y, y + step))
    assert abs(here - there) <= 2.1 * step / min(yhat - lower, upper - yhat)


@given(three_ascending)
def test_score_is_1_at_the_bounds(ascending: list[float]) -> None:
    lower, yhat, upper = ascending
    assert score_one(lower, yhat, lower, upper) == 1.0
    assert score_one(upper, yhat, lower, upper) == 1.0


@given(finite, finite)
def test_zero_width_is_all_or_nothing(y: float, yhat: float) -> None:
    result = score_one(y, yhat, yhat, yhat)
    if y == yhat:
        assert result == 0.0
    else:
        distance = abs(Fraction(y) - Fraction(yhat))
        exact = 1 + distance / max(abs(Fraction(yhat)), Fraction(1))
        assert math.nextafter(1.0, 2.0) <= result <= LARGEST
        assert result == pytest.approx(min(float(min(exact, Fraction(LARGEST))), LARGEST))


@pytest.mark.parametrize("y", [NAN, INF, -INF])
def test_y_that_is_not_finite_has_no_score(y: float) -> None:
    assert math.isnan(score_one(y, 0.0, -1.0, 1.0))
    assert math.isnan(score_one(y, 0.0, 0.0, 0.0))
    assert math.isnan(score_one(y, 0.0, -INF, INF))


def test_an_open_side_never_scores() -> None:
    assert score_one(5.0, 1.0, 0.0, INF) == 0.0
    assert score_one(1.5e308, -1.5e308, -INF, INF) == 0.0
    assert score_one(-1.0, 1.0, 0.0, INF) == 2.0


def test_without_yhat_there_is_no_score() -> None:
    assert math.isnan(score_one(5.0, NAN, 0.0, 9.0))


# The order of the policies. In each case y is the first number.
def predict_one(
    y: float,
    yhat: float = 10.0,
    lower: float = 8.0,
    upper: float = 12.0,
    *,
    trusted: bool = True,
    eligible: bool = True,
    **policy: Any,
) -> dict[str, float]:
    batch, output = one_point(y, {"yhat": yhat, "yhat_lower": lower, "yhat_upper": upper})
    output = ModelOutput(output.outputs, np.array([[eligible]]), np.array([[trusted]]))
    predictions = score_series(batch, output, Policy(**policy), None)
    return {name: float(values[0, 0]) for name, values in predictions.outputs.items()}


def one_point(y: float, outputs: dict[str, float]) -> tuple[SeriesBatch, ModelOutput]:
    batch = SeriesBatch((Labels({"job": "api"}),), np.array([60_000]), np.array([[y]]))
    yes = np.array([[True]])
    return batch, ModelOutput({k: np.array([[v]]) for k, v in outputs.items()}, yes, yes)


def score_of(y: float, *prediction: float, **policy: Any) -> float:
    return predict_one(y, *prediction, **policy)["anomaly_score"]


def test_without_policies_the_score_is_the_ratio() -> None:
    assert predict_one(16.0) == {
        "anomaly_score": 3.0,
        "yhat": 10.0,
        "yhat_lower": 8.0,
        "yhat_upper": 12.0,
    }


def test_scale_moves_each_bound_by_its_own_factor() -> None:
    wide = predict_one(16.0, scale=(0.5, 3.0))
    assert (wide["yhat_lower"], wide["yhat_upper"], wide["anomaly_score"]) == (9.0, 16.0, 1.0)
    assert score_of(9.0, scale=(0.5, 3.0)) == 1.0


def test_scale_never_overflows() -> None:
    huge = predict_one(1.0, 0.0, -1e308, 1e308, scale=(100.0, 100.0))
    assert (huge["yhat_lower"], huge["yhat_upper"]) == (-LARGEST, LARGEST)


def test_clipping_comes_before_the_score() -> None:
    clipped = predict_one(9.5, 10.0, 8.0, 12.0, data_range=(9.0, 11.0), clip_predictions=True)
    assert (clipped["yhat_lower"], clipped["yhat_upper"]) == (9.0, 11.0)
    assert clipped["anomaly_score"] == 0.5


def test_clipping_comes_after_scale() -> None:
    clipped = predict_one(10.0, data_range=(0.0, 13.0), clip_predictions=True, scale=(1.0, 5.0))
    assert clipped["yhat_upper"] == 13.0


def test_y_outside_its_range_scores_at_least_the_set_value() -> None:
    inside = {"data_range": (0.0, 11.0)}
    assert score_of(11.0, **inside) == 0.5
    assert score_of(11.5, **inside) == 1.01
    assert score_of(11.5, **inside, anomaly_score_outside_data_range=2.5) == 2.5
    assert score_of(20.0, **inside, anomaly_score_outside_data_range=2.5) == 5.0


@pytest.mark.parametrize(
    "policy",
    [
        {"detection_direction": "below_expected"},
        {"min_dev_from_expected": (100.0, 100.0)},
        {"min_rel_dev_from_expected": (1e6, 1e6)},
    ],
)
def test_y_outside_its_range_is_exempt_from_the_other_policies(policy: dict[str, Any]) -> None:
    assert score_of(20.0, **policy) == 0.0
    assert score_of(20.0, **policy, data_range=(0.0, 15.0)) == 5.0
    assert score_of(20.0, 16.0, 14.0, 24.0, **policy, data_range=(0.0, 15.0)) == 1.01


def test_a_prediction_outside_the_range_is_not_believed() -> None:
    assert score_of(4.0, -1.0, -2.0, 0.0, data_range=(0.0, 100.0)) == 0.0
    clipped = predict_one(4.0, -1.0, -2.0, 2.0, data_range=(0.0, 100.0), clip_predictions=True)
    assert clipped == {"anomaly_score": 2.0, "yhat": 0.0, "yhat_lower": 0.0, "yhat_upper": 2.0}


@pytest.mark.parametrize(
    ("direction", "below", "above"),
    [("both", 2.0, 2.0), ("above_expected", 0.0, 2.0), ("below_expected", 2.0, 0.0)],
)
def test_detection_direction(direction: str, below: float, above: float) -> None:
    assert score_of(6.0, detection_direction=direction) == below
    assert score_of(14.0, detection_direction=direction) == above
    assert score_of(10.0, detection_direction=direction) == 0.0


def test_the_deviation_must_exceed_the_least_one_of_its_side() -> None:
    policy = {"min_dev_from_expected": (4.0, 6.0)}
    assert [score_of(y, **policy) for y in (6.0, 5.0, 16.0, 17.0)] == [0.0, 2.5, 0.0, 3.5]


def test_the_relative_deviation_is_in_percent_of_yhat() -> None:
    policy = {"min_rel_dev_from_expected": (40.0, 60.0)}
    assert [score_of(y, **policy) for y in (6.0, 5.0, 16.0, 17.0)] == [0.0, 2.5, 0.0, 3.5]
    below_zero = (-10.0, -12.0, -8.0)
    assert [score_of(y, *below_zero, **policy) for y in (-6.0, -3.0)] == [0.0, 3.5]
    assert score_of(129.0, 100.0, 99.0, 101.0, min_rel_dev_from_expected=(29.0, 29.0)) == 0.0


def test_both_deviations_must_be_exceeded() -> None:
    both = {"min_dev_from_expected": (0.0, 5.0), "min_rel_dev_from_expected": (0.0, 80.0)}
    assert [score_of(y, **both) for y in (14.0, 17.0, 19.0)] == [0.0, 0.0, 4.5]


@pytest.mark.parametrize(
    ("policy", "flatline"),
    [
        ({"min_dev_from_expected": (99.0, 99.0)}, 3.0),
        ({"min_rel_dev_from_expected": (99.0, 99.0)}, 3.0),
        ({"detection_direction": "below_expected"}, 0.0),
        ({"data_range": (0.0, 10.0), "anomaly_score_outside_data_range": 5.0}, 5.0),
    ],
)
def test_a_flatline_need_not_deviate(policy: dict[str, Any], flatline: float) -> None:
    """A frozen value hardly does; on which side it is, and whether it is possible, still counts."""
    batch, output = one_point(
        10.5, {"yhat": 10.0, "yhat_lower": 8.0, "yhat_upper": 12.0, "flatline_score": 3.0}
    )
    found = score_series(batch, output, Policy(**policy), ["flatline_score"])
    assert found.outputs["flatline_score"] == [[flatline]]


@pytest.mark.parametrize(
    ("policy", "score"),
    [
        ({}, 3.0),
        ({"detection_direction": "above_expected"}, 3.0),
        ({"detection_direction": "below_expected"}, 0.0),
        ({"min_dev_from_expected": (5.0, 3.0)}, 3.0),
        ({"min_dev_from_expected": (3.0, 5.0)}, 0.0),
        ({"data_range": (0.0, 12.0), "anomaly_score_outside_data_range": 5.0}, 3.0),
    ],
)
def test_of_a_drift_the_level_deviates_from_where_it_was(
    policy: dict[str, Any], score: float
) -> None:
    """The sample below the level says nothing of it."""
    outputs = {"yhat": 10.0, "yhat_lower": 8.0, "yhat_upper": 12.0}
    batch, output = one_point(9.5, {**outputs, "drift_score": 3.0, "drift": 4.0})
    found = score_series(batch, output, Policy(**policy), ["drift_score"])
    assert found.outputs["drift_score"] == [[score]]


@pytest.mark.parametrize("yhat", [LARGEST, -LARGEST])
def test_where_a_level_was_never_overflows(yhat: float) -> None:
    outputs = {"yhat": yhat, "yhat_lower": -LARGEST, "yhat_upper": LARGEST, "drift": -yhat}
    batch, output = one_point(yhat, {**outputs, "drift_score": 3.0})
    policy = Policy(detection_direction="above_expected")
    found = score_series(batch, output, policy, ["drift_score"]).outputs["drift_score"]
    # As far as a float can tell, it is where it was.
    assert found == [[0.0]]


def test_from_zero_every_relative_deviation_is_exceeded() -> None:
    assert score_of(1.0, 0.0, -1.0, 1.0, min_rel_dev_from_expected=(50.0, 50.0)) == 1.0


def test_untrusted_points_score_0_even_outside_the_range() -> None:
    assert score_of(100.0, trusted=False) == 0.0
    assert score_of(100.0, trusted=False, data_range=(0.0, 1.0)) == 0.0


@pytest.mark.parametrize("y", [NAN, INF, -INF])
def test_nothing_is_said_about_a_y_that_is_not_finite(y: float) -> None:
    for trusted in (True, False):
        answer = predict_one(y, trusted=trusted, data_range=(0.0, 1.0))
        assert all(math.isnan(value) for value in answer.values())


def test_nothing_is_said_about_a_point_that_is_not_eligible() -> None:
    assert all(math.isnan(value) for value in predict_one(11.0, eligible=False).values())


def test_without_a_prediction_the_score_is_0() -> None:
    answer = predict_one(5.0, NAN, NAN, NAN)
    assert answer.pop("anomaly_score") == 0.0
    assert all(math.isnan(value) for value in answer.values())
    assert score_of(5.0, NAN, NAN, NAN, data_range=(0.0, 1.0)) == 1.01


def test_provide_series_selects_and_orders() -> None:
    batch, output = one_point(9.0, {"yhat": 10.0, "yhat_lower": 8.0, "yhat_upper": 12.0})
    wanted = ["yhat_upper", "timestamp", "y", "anomaly_score"]
    outputs = score_series(batch, output, Policy(), wanted).outputs
    assert list(outputs) == ["yhat_upper", "y", "anomaly_score"]
    assert [values.item() for values in outputs.values()] == [12.0, 9.0, 0.5]
    assert list(score_series(batch, output, Policy(), ["yhat"]).outputs) == ["yhat"]


def test_a_score_of_the_models_own() -> None:
    batch, output = one_point(9.0, {"anomaly_score": 1.5})
    for policy, expected in [
        (Policy(), 1.5),
        (Policy(data_range=(0.0, 5.0), anomaly_score_outside_data_range=2.0), 2.0),
        (Policy(data_range=(0.0, 5.0)), 1.5),
        (Policy(detection_direction="below_expected", min_dev_from_expected=(9.0, 9.0)), 1.5),
    ]:
        outputs = score_series(batch, output, policy, None).outputs
        assert {name: values.item() for name, values in outputs.items()} == {
            "anomaly_score": expected
        }


def test_forecasts_are_scaled_and_clipped_like_yhat() -> None:
    batch, output = one_point(
        9.0, {"yhat": 5.0, "yhat_1h": 20.0, "yhat_lower_1h": 18.0, "yhat_upper_1h": 22.0}
    )
    policy = Policy(scale=(2.0, 3.0), clip_predictions=True, data_range=(17.0, 25.0))
    outputs = score_series(batch, output, policy, ["yhat_lower_1h", "yhat_1h", "yhat_upper_1h"])
    assert [values.item() for values in outputs.outputs.values()] == [17.0, 20.0, 25.0]


pairs = st.tuples(st.sampled_from([0.0, 1.0, 3.0, 50.0]), st.sampled_from([0.0, 2.0, 20.0]))
whole = st.integers(-30, 30).map(float)
policies = st.builds(
    Policy,
    scale=st.tuples(st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.5, 1.0, 3.0])),
    clip_predictions=st.booleans(),
    anomaly_score_outside_data_range=st.sampled_from([0.0, 1.01, 2.5]),
    data_range=st.sampled_from([(-INF, INF), (0.0, INF), (-5.0, 5.0), (3.0, 20.0)]),
    detection_direction=st.sampled_from(["both", "above_expected", "below_expected"]),
    min_dev_from_expected=pairs,
    min_rel_dev_from_expected=pairs,
)


def by_the_book(
    y: float, yhat: float, lower: float, upper: float, trusted: bool, policy: Policy
) -> tuple[float, float, float, float]:
    """One point in plain Python, rule by rule as docs/models.md tells them."""
    low, high = policy.data_range
    lower = yhat - policy.scale[0] * (yhat - lower)
    upper = yhat + policy.scale[1] * (upper - yhat)
    if policy.clip_predictions:
        yhat, lower, upper = (min(max(value, low), high) for value in (yhat, lower, upper))
    width = yhat - lower if y < yhat else upper - yhat
    if width > 0:
        own = abs(y - yhat) / width
    else:
        own = 0.0 if y == yhat else 1.0 + abs(y - yhat) / max(abs(yhat), 1.0)
    side = 0 if y < yhat else 1
    if not trusted:
        result = 0.0
    elif not low <= y <= high:
        result = max(own, policy.anomaly_score_outside_data_range)
    elif (
        not low <= yhat <= high
        or (policy.detection_direction == "above_expected" and y <= yhat)
        or (policy.detection_direction == "below_expected" and y >= yhat)
        or abs(y - yhat) <= policy.min_dev_from_expected[side] != 0
        or abs(y - yhat) <= policy.min_rel_dev_from_expected[side] * abs(yhat) / 100 != 0
    ):
        result = 0.0
    else:
        result = own
    return result, yhat, lower, upper


@given(whole, whole, st.integers(0, 9), st.integers(0, 9), st.booleans(), policies)
def test_all_policies_together(
    y: float, yhat: float, down: int, up: int, trusted: bool, policy: Policy
) -> None:
    lower, upper = yhat - down, yhat + up
    batch, output = one_point(y, {"yhat": yhat, "yhat_lower": lower, "yhat_upper": upper})
    output = ModelOutput(output.outputs, output.eligible, np.array([[trusted]]))
    found = score_series(batch, output, policy, None).outputs
    expected = by_the_book(y, yhat, lower, upper, trusted, policy)
    for name, value in zip(
        ("anomaly_score", "yhat", "yhat_lower", "yhat_upper"), expected, strict=True
    ):
        assert found[name].item() == pytest.approx(value, rel=1e-15), name


@given(st.data())
def test_points_are_independent_and_inputs_stay_untouched(data: st.DataObject) -> None:
    number = st.one_of(ordinary, st.sampled_from([NAN, INF, -INF]))
    shape = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 4)))
    n_points = shape[0] * shape[1]

    def draw_matrix(strategy: st.SearchStrategy[Any]) -> Any:
        points = data.draw(st.lists(strategy, min_size=n_points, max_size=n_points))
        return np.array(points).reshape(shape)

    y: FloatArray = draw_matrix(number).astype(np.float64)
    yhat: FloatArray = draw_matrix(ordinary).astype(np.float64)
    model_outputs = {"yhat": yhat, "yhat_lower": yhat - 2.0, "yhat_upper": yhat + 3.0}
    eligible, trusted = (draw_matrix(st.booleans()).astype(np.bool_) for _ in range(2))
    policy = Policy(
        scale=data.draw(st.tuples(st.floats(0.1, 3.0), st.floats(0.1, 3.0))),
        clip_predictions=data.draw(st.booleans()),
        data_range=data.draw(st.sampled_from([(-INF, INF), (0.0, INF), (-5.0, 5.0)])),
        detection_direction=data.draw(
            st.sampled_from(["both", "above_expected", "below_expected"])
        ),
        min_dev_from_expected=data.draw(st.sampled_from([(0.0, 0.0), (1.0, 2.0)])),
        min_rel_dev_from_expected=data.draw(st.sampled_from([(0.0, 0.0), (10.0, 0.0)])),
    )
    labels = tuple(Labels({"series": str(s)}) for s in range(shape[0]))
    timestamps = np.arange(shape[1], dtype=np.int64)
    before = {name: values.copy() for name, values in model_outputs.items()}
    whole = score_series(
        SeriesBatch(labels, timestamps, y),
        ModelOutput(model_outputs, eligible, trusted),
        policy,
        None,
    )
    for name, values in model_outputs.items():
        np.testing.assert_array_equal(values, before[name])
    for s in range(shape[0]):
        for t in range(shape[1]):
            point = np.s_[s : s + 1, t : t + 1]
            alone = score_series(
                SeriesBatch(labels[s : s + 1], timestamps[t : t + 1], y[point]),
                ModelOutput(
                    {name: values[point] for name, values in model_outputs.items()},
                    eligible[point],
                    trusted[point],
                ),
                policy,
                None,
            )
            for name, values in alone.outputs.items():
                np.testing.assert_array_equal(values, whole.outputs[name][point])
                assert np.isnan(values).item() == (not (eligible[s, t] and math.isfinite(y[s, t])))


def test_the_query_has_the_last_word_and_the_model_fills_gaps() -> None:
    model: Any = SimpleNamespace(
        scale=(1.0, 2.0),
        clip_predictions=True,
        anomaly_score_outside_data_range=1.5,
        data_range=(0.0, 1.0),
        detection_direction="above_expected",
        min_dev_from_expected=(1.0, 2.0),
        min_rel_dev_from_expected=None,
    )
    silent: Any = SimpleNamespace(
        data_range=None,
        detection_direction=None,
        min_dev_from_expected=None,
        min_rel_dev_from_expected=None,
    )
    speaking: Any = SimpleNamespace(
        data_range=(-INF, INF),
        detection_direction="both",
        min_dev_from_expected=(0.0, 0.0),
        min_rel_dev_from_expected=(3.0, 4.0),
    )
    assert Policy.of(model, silent) == Policy(
        scale=(1.0, 2.0),
        clip_predictions=True,
        anomaly_score_outside_data_range=1.5,
        data_range=(0.0, 1.0),
        detection_direction="above_expected",
        min_dev_from_expected=(1.0, 2.0),
    )
    assert Policy.of(model, speaking) == Policy(
        scale=(1.0, 2.0),
        clip_predictions=True,
        anomaly_score_outside_data_range=1.5,
        min_rel_dev_from_expected=(3.0, 4.0),
    )


def test_a_bound_without_its_prediction_is_not_moved() -> None:
    outputs = {"yhat_upper": np.array([3.0]), "yhat": np.array([1.0]), "yhat_lower_1h": np.ones(1)}
    moved = adjusted(outputs, Policy(scale=(2.0, 2.0)))
    assert {name: float(values[0]) for name, values in moved.items()} == {
        "yhat_upper": 5.0,
        "yhat": 1.0,
        "yhat_lower_1h": 1.0,
    }


def test_a_score_needs_bounds_or_one_of_the_models_own() -> None:
    y = np.array([1.0, 5.0])
    with pytest.raises(ValueError, match=r"no anomaly_score, and not all of .* it returned yhat$"):
        policed_score({"yhat": y}, y, Policy())
    own = policed_score({"anomaly_score": np.array([0.5, np.nan])}, y, Policy())
    assert own.tolist() == [0.5, 0.0]
