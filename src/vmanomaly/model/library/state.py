"""What a model of a library has learned: columns, some of which differ in length by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from vmanomaly.model.state import Array, Column, Range, Rule, SeriesState, check_columns
from vmanomaly.series import IntArray, Labels


@dataclass(frozen=True, slots=True)
class RaggedColumn:
    """A quantity of which every series has as many elements as it needs.

    In what is stored, `name` holds the elements of all rows one after the other, and `name_offsets`
    (int64, shape (rows + 1,)) says where those of each row begin and end.

    Attributes
    ----------
    name : str
        Its name, also in a stored state.
    dtype : numpy dtype
        The type of its elements.
    within : Range or None
        What all elements may be; None for anything.
    rule : Rule or None
        What else holds; is given the arrays of the state, offsets included.
    """

    name: str
    dtype: type[np.generic]
    within: Range | None = None
    rule: Rule | None = None

    @property
    def offsets(self) -> str:
        """The name of the offsets in what is stored."""
        return f"{self.name}_offsets"


class RaggedState(SeriesState):
    """A structure of arrays with a row per series, some of whose columns are ragged.

    Rows are added by `of` and `append` only.

    Parameters
    ----------
    columns
        As for `SeriesState`.
    ragged
        The ragged columns.

    Examples
    --------
    >>> a, b = Labels({"host": "a"}), Labels({"host": "b"})
    >>> rows = [{"season": np.array([1.0, 2.0])}, {"season": np.array([3.0])}]
    >>> state = RaggedState.of([], [RaggedColumn("season", np.float64)], [a, b], rows)
    >>> state.part("season", 1)
    array([3.])
    >>> state.arrays()["season"], state.arrays()["season_offsets"]
    (array([1., 2., 3.]), array([0, 2, 3]))
    """

    def __init__(self, columns: Iterable[Column] = (), ragged: Iterable[RaggedColumn] = ()) -> None:
        super().__init__(columns)
        self._ragged = tuple(ragged)
        self._flat: dict[str, Array] = {each.name: np.empty(0, each.dtype) for each in self._ragged}
        self._offsets: dict[str, IntArray] = {
            each.name: np.zeros(1, np.int64) for each in self._ragged
        }

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # What a fit has learned is replaced, never changed.
        shared = (*self._flat.values(), *self._offsets.values())
        memo |= {id(array): array for array in shared}
        other = copy(self)
        vars(other).update(deepcopy(self.__getstate__(), memo))
        return other

    @classmethod
    def of(
        cls,
        columns: Iterable[Column],
        ragged: Iterable[RaggedColumn],
        labels: Sequence[Labels],
        rows: Sequence[Mapping[str, Any]],
    ) -> Self:
        """Return a state with the given rows.

        Parameters
        ----------
        columns, ragged
            As for the constructor.
        labels
            R label sets without duplicates.
        rows
            The value of every column for each of them, by name; an array for a ragged column.
        """
        state = cls(columns, ragged)
        state.rows(tuple(labels))
        for column in state.columns:
            for row, values in enumerate(rows):
                state[column.name][row] = values[column.name]
        for each in state._ragged:
            parts = [np.asarray(values[each.name], each.dtype) for values in rows]
            state._flat[each.name] = np.concatenate([*parts, np.empty(0, each.dtype)])
            state._offsets[each.name] = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return state

    @classmethod
    def restored(
        cls,
        columns: Iterable[Column],
        ragged: Iterable[RaggedColumn],
        labels: Iterable[Labels],
        arrays: Mapping[str, Array],
    ) -> Self:
        """Rebuild a state from what `labels` and `arrays()` of another gave.

        Raises
        ------
        ValueError
            A column is missing, has another type or shape than declared, or holds what it
            declares that it does not.
        """
        state = cls(columns, ragged)
        n_rows = len(state.rows(tuple(labels)))
        check_columns(state._columns, n_rows, arrays)
        for each in state._ragged:
            _check_offsets(each, n_rows, arrays)
            n_elements = int(arrays[each.offsets][-1])
            check_columns([Column(each.name, each.dtype, within=each.within)], n_elements, arrays)
        for each in state._ragged:
            problem = each.rule(arrays) if each.rule is not None else None
            if problem is not None:
                raise ValueError(f"column {each.name}: {problem}")
        for column in state._columns:
            state[column.name][:] = arrays[column.name]
        for each in state._ragged:
            state._flat[each.name] = np.array(arrays[each.name])
            state._offsets[each.name] = np.array(arrays[each.offsets])
        return state

    def part(self, name: str, row: int) -> Array:
        """Return the elements of a ragged column that belong to a row, as a view."""
        begin, end = self._offsets[name][row : row + 2]
        return self._flat[name][begin:end]

    def flat(self, name: str) -> Array:
        """Return the elements of a ragged column, of all rows one after the other."""
        return self._flat[name]

    def offsets(self, name: str) -> IntArray:
        """Return where the elements of each row begin and end in `flat`; shape (rows + 1,)."""
        return self._offsets[name]

    def row(self, row: int) -> dict[str, Array]:
        """Return what was learned of one series: the model's own columns by name, as views."""
        own = {column.name: self[column.name][row] for column in self.columns}
        return own | {each.name: self.part(each.name, row) for each in self._ragged}

    @property
    def bytes_per_series(self) -> int:
        """The bytes that a row takes in all columns, on average where it is ragged."""
        of_ragged = sum(self._flat[each.name].nbytes for each in self._ragged)
        return super().bytes_per_series + of_ragged // max(len(self), 1)

    @property
    def nbytes(self) -> int:
        """The bytes that all columns take, spare room included."""
        return super().nbytes + sum(
            self._flat[each.name].nbytes + self._offsets[each.name].nbytes for each in self._ragged
        )

    def arrays(self) -> dict[str, Array]:
        """Return every column by name, as views; of ragged ones, the offsets too."""
        arrays = super().arrays()
        for each in self._ragged:
            arrays[each.name] = self._flat[each.name]
            arrays[each.offsets] = self._offsets[each.name]
        return arrays

    def append(self, other: SeriesState) -> None:
        """Add the rows, errors and skipped series of another such state; its series are all new."""
        assert isinstance(other, RaggedState)  # noqa: S101 - of the same model
        super().append(other)
        for each in self._ragged:
            name = each.name
            before, added = self._offsets[name], other._offsets[name]
            self._offsets[name] = np.concatenate([before, before[-1] + added[1:]])
            self._flat[name] = np.concatenate([self._flat[name], other._flat[name]])

    def remove(self, rows: IntArray) -> None:
        """Forget the series of `rows`; the rows after them move up, in order."""
        kept = np.setdiff1d(np.arange(len(self)), rows)
        super().remove(rows)
        for each in self._ragged:
            offsets = self._offsets[each.name]
            parts = [self._flat[each.name][offsets[row] : offsets[row + 1]] for row in kept]
            self._flat[each.name] = np.concatenate([*parts, np.empty(0, each.dtype)])
            self._offsets[each.name] = np.cumsum([0, *map(len, parts)], dtype=np.int64)


def _check_offsets(column: RaggedColumn, n_rows: int, arrays: Mapping[str, Array]) -> None:
    flat, offsets = arrays.get(column.name), arrays.get(column.offsets)
    if (
        flat is None
        or offsets is None
        or flat.ndim != 1
        or offsets.dtype != np.int64
        or offsets.shape != (n_rows + 1,)
        or (offsets[0], offsets[-1]) != (0, len(flat))
        # Without a difference, which could overflow.
        or (offsets[1:] < offsets[:-1]).any()
    ):
        raise ValueError(f"column {column.name}: not the elements of {n_rows} rows")
