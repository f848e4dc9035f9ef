"""A state with several t-digests per series, each only as large as what it has seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple, Self

import numpy as np

from vmanomaly.kernel import inlined, kernel
from vmanomaly.model.digest.tdigest import MOST_WEIGHT, add, capacity, compress
from vmanomaly.model.state import COUNT, FINITE, Array, Column, Range, SeriesState, check_columns
from vmanomaly.series import FloatArray, IntArray, Labels, SingleArray

_SMALLEST = 2


_CENTROIDS = (
    Column("centroid_mean", np.float64, within=FINITE),
    Column("centroid_weight", np.float32, within=Range(0.0, MOST_WEIGHT)),
)


def digest_columns(n_digests: int, compression: int) -> tuple[Column, ...]:
    """Return the columns that say where the digests of a series are: 12 bytes per digest."""
    shape, within = (n_digests,), Range(0, capacity(compression))
    room_rule = partial(_room_problem, rooms=(0, *_rooms(compression)))
    return (
        Column("digest_start", np.int64, shape, within=COUNT),
        Column("digest_room", np.int16, shape, within=within, rule=room_rule),
        Column("n_centroids", np.int16, shape, within=within, rule=_digests_problem),
    )


def _room_problem(arrays: Mapping[str, Array], rooms: tuple[int, ...]) -> str | None:
    return None if np.isin(arrays["digest_room"], rooms).all() else "no digest has such room"


def _digests_problem(arrays: Mapping[str, Array]) -> str | None:
    return _size_problem(arrays) or _place_problem(arrays)


def _size_problem(arrays: Mapping[str, Array]) -> str | None:
    size, room = arrays["n_centroids"], arrays["digest_room"]
    if ((size > room) | ((size == 0) != (room == 0))).any():
        return "not as many centroids as there is room for"
    if ((size > 0).any(axis=1) != (arrays["n_samples_seen"] > 0)).any():
        return "not the centroids of the samples that were seen"
    return None


def _place_problem(arrays: Mapping[str, Array]) -> str | None:
    """Check that the digests lie next to each other, and that each is one."""
    means, weights = arrays["centroid_mean"], arrays["centroid_weight"]
    placed = np.flatnonzero(arrays["digest_room"])
    placed = placed[np.argsort(arrays["digest_start"].ravel()[placed], kind="stable")]
    starts, rooms, sizes = (
        arrays[name].ravel()[placed].astype(np.int64)
        for name in ("digest_start", "digest_room", "n_centroids")
    )
    ends = np.cumsum(rooms)
    if (starts != ends - rooms).any() or (ends[-1] if len(ends) else 0) != len(means):
        return "the digests do not lie next to each other"
    if not len(means):
        return None
    places = np.arange(len(means)) - np.repeat(starts, rooms)
    used = places < np.repeat(sizes, rooms)
    if (used[1:] & (places[1:] > 0) & (means[1:] < means[:-1])).any():
        return "the means of a digest are not ascending"
    totals = np.add.reduceat(np.where(used, weights, 0.0), starts, dtype=np.float64)
    if ((totals <= 0.0) | (totals > MOST_WEIGHT)).any():
        return "a digest weighs nothing, or too much"
    return None


def _rooms(compression: int) -> Iterator[int]:
    """Yield the rooms that a digest grows through."""
    room = 0
    while room < capacity(compression):
        room = _next_room(room + 1, compression)
        yield room


class Digests(NamedTuple):
    """K digests of each of S series, as the kernels take them.

    Attributes
    ----------
    starts : ndarray of int64, shape (S, K)
        Where the centroids of a digest begin.
    rooms, sizes : ndarray of int16, shape (S, K)
        How many centroids it has room for, and how many it has.
    used : ndarray of int64, shape (1,)
        Where the room for new digests begins.
    means : ndarray of float64, shape (N,)
        The means of all centroids.
    weights : ndarray of float32, shape (N,)
        Their weights.
    """

    starts: IntArray
    rooms: IntArray
    sizes: IntArray
    used: IntArray
    means: FloatArray
    weights: SingleArray


class DigestState(SeriesState):
    """A state whose columns include `digest_columns`, and the centroids of these digests.

    The centroids of all digests lie in two long arrays, `centroid_mean` (float64) and
    `centroid_weight` (float32). A digest without samples takes no room there. One that outgrows
    its room moves to a larger one at the end, and leaves a gap; gaps are closed when a quarter
    of the arrays is lost to them.

    Parameters
    ----------
    columns
        The model's own columns.

    Examples
    --------
    >>> state = DigestState(digest_columns(24, compression=100))
    >>> (row,) = state.rows((Labels({"job": "api"}),))
    >>> state.reserve(8)
    >>> grow(state.digests(), row, 5, 100)
    >>> int(state["digest_room"][row, 5])
    2
    """

    def __init__(self, columns: Iterable[Column]) -> None:
        super().__init__(columns)
        self._means = np.empty(0, np.float64)
        self._weights = np.empty(0, np.float32)
        self._used = np.zeros(1, np.int64)

    @classmethod
    def from_arrays(
        cls, columns: Iterable[Column], labels: Iterable[Labels], arrays: Mapping[str, Array]
    ) -> Self:
        """Rebuild a state from what `labels` and `arrays()` of another gave.

        Raises
        ------
        ValueError
            A column or the centroids are missing, or of another type or shape than declared, or the
            columns place a digest where there are no centroids.
        """
        means = arrays.get("centroid_mean")
        check_columns(_CENTROIDS, 0 if means is None else means.size, arrays)
        state = super().from_arrays(columns, labels, arrays)
        state._means, state._weights = (
            arrays[name].copy() for name in ("centroid_mean", "centroid_weight")
        )
        state._used[0] = len(state._means)
        return state

    @property
    def bytes_per_series(self) -> int:
        """The bytes that a row takes on average, centroids included."""
        of_centroids = 12 * int(self["digest_room"].sum(dtype=np.int64))
        return super().bytes_per_series + of_centroids // max(len(self), 1)

    @property
    def nbytes(self) -> int:
        """The bytes of all columns and centroids, gaps and spare room included."""
        return super().nbytes + self._means.nbytes + self._weights.nbytes

    def arrays(self) -> dict[str, Array]:
        """Return every column and the centroids by name, as views; gaps are closed first."""
        self.close_gaps()
        used = int(self._used[0])
        return super().arrays() | {
            "centroid_mean": self._means[:used],
            "centroid_weight": self._weights[:used],
        }

    def digests(self) -> Digests:
        """Return what kernels need to find and to grow digests; valid until `reserve`."""
        return Digests(
            self["digest_start"],
            self["digest_room"],
            self["n_centroids"],
            self._used,
            self._means,
            self._weights,
        )

    def append(self, other: SeriesState) -> None:
        """Add the rows of another state of the same model, whose series are all new here."""
        theirs = other.arrays()
        # Before the rows of the other are here, since gaps may be closed.
        self.reserve(len(theirs["centroid_mean"]))
        row = len(self)
        start = int(self._used[0])
        end = start + len(theirs["centroid_mean"])
        super().append(other)
        self._means[start:end] = theirs["centroid_mean"]
        self._weights[start:end] = theirs["centroid_weight"]
        self["digest_start"][row:] += start
        self._used[0] = end

    def remove(self, rows: IntArray) -> None:
        """Forget the series of `rows` and their digests; the rows after them move up, in order."""
        super().remove(rows)
        self.trim()

    def reserve(self, n_centroids: int) -> None:
        """Ensure that there is room for that many more centroids at the end."""
        used = int(self._used[0])
        if used + n_centroids <= len(self._means):
            return
        occupied = int(self["digest_room"].sum(dtype=np.int64))
        if 4 * (used - occupied) > used:
            self.close_gaps()
            used = int(self._used[0])
        if used + n_centroids > len(self._means):
            self._resize(used + max(n_centroids, used // 4))

    def close_gaps(self) -> None:
        """Move the digests together."""
        digests = self.digests()
        placed = np.flatnonzero(digests.rooms)
        order = placed[np.argsort(digests.starts.ravel()[placed])]
        _move_together(digests, order)

    def trim(self) -> None:
        """Close the gaps, and release the spare room."""
        self.close_gaps()
        self._resize(int(self._used[0]))

    def _resize(self, n_centroids: int) -> None:
        used = int(self._used[0])
        for name in ("_means", "_weights"):
            old = getattr(self, name)
            # Not left uninitialised: places that are not used yet are stored too.
            array = np.zeros(n_centroids, old.dtype)
            array[:used] = old[:used]
            setattr(self, name, array)


@kernel
def _move_together(digests: Digests, order: IntArray) -> None:
    """Move the digests of the flat indices `order`, ascending by start, to the front."""
    n_digests = digests.starts.shape[1]
    end = 0
    for index in order:
        row, digest = index // n_digests, index % n_digests
        start, room = digests.starts[row, digest], digests.rooms[row, digest]
        if start > end:
            for i in range(room):
                digests.means[end + i] = digests.means[start + i]
                digests.weights[end + i] = digests.weights[start + i]
            digests.starts[row, digest] = end
        end += room
    digests.used[0] = end


@kernel
def needed(n_digests: int, compression: int) -> int:
    """Return how many centroids a series needs room for at most, while that many digests grow.

    Every place that a digest moves through counts, since none is reused before gaps are closed.

    Examples
    --------
    >>> needed(1, 10)
    101
    """
    total = room = 0
    while room < capacity(compression):
        room = _next_room(room + 1, compression)
        total += room
    return n_digests * total


@kernel
def _next_room(n_centroids: int, compression: int) -> int:
    """Return the room of a digest that had room for one centroid less: half as much again.

    Compressed digests of many samples have about two thirds of `compression` centroids; a place
    somewhat larger than that comes before the largest.
    """
    room = n_centroids - 1
    usual = 2 * compression // 3 + 16
    if room >= usual:
        return capacity(compression)
    return min(room + max(room // 2, _SMALLEST), usual)


@inlined
def centroids(digests: Digests, row: int, digest: int) -> tuple[FloatArray, SingleArray]:
    """Return the means and the weights of a digest, as views."""
    start = digests.starts[row, digest]
    end = start + digests.sizes[row, digest]
    return digests.means[start:end], digests.weights[start:end]


@kernel
def grow(digests: Digests, row: int, digest: int, compression: int) -> None:
    """Move a digest to a larger place at the end."""
    old, room = digests.starts[row, digest], digests.rooms[row, digest]
    new = digests.used[0]
    for i in range(digests.sizes[row, digest]):
        digests.means[new + i] = digests.means[old + i]
        digests.weights[new + i] = digests.weights[old + i]
    larger = _next_room(room + 1, compression)
    digests.starts[row, digest] = new
    digests.rooms[row, digest] = larger
    digests.used[0] = new + larger


@inlined
def learn(
    digests: Digests, row: int, digest: int, value: float, weight: float, compression: int
) -> None:
    """Add a sample to a digest, which is compressed or grows when its place is full.

    `DigestState.reserve` must have made room.
    """
    start, room = digests.starts[row, digest], digests.rooms[row, digest]
    size = digests.sizes[row, digest]
    if size == room:
        # Below two thirds of the compression no two samples of equal weight may be merged.
        if 3 * size >= 2 * compression:
            means, weights = centroids(digests, row, digest)
            size = compress(means, weights, compression)
            digests.sizes[row, digest] = size
        if 8 * size >= 7 * room and room < capacity(compression):
            grow(digests, row, digest, compression)
            start, room = digests.starts[row, digest], digests.rooms[row, digest]
    means, weights = digests.means[start : start + room], digests.weights[start : start + room]
    digests.sizes[row, digest] = add(means, weights, size, value, weight, compression)
