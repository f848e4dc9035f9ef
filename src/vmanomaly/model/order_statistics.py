"""Order statistics for kernels; NumPy's take seconds to compile."""

from __future__ import annotations

import math

from vmanomaly.kernel import inner, kernel, spliced
from vmanomaly.series import FloatArray


@kernel
def select(values: FloatArray, k: int) -> float:
    """Return the k-th smallest value, counted from 0; none may be NaN.

    Reorders the values: those before the place k are not larger, those after it not smaller. It
    is Hoare's algorithm. The pivot is the median of three values at pseudo-random places: with
    fixed ones, what a partition leaves of an order can be the worst for the next.

    Examples
    --------
    >>> import numpy as np
    >>> select(np.array([5.0, 1.0, 4.0, 1.0]), 2)
    4.0
    """
    low, high = 0, len(values) - 1
    number = 1
    while low < high:
        n = high - low + 1
        number = _next(number)
        first = values[low + number % n]
        number = _next(number)
        second = values[low + number % n]
        number = _next(number)
        third = values[low + number % n]
        pivot = max(min(first, second), min(max(first, second), third))
        n_smaller = _smaller_first(values[low : high + 1], pivot)
        if n_smaller == 0:
            low += _not_larger_first(values[low : high + 1], pivot)
            if k < low:
                return float(pivot)
        elif k < low + n_smaller:
            high = low + n_smaller - 1
        else:
            low += n_smaller
    return float(values[k])


@spliced
def _next(number: int) -> int:
    """Return the next number of the generator of Park and Miller, between 1 and 2**31 - 2."""
    return 48_271 * number % 2_147_483_647


@inner
def _smaller_first(values: FloatArray, pivot: float) -> int:
    """Move the values that are smaller than the pivot to the front; return how many these are."""
    n_smaller = 0
    # No branch, which could not be predicted.
    for i in range(len(values)):
        value = values[i]
        values[i] = values[n_smaller]
        values[n_smaller] = value
        n_smaller += value < pivot
    return n_smaller


@inner
def _not_larger_first(values: FloatArray, pivot: float) -> int:
    """Move the values that are not larger than the pivot to the front; return how many."""
    n_not_larger = 0
    # At least the pivot is one, even if it is NaN: `select` ends whatever the values are.
    for i in range(len(values)):
        value = values[i]
        values[i] = values[n_not_larger]
        values[n_not_larger] = value
        n_not_larger += not value > pivot
    return n_not_larger


@kernel
def quantile(values: FloatArray, probability: float) -> float:
    """Return a quantile of at least one finite value, by linear interpolation; reorders them.

    Examples
    --------
    >>> import numpy as np
    >>> quantile(np.array([5.0, 1.0, 4.0, 2.0]), 0.5)
    3.0
    """
    # In percent, with ranks from 1: the same to the last bit as np.quantile in a kernel.
    rank = 1.0 + (len(values) - 1) * (100.0 * probability / 100.0)
    whole = math.floor(rank)
    share = rank - whole
    lower = select(values, whole - 1)
    upper = values[len(values) - 1]
    for i in range(whole, len(values)):
        upper = min(upper, values[i])
    return float(lower * (1.0 - share) + upper * share)


@kernel
def median(values: FloatArray) -> float:
    """Return the median of at least one finite value; reorders them.

    Examples
    --------
    >>> import numpy as np
    >>> median(np.array([5.0, 1.0, 4.0]))
    4.0
    """
    half = len(values) // 2
    upper = select(values, half)
    if len(values) % 2 == 1:
        return upper
    lower = values[0]
    for i in range(1, half):
        lower = max(lower, values[i])
    return float((lower + upper) / 2.0)
