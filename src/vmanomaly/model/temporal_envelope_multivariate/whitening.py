"""What takes out of channels what they share, so that the rest is uncorrelated."""

from __future__ import annotations

import math

from vmanomaly.kernel import inlined, inner
from vmanomaly.series import FloatArray

_SWEEPS = 12
_NOTHING = 1e-9


@inner
def find_blend(
    posterior: FloatArray, blend: FloatArray, rotated: FloatArray, vectors: FloatArray
) -> None:
    r"""Fill in what whitening takes of the factors.

    With loadings :math:`B` in units of the noise, the inverse root of :math:`I + B B^T` is
    :math:`I - B G B^T`, :math:`G = P (I + P^{1/2})^{-1}` with the posterior :math:`P`, whose
    eigenvectors Jacobi's rotations find.

    Parameters
    ----------
    posterior
        float64, shape (K, K), symmetric and positive definite.
    blend
        float64, shape (K, K): G, written.
    rotated, vectors
        float64, shape (K, K), overwritten.
    """
    rank = len(posterior)
    for i in range(rank):
        for j in range(rank):
            rotated[i, j] = posterior[i, j]
            vectors[i, j] = 1.0 if i == j else 0.0
    for _ in range(_SWEEPS):
        left = 0.0
        for i in range(rank - 1):
            for j in range(i + 1, rank):
                left += abs(rotated[i, j])
                if abs(rotated[i, j]) > _NOTHING:
                    _rotate(rotated, vectors, i, j)
        if left < _NOTHING:
            break
    for k in range(rank):
        root = math.sqrt(max(rotated[k, k], 0.0))
        rotated[k, k] = root * root / (1.0 + root)
    for i in range(rank):
        for j in range(i + 1):
            total = 0.0
            for k in range(rank):
                total += vectors[i, k] * vectors[j, k] * rotated[k, k]
            blend[i, j] = blend[j, i] = total


@inlined
def _rotate(matrix: FloatArray, vectors: FloatArray, i: int, j: int) -> None:
    """Make one element of a symmetric matrix 0, and turn the vectors along."""
    half = (matrix[j, j] - matrix[i, i]) / (2.0 * matrix[i, j])
    tangent = (1.0 if half >= 0.0 else -1.0) / (abs(half) + math.sqrt(half * half + 1.0))
    cosine = 1.0 / math.sqrt(tangent * tangent + 1.0)
    sine = tangent * cosine
    for k in range(len(matrix)):
        one, other = matrix[k, i], matrix[k, j]
        matrix[k, i], matrix[k, j] = cosine * one - sine * other, sine * one + cosine * other
    for k in range(len(matrix)):
        one, other = matrix[i, k], matrix[j, k]
        matrix[i, k], matrix[j, k] = cosine * one - sine * other, sine * one + cosine * other
        one, other = vectors[k, i], vectors[k, j]
        vectors[k, i], vectors[k, j] = cosine * one - sine * other, sine * one + cosine * other
