"""What `auto` has learned: states of the tuned class, one for each parameter set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import orjson

from vmanomaly.detector import Learned
from vmanomaly.model.grouping import Grouping
from vmanomaly.model.state import Array, SeriesState
from vmanomaly.series import IntArray, Labels

_SETS = "parameter_sets"
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class TunedPart:
    """Series or groups with the same parameters.

    Attributes
    ----------
    parameters
        The keys of the class that were tuned, and their values.
    learned
        What the detector with these parameters has learned.
    """

    parameters: Mapping[str, Any]
    learned: Learned


class TunedState(SeriesState):
    """The states of a class with different parameters, part after part.

    `arrays()` gives the columns of each part, its number before their names, and
    `parameter_sets`, uint8, JSON: of each part, the parameters and the number of its rows.

    Parameters
    ----------
    parts
        Rows are in the order of the parts.
    """

    def __init__(self, parts: Sequence[TunedPart]) -> None:
        super().__init__(())
        self.parts = tuple(parts)
        self._part_of: dict[Labels, int] = {}
        self._all_labels: tuple[Labels, ...] = ()
        self._count()

    def __len__(self) -> int:
        return sum(len(state) for state in self._states)

    def __contains__(self, labels: object) -> bool:
        """Tell whether there is a row for a label set."""
        return self.part_of(labels) is not None

    def __getitem__(self, name: str) -> Array:
        """Return a column that all parts have, as a copy."""
        empty = super().__getitem__(name)
        return np.concatenate([empty, *(state[name] for state in self._states)])

    @property
    def labels(self) -> tuple[Labels, ...]:
        """The label set of every row."""
        # The same tuple as long as the rows are the same: comparing it costs nothing then.
        if len(self) != len(self._all_labels):
            self._count()
        return self._all_labels

    @property
    def learned(self) -> list[Learned]:
        """What the detector of each part has learned."""
        return [part.learned for part in self.parts]

    @property
    def bytes_per_series(self) -> int:
        """The bytes that a row takes in the largest part."""
        return max((state.bytes_per_series for state in self._states), default=0)

    @property
    def nbytes(self) -> int:
        """The bytes that all columns take, spare room included."""
        return sum(state.nbytes for state in self._states)

    def part_of(self, labels: object) -> int | None:
        """Return the number of the part with a row for a label set, or None."""
        if len(self) != len(self._all_labels):
            self._count()
        return self._part_of.get(labels)  # type: ignore[call-overload,no-any-return]

    def arrays(self) -> dict[str, Array]:
        """Return the columns of all parts, and their parameters."""
        sets = [[part.parameters, len(part.learned.state)] for part in self.parts]
        found: dict[str, Array] = {_SETS: np.frombuffer(orjson.dumps(sets), np.uint8)}
        for number, state in enumerate(self._states):
            found |= {f"{number}.{name}": array for name, array in state.arrays().items()}
        return found

    @property
    def _states(self) -> Iterator[SeriesState]:
        return (part.learned.state for part in self.parts)

    def _count(self) -> None:
        self._all_labels = tuple(chain.from_iterable(state.labels for state in self._states))
        self._part_of = {
            labels: number for number, state in enumerate(self._states) for labels in state.labels
        }


@dataclass(frozen=True)
class StoredPart:
    """A part as it was stored, to be restored by the detector with its parameters.

    Attributes
    ----------
    parameters, labels, grouping, arrays
        As `TunedPart`, and `Detector.restore`, take them.
    """

    parameters: Mapping[str, Any]
    labels: tuple[Labels, ...]
    grouping: Grouping | None
    arrays: Mapping[str, Array]


def stored_parts(
    labels: Iterable[Labels], grouping: Grouping | None, arrays: Mapping[str, Array]
) -> Iterator[StoredPart]:
    """Yield the parts of what `TunedState.arrays` gave.

    Raises
    ------
    ValueError
        The arrays are not those of such a state.
    """
    rows = tuple(labels)
    start = 0
    for number, (parameters, n_rows) in enumerate(_parameter_sets(arrays, len(rows))):
        own = rows[start : start + n_rows]
        prefix = f"{number}."
        of_part = {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
        yield StoredPart(parameters, own, _groups(grouping, own), of_part)
        start += n_rows


def joined(groupings: Sequence[Grouping]) -> Grouping:
    """Return the groups of several groupings by the same labels, one after the other."""
    sizes = [np.diff(grouping.offsets) for grouping in groupings]
    offsets: IntArray = np.concatenate([np.zeros(1, np.int64), *sizes]).cumsum()
    return replace(
        groupings[0],
        labels=tuple(chain.from_iterable(grouping.labels for grouping in groupings)),
        channels=tuple(chain.from_iterable(grouping.channels for grouping in groupings)),
        offsets=offsets,
    )


def _parameter_sets(arrays: Mapping[str, Array], n_rows: int) -> list[tuple[dict[str, Any], int]]:
    stored = arrays.get(_SETS)
    wrong = ValueError(f"{_SETS}: not the parameters of {n_rows} rows")
    if stored is None or stored.dtype != np.uint8 or stored.ndim != 1 or stored.size > _MOST_BYTES:
        raise wrong
    try:
        sets = orjson.loads(stored.tobytes())
    except orjson.JSONDecodeError as error:
        raise wrong from error
    if not isinstance(sets, list):
        raise wrong
    for each in sets:
        if not (
            isinstance(each, list)
            and len(each) == 2
            and isinstance(each[0], dict)
            and type(each[1]) is int
            and each[1] >= 0
        ):
            raise wrong
    if sum(count for _, count in sets) != n_rows:
        raise wrong
    return [(parameters, count) for parameters, count in sets]


def _groups(grouping: Grouping | None, labels: tuple[Labels, ...]) -> Grouping | None:
    if grouping is None:
        return None
    places = {each: place for place, each in enumerate(grouping.labels)}
    if not set(labels) <= places.keys():
        raise ValueError("the stored groups are not those of the state")
    return grouping.keep([places[each] for each in labels])
