from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.model.grouping import Channel, Grouping, group_channels, select
from vmanomaly.series import Labels, SeriesBatch

QUERIES = ["cpu", "ram"]


def batch(*label_sets: dict[str, str], start: float = 0.0) -> SeriesBatch:
    """Series of two points whose values count up from `start`."""
    n = len(label_sets)
    values = start + np.arange(2.0 * n).reshape(n, 2)
    return SeriesBatch(tuple(map(Labels, label_sets)), np.array([1, 2]), values)


CPU = batch(
    {"host": "b", "mode": "idle"}, {"host": "a", "mode": "idle"}, {"host": "a", "mode": "user"}
)
RAM = batch({"host": "a"}, {"host": "b"}, start=100.0)
BY_HOST, _ = group_channels(QUERIES, [CPU, RAM], ["host"])


def names(grouping: Grouping) -> list[str]:
    return [str(channel) for channel in grouping.channels]


def test_channels_of_a_group_are_neighbours() -> None:
    assert BY_HOST.labels == (Labels({"host": "a"}), Labels({"host": "b"}))
    assert BY_HOST.offsets.tolist() == [0, 3, 5]
    assert names(BY_HOST) == [
        'cpu{host="a", mode="idle"}',
        'cpu{host="a", mode="user"}',
        'ram{host="a"}',
        'cpu{host="b", mode="idle"}',
        'ram{host="b"}',
    ]


def test_without_groupby_all_series_are_one_group() -> None:
    grouping, left_out = group_channels(QUERIES, [CPU, RAM], [])
    assert grouping.labels == (Labels(),)
    assert grouping.offsets.tolist() == [0, 5]
    assert left_out == []


def test_a_group_has_the_labels_that_its_channels_share() -> None:
    both = batch(
        {"host": "a", "rack": "1", "job": "x", "mode": "idle"},
        {"host": "a", "rack": "1", "job": "y", "mode": "user"},
    )
    grouping, _ = group_channels(["cpu"], [both], ["host"])
    assert grouping.labels == (Labels({"host": "a", "rack": "1"}),)


@pytest.mark.parametrize("labels", [{"mode": "idle"}, {"host": "", "mode": "idle"}])
def test_a_series_without_the_label_is_left_out(labels: dict[str, str]) -> None:
    odd = batch({"host": "a"}, labels)
    grouping, left_out = group_channels(["cpu"], [odd], ["host"])
    assert names(grouping) == ['cpu{host="a"}']
    assert left_out == [Channel("cpu", Labels(labels))]
    selection = select(grouping, ["cpu"], [odd])
    assert selection.mismatches == ()
    assert selection.take([odd]).values.tolist() == [[0.0, 1.0]]


def test_the_same_labels_in_two_queries_are_two_channels() -> None:
    cpu, ram = batch({"host": "a"}), batch({"host": "a"}, start=7.0)
    grouping, _ = group_channels(QUERIES, [cpu, ram], ["host"])
    assert select(grouping, QUERIES, [cpu, ram]).take([cpu, ram]).values.tolist() == [
        [0.0, 1.0],
        [7.0, 8.0],
    ]


@given(st.randoms(use_true_random=False))
def test_the_order_of_series_does_not_matter(shuffle: random.Random) -> None:
    def shuffled(one: SeriesBatch) -> SeriesBatch:
        order = list(range(len(one.labels)))
        shuffle.shuffle(order)
        return SeriesBatch(
            tuple(one.labels[row] for row in order), one.timestamps, one.values[order]
        )

    batches = [shuffled(CPU), shuffled(RAM)]
    grouping, _ = group_channels(QUERIES, batches, ["host"])
    assert names(grouping) == names(BY_HOST)
    selection = select(BY_HOST, QUERIES, batches)
    assert selection.mismatches == ()
    taken = selection.take(batches)
    assert taken.channels == BY_HOST.channels
    assert taken.values[:, 0].tolist() == [2.0, 4.0, 100.0, 0.0, 102.0]


def test_a_missing_channel_costs_its_group_only() -> None:
    fewer = SeriesBatch(CPU.labels[:2], CPU.timestamps, CPU.values[:2])
    selection = select(BY_HOST, QUERIES, [fewer, RAM])
    assert selection.grouping.labels == (Labels({"host": "b"}),)
    assert selection.take([fewer, RAM]).values.tolist() == [[0.0, 1.0], [102.0, 103.0]]
    assert [str(mismatch) for mismatch in selection.mismatches] == [
        'channels of the group {host="a"}: 1 missing, such as cpu{host="a", mode="user"}'
    ]


def test_an_extra_channel_costs_its_group_only() -> None:
    more = batch({"host": "a"}, {"host": "b"}, {"host": "b", "swap": "yes"}, start=100.0)
    selection = select(BY_HOST, QUERIES, [CPU, more])
    assert selection.grouping.labels == (Labels({"host": "a"}),)
    (mismatch,) = selection.mismatches
    assert str(mismatch) == (
        'channels of the group {host="b"}: 1 it was not fitted on, such as '
        'ram{host="b", swap="yes"}'
    )


def test_a_repeated_channel_costs_its_group_only() -> None:
    twice = SeriesBatch(RAM.labels + RAM.labels[:1], RAM.timestamps, RAM.values[[0, 1, 0]])
    selection = select(BY_HOST, QUERIES, [CPU, twice])
    assert selection.grouping.labels == (Labels({"host": "b"}),)
    (mismatch,) = selection.mismatches
    assert str(mismatch) == (
        'channels of the group {host="a"}: 1 more than once, such as ram{host="a"}'
    )
    at_fit, _ = group_channels(QUERIES, [CPU, twice], ["host"])
    assert names(at_fit) == names(BY_HOST)
    assert len(select(at_fit, QUERIES, [CPU, twice]).mismatches) == 1


def test_a_new_group_waits_for_the_next_fit() -> None:
    more = batch({"host": "a"}, {"host": "b"}, {"host": "c"}, start=100.0)
    selection = select(BY_HOST, QUERIES, [CPU, more])
    assert selection.grouping is BY_HOST
    (mismatch,) = selection.mismatches
    assert mismatch.group == Labels({"host": "c"})


def test_without_groupby_any_change_is_a_mismatch() -> None:
    grouping, _ = group_channels(QUERIES, [CPU, RAM], [])
    for other in (batch({"host": "a"}), batch({"host": "a"}, {"host": "b"}, {"host": "c"})):
        selection = select(grouping, QUERIES, [CPU, other])
        assert selection.grouping.labels == ()
        assert len(selection.mismatches) == 1
        assert selection.take([CPU, other]).values.shape == (0, 2)


def test_a_point_is_complete_where_every_channel_has_a_finite_sample() -> None:
    labels = tuple(Labels({"host": host, "n": n}) for host, n in ("a0", "a1", "b0"))
    values = np.array([[1, np.nan, 1, 1], [1, 1, np.inf, 1], [np.nan, 1, 1, 1]], float)
    one = SeriesBatch(labels, np.arange(4), values)
    grouping, _ = group_channels(["q"], [one], ["host"])
    taken = select(grouping, ["q"], [one]).take([one])
    assert taken.complete.tolist() == [[True, False, False, True], [False, True, True, True]]
    assert taken.n_valid_points == 10


def test_queries_on_different_timestamps_are_refused() -> None:
    late = SeriesBatch(RAM.labels, RAM.timestamps + 1, RAM.values)
    with pytest.raises(ValueError, match="differ in their timestamps"):
        select(BY_HOST, QUERIES, [CPU, late]).take([CPU, late])
