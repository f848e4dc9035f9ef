"""What takes out of channels what they share, so that the rest is uncorrelated."""

from __future__ import annotations

import math

from vmanomaly.kernel import inlined, inner
from vmanomaly.series import FloatArray

_LEAST_PIVOT = 1e-12
_ITERATIONS = 20
_CONVERGED = 1e-7
"""Distance of the ratio from 1 whose square is no more than a rounding error."""


@inner
def invert(matrix: FloatArray, rank: int, column: FloatArray) -> None:
    """Invert a symmetric positive definite matrix in place, by sweeps of its lower triangle.

    Parameters
    ----------
    matrix
        float64, at least of shape (`rank`, `rank`); what is beyond is left as it is.
    rank
        K, the rows and columns to invert.
    column
        float64, shape (K,), overwritten.

    References
    ----------
    .. [1] J. H. Goodnight, "A tutorial on the SWEEP operator", The American Statistician 33(3),
       1979.
    """
    for k in range(rank):
        scale = 1.0 / max(matrix[k, k], _LEAST_PIVOT)
        for j in range(k):
            column[j] = matrix[k, j]
        for i in range(k, rank):
            column[i] = matrix[i, k]
        for i in range(rank):
            factor = column[i] * scale
            for j in range(i + 1):
                matrix[i, j] -= factor * column[j]
        for j in range(k):
            matrix[k, j] = column[j] * scale
        for i in range(k + 1, rank):
            matrix[i, k] = column[i] * scale
        matrix[k, k] = -scale
    for i in range(rank):
        for j in range(i + 1):
            matrix[i, j] = matrix[j, i] = -matrix[i, j]


@inner
def find_blend(
    precision: FloatArray,
    rank: int,
    blend: FloatArray,
    root: FloatArray,
    ratio: FloatArray,
    inverse: FloatArray,
    column: FloatArray,
) -> None:
    r"""Fill in what whitening takes of the factors.

    With loadings :math:`B` in units of the noise, the inverse root of :math:`I + B B^T` is
    :math:`I - B G B^T`, :math:`G = (M + M^{1/2})^{-1}` with the precision :math:`M = I + B^T B` of
    the factors. Its root is found by Newton's method, in the product form of the iteration of
    Denman and Beavers [1]_: :math:`X_0 = R_0 = M`, and while the ratio :math:`R_k` differs from 1

    .. math::

        X_{k+1} = (\mu X_k + \mu^{-1} X_k R_k^{-1}) / 2, \qquad
        R_{k+1} = (\mu^2 R_k + \mu^{-2} R_k^{-1} + 2) / 4

    where :math:`\mu` makes the traces of both terms of :math:`R_{k+1}` equal, so that few steps are
    needed however large the precision is.

    Parameters
    ----------
    precision
        float64, shape (K, K), symmetric, no eigenvalue less than 1.
    rank
        The factors that there are: the rows and columns to look at.
    blend
        float64, shape (K, K): G, written.
    root, ratio, inverse, column
        float64, shape (K, K), and (K,) for the last; overwritten.

    References
    ----------
    .. [1] N. J. Higham, "Functions of Matrices: Theory and Computation", SIAM, 2008, chapter 6.
    """
    _scale(precision, 1.0, rank, root)
    _scale(precision, 1.0, rank, ratio)
    for _ in range(_ITERATIONS):
        _scale(ratio, 1.0, rank, inverse)
        invert(inverse, rank, column)
        squared = math.sqrt(_trace(inverse, rank) / _trace(ratio, rank))
        half = 0.5 * math.sqrt(squared)
        _scale(root, half, rank, blend)
        _add_product(root, inverse, half / squared, rank, blend)
        _scale(blend, 1.0, rank, root)
        _scale(ratio, 0.25 * squared, rank, ratio)
        _add(inverse, 0.25 / squared, rank, ratio)
        # No eigenvalue of the ratio is less than 1.
        distance = 0.0
        for i in range(rank):
            ratio[i, i] += 0.5
            distance = max(distance, abs(ratio[i, i] - 1.0))
        if distance < _CONVERGED:
            break
    # The square of the root is the precision times the ratio, whose inverse root is a step away.
    _scale(precision, 1.0, rank, blend)
    _add(root, 1.5, rank, blend)
    _add_product(root, ratio, -0.5, rank, blend)
    invert(blend, rank, column)


@inlined
def _trace(matrix: FloatArray, rank: int) -> float:
    total = 0.0
    for i in range(rank):
        total += matrix[i, i]
    return total


@inlined
def _scale(matrix: FloatArray, factor: float, rank: int, scaled: FloatArray) -> None:
    for i in range(rank):
        for j in range(rank):
            scaled[i, j] = factor * matrix[i, j]


@inlined
def _add(matrix: FloatArray, factor: float, rank: int, total: FloatArray) -> None:
    """Add `factor` times a matrix."""
    for i in range(rank):
        for j in range(rank):
            total[i, j] += factor * matrix[i, j]


@inlined
def _add_product(
    left: FloatArray, right: FloatArray, factor: float, rank: int, total: FloatArray
) -> None:
    """Add `factor` times the product of two symmetric matrices, which is symmetric too."""
    for i in range(rank):
        for k in range(rank):
            share = factor * left[i, k]
            for j in range(i + 1):
                total[i, j] += share * right[k, j]
        for j in range(i):
            total[j, i] = total[i, j]
