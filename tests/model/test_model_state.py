from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.model.state import NEVER, Column, SeriesState
from vmanomaly.series import Labels

COLUMNS = (Column("mean", np.float64, initial=0.5), Column("profile", np.float64, (3,)))


def labels(*names: str) -> tuple[Labels, ...]:
    return tuple(Labels({"series": name}) for name in names)


def test_a_new_series_has_initial_values() -> None:
    state = SeriesState(COLUMNS)
    assert state.rows(labels("a", "b")).tolist() == [0, 1]
    assert state.last_seen.tolist() == [NEVER, NEVER]
    assert state.n_samples_seen.tolist() == [0, 0]
    assert state["mean"].tolist() == [0.5, 0.5]
    assert state["profile"].tolist() == [[0.0] * 3] * 2


def test_the_same_labels_give_the_same_array() -> None:
    state = SeriesState(COLUMNS)
    asked = labels("a", "b")
    rows = state.rows(asked)
    assert state.rows(asked) is rows
    assert state.rows(labels("a", "b")) is rows
    assert not rows.flags.writeable


def test_blocks_that_come_again_and_again_are_all_remembered() -> None:
    state = SeriesState(COLUMNS)
    blocks = [labels("a", "b"), labels("c", "d"), labels("e")]
    rows = [state.rows(block) for block in blocks]
    assert [each.tolist() for each in rows] == [[0, 1], [2, 3], [4]]
    for block, known in zip(blocks, rows, strict=True):
        assert state.rows(block) is known


def test_what_is_remembered_is_bounded() -> None:
    state = SeriesState(COLUMNS)
    names = [str(i) for i in range(20)]
    for first in range(20):
        found = state.rows(labels(*names[first:], *names[:first]))
        assert found.tolist() == [*range(first, 20), *range(first)]
    assert sum(len(known) for known, _ in state._asked.values()) <= 2 * len(state)


def test_a_copy_as_of_a_time_has_learned_the_same_and_stands_alone() -> None:
    state = SeriesState(COLUMNS)
    state.rows(labels("early", "late", "never"))
    state.last_seen[:] = [5, 20, NEVER]
    state["mean"][:] = [1.0, 2.0, 3.0]
    copy = state.as_of(10)
    assert copy.last_seen.tolist() == [5, 10, NEVER]
    assert copy["mean"].tolist() == [1.0, 2.0, 3.0]
    copy["mean"][:] = 0.0
    copy.rows(labels("new"))
    assert state["mean"].tolist() == [1.0, 2.0, 3.0]
    assert state.last_seen.tolist() == [5, 20, NEVER]
    assert labels("new")[0] not in state


def test_values_stay_with_their_series_when_the_state_grows() -> None:
    state = SeriesState(COLUMNS)
    for i in range(100):
        row = state.rows(labels(str(i)))
        state["mean"][row] = i
    rows = state.rows(labels(*(str(i) for i in reversed(range(100)))))
    assert state["mean"][rows].tolist() == list(reversed(range(100)))


def test_little_room_is_left_unused() -> None:
    state = SeriesState(COLUMNS)
    for i in range(1000):
        state.rows(labels(str(i)))
    assert state.bytes_per_series == 8 + 8 + 8 + 8 + 24
    assert state.nbytes <= 1.25 * len(state) * state.bytes_per_series


def test_removed_series_are_forgotten_and_start_from_scratch() -> None:
    state = SeriesState(COLUMNS)
    asked = labels("a", "b", "c", "d")
    rows = state.rows(asked)
    state["mean"][rows] = [1.0, 2.0, 3.0, 4.0]
    state.remove(np.array([0, 2]))
    assert state.labels == labels("b", "d")
    assert state["mean"].tolist() == [2.0, 4.0]
    assert state.rows(asked).tolist() == [2, 0, 3, 1]
    assert state["mean"].tolist() == [2.0, 4.0, 0.5, 0.5]


def test_states_of_different_series_are_joined() -> None:
    state, other = SeriesState(COLUMNS), SeriesState(COLUMNS)
    state.rows(labels("a", "b"))
    state["mean"][:] = [1.0, 2.0]
    other.rows(labels("c"))
    other["mean"][:] = 3.0
    other["profile"][:] = 4.0
    state.append(other)
    assert state.labels == labels("a", "b", "c")
    assert state["mean"].tolist() == [1.0, 2.0, 3.0]
    assert state["profile"][2].tolist() == [4.0] * 3


def test_no_series_at_all() -> None:
    state = SeriesState(COLUMNS)
    assert state.rows(()).tolist() == []
    state.remove(np.empty(0, np.int64))
    assert len(state) == 0
    assert state["profile"].shape == (0, 3)


def test_a_state_survives_a_round_trip() -> None:
    state = SeriesState(COLUMNS)
    rows = state.rows(labels("a", "b"))
    state["mean"][rows] = [1.0, 2.0]
    state.last_seen[:] = 7
    stored = {name: array.copy() for name, array in state.arrays().items()}
    for array in stored.values():
        array.flags.writeable = False
    again = SeriesState.from_arrays(COLUMNS, state.labels, stored)
    assert again.labels == state.labels
    for name, array in state.arrays().items():
        np.testing.assert_array_equal(again[name], array)
    again["mean"][:] = 0
    assert stored["mean"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("mean", None),
        ("mean", np.zeros(1, np.float32)),
        ("mean", np.zeros(2)),
        ("profile", np.zeros((1, 4))),
    ],
)
def test_columns_of_another_form_are_refused(name: str, array: np.ndarray | None) -> None:
    state = SeriesState(COLUMNS)
    state.rows(labels("a"))
    arrays = state.arrays()
    if array is None:
        del arrays[name]
    else:
        arrays[name] = array
    with pytest.raises(ValueError, match=f"column {name}: found"):
        SeriesState.from_arrays(COLUMNS, state.labels, arrays)


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "remove"]), st.sets(st.integers(0, 12), min_size=1)),
        max_size=12,
    )
)
def test_rows_behave_like_a_dictionary(steps: list[tuple[str, set[int]]]) -> None:
    state = SeriesState([Column("value", np.int64)])
    expected: dict[Labels, int] = {}
    counter = 0
    for action, names in steps:
        asked = labels(*map(str, sorted(names)))
        if action == "add":
            for row in state.rows(asked):
                counter += 1
                state["value"][row] = counter
                expected[state.labels[row]] = counter
        else:
            rows = [i for i, label_set in enumerate(state.labels) if label_set in asked]
            state.remove(np.array(rows, np.int64))
            expected = {key: value for key, value in expected.items() if key not in asked}
        assert dict(zip(state.labels, state["value"].tolist(), strict=True)) == expected
