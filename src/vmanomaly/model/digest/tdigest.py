"""t-digests: bounded summaries of distributions, in slices of arrays.

A digest keeps a distribution as centroids (a mean and a weight), ascending by mean, in two arrays,
`means` (float64) and `weights` (float32). To `add` a sample, which becomes a centroid of its own,
they must be longer, so that there is room; all other kernels take the centroids only. When there
is no room left, neighbours are merged as far as the scale function k1 of [1]_ allows: small
centroids at the ends, and at most `compression` + 1 of them. Until then all quantiles are exact.

There is no proven bound on the error afterwards. docs/models.md states what was measured, and the
tests check it.

References
----------
.. [1] T. Dunning and O. Ertl, "Computing extremely accurate quantiles using t-digests",
   arXiv:1902.04023, 2019.
"""

from __future__ import annotations

import math

import numpy as np

from vmanomaly.kernel import inner, kernel
from vmanomaly.model.base import LARGEST
from vmanomaly.model.online import blend
from vmanomaly.model.state import Range
from vmanomaly.series import FloatArray, SingleArray

RENORMALISE_ABOVE = 1e30
"""Later samples weigh more, which is the same as decaying earlier ones. Above this weight, all are
scaled down, long before float32 overflows."""

MOST_WEIGHT = 1e37
"""More than all samples of a digest together weigh in the life of a series; float32 holds it."""

_LEAST_TOTAL = 1e-30
_SPARE = 16


def sample_weight_range(decay: float) -> Range:
    """Return what the weight of the next sample may be: above 0, and 1 if all weigh the same."""
    return Range(float(np.nextafter(0.0, 1.0)), 1.0 if decay == 1.0 else RENORMALISE_ABOVE)


@kernel
def capacity(compression: int) -> int:
    """Return the number of centroids that a digest needs room for.

    Examples
    --------
    >>> capacity(100)
    116
    """
    return compression + _SPARE


@kernel
def add(
    means: FloatArray,
    weights: SingleArray,
    size: int,
    value: float,
    weight: float,
    compression: int,
) -> int:
    """Add a sample to a digest and return its new size.

    The first `size` elements are the centroids. Without room, which is `capacity(compression)` or
    less and more than `compression` + 1 then, the digest is compressed first.
    """
    if size == len(means):
        size = compress(means, weights, compression)
    place = size
    while place > 0 and means[place - 1] > value:
        means[place] = means[place - 1]
        weights[place] = weights[place - 1]
        place -= 1
    means[place] = value
    weights[place] = weight
    return size + 1


@kernel
def total_weight(weights: SingleArray) -> float:
    """Return the sum of the weights.

    Four parallel sums, since each addition waits for the one before it.

    Examples
    --------
    >>> import numpy as np
    >>> total_weight(np.array([1.0, 2.0, 4.0, 8.0, 16.0], np.float32))
    31.0
    """
    size = len(weights)
    a = b = c = d = 0.0
    i = 0
    while i + 4 <= size:
        a += weights[i]
        b += weights[i + 1]
        c += weights[i + 2]
        d += weights[i + 3]
        i += 4
    while i < size:
        a += weights[i]
        i += 1
    return (a + b) + (c + d)


@kernel
def compress(means: FloatArray, weights: SingleArray, compression: int) -> int:
    r"""Merge neighbouring centroids and return how many are left.

    In one pass from the left, a centroid joins the one before it while both together span at
    most 1 on the scale :math:`k_1(q) = \delta / (2 \pi) \cdot \arcsin(2 q - 1)`, with
    :math:`\delta` the compression.
    """
    total = total_weight(weights)
    angle = 2.0 * math.pi / compression
    cosine, sine = math.cos(angle), math.sin(angle)
    last = 0
    before = 0.0
    limit = total * _one_further(0.0, cosine, sine)
    for i in range(1, len(weights)):
        joined = float(weights[last]) + float(weights[i])
        if before + joined <= limit:
            # Decayed weights may have vanished.
            if joined > 0.0:
                share = np.float64(float(weights[i]) / joined)
                means[last] = blend(means[last], means[i], share)
            weights[last] = joined
        else:
            before += weights[last]
            limit = total * _one_further(before / total, cosine, sine)
            last += 1
            means[last] = means[i]
            weights[last] = weights[i]
    return last + 1


