"""From predictions to the bodies of requests: what all formats share."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from vmanomaly.kernel import kernel
from vmanomaly.series import IntArray, Labels, Origin, Predictions
from vmanomaly.writer.format import added_labels

MAX_PIECE_BYTES: Final = 8 * 1024 * 1024
_MAX_CACHED_DESTINATIONS = 1024

logger = logging.getLogger(__name__)

Bytes: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Piece:
    """The body of one request.

    Attributes
    ----------
    body : bytes
        Uncompressed.
    n_points : int
        Points in the body.
    n_series : int
        Series in the body.
    oldest_timestamp : int
        Of the block it was made from, Unix milliseconds.
    """

    body: bytes
    n_points: int
    n_series: int
    oldest_timestamp: int


@dataclass(frozen=True, slots=True)
class EncodedSeries:
    """The part of the bodies that depends on the input series alone.

    Attributes
    ----------
    labels : tuple of Labels
        The input series.
    text : ndarray of uint8
        For each series in turn, the labels that it keeps.
    offsets : ndarray of int64, shape (S + 1,)
        Where the text of each series begins, and the end of the last.
    n_with_account : int
        Series that are written with the label `vm_account_id`.
    n_twins : int
        Series that are written under the same labels as another one.
    """

    labels: tuple[Labels, ...]
    text: Bytes
    offsets: IntArray
    n_with_account: int
    n_twins: int


SeriesT = TypeVar("SeriesT", bound=EncodedSeries)


class Encoder(ABC, Generic[SeriesT]):
    """Turns predictions into the bodies of requests. Safe to use from several threads.

    Parameters
    ----------
    metric_format
        The section of that name, as in `format.added_labels`.
    max_piece_bytes
        No body is larger, unless a single sample with its labels is.

    Attributes
    ----------
    content_type : str
        Of the bodies.
    content_encoding : str
        Of compressed bodies.
    """

    content_type: ClassVar[str]
    content_encoding: ClassVar[str]

    def __init__(
        self, metric_format: Mapping[str, str], max_piece_bytes: int = MAX_PIECE_BYTES
    ) -> None:
        self._metric_format = dict(metric_format)
        self._max_piece_bytes = max_piece_bytes
        self._cache: OrderedDict[Origin, SeriesT] = OrderedDict()
        self._lock = threading.Lock()

    def encoded_series(self, labels: tuple[Labels, ...], origin: Origin) -> SeriesT:
        """Return the encoded labels of the series, from the last call where they are the same.

        One entry is kept for each origin. Comparing two tuples of the same `Labels` objects
        takes microseconds, encoding them milliseconds.
        """
        with self._lock:
            cached = self._cache.get(origin)
            if cached is not None:
                self._cache.move_to_end(origin)
        if cached is not None and cached.labels == labels:
            return cached
        fresh = self._encode_series(labels, added_labels(self._metric_format, origin, "any"))
        if fresh.n_twins:
            logger.warning(
                "%d series of %s differ from another one in their name only, and are written as "
                "the same series. Have the query keep them apart, with label_replace for one",
                fresh.n_twins,
                origin.query_key,
            )
        with self._lock:
            self._cache[origin] = fresh
            self._cache.move_to_end(origin)
            if len(self._cache) > _MAX_CACHED_DESTINATIONS:
                self._cache.popitem(last=False)
        return fresh

    def pieces(self, predictions: Predictions, origin: Origin) -> Iterator[Piece]:
        """Yield the bodies that together hold every finite value, oldest first for each series.

        NaN and infinities are left out, and with them series and pieces that would be empty.
        Memory is bounded by the size of one piece, not by the size of the predictions.

        Parameters
        ----------
        predictions
            S series, T timestamps, any number of outputs.
        origin
            Whose predictions they are.
        """
        if not predictions.outputs or not predictions.labels or not len(predictions.timestamps):
            return
        series = self.encoded_series(predictions.labels, origin)
        added = [
            added_labels(self._metric_format, origin, output) for output in predictions.outputs
        ]
        for piece in self._encode_pieces(predictions, series, added):
            if piece.n_points:
                yield piece

    @classmethod
    def warm_up(cls) -> None:
        """Compile the kernels, or load them from the cache on disk, before the first write."""
        predictions = Predictions((Labels(),), np.array([0]), {"y": np.array([[0.0]])})
        for _ in cls({"__name__": "$VAR"}).pieces(predictions, Origin(("",), "", "", "")):
            pass

    @abstractmethod
    def compress(self, body: bytes) -> bytes | None:
        """Return the body in `content_encoding`, or None if it is to be sent as it is."""

    @abstractmethod
    def _encode_series(self, labels: tuple[Labels, ...], added: Mapping[str, str]) -> SeriesT:
        """Encode what is kept of the labels of input series in addition to the `added` labels."""

    @abstractmethod
    def _encode_pieces(
        self, predictions: Predictions, series: SeriesT, added: list[dict[str, str]]
    ) -> Iterator[Piece]:
        """Yield the bodies; `added` holds the labels that are added for each output."""

    def _blocks(
        self, bytes_per_row: IntArray, bytes_per_point: int, n_timestamps: int
    ) -> Iterator[tuple[slice, slice]]:
        """Cut a matrix into blocks of rows and columns that always fit into one piece.

        Parameters
        ----------
        bytes_per_row
            int64, shape (S,): the most bytes that a row takes in addition to its points.
        bytes_per_point
            The most bytes that a point takes.
        """
        room = max(self._max_piece_bytes - int(bytes_per_row.max()), bytes_per_point)
        n_columns = min(room // bytes_per_point, n_timestamps)
        ends = np.cumsum(bytes_per_row + n_columns * bytes_per_point)
        for column in range(0, n_timestamps, n_columns):
            row = 0
            while row < len(ends):
                begin = int(ends[row - 1]) if row else 0
                fitting = int(np.searchsorted(ends, begin + self._max_piece_bytes, side="right"))
                stop = max(fitting, row + 1)
                yield slice(row, stop), slice(column, column + n_columns)
                row = stop


AnyEncoder: TypeAlias = Encoder[Any]


def as_array(text: bytes) -> Bytes:
    """Return bytes as a read-only array, without a copy."""
    return np.frombuffer(text, dtype=np.uint8)


@kernel
def append(out: Bytes, end: int, text: Bytes, start: int, stop: int) -> int:
    r"""Copy `text[start:stop]` to `out[end:]`, and return the new end.

    Examples
    --------
    >>> out = np.zeros(3, np.uint8)
    >>> append(out, 1, as_array(b"abc"), 1, 3), out.tobytes()
    (3, b'\x00bc')
    """
    # Unsigned, since numba looks at signed indices one by one for negative ones: 20 times slower.
    to, since = np.uint64(end), np.uint64(start)
    for i in range(np.uint64(stop - start)):
        out[to + i] = text[since + i]
    return end + stop - start
