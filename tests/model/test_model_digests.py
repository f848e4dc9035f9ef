from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from vmanomaly.model.digest.digests import DigestState, digest_columns, learn, needed
from vmanomaly.series import Labels

N_DIGESTS = 5
COMPRESSION = 20


def label_set(name: str) -> Labels:
    return Labels({"series": name})


def learn_all(state: DigestState, name: str, samples: list[tuple[int, float]]) -> None:
    (row,) = state.rows((label_set(name),))
    for digest, value in samples:
        state.reserve(needed(1, COMPRESSION))
        learn(state.digests(), row, digest, value, 1.0, COMPRESSION)
    state.n_samples_seen[row] += len(samples)


def contents(state: DigestState, name: str) -> list[list[tuple[float, float]]]:
    (row,) = state.rows((label_set(name),))
    starts, _, sizes, _, means, weights = state.digests()
    result = []
    for digest in range(N_DIGESTS):
        begin, end = starts[row, digest], starts[row, digest] + sizes[row, digest]
        result.append(
            list(zip(means[begin:end].tolist(), weights[begin:end].tolist(), strict=True))
        )
    return result


def samples(seed: int, n_samples: int) -> list[tuple[int, float]]:
    rng = np.random.default_rng(seed)
    digests = rng.integers(0, N_DIGESTS, n_samples)
    return list(zip(digests.tolist(), rng.normal(size=n_samples).tolist(), strict=True))


def test_a_digest_takes_room_only_for_what_it_has_seen() -> None:
    state = DigestState(digest_columns(N_DIGESTS, COMPRESSION))
    learn_all(state, "a", [(3, 1.0), (3, 0.0), (1, 5.0)])
    assert state["digest_room"].tolist() == [[0, 2, 0, 2, 0]]
    assert contents(state, "a") == [[], [(5.0, 1.0)], [], [(0.0, 1.0), (1.0, 1.0)], []]
    learn_all(state, "a", samples(0, 5000))
    # Compressed at 20, a digest of many samples has 14 centroids.
    assert (state["digest_room"] == 19).all()
    for digest in contents(state, "a"):
        assert digest == sorted(digest)


def test_room_is_bounded_whatever_comes() -> None:
    state = DigestState(digest_columns(1, COMPRESSION))
    rng = np.random.default_rng(1)
    (row,) = state.rows((label_set("a"),))
    for weight in 10.0 ** rng.uniform(-20, 20, 3000):
        state.reserve(needed(1, COMPRESSION))
        learn(state.digests(), row, 0, rng.normal(), weight, COMPRESSION)
    assert state["digest_room"].item() <= COMPRESSION + 16


@examples(30)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 10**6), st.integers(1, 60)), max_size=8
    ),
    st.sets(st.integers(0, 7)),
    st.sets(st.sampled_from("abc")),
)
def test_digests_keep_what_they_hold_wherever_they_move(
    steps: list[tuple[str, int, int]], gaps_closed_after: set[int], removed: set[str]
) -> None:
    """Many series in one state, gaps closed, rows removed: the same as each in its own state."""
    state = DigestState(digest_columns(N_DIGESTS, COMPRESSION))
    alone = {name: DigestState(digest_columns(N_DIGESTS, COMPRESSION)) for name in "abc"}
    for number, (name, seed, n_samples) in enumerate(steps):
        for each in (state, alone[name]):
            learn_all(each, name, samples(seed, n_samples))
        if number in gaps_closed_after:
            state.close_gaps()
            assert sum(state["digest_room"].ravel()) == len(state.arrays()["centroid_mean"])
    state.remove(state.rows(tuple(label_set(name) for name in sorted(removed))))
    for name in set("abc") - removed:
        assert contents(state, name) == contents(alone[name], name)
    again = DigestState.from_arrays(
        digest_columns(N_DIGESTS, COMPRESSION), state.labels, state.arrays()
    )
    for labels in state.labels:
        assert contents(again, labels["series"]) == contents(state, labels["series"])


def test_states_can_be_joined() -> None:
    columns = digest_columns(N_DIGESTS, COMPRESSION)
    one, other = DigestState(columns), DigestState(columns)
    learn_all(one, "a", samples(1, 40))
    learn_all(other, "b", samples(2, 90))
    one.append(other)
    for name, source in (("a", one), ("b", other)):
        assert contents(one, name) == contents(source, name)
    learn_all(one, "b", samples(3, 90))
    learn_all(other, "b", samples(3, 90))
    assert contents(one, "b") == contents(other, "b")


def test_little_room_is_left_unused() -> None:
    state = DigestState(digest_columns(N_DIGESTS, COMPRESSION))
    for name in range(60):
        learn_all(state, str(name), samples(name, 70))
    occupied = 12 * int(state["digest_room"].sum())
    assert occupied <= state.nbytes <= 2.2 * occupied + 60 * state.bytes_per_series
    state.trim()
    assert state.nbytes <= occupied + 1.25 * 60 * 12 * (N_DIGESTS + 2)


def test_removed_series_give_their_room_back() -> None:
    state, kept = (DigestState(digest_columns(N_DIGESTS, COMPRESSION)) for _ in range(2))
    for name in range(40):
        learn_all(state, str(name), samples(name, 70))
    learn_all(kept, "7", samples(7, 70))
    gone = tuple(labels for labels in state.labels if labels["series"] != "7")
    state.remove(state.rows(gone))
    kept.trim()
    assert state.nbytes == kept.nbytes
    assert contents(state, "7") == contents(kept, "7")
    state.remove(state.rows(state.labels))
    assert state.nbytes == 0
    learn_all(state, "7", samples(7, 70))
    assert contents(state, "7") == contents(kept, "7")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"centroid_mean": None}, "centroid_mean: found nothing, expected float64"),
        (
            {"centroid_mean": np.zeros((2, 2))},
            "centroid_mean: found float64 .*, expected float64",
        ),
        ({"centroid_weight": None}, "centroid_weight: found .*, expected float32"),
        ({"centroid_weight": np.zeros(3)}, "centroid_weight: found .*, expected float32"),
        ({"centroid_weight": np.zeros(1, np.float32)}, "found float32 .1,., expected float32"),
        ({"digest_start": np.full((1, 5), 900)}, "do not lie next to each other"),
        ({"digest_start": np.full((1, 5), 2**52)}, "do not lie next to each other"),
        ({"digest_start": np.full((1, 5), 2**63 - 1)}, "expected 0 to"),
        ({"digest_start": np.full((1, 5), -1)}, "expected 0 to"),
        ({"digest_start": np.zeros((1, 5), np.int64)}, "do not lie next to each other"),
        ({"digest_room": np.full((1, 5), 1, np.int16)}, "no digest has such room"),
        ({"digest_room": np.zeros((1, 5), np.int16)}, "not as many centroids as"),
        ({"n_centroids": np.full((1, 5), 99, np.int16)}, "found 99, expected 0 to 36"),
        ({"n_centroids": np.full((1, 5), 36, np.int16)}, "not as many centroids as"),
        ({"n_centroids": np.full((1, 5), -1, np.int16)}, "found -1, expected 0 to 36"),
        ({"n_samples_seen": np.zeros(1, np.int64)}, "not the centroids of the samples"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, Any], problem: str) -> None:
    state = DigestState(digest_columns(N_DIGESTS, COMPRESSION))
    learn_all(state, "a", samples(1, 40))
    arrays = {k: v for k, v in (state.arrays() | change).items() if v is not None}
    with pytest.raises(ValueError, match=problem):
        DigestState.from_arrays(digest_columns(N_DIGESTS, COMPRESSION), state.labels, arrays)
