"""How records lie in a file.

A record is 16 bytes, a header in JSON, and the body::

    CRC-32 of the next 12 bytes and the header    uint32, little-endian, like all others
    CRC-32 of the body                            uint32
    length of the header                          uint32
    length of the body                            uint32

The header is an object of `query_key`, `n_points`, `oldest_timestamp` and `request`, which has the
strings `scheduler_alias`, `n_series`, `Content-Type` and, where the body is compressed,
`Content-Encoding`. Queues outlive versions: what is written here stays readable.

With a checksum of its own the header can be trusted even where the body is damaged: the next
record is found, and what was lost is known.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from vmanomaly.writer.delivery.queue import Record

_CHECKSUM = struct.Struct("<I")
_LENGTHS = struct.Struct("<III")
_FIXED_BYTES = _CHECKSUM.size + _LENGTHS.size


@dataclass(frozen=True, slots=True)
class Head:
    """Everything about a stored record but its body.

    Attributes
    ----------
    header : bytes
        JSON.
    n_points : int
        Points in the body.
    body_checksum : int
        CRC-32.
    body_start, end : int
        Where in the file the body begins and ends.
    """

    header: bytes
    n_points: int
    body_checksum: int
    body_start: int
    end: int


def encode(record: Record) -> bytes:
    """Return the record as it lies in a file."""
    header = orjson.dumps(
        {
            "query_key": record.query_key,
            "n_points": record.n_points,
            "oldest_timestamp": record.oldest_timestamp,
            "request": _request(record),
        }
    )
    checked = _LENGTHS.pack(zlib.crc32(record.body), len(header), len(record.body)) + header
    return b"".join((_CHECKSUM.pack(zlib.crc32(checked)), checked, record.body))


def read_head(file: int, offset: int, size: int) -> Head | None:
    """Read what stands before the body of the record at `offset`.

    Parameters
    ----------
    file
        Descriptor of an open file.
    offset
        Where the record begins.
    size
        Where the file, or its part that counts, ends.

    Returns
    -------
    Head or None
        None if there is no whole and undamaged head, or no room for the body.
    """
    fixed = os.pread(file, _FIXED_BYTES, offset)
    if len(fixed) < _FIXED_BYTES:
        return None
    (checksum,) = _CHECKSUM.unpack_from(fixed)
    body_checksum, header_bytes, body_bytes = _LENGTHS.unpack_from(fixed, _CHECKSUM.size)
    header_start = offset + _FIXED_BYTES
    body_start = header_start + header_bytes
    if body_start + body_bytes > size:
        return None
    header = os.pread(file, header_bytes, header_start)
    if zlib.crc32(fixed[_CHECKSUM.size :] + header) != checksum:
        return None
    n_points = int(orjson.loads(header)["n_points"])
    return Head(header, n_points, body_checksum, body_start, body_start + body_bytes)


def read_heads(file: int, offset: int, size: int) -> Iterator[Head]:
    """Yield the heads of the records from `offset` on, up to the first damaged one."""
    while (head := read_head(file, offset, size)) is not None:
        yield head
        offset = head.end


def read_record(file: int, head: Head) -> Record | None:
    """Return the record that `head` belongs to, None if its body is damaged."""
    body = os.pread(file, head.end - head.body_start, head.body_start)
    if len(body) < head.end - head.body_start or zlib.crc32(body) != head.body_checksum:
        return None
    header = orjson.loads(head.header)
    request = header["request"]
    return Record(
        body,
        query_key=header["query_key"],
        n_points=header["n_points"],
        oldest_timestamp=header["oldest_timestamp"],
        scheduler_alias=request["scheduler_alias"],
        n_series=int(request["n_series"]),
        content_type=request["Content-Type"],
        content_encoding=request.get("Content-Encoding"),
    )


def _request(record: Record) -> dict[str, str]:
    request = {
        "scheduler_alias": record.scheduler_alias,
        "n_series": str(record.n_series),
        "Content-Type": record.content_type,
    }
    if record.content_encoding is not None:
        request["Content-Encoding"] = record.content_encoding
    return request