@inner
def _one_further(quantile: float, cosine: float, sine: float) -> float:
    """Return the quantile that lies 1 further on the scale k1, by the addition theorem."""
    position = 2.0 * quantile - 1.0
    if position >= cosine:
        return math.inf
    return (1.0 + position * cosine + 2.0 * math.sqrt(quantile * (1.0 - quantile)) * sine) / 2.0


@kernel
def quantiles(
    means: FloatArray,
    weights: SingleArray,
    probabilities: FloatArray,
    answers: FloatArray,
) -> None:
    """Fill `answers` with the quantiles of a digest that is not empty.

    They interpolate between the middles of the centroids' weights, and are the outermost means
    beyond the outermost middles: Hazen's rule, for samples of equal weight.

    Parameters
    ----------
    probabilities, answers
        float64, of one length; the probabilities ascending, from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> samples, answers = np.array([1.0, 2.0, 3.0, 4.0]), np.empty(3)
    >>> quantiles(samples, np.ones(4, np.float32), np.array([0.0, 0.5, 0.75]), answers)
    >>> answers
    array([1. , 2.5, 3.5])
    """
    total = total_weight(weights)
    passed = 0.0
    right = 0
    for i in range(len(probabilities)):
        wanted = probabilities[i] * total
        right, passed = _walk_to(weights, right, passed, wanted)
        answers[i] = _at(means, weights, right, passed, wanted)


@inner
def _walk_to(weights: SingleArray, right: int, passed: float, wanted: float) -> tuple[int, float]:
    """Advance from `right` to the first centroid whose middle reaches `wanted`, or to the last.

    Also returns the weight of all before it. Eight at a time, since each addition to a sum waits
    for the one before it.
    """
    size = len(weights)
    while right + 8 < size:
        last = float(weights[right + 7])
        eight = total_weight(weights[right : right + 8])
        if passed + eight - last / 2.0 >= wanted:
            break
        passed += eight
        right += 8
    while right < size - 1 and passed + weights[right] / 2.0 < wanted:
        passed += weights[right]
        right += 1
    return right, passed


@kernel
def renormalise(weights: SingleArray, unit: float) -> None:
    """Divide the weights of a digest that is not empty by `unit`, the weight of the next sample.

    Where they would vanish, they keep a size that is negligible next to a new sample.
    """
    factor = max(1.0 / unit, _LEAST_TOTAL / total_weight(weights))
    for i in range(len(weights)):
        weights[i] *= factor


@inner
def _at(means: FloatArray, weights: SingleArray, right: int, passed: float, wanted: float) -> float:
    """Return the value at the weight `wanted`, before the middle of the centroid `right`.

    `passed` is the weight of all centroids left of it.
    """
    if right == 0:
        return float(means[0])
    middle_left = passed - weights[right - 1] / 2.0
    middle_right = passed + weights[right] / 2.0
    return _between(means[right - 1], means[right], middle_left, middle_right, wanted)


@kernel
def median_and_deviation(means: FloatArray, weights: SingleArray) -> tuple[float, float]:
    """Return the median and the median absolute deviation from it.

    Both interpolate like `quantiles`. The deviation is the median of the centroids' distances
    from the median, met in order by walking from the median outwards.
    """
    size = len(weights)
    half = total_weight(weights) / 2.0
    right, passed = _walk_to(weights, 0, 0.0, half)
    median = _at(means, weights, right, passed, half)

    left = right - 1
    passed = 0.0
    distance = middle = 0.0
    for _ in range(size):
        previous_distance, previous_middle = distance, middle
        # Beyond an end the distance is infinite.
        to_left = median - means[left] if left >= 0 else math.inf
        to_right = means[right] - median if right < size else math.inf
        if right >= size or (left >= 0 and to_left <= to_right):
            distance = min(to_left, LARGEST)
            weight = weights[left]
            left -= 1
        else:
            distance = min(to_right, LARGEST)
            weight = weights[right]
            right += 1
        middle = passed + weight / 2.0
        if middle >= half:
            if passed > 0.0:
                distance = _between(previous_distance, distance, previous_middle, middle, half)
            break
        passed += weight
    return median, distance


@inner
def _between(
    low: float, high: float, position_low: float, position_high: float, position: float
) -> float:
    share = (position - position_low) / (position_high - position_low)
    return blend(low, high, min(max(share, 0.0), 1.0))
