"""Bodies of Prometheus remote write 1.0, made from whole matrices.

A body is a `WriteRequest` in protocol buffers, compressed with snappy's block format:

    WriteRequest { repeated TimeSeries timeseries = 1; }
    TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; }
    Label        { string name = 1; string value = 2; }
    Sample       { double value = 1; int64 timestamp = 2; }

A compiled kernel puts the parts together; no Python object is made for a sample.

References
----------
https://prometheus.io/docs/specs/prw/remote_write_spec/
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import cramjam
import numpy as np
from numpy.typing import NDArray

from vmanomaly.kernel import inlined, kernel
from vmanomaly.series import IntArray, Labels, Predictions
from vmanomaly.writer.encoding.encode import Bytes, EncodedSeries, Encoder, Piece, append, as_array
from vmanomaly.writer.format import ACCOUNT_LABEL, kept_labels

# A message or string in field 1 or 2; a double in field 1; a varint in field 2.
FIELD_1: Final = 0x0A
FIELD_2: Final = 0x12
_DOUBLE_1: Final = 0x09
_VARINT_2: Final = 0x10
_MAX_VARINT_BYTES: Final = 10
# Tags and double of a sample with the head of its message, so all but the timestamp.
_SAMPLE_BYTES: Final = 2 + 1 + 8 + 1


@dataclass(frozen=True, slots=True)
class InterleavedSeries(EncodedSeries):
    """Labels of input series, in order, with the places where added labels go.

    Attributes
    ----------
    cuts : ndarray of int64, shape (S, K)
        Where in `text` each of the K added labels goes, in the order of their names.
    """

    cuts: IntArray


def varint(number: int) -> bytes:
    """Return a number as a varint, a negative one as its two's complement of 64 bits.

    Examples
    --------
    >>> varint(150).hex(), len(varint(-1))
    ('9601', 10)
    """
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field(tag: int, content: bytes) -> bytes:
    r"""Return a field that holds a string or a message.

    Examples
    --------
    >>> field(FIELD_1, b"cpu")
    b'\n\x03cpu'
    """
    return bytes((tag,)) + varint(len(content)) + content


def label(name: str, value: str) -> bytes:
    """Return a label as a field of a `TimeSeries`."""
    return field(FIELD_1, field(FIELD_1, name.encode()) + field(FIELD_2, value.encode()))


class WriteRequestEncoder(Encoder[InterleavedSeries]):
    r"""Turns predictions into bodies of remote write. Labels are ordered by name, as it requires.

    Examples
    --------
    >>> from vmanomaly.series import Origin
    >>> encoder = WriteRequestEncoder({"__name__": "$VAR", "for": "$QUERY_KEY"})
    >>> predictions = Predictions(
    ...     (Labels({"cpu": "0"}),), np.array([1000, 2000]), {"yhat": np.array([[0.5, np.nan]])}
    ... )
    >>> (piece,) = encoder.pieces(predictions, Origin(("load",), "zscore", "s", "default"))
    >>> piece.n_points, piece.n_series, piece.body[:20]
    (1, 1, b'\nw\n\x10\n\x08__name__\x12\x04yhat')
    """

    content_type: ClassVar[str] = "application/x-protobuf"
    content_encoding: ClassVar[str] = "snappy"

    def compress(self, body: bytes) -> bytes:
        """Return the body compressed; the protocol knows no other."""
        return bytes(cramjam.snappy.compress_raw(body))

    def _encode_series(
        self, labels: tuple[Labels, ...], added: Mapping[str, str]
    ) -> InterleavedSeries:
        names = sorted(added)
        texts = []
        cuts = np.empty((len(labels), len(names)), np.int64)
        n_with_account = 0
        end = 0
        for row, series in enumerate(labels):
            kept = sorted(kept_labels(series, added).items())
            n_with_account += any(name == ACCOUNT_LABEL for name, _ in kept)
            fields = [label(name, value) for name, value in kept]
            ends = [end, *itertools.accumulate(map(len, fields), initial=end)][1:]
            kept_names = [name for name, _ in kept]
            cuts[row] = [ends[bisect.bisect(kept_names, name)] for name in names]
            texts.append(b"".join(fields))
            end = ends[-1]
        if ACCOUNT_LABEL in added:
            n_with_account = len(labels)
        offsets = np.fromiter(itertools.accumulate(map(len, texts), initial=0), dtype=np.int64)
        n_twins = len(texts) - len(set(texts))
        text = as_array(b"".join(texts))
        return InterleavedSeries(labels, text, offsets, n_with_account, n_twins, cuts)

    def _encode_pieces(
        self, predictions: Predictions, series: InterleavedSeries, added: list[dict[str, str]]
    ) -> Iterator[Piece]:
        heads = [[label(name, labels[name]) for name in sorted(labels)] for labels in added]
        timestamps = predictions.timestamps
        stamps, stamp_lengths = _varints(timestamps)
        n_outputs = len(heads)
        # Tag and length of the series' message.
        bytes_per_row = sum(len(text) for head in heads for text in head) + n_outputs * (
            np.diff(series.offsets) + 1 + _MAX_VARINT_BYTES
        )
        bytes_per_point = n_outputs * (_SAMPLE_BYTES + int(stamp_lengths.max()))
        for rows, columns in self._blocks(bytes_per_row, bytes_per_point, len(timestamps)):
            n_rows = rows.stop - rows.start
            out = np.empty(
                int(bytes_per_row[rows].sum())
                + n_rows * bytes_per_point * len(stamp_lengths[columns]),
                np.uint8,
            )
            length = n_points = n_series = 0
            for head, values in zip(heads, predictions.outputs.values(), strict=True):
                block = np.ascontiguousarray(values[rows, columns])
                length, points, lines = _append_series(
                    out,
                    length,
                    as_array(b"".join(head)),
                    np.fromiter(itertools.accumulate(map(len, head), initial=0), np.int64),
                    series.text,
                    series.offsets[rows.start : rows.stop + 1],
                    series.cuts[rows],
                    np.isfinite(block),
                    block.view(np.uint8),
                    stamps[columns],
                    stamp_lengths[columns],
                )
                n_points += points
                n_series += lines
            oldest = int(timestamps[columns.start])
            yield Piece(out[:length].tobytes(), n_points, n_series, oldest)


def _varints(numbers: IntArray) -> tuple[Bytes, IntArray]:
    """Return numbers as varints, shape (N, 10), and how many bytes each of them has."""
    left = numbers.astype(np.uint64)
    encoded = np.empty((len(left), _MAX_VARINT_BYTES), np.uint8)
    lengths = np.ones(len(left), np.int64)
    for i in range(_MAX_VARINT_BYTES):
        encoded[:, i] = left & np.uint64(0x7F)
        left >>= np.uint64(7)
        encoded[left > 0, i] |= 0x80
        lengths += left > 0
    return encoded, lengths


@inlined
def _append_varint(out: Bytes, end: int, number: int) -> int:
    while number > 0x7F:
        out[end] = number & 0x7F | 0x80
        number >>= 7
        end += 1
    out[end] = number
    return end + 1


@kernel
def _append_series(
    out: Bytes,
    end: int,
    head: Bytes,
    head_offsets: IntArray,
    text: Bytes,
    offsets: IntArray,
    cuts: IntArray,
    finite: NDArray[np.bool_],
    values: Bytes,
    stamps: Bytes,
    stamp_lengths: IntArray,
) -> tuple[int, int, int]:
    """Append a time series for each row of one output that holds a finite value.

    `head` holds the added labels, `values` the little-endian bytes of the matrix, `stamps` the
    timestamps as varints.

    Returns
    -------
    tuple of int
        The new end of `out`, the points and the series appended.
    """
    n_rows, n_columns = finite.shape
    n_points = 0
    n_series = 0
    for row in range(n_rows):
        length = 0
        n_finite = 0
        for column in range(n_columns):
            if finite[row, column]:
                length += _SAMPLE_BYTES + stamp_lengths[column]
                n_finite += 1
        if n_finite == 0:
            continue
        length += len(head) + offsets[row + 1] - offsets[row]
        out[end] = FIELD_1
        end = _append_varint(out, end + 1, length)
        at = offsets[row]
        for k in range(len(head_offsets) - 1):
            end = append(out, end, text, at, cuts[row, k])
            end = append(out, end, head, head_offsets[k], head_offsets[k + 1])
            at = cuts[row, k]
        end = append(out, end, text, at, offsets[row + 1])
        for column in range(n_columns):
            if not finite[row, column]:
                continue
            out[end] = FIELD_2
            out[end + 1] = _SAMPLE_BYTES - 2 + stamp_lengths[column]
            out[end + 2] = _DOUBLE_1
            for i in range(8):
                out[end + 3 + i] = values[row, 8 * column + i]
            out[end + 11] = _VARINT_2
            for i in range(stamp_lengths[column]):
                out[end + 12 + i] = stamps[column, i]
            end += _SAMPLE_BYTES + stamp_lengths[column]
        n_points += n_finite
        n_series += 1
    return end, n_points, n_series
