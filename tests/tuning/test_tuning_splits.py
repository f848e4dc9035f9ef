"""Which points a trial learns, and which it is judged by."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.series import Labels, SeriesBatch
from vmanomaly.tuning.splits import split

columns = st.integers(0, 200)
splits = st.integers(1, 12)
ratios = st.floats(0.1, 20)


@given(columns, splits, ratios)
def test_regular_folds_follow_each_other_and_learn_what_comes_before(
    n: int, n_splits: int, ratio: float
) -> None:
    folds = split(n, n_splits, "regular", ratio)
    for fold in folds:
        assert fold.start < fold.first < fold.last == fold.stop
        assert fold.n_fit == fold.first - fold.start
    assert all(a.stop <= b.start for a, b in pairwise(folds))


def test_the_ratio_is_that_of_the_lengths() -> None:
    assert [(f.start, f.first, f.stop) for f in split(120, 3, "regular", 3.0)] == [
        (0, 30, 40),
        (40, 70, 80),
        (80, 110, 120),
    ]


@given(columns, splits)
def test_leaky_folds_judge_every_point_once(n: int, n_splits: int) -> None:
    folds = split(n, n_splits, "leaky", 3.0)
    judged = [column for fold in folds for column in range(fold.first, fold.last)]
    assert judged == list(range(n))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_leaky_fold_learns_all_but_what_it_judges(number: int) -> None:
    values = np.arange(12.0)[None]
    batch = SeriesBatch((Labels({"a": "b"}),), np.arange(12) * 1000, values.copy())
    fold = split(12, 3, "leaky", 3.0)[number]
    learned, judged = fold.to_fit(batch).values[0], fold.to_judge(batch).values[0]
    assert np.isnan(learned).nonzero()[0].tolist() == judged.tolist()
    assert fold.n_fit == 8
    # The data itself is as it was.
    np.testing.assert_array_equal(batch.values, values)


def test_a_single_leaky_fold_learns_what_it_judges() -> None:
    (fold,) = split(5, 1, "leaky", 3.0)
    batch = SeriesBatch((Labels(),), np.arange(5), np.arange(5.0)[None])
    assert fold.to_fit(batch).values.tolist() == fold.to_judge(batch).values.tolist()
    assert fold.n_fit == 5


@pytest.mark.parametrize("scheme", ["regular", "leaky"])
def test_more_folds_than_timestamps_are_as_many_as_there_are(scheme: str) -> None:
    assert split(5, 10**9, scheme, 3.0) == split(5, 5, scheme, 3.0)
