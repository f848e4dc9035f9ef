"""The oracles: sorting, and NumPy's quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.model.order_statistics import median, quantile, select
from vmanomaly.series import FloatArray

# Few different ones, so that many are equal; and any.
values = st.lists(
    st.one_of(st.integers(-3, 3).map(float), st.floats(-1e150, 1e150)), min_size=1, max_size=60
).map(np.array)


@given(values, st.data())
def test_the_kth_smallest_and_what_stands_around_it(
    samples: FloatArray, data: st.DataObject
) -> None:
    k = data.draw(st.integers(0, len(samples) - 1))
    ascending = np.sort(samples)
    assert select(samples, k) == ascending[k]
    assert samples[k] == ascending[k]
    assert (samples[:k] <= samples[k]).all()
    assert (samples[k:] >= samples[k]).all()
    assert np.array_equal(np.sort(samples), ascending)


@pytest.mark.parametrize(
    "order",
    ["ascending", "descending", "equal", "in two halves", "up and down", "down and up", "in turn"],
)
def test_many_values_in_any_order(order: str) -> None:
    ascending = np.arange(100_000.0)
    samples = {
        "ascending": ascending,
        "descending": ascending[::-1],
        "equal": np.zeros(100_000),
        "in two halves": np.roll(ascending, 50_000),
        "up and down": np.concatenate([ascending[::2], ascending[::-2]]),
        "down and up": np.concatenate([ascending[::-2], ascending[::2]]),
        "in turn": np.stack([ascending[:50_000], ascending[:49_999:-1]], axis=1).ravel(),
    }[order]
    assert select(samples.copy(), 66_666) == np.sort(samples)[66_666]


def test_selecting_ends_even_where_values_are_nan() -> None:
    assert np.isnan(select(np.full(50, np.nan), 20))
    samples = np.where(np.arange(60) % 3 == 0, np.nan, np.arange(60.0))
    select(samples, 30)
    assert np.isnan(samples).sum() == 20


@given(values, st.floats(0.0, 1.0))
def test_quantiles_are_those_of_numpy(samples: FloatArray, probability: float) -> None:
    expected = np.quantile(samples, probability)
    scale = float(np.abs(samples).max())
    assert quantile(samples.copy(), probability) == pytest.approx(
        expected, rel=1e-9, abs=1e-9 * scale
    )


@given(values)
def test_medians_are_those_of_numpy(samples: FloatArray) -> None:
    assert median(samples.copy()) == np.median(samples)
