from __future__ import annotations

import numpy as np
import pytest

from vmanomaly.model.state import Column
from vmanomaly.model.temporal_envelope_multivariate.channels import ChannelState, per_channel
from vmanomaly.series import Labels

COLUMNS = (
    Column("weight", np.float64),
    *per_channel([Column("mean", np.float64), Column("pair", np.float32, (2,))]),
)


def group(name: str) -> Labels:
    return Labels({"host": name})


def state_of(sizes: dict[str, int]) -> ChannelState:
    """Groups whose channels have the means 0, 1, 2 and so on."""
    state = ChannelState(COLUMNS)
    state.add(tuple(group(name) for name in sizes), list(sizes.values()))
    state.channels["mean"][:] = np.arange(sum(sizes.values()))
    state["weight"][:] = np.arange(len(sizes)) * 10
    return state


def means(state: ChannelState, name: str) -> list[float]:
    rows = state.channel_rows(state.rows((group(name),)))
    found: list[float] = state.channels["mean"][rows].tolist()
    return found


def test_the_channels_of_a_group_stand_together() -> None:
    state = state_of({"a": 2, "b": 1, "c": 3})
    assert [means(state, name) for name in "abc"] == [[0, 1], [2], [3, 4, 5]]
    rows = state.rows((group("c"), group("a")))
    assert state.channels["mean"][state.channel_rows(rows)].tolist() == [3, 4, 5, 0, 1]
    state.add((group("d"),), [2])
    state.channels["mean"][-2:] = [6, 7]
    assert means(state, "d") == [6, 7]
    assert means(state, "c") == [3, 4, 5]


def test_groups_are_removed_with_their_channels() -> None:
    state = state_of({"a": 2, "b": 1, "c": 3, "d": 1})
    state.remove(np.array([1, 3]))
    assert state.labels == (group("a"), group("c"))
    assert [means(state, name) for name in "ac"] == [[0, 1], [3, 4, 5]]
    assert state["weight"].tolist() == [0, 20]
    state.add((group("e"),), [2])
    assert len(state.channels) == 7
    assert means(state, "e") == [0, 0]


def test_states_are_put_together() -> None:
    state, other = state_of({"a": 2, "b": 1}), state_of({"c": 3, "d": 1})
    state.append(other)
    assert [means(state, name) for name in "abcd"] == [[0, 1], [2], [0, 1, 2], [3]]


def test_it_is_rebuilt_from_its_arrays() -> None:
    state = state_of({"a": 2, "b": 1, "c": 3})
    state.remove(np.array([0]))
    state.channels["pair"][:, 1] = 4.5
    again = ChannelState.from_arrays(COLUMNS, state.labels, state.arrays())
    assert [means(again, name) for name in "bc"] == [[2], [3, 4, 5]]
    assert again.channels["pair"][:, 1].tolist() == [4.5] * 4
    assert again["weight"].tolist() == [10, 20]
    assert again.bytes_per_series == state.bytes_per_series == 24 + 16 + 8 + 2 * (24 + 16)
    assert again.nbytes >= 2 * again.bytes_per_series


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("first_channel", np.array([0, 5]), "do not follow"),
        ("n_channels", np.array([3, 0]), "found 0, expected 1"),
        ("channel.mean", np.zeros(2), "column mean"),
        ("channel.pair", None, "column pair: found nothing"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    name: str, array: np.ndarray | None, message: str
) -> None:
    state = state_of({"a": 2, "b": 1})
    arrays = state.arrays() | {name: array}
    with pytest.raises(ValueError, match=message):
        ChannelState.from_arrays(
            COLUMNS, state.labels, {key: a for key, a in arrays.items() if a is not None}
        )
