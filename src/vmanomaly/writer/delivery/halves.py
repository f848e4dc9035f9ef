"""Cut the body of a request in halves, each a separate request.

The halves of a series are in the order of time: sending the first before the second keeps it.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import cramjam
import orjson

from vmanomaly.writer.delivery.queue import Record
from vmanomaly.writer.encoding.json_lines import GZIP_FORMAT, gzipped
from vmanomaly.writer.encoding.protobuf import FIELD_1, FIELD_2, field

# Two requests, to be sent in this order; none for a single sample, or an unknown body.
Halves: TypeAlias = Callable[[Record], Sequence[Record]]


@dataclass(frozen=True, slots=True)
class RequestSeries:
    """One time series of a `WriteRequest`.

    Attributes
    ----------
    labels : bytes
        As they are encoded.
    timestamps : tuple of int
        Unix milliseconds.
    samples : tuple of bytes
        As they are encoded.
    """

    labels: bytes
    timestamps: tuple[int, ...]
    samples: tuple[bytes, ...]


def line_halves(record: Record) -> list[Record]:
    """Cut a body of JSON lines between two lines, or a single line in time.

    Parameters
    ----------
    record
        Made by `json_lines.LineEncoder`.

    Returns
    -------
    list of Record
        Two, or none where there is a single sample, or no JSON lines at all.
    """
    is_gzipped = record.content_encoding is not None
    try:
        body = zlib.decompress(record.body, GZIP_FORMAT) if is_gzipped else record.body
        lines = body.splitlines(keepends=True)
        halves = _line_halves(lines)
        if not halves:
            return []
        counts = [[_n_points(line) for line in half] for half in halves]
    except (ValueError, KeyError, TypeError, zlib.error):
        return []
    return [
        replace(
            record,
            body=gzipped(b"".join(half)) if is_gzipped else b"".join(half),
            n_points=sum(count),
            n_series=len(half),
        )
        for half, count in zip(halves, counts, strict=True)
    ]


def _line_halves(lines: list[bytes]) -> list[list[bytes]]:
    if len(lines) > 1:
        middle = len(lines) // 2
        return [lines[:middle], lines[middle:]]
    if not lines:
        return []
    series = orjson.loads(lines[0])
    middle = len(series["timestamps"]) // 2
    if not middle:
        return []
    return [
        [
            orjson.dumps(
                {
                    "metric": series["metric"],
                    "values": series["values"][part],
                    "timestamps": series["timestamps"][part],
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
        ]
        for part in (slice(middle), slice(middle, None))
    ]


def _n_points(line: bytes) -> int:
    """Return how many points a line has: its last list is that of the timestamps."""
    return line.count(b",", line.rindex(b"[")) + 1


def request_halves(record: Record) -> list[Record]:
    """Cut a `WriteRequest` between two series, or a single series in time.

    Parameters
    ----------
    record
        Made by `protobuf.WriteRequestEncoder`.

    Returns
    -------
    list of Record
        Two, or none where there is a single sample, or no `WriteRequest` at all.
    """
    later_first = halves_of(series_of(record), in_time=False)
    return [request_of(half, record) for half, _ in later_first][::-1]


def halves_of(
    series: Sequence[RequestSeries], in_time: bool
) -> Iterator[tuple[list[RequestSeries], bool]]:
    """Yield the later and then the earlier half, or one half of the series and then the other.

    Each comes with whether it is to be cut in time next. What holds one sample has no halves.
    """
    timestamps = sorted({timestamp for one in series for timestamp in one.timestamps})
    if len(timestamps) > 1 and (in_time or len(series) == 1):
        middle = timestamps[len(timestamps) // 2]
        for later in (True, False):
            yield [part for one in series if (part := _between(one, middle, later)).samples], False
    elif len(series) > 1:
        middle = len(series) // 2
        for half in (series[middle:], series[:middle]):
            yield list(half), True


def _between(series: RequestSeries, middle: int, later: bool) -> RequestSeries:
    chosen = [(timestamp >= middle) == later for timestamp in series.timestamps]
    return RequestSeries(
        series.labels,
        tuple(itertools.compress(series.timestamps, chosen)),
        tuple(itertools.compress(series.samples, chosen)),
    )


def request_of(series: Sequence[RequestSeries], whole: Record) -> Record:
    """Return a request with some of the series, or samples, of a complete one."""
    body = b"".join(field(FIELD_1, one.labels + b"".join(one.samples)) for one in series)
    return replace(
        whole,
        body=bytes(cramjam.snappy.compress_raw(body)),
        n_points=sum(len(one.samples) for one in series),
        oldest_timestamp=min(one.timestamps[0] for one in series),
        n_series=len(series),
    )


def series_of(record: Record) -> list[RequestSeries]:
    """Return the series of a request that `protobuf.WriteRequestEncoder` made; else none."""
    try:
        return list(_decode(bytes(cramjam.snappy.decompress_raw(record.body))))
    except (IndexError, cramjam.DecompressionError):
        return []


def _decode(content: bytes) -> Iterator[RequestSeries]:
    at = 0
    while at < len(content):
        length, at = _read_varint(content, at + 1)
        end = at + length
        labels = at
        while at < end and content[at] == FIELD_1:
            length, at = _read_varint(content, at + 1)
            at += length
        first_sample = at
        timestamps = []
        samples = []
        while at < end and content[at] == FIELD_2:
            start = at
            length, at = _read_varint(content, at + 1)
            # After the value: nine bytes, and the tag of the timestamp.
            timestamp, _ = _read_varint(content, at + 10)
            at += length
            timestamps.append(timestamp - (1 << 64) if timestamp >> 63 else timestamp)
            samples.append(content[start:at])
        if not samples or at != end:
            raise IndexError("no samples")
        yield RequestSeries(content[labels:first_sample], tuple(timestamps), tuple(samples))


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while content[at] > 0x7F:
        number |= (content[at] & 0x7F) << shift
        shift += 7
        at += 1
    return number | content[at] << shift, at + 1
