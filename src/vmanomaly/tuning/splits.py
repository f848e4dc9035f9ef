"""Which points a trial learns, and which it is judged by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from vmanomaly.tuning.sample import Batch


@dataclass(frozen=True, slots=True)
class Fold:
    """One part of the validation, in columns of the data.

    Attributes
    ----------
    start, stop
        What it is about.
    first, last
        From `first` to before `last` it is judged; the rest of it is learned.
    is_leaky
        Whether points after those that are judged are learned too, or these themselves.
    """

    start: int
    stop: int
    first: int
    last: int
    is_leaky: bool = False

    @property
    def n_fit(self) -> int:
        """The number of columns that are learned."""
        judged = self.last - self.first
        return self.stop - self.start - (judged if judged < self.stop - self.start else 0)

    def to_fit(self, batch: Batch) -> Batch:
        """Return what is learned; what is judged in the middle of it is a gap."""
        if not self.is_leaky:
            return batch.columns(self.start, self.first)
        part = batch.columns(self.start, self.stop)
        if (self.first, self.last) == (self.start, self.stop):
            return part
        values = part.values.copy()
        values[:, self.first - self.start : self.last - self.start] = np.nan
        return replace(part, values=values)

    def to_judge(self, batch: Batch) -> Batch:
        """Return what is judged."""
        return batch.columns(self.first, self.last)


def split(n_columns: int, n_splits: int, scheme: str, train_val_ratio: float) -> tuple[Fold, ...]:
    """Cut the data into folds; those without anything to learn or to judge are left out.

    Parameters
    ----------
    n_columns
        The number of timestamps.
    n_splits
        How many folds.
    scheme
        `regular`: each fold is a stretch of its own, its beginning is learned and its end judged.
        `leaky`: each fold judges a stretch and learns all others, so that every point is seen;
        a single one is learned and judged.
    train_val_ratio
        The length of what is learned over the length of what is judged, where regular.

    Examples
    --------
    >>> split(8, 2, "regular", 3.0)
    (Fold(start=0, stop=4, first=3, last=4, is_leaky=False), \
Fold(start=4, stop=8, first=7, last=8, is_leaky=False))
    >>> [(fold.first, fold.last) for fold in split(8, 2, "leaky", 3.0)]
    [(0, 4), (4, 8)]
    """
    # More would be empty.
    n_splits = min(n_splits, max(n_columns, 1))
    edges = [round(i * n_columns / n_splits) for i in range(n_splits + 1)]
    stretches = [(a, b) for a, b in pairwise(edges) if b > a]
    if scheme == "leaky":
        return tuple(Fold(0, n_columns, a, b, is_leaky=True) for a, b in stretches)
    share = train_val_ratio / (1.0 + train_val_ratio)
    folds = []
    for a, b in stretches:
        middle = min(max(a + round(share * (b - a)), a + 1), b - 1)
        if a < middle < b:
            folds.append(Fold(a, b, middle, b))
    return tuple(folds)
