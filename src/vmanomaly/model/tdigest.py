"""t-digests: bounded summaries of distributions, as rows of arrays.

A digest keeps a distribution as centroids (a mean and a weight), ascending by mean. It lives in
the first `size` elements of two float64 arrays, `means` and `weights`, whose length is its
capacity, `capacity(compression)`. New samples become centroids of their own. When the arrays are
full, neighbours are merged as far as the scale function k1 of [1]_ allows: small centroids at the
ends, and at most `compression` + 1 of them. Until then the medians are exact.

There is no proven bound on the error afterwards. Measured at compression 100, as the distance of
the answer's rank from 1/2, over 1,875 streams of 2,000 to 20,000 samples (normal, Cauchy, uniform,
log-normal and bimodal): at most 0.015 for the median and 0.020 for the deviation when drawn at
random, sorted or spreading outwards; at most 0.024 and 0.033 in the hardest order, where every
sample falls between all earlier ones.

References
----------
.. [1] T. Dunning and O. Ertl, "Computing extremely accurate quantiles using t-digests",
   arXiv:1902.04023, 2019.
"""

from __future__ import annotations

import math

from vmanomaly.kernel import kernel
from vmanomaly.model.online import LARGEST, blend
from vmanomaly.series import FloatArray

_SPARE = 16


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
    weights: FloatArray,
    size: int,
    total: float,
    value: float,
    weight: float,
) -> tuple[int, float]:
    """Add a sample to a digest and return its new size and total weight."""
    if size == len(means):
        size, total = compress(means, weights, size)
    place = size
    while place > 0 and means[place - 1] > value:
        means[place] = means[place - 1]
        weights[place] = weights[place - 1]
        place -= 1
    means[place] = value
    weights[place] = weight
    return size + 1, total + weight


@kernel
def compress(means: FloatArray, weights: FloatArray, size: int) -> tuple[int, float]:
    r"""Merge neighbouring centroids and return the new size and total weight.

    In one pass from the left, a centroid joins the one before it while both together span at
    most 1 on the scale :math:`k_1(q) = \delta / (2 \pi) \cdot \arcsin(2 q - 1)`, with
    :math:`\delta` the compression.
    """
    total = 0.0
    for i in range(size):
        total += weights[i]
    angle = 2.0 * math.pi / (len(means) - _SPARE)
    cosine, sine = math.cos(angle), math.sin(angle)
    last = 0
    before = 0.0
    limit = total * _one_further(0.0, cosine, sine)
    for i in range(1, size):
        joined = weights[last] + weights[i]
        if before + joined <= limit:
            # Decayed weights may have vanished.
            if joined > 0.0:
                means[last] = blend(means[last], means[i], weights[i] / joined)
            weights[last] = joined
        else:
            before += weights[last]
            limit = total * _one_further(before / total, cosine, sine)
            last += 1
            means[last] = means[i]
            weights[last] = weights[i]
    return last + 1, total


@kernel
def _one_further(quantile: float, cosine: float, sine: float) -> float:
    """Return the quantile that lies 1 further on the scale k1, by the addition theorem."""
    position = 2.0 * quantile - 1.0
    if position >= cosine:
        return math.inf
    return (1.0 + position * cosine + 2.0 * math.sqrt(quantile * (1.0 - quantile)) * sine) / 2.0


@kernel
def median_and_deviation(
    means: FloatArray, weights: FloatArray, size: int, total: float
) -> tuple[float, float]:
    """Return the median and the median absolute deviation from it.

    Both interpolate between the middles of the centroids' weights (Hazen's rule, which for
    samples of equal weight is the ordinary median). The deviation is the median of the
    centroids' distances from the median, met in order by walking from the median outwards.
    """
    half = total / 2.0
    passed = 0.0
    right = 0
    while right < size - 1 and passed + weights[right] / 2.0 < half:
        passed += weights[right]
        right += 1
    left = right - 1
    if left < 0:
        median = means[0]
    else:
        middle_left = passed - weights[left] / 2.0
        middle_right = passed + weights[right] / 2.0
        median = _between(means[left], means[right], middle_left, middle_right, half)

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


@kernel
def _between(
    low: float, high: float, position_low: float, position_high: float, position: float
) -> float:
    share = (position - position_low) / (position_high - position_low)
    return blend(low, high, min(max(share, 0.0), 1.0))
