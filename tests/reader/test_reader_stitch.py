from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.mapped import MappedRows
from vmanomaly.reader.stitch import MemoryRows, Rows, Stitch
from vmanomaly.series import FloatArray, Labels

NAMES = [Labels({"series": name}) for name in "abcd"]
PIECES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(NAMES), max_size=6),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(0, 2),
    )
)


@pytest.fixture(scope="module", params=["memory", "file"])
def rows_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("rows")

    def create(n_columns: int) -> Rows:
        if request.param == "memory":
            return MemoryRows(n_columns)
        return MappedRows(folder, n_columns)

    return create


def expected_of(pieces: list[tuple[list[Labels], FloatArray]]) -> dict[Labels, list[float]]:
    """The plain way: samples by label set and time, the last one wins."""
    samples: dict[Labels, dict[int, float]] = {}
    n_columns = 0
    for labels, values in pieces:
        for label_set, row in zip(labels, values.tolist(), strict=True):
            of_series = samples.setdefault(label_set, {})
            for column, value in enumerate(row, n_columns):
                if not np.isnan(value):
                    of_series[column] = value
        n_columns += values.shape[1]
    return {
        label_set: [of_series.get(column, np.nan) for column in range(n_columns)]
        for label_set, of_series in samples.items()
    }


@given(PIECES)
def test_no_point_is_lost_and_none_is_there_twice(
    rows_of: object, pieces: list[tuple[list[Labels], int, int, int]]
) -> None:
    """Pieces arrive in blocks of rows; some are broken off and begun again."""
    assert callable(rows_of)
    random = np.random.default_rng(len(pieces))
    n_columns = sum(length for _, length, _, _ in pieces)
    stitch = Stitch(np.arange(n_columns, dtype=np.int64), rows_of(n_columns))
    done = []
    for labels, length, block, n_failures in pieces:
        values = random.normal(size=(len(labels), length))
        values[random.random(values.shape) < 0.3] = np.nan
        for _ in range(n_failures):
            stitch.begin(length)
            lost = labels[: len(labels) // 2][::-1]
            stitch.place(lost, np.full((len(lost), length), 7.0))
        stitch.n_merged = 0
        stitch.begin(length)
        for start in range(0, len(labels), block):
            stitch.place(labels[start : start + block], values[start : start + block])
        stitch.end()
        assert stitch.n_merged == len(labels) - len(set(labels))
        done.append((labels, values))
    expected = expected_of(done)
    assert len(stitch.rest) == 0
    matrix = stitch.finish()
    assert stitch.labels == list(expected)
    assert matrix.shape == (len(expected), n_columns)
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, np.array(list(expected.values())).reshape(matrix.shape))
