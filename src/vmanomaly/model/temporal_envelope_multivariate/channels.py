"""The state of a model of groups that keeps a row for each of their channels too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Self

import numpy as np

from vmanomaly.model.state import COUNT, Array, Column, Range, SeriesState
from vmanomaly.series import IntArray, Labels

_PREFIX = "channel."


def _places_problem(arrays: Mapping[str, Array]) -> str | None:
    sizes = arrays["n_channels"]
    # Sizes are in their range, and so few that their sum is exact as float64 if it is right.
    n_channels = len(arrays.get(f"{_PREFIX}last_seen", ()))
    if sizes.sum(dtype=np.float64) != n_channels:
        return f"not the sizes of groups of {n_channels} channels in all"
    if (_firsts(sizes) != arrays["first_channel"]).any():
        return "the channels of the groups do not follow each other"
    for name in ("last_seen", "n_samples_seen"):
        of_channels = arrays.get(_PREFIX + name)
        if of_channels is None or not np.array_equal(of_channels, np.repeat(arrays[name], sizes)):
            return f"{name} of a channel is not that of its group"
    return None


_PLACES = (
    Column("first_channel", np.int64, within=COUNT, rule=_places_problem),
    Column("n_channels", np.int64, within=Range(1, COUNT.most)),
)


def per_channel(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns with names that say that they have one row per channel.

    Examples
    --------
    >>> [column.name for column in per_channel([Column("mean", np.float64)])]
    ['channel.mean']
    """
    return tuple(replace(column, name=_PREFIX + column.name) for column in columns)


class ChannelState(SeriesState):
    """One row per group, and in `channels` one row per channel, those of a group together.

    Parameters
    ----------
    columns
        Those of `per_channel` are kept in `channels`, under their own names.

    Attributes
    ----------
    channels : SeriesState
        Its labels are only numbers.

    Examples
    --------
    >>> state = ChannelState(per_channel([Column("mean", np.float64)]))
    >>> state.add((Labels({"host": "a"}), Labels({"host": "b"})), [2, 1])
    >>> state.channels["mean"][:] = [0.5, 2.5, 7.5]
    >>> state.channel_rows(np.array([1, 0]))
    array([2, 0, 1])
    """

    def __init__(self, columns: Iterable[Column]) -> None:
        of_groups, of_channels = [], []
        for column in columns:
            if column.name.startswith(_PREFIX):
                of_channels.append(replace(column, name=column.name.removeprefix(_PREFIX)))
            else:
                of_groups.append(column)
        super().__init__((*_PLACES, *of_groups))
        self.channels = SeriesState(of_channels)
        self._n_numbered = 0

    @classmethod
    def from_arrays(
        cls, columns: Iterable[Column], labels: Iterable[Labels], arrays: Mapping[str, Array]
    ) -> Self:
        """Rebuild a state from what `labels` and `arrays()` of another gave.

        Raises
        ------
        ValueError
            A column is missing, has another type or shape than declared, or the columns refer
            to channels that do not exist.
        """
        state = super().from_arrays(columns, labels, arrays)
        of_channels = {
            name.removeprefix(_PREFIX): array
            for name, array in arrays.items()
            if name.startswith(_PREFIX)
        }
        n_channels = int(state["n_channels"].sum())
        state.channels = SeriesState.from_arrays(
            state.channels.columns, state._new_numbers(n_channels), of_channels
        )
        return state

    @property
    def group_sizes(self) -> IntArray:
        """The channels of the group of every row, int64."""
        return self["n_channels"]

    @property
    def bytes_per_series(self) -> int:
        """The bytes that a group takes on average, its channels included."""
        of_channels = self.channels.bytes_per_series * len(self.channels)
        return super().bytes_per_series + of_channels // max(len(self), 1)

    @property
    def nbytes(self) -> int:
        """The bytes that all columns take, spare room included."""
        return super().nbytes + self.channels.nbytes

    def arrays(self) -> dict[str, Array]:
        """Return every column by name, as views."""
        of_channels = self.channels.arrays()
        return super().arrays() | {_PREFIX + name: array for name, array in of_channels.items()}

    def add(self, labels: tuple[Labels, ...], n_channels: Sequence[int]) -> None:
        """Add new groups, of that many channels each."""
        row = len(self)
        self.rows(labels)
        self["n_channels"][row:] = n_channels
        self["first_channel"][row:] = len(self.channels) + _firsts(np.asarray(n_channels))
        self.channels.rows(self._new_numbers(sum(n_channels)))

    def channel_rows(self, rows: IntArray) -> IntArray:
        """Return the rows in `channels` of the groups at `rows`, group after group; int64."""
        sizes = self["n_channels"][rows]
        starts = np.repeat(self["first_channel"][rows] - _firsts(sizes), sizes)
        found: IntArray = starts + np.arange(len(starts))
        return found

    def append(self, other: SeriesState) -> None:
        """Add the rows of another state of the same model, whose groups are all new here."""
        assert isinstance(other, ChannelState)  # noqa: S101 - a state of the same model
        row, channel = len(self), len(self.channels)
        super().append(other)
        self["first_channel"][row:] += channel
        self.channels.rows(self._new_numbers(len(other.channels)))
        for name, array in other.channels.arrays().items():
            self.channels[name][channel:] = array

    def remove(self, rows: IntArray) -> None:
        """Forget the groups of `rows` with their channels; those after them move up, in order."""
        self.channels.remove(self.channel_rows(rows))
        super().remove(rows)
        self["first_channel"][:] = _firsts(self["n_channels"])

    def as_of(self, timestamp: int) -> Self:
        """Return a copy that has learned the same, but counts no later point as seen."""
        other = super().as_of(timestamp)
        other.channels = self.channels.as_of(timestamp)
        return other

    def _new_numbers(self, n: int) -> tuple[Labels, ...]:
        first = self._n_numbered
        self._n_numbered += n
        return tuple(Labels({"channel": str(number)}) for number in range(first, first + n))


def _firsts(sizes: IntArray) -> IntArray:
    firsts: IntArray = np.cumsum(sizes, dtype=np.int64) - sizes
    return firsts
