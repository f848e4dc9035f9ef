"""What custom models have learned: one object of the user's class per series or group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy, deepcopy
from itertools import pairwise
from typing import Any, Self

import numpy as np

from vmanomaly.model.custom.interface import Model
from vmanomaly.model.state import Array, Column, SeriesState
from vmanomaly.series import IntArray, Labels


class InstanceState(SeriesState):
    """A state whose rows have one object each.

    In addition to the columns of every state, `arrays()` gives what the objects' own `serialize`
    returned, one after the other: `serialized`, uint8, and `offsets`, int64, shape (rows + 1,),
    where the bytes of each begin and end.

    Attributes
    ----------
    instances : dict of Labels to Model
        The object of every row.
    """

    def __init__(self, columns: Iterable[Column] = ()) -> None:
        super().__init__(columns)
        self.instances: dict[Labels, Model] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Objects that learn at fit only are not changed any more.
        finished = (instance for instance in self.instances.values() if not instance.is_online)
        memo |= {id(instance): instance for instance in finished}
        other = copy(self)
        vars(other).update(deepcopy(self.__getstate__(), memo))
        return other

    @classmethod
    def restored(
        cls,
        labels: Iterable[Labels],
        arrays: Mapping[str, Array],
        deserialize: Callable[[bytes], Model],
    ) -> Self:
        """Rebuild a state from what `labels` and `arrays()` of another gave.

        Parameters
        ----------
        labels, arrays
            Those of the other.
        deserialize
            Makes an object from its bytes.

        Raises
        ------
        ValueError
            The arrays are not those of such a state, or `deserialize` fails.
        """
        state = cls.from_arrays((), labels, arrays)
        stored, offsets = arrays.get("serialized"), arrays.get("offsets")
        if (
            stored is None
            or offsets is None
            or stored.dtype != np.uint8
            or stored.ndim != 1
            or offsets.dtype != np.int64
            or offsets.shape != (len(state) + 1,)
            or (offsets[0], offsets[-1]) != (0, len(stored))
            # Without a difference, which could overflow.
            or (offsets[1:] < offsets[:-1]).any()
        ):
            raise ValueError("serialized, offsets: not the bytes of one object per series")
        for label_set, (begin, end) in zip(state.labels, pairwise(offsets.tolist()), strict=True):
            try:
                state.instances[label_set] = deserialize(stored[begin:end].tobytes())
            except BaseException as error:
                raise ValueError(f"deserialize, {label_set}: {error}") from error
        return state

    def arrays(self) -> dict[str, Array]:
        """Return every column by name, and what the objects serialize to.

        Raises
        ------
        ValueError
            A `serialize` raises, or returns something other than bytes.
        """
        serialized = [_serialized(labels, self.instances[labels]) for labels in self.labels]
        sizes = [0, *map(len, serialized)]
        return {
            **super().arrays(),
            "serialized": np.frombuffer(b"".join(serialized), np.uint8),
            "offsets": np.cumsum(sizes, dtype=np.int64),
        }

    def append(self, other: SeriesState) -> None:
        """Add the rows, objects and errors of another such state; its series are all new."""
        assert isinstance(other, InstanceState)  # noqa: S101 - of the same model
        super().append(other)
        self.instances |= other.instances

    def remove(self, rows: IntArray) -> None:
        """Forget the series of `rows`; the rows after them move up, in order."""
        super().remove(rows)
        self.instances = {
            labels: instance for labels, instance in self.instances.items() if labels in self
        }


def _serialized(labels: Labels, instance: Model) -> bytes:
    try:
        stored = instance.serialize()
    except BaseException as error:
        raise ValueError(f"serialize, {labels}: {error}") from error
    if not isinstance(stored, bytes):
        raise ValueError(f"serialize, {labels}: it returned {type(stored).__name__}, not bytes")
    return stored
