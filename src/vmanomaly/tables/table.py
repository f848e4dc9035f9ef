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
    remarks : tuple of str
        What was not obvious about reading it, in words.

    Examples
    --------
    >>> table = Table({"value": np.array([1.0, 2.0])}, "x.csv")
    >>> table.n_rows
    2
    """

    columns: Mapping[str, NDArray[Any]]
    source: str
    zoned: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()

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

    @property
    def shown_columns(self) -> str:
        """The names of the columns, each with what it begins with, for messages.

        Examples
        --------
        >>> Table({"when": np.array(["soon"], object), "n": np.array([1.5])}, "x").shown_columns
        "'when' (such as 'soon'), 'n' (such as 1.5)"
        """
        shown = [f"{name!r} ({_example(self.columns[name])})" for name in list(self.columns)[:8]]
        more = f" and {len(self.columns) - 8} more" if len(self.columns) > 8 else ""
        return ", ".join(shown) + more


def _example(values: NDArray[Any]) -> str:
    for value in values[:1000]:
        # NaN and NaT differ from themselves.
        if value is not None and value == value and value != "":  # noqa: PLR0124
            text = str(value.astype("datetime64[s]") if is_time(values) else value)
            text = text if len(text) <= 40 else f"{text[:40]}…"
            return f"such as {text if is_numeric(values) or is_time(values) else repr(text)}"
    return "which is empty"


def is_numeric(values: NDArray[Any]) -> bool:
    """Tell whether a column holds numbers."""
    return np.issubdtype(values.dtype, np.number)


def is_time(values: NDArray[Any]) -> bool:
    """Tell whether a column holds times."""
    return np.issubdtype(values.dtype, np.datetime64)
