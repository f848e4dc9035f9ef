"""A table, whatever it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmanomaly.errors import TableError


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of the same length.

    Attributes
    ----------
    columns : mapping of str to ndarray
        By name: numbers as float64 or int64, times as datetime64, everything else as objects;
        None, NaN and NaT where there is nothing.
    source : str
        What it is called in messages.
    zoned : frozenset of str
        The columns of times whose source names the zone; they are in UTC.

    Examples
    --------
    >>> table = Table({"value": np.array([1.0, 2.0])}, "x.csv")
    >>> table.n_rows
    2
    """

    columns: Mapping[str, NDArray[Any]]
    source: str
    zoned: frozenset[str] = frozenset()

    @property
    def n_rows(self) -> int:
        """The length of the columns."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def column(self, name: str) -> NDArray[Any]:
        """Return a column.

        Raises
        ------
        TableError
            There is none of that name.
        """
        if name not in self.columns:
            raise TableError(
                f"{self.source} has no column {name!r}; its columns are {self.named_columns}"
            )
        return self.columns[name]

    @property
    def named_columns(self) -> str:
        """The names of the columns, for messages."""
        names = [repr(name) for name in list(self.columns)[:20]]
        more = f" and {len(self.columns) - 20} more" if len(self.columns) > 20 else ""
        return ", ".join(names) + more


def is_numeric(values: NDArray[Any]) -> bool:
    """Tell whether a column holds numbers."""
    return np.issubdtype(values.dtype, np.number)


def is_time(values: NDArray[Any]) -> bool:
    """Tell whether a column holds times."""
    return np.issubdtype(values.dtype, np.datetime64)
