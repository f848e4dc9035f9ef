"""Series that a query leaves out of its answer while they have no data."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from vmanomaly.series import Labels, SeriesBatch
from vmanomaly.service.unit import Unit


def known_series(units: Sequence[Unit], query_alias: str) -> dict[Labels, None]:
    """Return the label sets of a query's series that any of the units knows, in a fixed order."""
    return dict.fromkeys(labels for unit in units for labels in unit.series_of(query_alias))


def with_zeros(batch: SeriesBatch, known: Collection[Labels]) -> SeriesBatch:
    """Return a batch in which series that are known have the value 0 where they had none.

    Parameters
    ----------
    batch
        What a query gave.
    known
        The label sets of series that had a value before it.

    Examples
    --------
    >>> a, b = Labels({"job": "a"}), Labels({"job": "b"})
    >>> batch = SeriesBatch((a,), np.array([60_000, 120_000]), np.array([[np.nan, 3.0]]))
    >>> with_zeros(batch, [a, b]).values
    array([[0., 3.],
           [0., 0.]])
    >>> with_zeros(batch, [b]).values
    array([[nan,  3.],
           [ 0.,  0.]])
    """
    given = set(batch.labels)
    missing = tuple(labels for labels in known if labels not in given)
    is_known = np.array([labels in known for labels in batch.labels], np.bool_)
    values = np.zeros((len(given) + len(missing), len(batch.timestamps)))
    values[: len(given)] = batch.values
    values[: len(given)][is_known[:, np.newaxis] & np.isnan(batch.values)] = 0.0
    return SeriesBatch(batch.labels + missing, batch.timestamps, values)


def on_common_grid(batches: list[SeriesBatch]) -> list[SeriesBatch]:
    """Return batches that end where the shortest of them does.

    One that is read later may reach further, if the range that is read is not over yet.
    """
    n = min(len(batch.timestamps) for batch in batches)
    return [
        batch
        if len(batch.timestamps) == n
        else SeriesBatch(
            batch.labels,
            batch.timestamps[:n],
            np.ascontiguousarray(batch.values[:, :n].reshape(len(batch.labels), n)),
        )
        for batch in batches
    ]
