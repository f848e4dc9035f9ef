from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.reader.scanner import LabelCache
from vmanomaly.reader.stitch import Stitch
from vmanomaly.series import Labels, SeriesBatch

NAMES = [Labels({"series": name}) for name in "abcd"]


@given(st.lists(st.tuples(st.permutations(NAMES), st.integers(0, 4), st.integers(1, 3))))
def test_no_point_is_lost_and_none_is_there_twice(
    pieces: list[tuple[list[Labels], int, int]],
) -> None:
    grid = np.arange(sum(length for _, _, length in pieces), dtype=np.int64)
    stitch = Stitch(grid, LabelCache())
    expected: dict[tuple[Labels, int], float] = {}
    for order, n_series, length in pieces:
        present = tuple(order[:n_series])
        times = stitch.rest[:length]
        values = np.random.default_rng(len(expected)).normal(size=(n_series, length))
        stitch.add(SeriesBatch(present, times, values))
        for labels, row in zip(present, values.tolist(), strict=True):
            expected |= {
                (labels, time): value for time, value in zip(times.tolist(), row, strict=True)
            }
    assert len(stitch.rest) == 0
    batch = stitch.finish()
    assert set(batch.labels) == {labels for labels, _ in expected}
    assert batch.n_datapoints == len(expected)
    for labels, row in zip(batch.labels, batch.values.tolist(), strict=True):
        for time, value in enumerate(row):
            assert value == expected.get((labels, time), value) or np.isnan(value)


def test_the_same_series_give_the_same_tuple() -> None:
    cache = LabelCache()
    grid = np.arange(4, dtype=np.int64)

    def read() -> SeriesBatch:
        stitch = Stitch(grid, cache)
        for _ in range(2):
            stitch.add(SeriesBatch(tuple(NAMES), stitch.rest[:2], np.ones((4, 2))))
        return stitch.finish()

    assert read().labels is read().labels


def test_one_piece_is_not_copied() -> None:
    grid = np.arange(2, dtype=np.int64)
    batch = SeriesBatch(tuple(NAMES), grid, np.ones((4, 2)))
    stitch = Stitch(grid, LabelCache())
    stitch.add(batch)
    assert stitch.finish() is batch
