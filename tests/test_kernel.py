from __future__ import annotations

import math

import numpy as np
import pytest
from numba.core.errors import TypingError

from vmanomaly.kernel import inlined, kernel, spliced
from vmanomaly.series import FloatArray


@inlined
def square(x: float) -> float:
    return x * x


@spliced
def sum_of_squares(values: FloatArray, stop_at: float) -> float:
    total = 0.0
    for value in values:
        total += square(value)
        if total >= stop_at:
            return stop_at
    return total


@kernel
def norm(values: FloatArray, at_most: float) -> float:
    return math.sqrt(sum_of_squares(values, square(at_most)))


def test_kernels_call_each_other_whichever_way_they_are_compiled() -> None:
    assert norm(np.array([3.0, 4.0]), 9.0) == 5.0
    assert norm(np.array([3.0, 4.0]), 2.0) == 2.0
    assert sum_of_squares(np.array([3.0, 4.0]), 99.0) == 25.0


def test_a_kernel_divides_as_numpy_does() -> None:
    @kernel
    def ratio(a: float, b: float) -> float:
        return a / b

    assert ratio(1.0, 0.0) == math.inf
    assert math.isnan(ratio(0.0, 0.0))


def test_a_kernel_that_makes_an_array_is_refused() -> None:
    @kernel
    def running_sum(values: FloatArray) -> float:
        sums = np.empty(len(values))
        sums[0] = values[0]
        return float(sums[0])

    with pytest.raises(TypingError, match="empty"):
        running_sum(np.ones(3))
