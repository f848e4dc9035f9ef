"""Series of one or more queries, arranged in the groups that multivariate models score jointly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from vmanomaly.model.state import Array
from vmanomaly.series import BoolArray, FloatArray, IntArray, Labels, SeriesBatch

GroupKey = tuple[str, ...]


class Channel(NamedTuple):
    """One of the series that a multivariate model scores jointly.

    The same labels may come from several queries: these are different channels.

    Examples
    --------
    >>> print(Channel("cpu", Labels({"host": "a"})))
    cpu{host="a"}
    """

    query_key: str
    labels: Labels

    def __str__(self) -> str:
        return f"{self.query_key}{self.labels}"


@dataclass(frozen=True, slots=True)
class GroupedBatch:
    """G groups of series on one grid of T timestamps, C channels in all.

    Attributes
    ----------
    labels : tuple of Labels
        One label set per group: the labels that all its channels share.
    channels : tuple of Channel
        Those of a group are neighbours, in the order of the fit.
    offsets : ndarray of int64, shape (G + 1,)
        The group `g` has the channels from `offsets[g]` up to `offsets[g + 1]`.
    timestamps : ndarray of int64, shape (T,)
        Unix milliseconds, UTC, strictly ascending.
    values : ndarray of float64, shape (C, T)
        C-contiguous; NaN where a channel has no sample.
    """

    labels: tuple[Labels, ...]
    channels: tuple[Channel, ...]
    offsets: IntArray
    timestamps: IntArray
    values: FloatArray

    @property
    def n_valid_points(self) -> int:
        """The number of values that are not NaN."""
        return int(self.values.size - np.count_nonzero(np.isnan(self.values)))

    @property
    def complete(self) -> BoolArray:
        """Where every channel of a group has a finite sample, bool, shape (G, T)."""
        return self.per_group(np.logical_and, np.isfinite(self.values))

    def per_group(self, reduction: np.ufunc, values: Array) -> Array:
        """Reduce an array of shape (C, T) over the channels of each group, to (G, T).

        Examples
        --------
        >>> channels = tuple(Channel("cpu", Labels({"host": host})) for host in "abc")
        >>> batch = GroupedBatch(
        ...     (Labels(), Labels({"rack": "1"})), channels, np.array([0, 2, 3]),
        ...     np.array([1]), np.zeros((3, 1)),
        ... )
        >>> batch.per_group(np.add, np.array([[1.0], [2.0], [4.0]]))
        array([[3.],
               [4.]])
        """
        if not self.labels:
            return np.empty((0, values.shape[1]), values.dtype)
        reduced: Array = reduction.reduceat(values, self.offsets[:-1], axis=0)
        return reduced

    def keep(self, groups: Sequence[int]) -> GroupedBatch:
        """Return only the groups of these numbers."""
        grouping = Grouping((), self.labels, self.channels, self.offsets).keep(groups)
        slices = self.slices()
        values = np.concatenate([self.values[slices[g]] for g in groups])
        return GroupedBatch(
            grouping.labels, grouping.channels, grouping.offsets, self.timestamps, values
        )

    def columns(self, first: int, stop: int) -> GroupedBatch:
        """Return only the timestamps from column `first` to before `stop`."""
        values = np.ascontiguousarray(self.values[:, first:stop])
        return replace(self, timestamps=self.timestamps[first:stop], values=values)

    def blocks(self, n_bytes: int, n_groups: int = 1) -> Iterator[GroupedBatch]:
        """Yield the groups in blocks of at most `n_bytes` of values, but at least `n_groups`.

        Examples
        --------
        >>> channels = tuple(Channel("cpu", Labels({"host": host})) for host in "abcd")
        >>> batch = GroupedBatch(
        ...     tuple(Labels({"rack": rack}) for rack in "123"), channels, np.array([0, 2, 3, 4]),
        ...     np.array([1]), np.zeros((4, 1)),
        ... )
        >>> [block.offsets.tolist() for block in batch.blocks(n_bytes=24)]
        [[0, 2, 3], [0, 1]]
        """
        n_channels = n_bytes // max(len(self.timestamps) * self.values.itemsize, 1)
        start = 0
        while start < len(self.labels) or start == 0:
            within = np.searchsorted(self.offsets, self.offsets[start] + n_channels, side="right")
            stop = min(max(int(within) - 1, start + n_groups), len(self.labels))
            first, end = self.offsets[start], self.offsets[stop]
            yield GroupedBatch(
                self.labels[start:stop],
                self.channels[first:end],
                self.offsets[start : stop + 1] - first,
                self.timestamps,
                self.values[first:end],
            )
            start = max(stop, 1)

    def slices(self) -> list[slice]:
        """Return where the channels of each group are."""
        ends = self.offsets.tolist()
        return [slice(start, end) for start, end in pairwise(ends)]


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which channels form which group.

    Attributes
    ----------
    groupby : tuple of str
        The label names whose values tell the groups apart; empty for one group of all.
    labels, channels, offsets
        As in `GroupedBatch`.
    """

    groupby: tuple[str, ...]
    labels: tuple[Labels, ...]
    channels: tuple[Channel, ...]
    offsets: IntArray

    def keys(self) -> list[GroupKey]:
        """Return the values of `groupby` of each group."""
        firsts = (self.channels[place].labels for place in self.offsets[:-1].tolist())
        return [tuple(labels[name] for name in self.groupby) for labels in firsts]

    def check(self) -> None:
        """Check that these are groups as `group_channels` makes them.

        Raises
        ------
        ValueError
            They are not; says why.

        Examples
        --------
        >>> channels = (Channel("cpu", Labels({"host": "a"})),)
        >>> Grouping((), (Labels({"host": "a"}),), channels, np.array([0, 2])).check()
        Traceback (most recent call last):
        ...
        ValueError: offsets: the groups are not those of 1 channel
        """
        offsets, n_channels = self.offsets, len(self.channels)
        if (
            len(offsets) != len(self.labels) + 1
            or (offsets[0], offsets[-1]) != (0, n_channels)
            or (offsets[1:] <= offsets[:-1]).any()
        ):
            plural = "" if n_channels == 1 else "s"
            raise ValueError(f"offsets: the groups are not those of {n_channels} channel{plural}")
        if len(set(self.channels)) != n_channels or len(set(self.labels)) != len(self.labels):
            raise ValueError("a channel or a group is there more than once")
        for labels, (start, end) in zip(self.labels, pairwise(offsets.tolist()), strict=True):
            sets = [channel.labels for channel in self.channels[start:end]]
            keys = {group_key(self.groupby, each) for each in sets}
            if None in keys or len(keys) != 1 or shared_labels(sets) != labels:
                raise ValueError(f"the channels of the group {labels} do not belong together")

    def keep(self, groups: Sequence[int]) -> Grouping:
        """Return only the groups of these numbers."""
        ends = self.offsets.tolist()
        members = [self.channels[ends[g] : ends[g + 1]] for g in groups]
        return Grouping(
            self.groupby,
            tuple(self.labels[g] for g in groups),
            tuple(chain.from_iterable(members)),
            _offsets([len(group) for group in members]),
        )


