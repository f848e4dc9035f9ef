"""Which incidents of single series belong together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.scores import Above, IncidentGroup, Scorer, group_incidents
from vmanomaly.series import Labels

STEP = 60_000
N = 200


def scorer(query: str = "cpu", model: str = "m", **labels: str) -> Scorer:
    return Scorer(query, model, "live", "default", Labels(labels))


def grouped(
    runs: list[tuple[Scorer, int, int]], universal: dict[str, str] | None = None
) -> list[IncidentGroup]:
    """Return the groups of runs from point to point, each with the score 2."""
    scorers = list(dict.fromkeys(who for who, *_ in runs))
    scores = np.full((len(scorers), N), np.nan)
    for who, first, last in runs:
        scores[scorers.index(who), first : last + 1] = 2.0
    times = STEP * np.arange(N, dtype=np.int64)
    above = Above(scorers, times, scores, len(scorers), Labels(universal or {}))
    return group_incidents(above, STEP, int(times[-1]), 1.0)


def sizes(groups: list[IncidentGroup]) -> list[int]:
    return [len(group.members) for group in groups]


@pytest.mark.parametrize(
    ("other", "start", "together"),
    [
        (scorer("cpu", host="b"), 11, True),  # of one query
        (scorer("cpu", host="b"), 12, False),  # too late
        (scorer("memory", host="a"), 0, True),  # on one host
        (scorer("memory", host="b"), 0, False),  # nothing in common
        (scorer("memory", host="b", job="node"), 0, False),  # what all series have
        (scorer("cpu", model="other", host="a"), 25, True),  # another model, while it lasts
        (scorer("cpu", model="other", host="a"), 45, False),
        (scorer("cpu", model="other", host="b"), 25, False),
    ],
)
def test_what_begins_together_and_has_something_in_common_is_one(
    other: Scorer, start: int, together: bool
) -> None:
    one = scorer("cpu", host="a", job="node")
    if "job" not in other.series:
        one = scorer("cpu", host="a")
    groups = grouped([(one, 20, 50), (other, 20 + start, 22 + start)], {"job": "node"})
    assert sizes(groups) == ([2] if together else [1, 1])


def test_a_group_says_what_its_series_share_and_which_is_the_worst() -> None:
    groups = grouped(
        [
            (scorer("cpu", host="a", job="node"), 100, 103),
            (scorer("memory", host="a", job="node"), 101, 119),
            (scorer("cpu", host="c", job="node"), 199, 199),
        ]
    )
    now, before = groups
    assert (now.ongoing, before.ongoing) == (True, False)
    assert before.shared == Labels({"host": "a", "job": "node"})
    assert before.queries == ("cpu", "memory")
    assert (before.start, before.end) == (100 * STEP, 119 * STEP)
    # 20 points: 19 and 4 of them with the score 2.
    assert [member.scorer.query for member in before.members] == ["memory", "cpu"]
    assert [member.severity for member in before.members] == pytest.approx([1.9, 0.4])


def test_one_endless_score_does_not_outweigh_everything() -> None:
    scores = np.full((2, N), np.nan)
    scores[0, 10] = np.inf
    scores[1, 10:20] = 3.0
    times = STEP * np.arange(N, dtype=np.int64)
    above = Above([scorer(host="a"), scorer(host="b")], times, scores, 2, Labels())
    (group,) = group_incidents(above, STEP, int(times[-1]), 1.0)
    assert [member.scorer.series["host"] for member in group.members] == ["b", "a"]
    assert [member.severity for member in group.members] == pytest.approx([3.0, 1.0])


RUNS = st.lists(
    st.tuples(
        st.builds(
            scorer,
            st.sampled_from(["cpu", "memory"]),
            st.sampled_from(["m", "n"]),
            host=st.sampled_from("abc"),
        ),
        st.integers(0, N - 30),
        st.integers(0, 29),
    ),
    max_size=12,
)


@given(RUNS)
def test_groups_are_what_is_connected_pairwise(runs: list[tuple[Scorer, int, int]]) -> None:
    groups = grouped([(who, start, start + length) for who, start, length in runs])
    # An independent computation: merge whatever is related until nothing changes.
    members = [member for group in groups for member in group.members]
    sets = [{number} for number in range(len(members))]
    for i, one in enumerate(members):
        for j, other in enumerate(members[:i]):
            near = abs(one.start - other.start) < 12 * STEP
            shares = (
                one.scorer.query == other.scorer.query
                or one.scorer.series["host"] == other.scorer.series["host"]
            )
            same = (one.scorer.query, one.scorer.series) == (
                other.scorer.query,
                other.scorer.series,
            )
            apart = max(one.start, other.start) - min(one.end, other.end)
            if (near and shares) or (same and apart < 12 * STEP):
                a = next(each for each in sets if i in each)
                b = next(each for each in sets if j in each)
                if a is not b:
                    sets.remove(b)
                    a |= b
    expected = {frozenset(id(members[number]) for number in each) for each in sets}
    assert {frozenset(map(id, group.members)) for group in groups} == expected
