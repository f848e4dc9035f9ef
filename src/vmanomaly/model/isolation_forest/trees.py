"""The trees of an isolation forest as arrays, and the path lengths in them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vmanomaly.kernel import kernel
from vmanomaly.series import FloatArray, IntArray, SingleArray

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest

Int32Array: TypeAlias = NDArray[np.int32]

LEAF = -1
"""The feature of a node that is a leaf."""


class Trees(NamedTuple):
    """The trees of a forest, one after the other; the nodes of each in depth-first order.

    So the left child of a node follows it, and the right child comes later: what goes from child
    to child reaches a leaf, whatever the arrays hold, if they pass `check`.

    Attributes
    ----------
    starts : ndarray of int64, shape (n_trees + 1,)
        The node at which each tree starts, and the number of all nodes.
    feature : ndarray of int32, shape (n_nodes,)
        The feature that a node looks at; `LEAF` for a leaf.
    value : ndarray of float32, shape (n_nodes,)
        The largest value of the feature that goes to the left child; the number of samples in a
        leaf.
    right : ndarray of int32, shape (n_nodes,)
        How many nodes further the right child is; 0 for a leaf.
    """

    starts: IntArray
    feature: Int32Array
    value: SingleArray
    right: Int32Array

    def check(self, n_features: int, n_samples: int) -> None:
        """Check that every path through the trees ends in a leaf of its tree.

        Parameters
        ----------
        n_features
            Of a sample.
        n_samples
            The most samples in a leaf.

        Raises
        ------
        ValueError
            A path may not; says why.

        Examples
        --------
        >>> trees = Trees(
        ...     np.array([0, 2]), np.array([0, LEAF], np.int32),
        ...     np.array([0.5, 1.0], np.float32), np.array([1, 0], np.int32),
        ... )
        >>> trees.check(n_features=1, n_samples=1)
        Traceback (most recent call last):
        ...
        ValueError: right: not the place of a later node of the same tree
        """
        starts, n_nodes = self.starts, len(self.feature)
        if (
            len(starts) == 0
            or (starts[0], starts[-1]) != (0, n_nodes)
            # Without a difference, which could overflow.
            or (starts[1:] <= starts[:-1]).any()
            or not len(self.value) == len(self.right) == n_nodes
        ):
            raise ValueError(f"tree_starts: not the trees of {n_nodes} nodes")
        if n_nodes == 0:
            return
        leaves = self.feature == LEAF
        if (self.feature < LEAF).any() or (self.feature >= n_features).any():
            raise ValueError(f"feature: not one of {n_features}")
        if not np.isfinite(self.value).all():
            raise ValueError("value: found a number that is not finite")
        counts = self.value[leaves]
        if (counts < 1).any() or (counts > n_samples).any() or (counts != np.floor(counts)).any():
            raise ValueError(f"value: a leaf holds 1 to {n_samples} samples")
        ends = np.repeat(starts[1:], np.diff(starts))
        splits = np.flatnonzero(~leaves)
        if (self.right[splits] < 2).any() or (splits + self.right[splits] >= ends[splits]).any():
            raise ValueError("right: not the place of a later node of the same tree")


NO_TREES = Trees(
    np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.int32)
)


def trees_of(forest: IsolationForest) -> Trees:
    """Return the trees of a fitted forest.

    Thresholds are rounded down to float32, which decides the same for features of that type.

    Raises
    ------
    RuntimeError
        scikit-learn arranges its nodes in another order than it has until now.
    """
    grown = [each.tree_ for each in forest.estimators_]
    sizes = [tree.node_count for tree in grown]
    starts = np.cumsum([0, *sizes], dtype=np.int64)
    left, right = (
        np.concatenate([getattr(tree, side) for tree in grown])
        for side in ("children_left", "children_right")
    )
    leaves = left == -1
    places = np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)
    if not np.array_equal(left[~leaves], places[~leaves] + 1):
        raise RuntimeError(
            "this version of scikit-learn orders the nodes of its trees differently; "
            "install one that docs/dependencies.md names"
        )
    # A tree may see only some of the features. That of a leaf is negative.
    seen = forest.estimators_features_
    feature = np.concatenate(
        [of_tree[np.maximum(tree.feature, 0)] for tree, of_tree in zip(grown, seen, strict=True)]
    )
    threshold = np.concatenate([tree.threshold for tree in grown])
    n_samples = np.concatenate([tree.n_node_samples for tree in grown])
    return Trees(
        starts,
        np.where(leaves, LEAF, feature).astype(np.int32),
        np.where(leaves, n_samples.astype(np.float32), _rounded_down(threshold)),
        np.where(leaves, 0, right - places).astype(np.int32),
    )


def score_samples(trees: Trees, features: SingleArray, samples_per_tree: int) -> FloatArray:
    r"""Return how normal samples are, from -1 (isolated at once) towards 0.

    With :math:`h` the mean over the trees of the path length of a sample, and :math:`c(n)` that of
    an unsuccessful search in a binary tree of n samples,

    .. math:: s = -2^{-h / c(samples\_per\_tree)}, \quad c(n) = 2 H(n-1) - 2 (n-1) / n

    A leaf of n samples counts as :math:`c(n)` more steps [1]_.

    Parameters
    ----------
    trees
        That have at least one tree, and pass `check`.
    features : ndarray of float32, shape (n_rows, n_features)
        Finite or infinite.
    samples_per_tree
        That each tree was grown on.

    Returns
    -------
    ndarray of float64, shape (n_rows,)
        As `score_samples` of scikit-learn returns it.

    References
    ----------
    .. [1] F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation forest", ICDM 2008.
    """
    scores = np.zeros(len(features))
    _add_path_lengths(trees, features, scores)
    longest = average_path_length(float(samples_per_tree)) * (len(trees.starts) - 1)
    if longest == 0.0:
        return np.full(len(features), -0.5)
    return -np.exp2(-scores / longest)


@kernel
def average_path_length(n: float) -> float:
    """Return the average path length of an unsuccessful search in a binary tree of n samples.

    Examples
    --------
    >>> [round(average_path_length(n), 3) for n in (1.0, 2.0, 3.0)]
    [0.0, 1.0, 1.207]
    """
    if n < 2.0:
        return 0.0
    if n == 2.0:
        return 1.0
    return 2.0 * (math.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n


@kernel
def _add_path_lengths(trees: Trees, features: SingleArray, lengths: FloatArray) -> None:
    for tree in range(len(trees.starts) - 1):
        root = trees.starts[tree]
        for row in range(len(features)):
            node = root
            depth = 0
            while trees.feature[node] >= 0:
                depth += 1
                if features[row, trees.feature[node]] <= trees.value[node]:
                    node += 1
                else:
                    node += trees.right[node]
            lengths[row] += depth + average_path_length(float(trees.value[node]))


def _rounded_down(values: FloatArray) -> SingleArray:
    rounded = values.astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)
