from __future__ import annotations

import gc
import math

import numpy as np
import pytest
from numba.core.errors import TypingError

from vmanomaly.kernel import inlined, inner, kernel, many_compilations, spliced
from vmanomaly.series import FloatArray


@inlined
def square(x: float) -> float:
    return x * x


@inner
def root(x: float) -> float:
    return math.sqrt(x)


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
    return root(sum_of_squares(values, square(at_most)))


def test_kernels_call_each_other_whichever_way_they_are_compiled() -> None:
    assert norm(np.array([3.0, 4.0]), 9.0) == 5.0
    assert norm(np.array([3.0, 4.0]), 2.0) == 2.0
    assert sum_of_squares(np.array([3.0, 4.0]), 99.0) == 25.0


def test_what_only_kernels_can_call_says_so() -> None:
    # Compiled for this type by now, or not: the same.
    for _ in range(2):
        with pytest.raises(TypeError, match="root can only be called by kernels"):
            root(2.0)
        norm(np.array([3.0, 4.0]), 9.0)


def test_collecting_garbage_is_as_before_after_many_compilations() -> None:
    gc.unfreeze()  # Python 3.12 starts with frozen objects.
    thresholds, n_frozen = gc.get_threshold(), gc.get_freeze_count()
    with many_compilations():
        assert gc.get_threshold() > thresholds
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() == n_frozen


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
