"""The data that a model is tuned on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vmanomaly.model.grouping import GroupedBatch
from vmanomaly.series import FloatArray, SeriesBatch

if TYPE_CHECKING:
    from vmanomaly.config.reader import Query

Batch: TypeAlias = SeriesBatch | GroupedBatch

_MAD_TO_SIGMA = 1.4826
_P5_TO_P95_SIGMAS = 3.29


@dataclass(frozen=True)
class Sample:
    """Series, or groups of series, of some queries.

    Attributes
    ----------
    queries
        With their policies.
    batches
        One per query for a class that scores single series; a single one, of groups of all
        queries, for a class that scores groups. All on the same grid.
    """

    queries: Sequence[Query]
    batches: Sequence[Batch]

    @property
    def n_rows(self) -> int:
        """The number of series or groups."""
        return sum(len(batch.labels) for batch in self.batches)

    @property
    def n_columns(self) -> int:
        """The number of timestamps."""
        return len(self.batches[0].timestamps)

    @property
    def n_valid_points(self) -> int:
        """The points of all series that have a value."""
        return sum(batch.n_valid_points for batch in self.batches)

    @property
    def spread(self) -> float:
        """The median of the spreads of the series."""
        found = np.concatenate([spreads(batch.values) for batch in self.batches])
        return float(np.median(found)) if found.size else 1.0


def spreads(values: FloatArray) -> FloatArray:
    """Return the robust spread of every series, above 0.

    The median absolute deviation as an estimate of the standard deviation; where that is 0, the
    same by the distance of the 5th and the 95th percentile, then the standard deviation, then the
    size of the values. 1 for a series of nothing but zeros.

    Parameters
    ----------
    values : ndarray of float64, shape (S, T)
        NaN and infinite values don't count.

    Returns
    -------
    ndarray of float64, shape (S,)

    Examples
    --------
    >>> spreads(np.array([[1.0, 2.0, 3.0, 4.0, 100.0], [5.0, 5.0, 5.0, np.nan, 5.0]]))
    array([1.4826, 5.    ])
    """
    return np.array([_spread(row[np.isfinite(row)]) for row in values], np.float64)


def _spread(values: FloatArray) -> float:
    if not values.size:
        return 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        center = float(np.median(values))
        low, high = np.quantile(values, [0.05, 0.95])
        for found in (
            _MAD_TO_SIGMA * float(np.median(np.abs(values - center))),
            float(high - low) / _P5_TO_P95_SIGMAS,
            float(np.std(values)),
            abs(center),
        ):
            # Rounding in a constant series is no spread.
            if np.isfinite(found) and found > 1e-9 * abs(center):
                return found
    return 1.0
