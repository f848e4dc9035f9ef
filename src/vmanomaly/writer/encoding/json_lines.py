"""JSON lines for `/api/v1/import`, made from whole matrices.

A line holds one series: `{"metric":{...},"values":[...],"timestamps":[...]}`. orjson prints all
numbers of a block at once (shortest text that reads back as the same float64), and a compiled
kernel puts labels, numbers and timestamps together. No Python object is made for a sample.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from vmanomaly.kernel import kernel
from vmanomaly.series import FloatArray, IntArray, Labels, Predictions
from vmanomaly.writer.encoding.encode import Bytes, EncodedSeries, Encoder, Piece, append, as_array
from vmanomaly.writer.format import ACCOUNT_LABEL, kept_labels

# "-2.2250738585072014e-308," is the longest number with its comma.
_MAX_NUMBER_BYTES = 25
_LABELS_BEGIN = b'{"metric":{'
_LABELS_END = b'},"values":['
_VALUES_END = b'],"timestamps":['
_LINE_END = b"]}\n"
# The punctuation between the parts of a line, brackets of the numbers included.
_LINE_BYTES = len(_VALUES_END) + len(_LINE_END) + 2
# Below this a body takes few packets, and compressing it saves nothing.
_GZIP_FROM_BYTES = 64 * 1024
_GZIP_LEVEL = 1
GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS

_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_COMMA: Final = ord(",")
_N: Final = ord("n")
_NULL_BYTES: Final = len("null,")
_ROW_END_BYTES: Final = len("],")


def gzipped(body: bytes) -> bytes:
    """Return a body as it is sent with `Content-Encoding: gzip`."""
    return zlib.compress(body, _GZIP_LEVEL, GZIP_FORMAT)


def encode_series(labels: tuple[Labels, ...], added: Mapping[str, str]) -> EncodedSeries:
    """Print the labels of input series as they are written in addition to the `added` labels.

    The text of a series goes up to its values: `,"cpu":"0"},"values":[`.

    Examples
    --------
    >>> found = encode_series((Labels({"cpu": "0"}), Labels({"for": "me"})), {"for": "cpu"})
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
    return EncodedSeries(labels, as_array(b"".join(texts)), offsets, n_with_account, n_twins)


class LineEncoder(Encoder[EncodedSeries]):
    """Turns predictions into JSON lines, each ended by a line feed.

    Examples
    --------
    >>> from vmanomaly.series import Origin
    >>> encoder = LineEncoder({"__name__": "$VAR", "for": "$QUERY_KEY"})
    >>> predictions = Predictions(
    ...     (Labels({"cpu": "0"}),),
    ...     np.array([1000, 2000, 3000]),
    ...     {"yhat": np.array([[0.5, np.nan, 2.0]])},
    ... )
    >>> for piece in encoder.pieces(predictions, Origin(("load",), "zscore", "s", "default")):
    ...     print(piece.body.decode(), end="")
    {"metric":{"__name__":"yhat","for":"load","model_alias":"zscore","scheduler_alias":"s",\
"preset":"default","cpu":"0"},"values":[0.5,2.0],"timestamps":[1000,3000]}
    """

    content_type: ClassVar[str] = "application/json"
    content_encoding: ClassVar[str] = "gzip"

    def compress(self, body: bytes) -> bytes | None:
        """Return a body of 64 KiB or more compressed, None for a smaller one.

        Lines of one point each shrink to a thirteenth at 2 ms per MiB, which pays off on any
        network slower than some 3 Gbit/s.
        """
        if len(body) < _GZIP_FROM_BYTES:
            return None
        return gzipped(body)

    def _encode_series(self, labels: tuple[Labels, ...], added: Mapping[str, str]) -> EncodedSeries:
        return encode_series(labels, added)

    def _encode_pieces(
        self, predictions: Predictions, series: EncodedSeries, added: list[dict[str, str]]
    ) -> Iterator[Piece]:
        heads = [_LABELS_BEGIN + _pairs(labels) for labels in added]
        timestamps = predictions.timestamps
        n_outputs = len(heads)
        bytes_per_row = sum(map(len, heads)) + n_outputs * (np.diff(series.offsets) + _LINE_BYTES)
        bytes_per_point = n_outputs * (_MAX_NUMBER_BYTES + _digits(timestamps) + 1)
        printed, stamps = slice(0), as_array(b"")
        for rows, columns in self._blocks(bytes_per_row, bytes_per_point, len(timestamps)):
            if columns != printed:
                printed = columns
                stamps = as_array(orjson.dumps(timestamps[columns], option=_NUMPY)[1:-1])
            blocks = [
                np.ascontiguousarray(values[rows, columns])
                for values in predictions.outputs.values()
            ]
            oldest = int(timestamps[columns.start])
            yield _encode_block(blocks, heads, series, rows, stamps, oldest)


def _encode_block(
    blocks: list[FloatArray],
    heads: list[bytes],
    series: EncodedSeries,
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
        text = as_array(json_text)
        length, points, lines = _append_lines(
            out,
            length,
            as_array(head),
            series.text,
            offsets,
            text,
            np.flatnonzero((text == _N) | (text == ord("]"))),
            np.isfinite(block),
            stamps,
            stamp_ends,
            as_array(_VALUES_END),
            as_array(_LINE_END),
        )
        n_points += points
        n_series += lines
    return Piece(out[:length].tobytes(), n_points, n_series, oldest_timestamp)


def _pairs(labels: Mapping[str, str]) -> bytes:
    return orjson.dumps(labels)[1:-1]


def _digits(timestamps: IntArray) -> int:
    return max(len(str(timestamps[0])), len(str(timestamps[-1])))


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
        end = append(out, end, head, 0, len(head))
        end = append(out, end, series_text, offsets[row], offsets[row + 1])
        values = end
        at += 1
        while numbers[cuts[cut]] == _N:
            end = append(out, end, numbers, at, cuts[cut])
            at = min(cuts[cut] + _NULL_BYTES, cuts[cut + 1])
            cut += 1
        end = append(out, end, numbers, at, cuts[cut])
        at = cuts[cut] + _ROW_END_BYTES
        cut += 1
        if end == values:
            end = line
            continue
        if out[end - 1] == _COMMA:
            end -= 1
        end = append(out, end, values_end, 0, len(values_end))
        column = 0
        while column < n_columns:
            first = column
            while column < n_columns and finite[row, column]:
                column += 1
            if column > first:
                start = 0 if first == 0 else stamp_ends[first - 1] + 1
                end = append(out, end, stamps, start, stamp_ends[column - 1])
                out[end] = _COMMA
                end += 1
                n_points += column - first
            column += 1
        end = append(out, end - 1, line_end, 0, len(line_end))
        n_lines += 1
    return end, n_points, n_lines
