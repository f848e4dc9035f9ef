"""JSON lines for `/api/v1/import`, made from whole matrices.

A line holds one series: `{"metric":{...},"values":[...],"timestamps":[...]}`. orjson prints all
numbers of a block at once (shortest text that reads back as the same float64), and a compiled
kernel puts labels, numbers and timestamps together. No Python object is made for a sample.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from vmanomaly.kernel import kernel
from vmanomaly.series import FloatArray, IntArray, Labels, Predictions
from vmanomaly.writer.format import ACCOUNT_LABEL, Destination, added_labels, kept_labels

MAX_PIECE_BYTES: Final = 8 * 1024 * 1024
_MAX_CACHED_DESTINATIONS = 1024
# "-2.2250738585072014e-308," is the longest number with its comma.
_MAX_NUMBER_BYTES = 25
_LABELS_BEGIN = b'{"metric":{'
_LABELS_END = b'},"values":['
_VALUES_END = b'],"timestamps":['
_LINE_END = b"]}\n"
# The punctuation between the parts of a line, brackets of the numbers included.
_LINE_BYTES = len(_VALUES_END) + len(_LINE_END) + 2

logger = logging.getLogger(__name__)

_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_COMMA: Final = ord(",")
_N: Final = ord("n")

Bytes: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Piece:
    """The body of one request.

    Attributes
    ----------
    body : bytes
        JSON lines, each ended by a line feed.
    n_points : int
        Values in the body.
    n_series : int
        Lines in the body.
    oldest_timestamp : int
        Of the block it was made of, Unix milliseconds.
    """

    body: bytes
    n_points: int
    n_series: int
    oldest_timestamp: int


@dataclass(frozen=True, slots=True)
class SeriesText:
    """The part of the lines that depends on the input series alone.

    Attributes
    ----------
    labels : tuple of Labels
        The input series.
    text : ndarray of uint8
        For each series, one after the other, its labels and everything up to its values:
        `,"cpu":"0"},"values":[`.
    offsets : ndarray of int64, shape (S + 1,)
        Where the text of each series begins, and the end of the last.
    n_with_account : int
        Series that are written with the label `vm_account_id`.
    n_twins : int
        Series that are written under the labels of another one.
    """

    labels: tuple[Labels, ...]
    text: Bytes
    offsets: IntArray
    n_with_account: int
    n_twins: int


def series_text(labels: tuple[Labels, ...], added: Mapping[str, str]) -> SeriesText:
    """Print the labels of input series as they are written next to the `added` labels.

    Examples
    --------
    >>> found = series_text((Labels({"cpu": "0"}), Labels({"for": "me"})), {"for": "cpu"})
    >>> found.text.tobytes()
    b',"cpu":"0"},"values":[,"exported_for":"me"},"values":['
    >>> found.offsets
    array([ 0, 22, 54])
    """
    texts = []
    n_with_account = 0
    for series in labels:
        kept = kept_labels(series, added)
        n_with_account += ACCOUNT_LABEL in kept
        texts.append((b"," + _pairs(kept) if kept else b"") + _LABELS_END)
    if ACCOUNT_LABEL in added:
        n_with_account = len(labels)
    offsets = np.fromiter(itertools.accumulate(map(len, texts), initial=0), dtype=np.int64)
    n_twins = len(texts) - len(set(texts))
    return SeriesText(labels, _bytes(b"".join(texts)), offsets, n_with_account, n_twins)


class LineEncoder:
    """Turn predictions into the bodies of import requests.

    Safe to use from several threads.

    Parameters
    ----------
    metric_format
        The section of that name, as in `format.added_labels`.
    max_piece_bytes
        No body is larger, unless a single sample with its labels is.

    Examples
    --------
    >>> encoder = LineEncoder({"__name__": "$VAR", "for": "$QUERY_KEY"})
    >>> predictions = Predictions(
    ...     (Labels({"cpu": "0"}),),
    ...     np.array([1000, 2000, 3000]),
    ...     {"yhat": np.array([[0.5, np.nan, 2.0]])},
    ... )
    >>> for piece in encoder.pieces(predictions, Destination("load", "zscore", "s", "default")):
    ...     print(piece.body.decode(), end="")
    {"metric":{"__name__":"yhat","for":"load","model_alias":"zscore","scheduler_alias":"s",\
"preset":"default","cpu":"0"},"values":[0.5,2.0],"timestamps":[1000,3000]}
    """

    def __init__(
        self, metric_format: Mapping[str, str], max_piece_bytes: int = MAX_PIECE_BYTES
    ) -> None:
        self._metric_format = dict(metric_format)
        self._max_piece_bytes = max_piece_bytes
        self._cache: OrderedDict[Destination, SeriesText] = OrderedDict()
        self._lock = threading.Lock()

    def series_text(self, labels: tuple[Labels, ...], destination: Destination) -> SeriesText:
        """Return the printed labels of the series, from the last call where they are the same.

        One entry is kept for each destination. Comparing two tuples of the same `Labels` objects
        takes microseconds, printing them milliseconds.
        """
        with self._lock:
            cached = self._cache.get(destination)
            if cached is not None:
                self._cache.move_to_end(destination)
        if cached is not None and cached.labels == labels:
            return cached
        fresh = series_text(labels, added_labels(self._metric_format, destination, "any"))
        if fresh.n_twins:
            logger.warning(
                "%d series of %s differ from another one in their name only, and are written as "
                "the same series. Have the query keep them apart, with label_replace for one",
                fresh.n_twins,
                destination.query_key,
            )
        with self._lock:
            self._cache[destination] = fresh
            self._cache.move_to_end(destination)
            if len(self._cache) > _MAX_CACHED_DESTINATIONS:
                self._cache.popitem(last=False)
        return fresh

    def pieces(self, predictions: Predictions, destination: Destination) -> Iterator[Piece]:
        """Yield the bodies that together hold every finite value, oldest first for each series.

        NaN and infinities are left out, and with them lines and pieces that would be empty.
        Memory is bounded by the size of one piece, not by the size of the predictions.

        Parameters
        ----------
        predictions
            S series, T timestamps, any number of outputs.
        destination
            Whose predictions they are.
        """
        if not predictions.outputs or not predictions.labels or not len(predictions.timestamps):
            return
        series = self.series_text(predictions.labels, destination)
        heads = [
            _LABELS_BEGIN + _pairs(added_labels(self._metric_format, destination, output))
            for output in predictions.outputs
        ]
        for rows, columns, stamps in self._blocks(series.offsets, heads, predictions.timestamps):
            blocks = [
                np.ascontiguousarray(values[rows, columns])
                for values in predictions.outputs.values()
            ]
            oldest = int(predictions.timestamps[columns.start])
            piece = _encode_block(blocks, heads, series, rows, stamps, oldest)
            if piece.n_points:
                yield piece

    def _blocks(
        self, offsets: IntArray, heads: list[bytes], timestamps: IntArray
    ) -> Iterator[tuple[slice, slice, Bytes]]:
        """Cut the matrix into blocks of rows and columns that surely fit into one piece.

        Yields the rows, the columns, and the columns' timestamps printed.
        """
        n_outputs = len(heads)
        bytes_per_point = n_outputs * (_MAX_NUMBER_BYTES + _digits(timestamps) + 1)
        bytes_per_row = sum(map(len, heads)) + n_outputs * (np.diff(offsets) + _LINE_BYTES)
        room = max(self._max_piece_bytes - int(bytes_per_row.max()), bytes_per_point)
        n_columns = min(room // bytes_per_point, len(timestamps))
        ends = np.cumsum(bytes_per_row + n_columns * bytes_per_point)
        for column in range(0, len(timestamps), n_columns):
            columns = slice(column, column + n_columns)
            stamps = _bytes(orjson.dumps(timestamps[columns], option=_NUMPY)[1:-1])
            row = 0
            while row < len(ends):
                begin = int(ends[row - 1]) if row else 0
                fitting = int(np.searchsorted(ends, begin + self._max_piece_bytes, side="right"))
                stop = max(fitting, row + 1)
                yield slice(row, stop), columns, stamps
                row = stop


def warm_up() -> None:
    """Compile the kernel, or load it from the cache on disk, before the first write."""
    predictions = Predictions((Labels(),), np.array([0]), {"y": np.array([[0.0]])})
    encoder = LineEncoder({"__name__": "$VAR"})
    for _ in encoder.pieces(predictions, Destination("", "", "", "")):
        pass


def _encode_block(
    blocks: list[FloatArray],
    heads: list[bytes],
    series: SeriesText,
    rows: slice,
    stamps: Bytes,
    oldest_timestamp: int,
) -> Piece:
    offsets = series.offsets[rows.start : rows.stop + 1]
    numbers = [orjson.dumps(block, option=_NUMPY) for block in blocks]
    size = len(heads) * int(offsets[-1] - offsets[0]) + sum(
        len(text) + (len(offsets) - 1) * (len(head) + len(stamps) + _LINE_BYTES)
        for head, text in zip(heads, numbers, strict=True)
    )
    out = np.empty(size, dtype=np.uint8)
    stamp_ends = np.append(np.flatnonzero(stamps == _COMMA), len(stamps))
    length = n_points = n_series = 0
    for head, block, json_text in zip(heads, blocks, numbers, strict=True):
        text = _bytes(json_text)
        length, points, lines = _append_lines(
            out,
            length,
            _bytes(head),
            series.text,
            offsets,
            text,
            np.flatnonzero((text == _N) | (text == ord("]"))),
            np.isfinite(block),
            stamps,
            stamp_ends,
            _bytes(_VALUES_END),
            _bytes(_LINE_END),
        )
        n_points += points
        n_series += lines
    return Piece(out[:length].tobytes(), n_points, n_series, oldest_timestamp)


def _pairs(labels: Mapping[str, str]) -> bytes:
    return orjson.dumps(labels)[1:-1]


def _bytes(text: bytes) -> Bytes:
    return np.frombuffer(text, dtype=np.uint8)


def _digits(timestamps: IntArray) -> int:
    return max(len(str(timestamps[0])), len(str(timestamps[-1])))


@kernel
def _append(out: Bytes, end: int, text: Bytes, start: int, stop: int) -> int:
    # Unsigned, since numba looks at signed indices one by one for negative ones: 20 times slower.
    to, since = np.uint64(end), np.uint64(start)
    for i in range(np.uint64(stop - start)):
        out[to + i] = text[since + i]
    return end + stop - start


@kernel
def _append_lines(
    out: Bytes,
    end: int,
    head: Bytes,
    series_text: Bytes,
    offsets: IntArray,
    numbers: Bytes,
    cuts: IntArray,
    finite: NDArray[np.bool_],
    stamps: Bytes,
    stamp_ends: IntArray,
    values_end: Bytes,
    line_end: Bytes,
) -> tuple[int, int, int]:
    """Append a line for each row of one output that holds a finite value.

    Runs of finite values are copied whole. `numbers` is the JSON of the matrix,
    `[[1.5,null],[2.0,3.0]]`, where null stands for what is not finite; `cuts` the positions of
    its `n` and `]`; `stamps` the JSON of the timestamps without brackets, and `stamp_ends` where
    each of them ends.

    Returns
    -------
    tuple of int
        The new end of `out`, the points and the lines appended.
    """
    n_rows, n_columns = finite.shape
    n_points = 0
    n_lines = 0
    at = 1
    cut = 0
    for row in range(n_rows):
        line = end
        end = _append(out, end, head, 0, len(head))
        end = _append(out, end, series_text, offsets[row], offsets[row + 1])
        values = end
        at += 1
        while numbers[cuts[cut]] == _N:
            end = _append(out, end, numbers, at, cuts[cut])
            at = min(cuts[cut] + len("null,"), cuts[cut + 1])
            cut += 1
        end = _append(out, end, numbers, at, cuts[cut])
        at = cuts[cut] + len("],")
        cut += 1
        if end == values:
            end = line
            continue
        if out[end - 1] == _COMMA:
            end -= 1
        end = _append(out, end, values_end, 0, len(values_end))
        column = 0
        while column < n_columns:
            first = column
            while column < n_columns and finite[row, column]:
                column += 1
            if column > first:
                start = 0 if first == 0 else stamp_ends[first - 1] + 1
                end = _append(out, end, stamps, start, stamp_ends[column - 1])
                out[end] = _COMMA
                end += 1
                n_points += column - first
            column += 1
        end = _append(out, end - 1, line_end, 0, len(line_end))
        n_lines += 1
    return end, n_points, n_lines
