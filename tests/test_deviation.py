"""An incident is called what a person would call it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.deviation import DEVIATIONS, deviation_of
from vmanomaly.incidents import find_incidents
from vmanomaly.series import FloatArray, Labels

N = 60
RNG = np.random.default_rng(7)
NOISE = RNG.normal(0.0, 0.3, N)
SEASON = 10 * np.sin(np.arange(N) / 5)


def outputs(y: FloatArray, yhat: FloatArray | float = 0.0) -> dict[str, FloatArray]:
    """Values among what was expected, give or take one."""
    yhat = np.broadcast_to(yhat, y.shape)
    return {"y": y, "yhat": yhat, "yhat_lower": yhat - 1.0, "yhat_upper": yhat + 1.0}


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (np.array([5.0]), "spike"),
        (np.array([-5.0, -1.0]), "dip"),
        (5 + NOISE, "higher level"),
        (-5 + NOISE, "lower level"),
        (np.linspace(1, 6, N) + NOISE, "rising"),
        (-np.linspace(1, 6, N) + NOISE, "falling"),
        # Back on the way to what is expected, and a ramp too small to speak of.
        (np.linspace(6, 1, N) + NOISE, "higher level"),
        (np.linspace(2, 2.5, N), "higher level"),
        (3 * RNG.normal(size=N), "wider spread"),
        (np.full(N, 2.0), "frozen value"),
        (np.full(7, 2.0), "higher level"),
        (np.array([]), None),
        (np.full(N, np.nan), None),
    ],
    ids=str,
)
def test_each_has_its_name(y: FloatArray, expected: str | None) -> None:
    assert deviation_of(outputs(y)) == expected


@pytest.mark.parametrize(("sign", "expected"), [(1.0, "rising"), (-1.0, "falling")])
def test_a_drift_that_is_followed_has_its_direction(sign: float, expected: str) -> None:
    yhat = sign * np.linspace(0.0, 3.0, N)
    assert deviation_of(outputs(yhat - sign * 0.2 + NOISE, yhat)) == expected
    # What hardly moves is on one side.
    assert deviation_of(outputs(0.1 * yhat + sign * 0.2, 0.1 * yhat)) == (
        "higher level" if sign > 0 else "lower level"
    )


def test_a_value_that_was_frozen_nearly_all_the_time_is_frozen() -> None:
    y = np.append(np.full(N - 6, 2.0), 2.0 + NOISE[:6])
    assert deviation_of(outputs(y)) == "frozen value"


def test_what_is_expected_may_move() -> None:
    assert deviation_of(outputs(SEASON + 3 + NOISE, SEASON)) == "higher level"
    # The season does not come: the value stays where it was.
    assert deviation_of(outputs(np.full(N, 3.0), SEASON)) == "frozen value"


@pytest.mark.parametrize("missing", ["y", "yhat", "yhat_lower", "yhat_upper"])
def test_without_an_output_nothing_is_said(missing: str) -> None:
    given = outputs(5 + NOISE)
    del given[missing]
    assert deviation_of(given) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_upside_down_it_is_the_opposite(values: list[float]) -> None:
    y = np.array(values)
    pairs = dict(zip(DEVIATIONS[:6:2], DEVIATIONS[1:6:2], strict=True))
    opposite = {**pairs, **{down: up for up, down in pairs.items()}}
    found, other = deviation_of(outputs(y)), deviation_of(outputs(-y))
    if np.median(np.sign(y) * np.abs(y)) != 0:
        assert other == opposite.get(found or "", found)
    assert found in DEVIATIONS


@pytest.mark.parametrize("bound", [0.0, np.inf, np.nan])
def test_a_range_without_width_or_end_leaves_the_side(bound: float) -> None:
    given = {**outputs(5 + NOISE), "yhat_upper": np.full(N, bound)}
    assert deviation_of(given) == "higher level"


@pytest.mark.parametrize("unit", [1e306, 2e307, 1e-300])
@pytest.mark.parametrize("y", [5 + NOISE, np.linspace(-1, -6, N) + NOISE, 3 * NOISE / 0.3])
def test_a_unit_changes_nothing(unit: float, y: FloatArray) -> None:
    given = {name: unit * values for name, values in outputs(y).items()}
    assert deviation_of(given) == deviation_of(outputs(y))


def test_the_largest_floats_have_a_name_too() -> None:
    largest = np.finfo(np.float64).max
    far = {"yhat_lower": np.full(N, -largest), "yhat_upper": np.full(N, largest)}
    assert deviation_of({**outputs(largest * np.sign(NOISE)), **far}) in DEVIATIONS
    assert deviation_of(outputs(np.geomspace(2.0, 1e308, N))) == "rising"
    # What is far less than the bounds is not taken for equal.
    assert deviation_of({**outputs(1e-12 * (5 + NOISE)), **far}) != "frozen value"


def test_missing_values_are_left_out() -> None:
    y = 5 + NOISE
    y[::3] = np.nan
    assert deviation_of(outputs(y)) == "higher level"


def test_an_incident_is_looked_at_from_its_first_to_its_last_point() -> None:
    y = np.zeros((2, N))
    y[0, 10], y[1, 20:40] = 4.0, -4.0 + NOISE[:20]
    given = outputs(y)
    labels = [Labels({"host": host}) for host in "ab"]
    minutes = np.arange(N, dtype=np.int64) * 60
    found = find_incidents(labels, minutes, np.abs(y), 60, outputs=given)
    assert [incident.deviation for incident in found] == ["spike", "lower level"]