class Mismatch(NamedTuple):
    """Why the channels of a group are not those it was fitted on.

    Attributes
    ----------
    group : Labels
        The `groupby` labels of the group.
    missing, extra, repeated : tuple of Channel
        Channels that are missing, channels that the model was not fitted on, and channels that
        occur more than once.
    """

    group: Labels
    missing: tuple[Channel, ...]
    extra: tuple[Channel, ...]
    repeated: tuple[Channel, ...] = ()

    def __str__(self) -> str:
        parts = []
        if self.missing:
            parts.append(f"{len(self.missing)} missing, such as {self.missing[0]}")
        if self.extra:
            parts.append(f"{len(self.extra)} it was not fitted on, such as {self.extra[0]}")
        if self.repeated:
            parts.append(f"{len(self.repeated)} more than once, such as {self.repeated[0]}")
        return f"channels of the group {self.group}: {'; '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Where the channels of some groups are found in the batches of the queries.

    Attributes
    ----------
    grouping : Grouping
        The groups whose channels are present.
    sources : tuple of (ndarray of int64, ndarray of int64)
        One pair per query: rows of its batch, and the places of these channels.
    mismatches : tuple of Mismatch
        The other groups.
    """

    grouping: Grouping
    sources: tuple[tuple[IntArray, IntArray], ...]
    mismatches: tuple[Mismatch, ...]

    def take(self, batches: Sequence[SeriesBatch]) -> GroupedBatch:
        """Assemble the values of the queries in one batch.

        Raises
        ------
        ValueError
            The queries were not read on the same timestamps.
        """
        grouping, timestamps = self.grouping, batches[0].timestamps
        for batch in batches[1:]:
            if not np.array_equal(batch.timestamps, timestamps):
                raise ValueError("the queries of a multivariate model differ in their timestamps")
        values = np.empty((len(grouping.channels), len(timestamps)))
        for batch, (rows, places) in zip(batches, self.sources, strict=True):
            values[places] = batch.values[rows]
        return GroupedBatch(
            grouping.labels, grouping.channels, grouping.offsets, timestamps, values
        )


def group_key(groupby: Sequence[str], labels: Labels) -> GroupKey | None:
    """Return the values of `groupby` in a label set; None where one is missing or empty.

    Examples
    --------
    >>> group_key(["host"], Labels({"host": "a", "mode": "idle"}))
    ('a',)
    >>> group_key(["host"], Labels({"mode": "idle"})) is None
    True
    >>> group_key([], Labels({"mode": "idle"}))
    ()
    """
    key = tuple(labels.get(name, "") for name in groupby)
    return key if all(key) else None


def shared_labels(label_sets: Sequence[Labels]) -> Labels:
    """Return the labels that all of some label sets have, with the same values.

    Examples
    --------
    >>> shared_labels([Labels({"host": "a", "cpu": "0"}), Labels({"host": "a", "cpu": "1"})])
    {host="a"}
    """
    shared = set(label_sets[0].items()).intersection(*(labels.items() for labels in label_sets))
    return Labels(shared)


def group_channels(
    query_keys: Sequence[str], batches: Sequence[SeriesBatch], groupby: Sequence[str]
) -> tuple[Grouping, list[Channel]]:
    """Decide which series form which group.

    Groups are in the order of their `groupby` values, and their channels in the order of queries
    and labels, so that nothing depends on the order in which a datasource returns series.

    Parameters
    ----------
    query_keys, batches
        The aliases of the queries, and what they returned.
    groupby
        Label names; one group for each combination of their values.

    Returns
    -------
    grouping : Grouping
        The groups.
    left_out : list of Channel
        The series that lack one of the labels.
    """
    groups: dict[GroupKey, dict[Channel, None]] = {}
    left_out: list[Channel] = []
    for query_key, batch in zip(query_keys, batches, strict=True):
        for labels in batch.labels:
            channel = Channel(query_key, labels)
            key = group_key(groupby, labels)
            if key is None:
                left_out.append(channel)
            else:
                groups.setdefault(key, {})[channel] = None
    members = [
        sorted(groups[key], key=lambda channel: (channel.query_key, [*channel.labels.items()]))
        for key in sorted(groups)
    ]
    grouping = Grouping(
        groupby=tuple(groupby),
        labels=tuple(shared_labels([channel.labels for channel in group]) for group in members),
        channels=tuple(chain.from_iterable(members)),
        offsets=_offsets([len(group) for group in members]),
    )
    return grouping, left_out


def select(
    grouping: Grouping, query_keys: Sequence[str], batches: Sequence[SeriesBatch]
) -> Selection:
    """Find the channels of every group, in whatever order they come.

    A group is selected if exactly its channels are there, each once. Series that would belong to
    no group of `grouping` are a mismatch too.
    """
    place_of = {channel: place for place, channel in enumerate(grouping.channels)}
    found: dict[int, tuple[int, int]] = {}
    extra: dict[GroupKey, list[Channel]] = {}
    repeated: dict[int, None] = {}
    for source, (query_key, batch) in enumerate(zip(query_keys, batches, strict=True)):
        for row, labels in enumerate(batch.labels):
            channel = Channel(query_key, labels)
            place = place_of.get(channel)
            if place is not None:
                if place in found:
                    repeated[place] = None
                found[place] = source, row
            elif (key := group_key(grouping.groupby, labels)) is not None:
                extra.setdefault(key, []).append(channel)

    mismatches: list[Mismatch] = []
    kept: list[int] = []
    places: list[int] = []
    ends = grouping.offsets.tolist()
    for g, key in enumerate(grouping.keys()):
        of_group = range(ends[g], ends[g + 1])
        missing = tuple(grouping.channels[place] for place in of_group if place not in found)
        more = tuple(extra.pop(key, ()))
        twice = tuple(grouping.channels[place] for place in of_group if place in repeated)
        if missing or more or twice:
            mismatches.append(Mismatch(_group(grouping, key), missing, more, twice))
        else:
            kept.append(g)
            places += of_group
    mismatches += [Mismatch(_group(grouping, key), (), tuple(more)) for key, more in extra.items()]

    where = np.array([found[place] for place in places], np.int64).reshape(-1, 2)
    of_sources = [np.flatnonzero(where[:, 0] == source) for source in range(len(batches))]
    return Selection(
        grouping=grouping if len(kept) == len(grouping.labels) else grouping.keep(kept),
        sources=tuple((where[of_source, 1], of_source) for of_source in of_sources),
        mismatches=tuple(mismatches),
    )


def _group(grouping: Grouping, key: GroupKey) -> Labels:
    return Labels(zip(grouping.groupby, key, strict=True))


def _offsets(sizes: Sequence[int]) -> IntArray:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)))
