"""Order statistics for kernels; NumPy's take seconds to compile."""

from __future__ import annotations

import math

from vmanomaly.kernel import kernel
from vmanomaly.series import FloatArray


@kernel
def select(values: FloatArray, k: int) -> float:
    """Return the k-th smallest value, counted from 0; none may be NaN.

    Reorders the values: those before the place k are not larger, those after it not smaller. It
    is Hoare's algorithm, with the median of three as the pivot.

    Examples
    --------
    >>> import numpy as np
    >>> select(np.array([5.0, 1.0, 4.0, 1.0]), 2)
    4.0
    """
    low, high = 0, len(values) - 1
    while low < high:
        first, middle, last = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(first, middle), min(max(first, middle), last))
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return float(values[k])


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
