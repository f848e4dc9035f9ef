"""Which sub-configs a member runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config_helpers import MINIMAL, changed, load, problems
from vmanomaly.config.members import Member

COUNT, NUMBER = "VMANOMALY_MEMBERS_COUNT", "VMANOMALY_MEMBER_NUM"
FACTOR, SPLIT_BY = "VMANOMALY_REPLICATION_FACTOR", "VMANOMALY_SPLIT_BY"


@pytest.mark.parametrize(
    ("replication_factor", "published"),
    [
        (1, [{1, 4, 7}, {2, 5, 8}, {3, 6, 9}]),
        (2, [{1, 3, 4, 6, 7, 9}, {1, 2, 4, 5, 7, 8}, {2, 3, 5, 6, 8, 9}]),
    ],
)
def test_nine_sub_configs_on_three_members(
    replication_factor: int, published: list[set[int]]
) -> None:
    """The published tables, which count from 1."""
    for number, expected in enumerate(published):
        assert {n + 1 for n in Member(number, 3, replication_factor).own(9)} == expected


@given(n=st.integers(0, 50), count=st.integers(1, 12), data=st.data())
def test_each_runs_on_exactly_as_many_members_as_there_are_replicas(
    n: int, count: int, data: st.DataObject
) -> None:
    factor = data.draw(st.integers(1, count))
    on: dict[int, list[int]] = {i: [] for i in range(n)}
    for number in range(count):
        for i in Member(number, count, factor).own(n):
            on[i].append(number)
    for i, numbers in on.items():
        assert numbers == sorted({(i + r) % count for r in range(factor)})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Member()),
        ({COUNT: "", NUMBER: " ", FACTOR: "", SPLIT_BY: ""}, Member()),
        ({COUNT: "1", NUMBER: "vmanomaly-0"}, Member()),
        ({COUNT: " 3 ", NUMBER: "2"}, Member(2, 3)),
        ({COUNT: "30", NUMBER: "vmanomaly-gpu-2-11"}, Member(11, 30)),
        ({COUNT: "3", FACTOR: "2", SPLIT_BY: "QUERIES"}, Member(0, 3, 2, "queries")),
        ({COUNT: "3", FACTOR: "3", SPLIT_BY: "Complete"}, Member(0, 3, 3)),
    ],
)
def test_a_member_is_read_from_the_environment(environ: dict[str, str], expected: Member) -> None:
    assert load(MINIMAL, environ).member == expected


@pytest.mark.parametrize(
    ("environ", "name", "reason"),
    [
        ({COUNT: "0"}, COUNT, "a whole number from 1"),
        ({COUNT: "x"}, COUNT, "a whole number from 1"),
        ({COUNT: "-1"}, COUNT, "a whole number from 1"),
        ({COUNT: "1.5"}, COUNT, "a whole number from 1"),
        ({COUNT: "٣"}, COUNT, "a whole number from 1"),
        ({FACTOR: "0"}, FACTOR, "a whole number from 1"),
        ({FACTOR: "two"}, FACTOR, "a whole number from 1"),
        ({COUNT: "3", NUMBER: "3"}, NUMBER, "only the members 0 to 2"),
        ({COUNT: "3", NUMBER: "pod-7"}, NUMBER, "only the members 0 to 2"),
        ({NUMBER: "1"}, NUMBER, "VMANOMALY_MEMBERS_COUNT is 1"),
        ({COUNT: "3", NUMBER: "-"}, NUMBER, "the name of a pod"),
        ({COUNT: "3", NUMBER: "pod-"}, NUMBER, "the name of a pod"),
        ({COUNT: "3", NUMBER: "pod"}, NUMBER, "the name of a pod"),
        ({SPLIT_BY: "hosts"}, SPLIT_BY, "one of complete, schedulers, models"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], name: str, reason: str) -> None:
    (problem,) = problems(MINIMAL, environ)
    assert problem.startswith(f"{name}: ")
    assert reason in problem


def test_all_wrong_variables_are_named_at_once() -> None:
    found = problems(MINIMAL, {COUNT: "x", NUMBER: "y", FACTOR: "z", SPLIT_BY: "w"})
    assert [line.partition(":")[0] for line in found] == [COUNT, FACTOR, NUMBER, SPLIT_BY]


def test_more_replicas_than_members_are_as_many_as_members(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert load(MINIMAL, {COUNT: "2", FACTOR: "3"}).member == Member(0, 2, 2)
    assert "VMANOMALY_REPLICATION_FACTOR: 3 replicas need as many members" in caplog.text
    caplog.clear()
    assert load(MINIMAL, {FACTOR: "2"}).member == Member()
    assert "VMANOMALY_REPLICATION_FACTOR: has no effect" in caplog.text


def test_a_split_by_filters_needs_filters() -> None:
    environ = {COUNT: "2", SPLIT_BY: "extra_filters"}
    (problem,) = problems(MINIMAL, environ)
    assert problem.startswith("reader.extra_filters: required, because VMANOMALY_SPLIT_BY is")
    assert load(changed({"reader.extra_filters": ['{a="b"}']}), environ).member.count == 2
    assert load(MINIMAL, {SPLIT_BY: "extra_filters"}).member.is_alone


def test_a_split_by_filters_warns_of_joint_models(caplog: pytest.LogCaptureFixture) -> None:
    model = {"class": "temporal_envelope_multivariate", "queries": "all", "schedulers": "all"}
    content = changed({"reader.extra_filters": ['{a="b"}'], "models": {"joint": model}})
    load(content, {COUNT: "2", SPLIT_BY: "complete"})
    assert caplog.messages == []
    load(content, {COUNT: "2", SPLIT_BY: "extra_filters"})
    assert "models.joint: scores the series of all filters of a member jointly" in caplog.text
