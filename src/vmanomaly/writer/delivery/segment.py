"""The layout of records in a file.

A record is 16 bytes, a header in JSON, and the body::

    CRC-32 of the next 12 bytes and the header    uint32, little-endian, like all others
    CRC-32 of the body                            uint32
    length of the header                          uint32
    length of the body                            uint32

The header is an object of `query_key`, `n_points`, `oldest_timestamp` and `request`, which has the
strings `scheduler_alias`, `n_series`, `Content-Type` and, where the body is compressed,
`Content-Encoding`. Queues outlive versions: what is written here must stay readable.

With a checksum of its own the header can be trusted even where the body is damaged: the next
record is found, and what was lost is known. Where a head is damaged, the next record is found by
the text with which every header begins. What has valid checksums but makes no sense is damage
too.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from vmanomaly.writer.delivery.queue import Record

_CHECKSUM = struct.Struct("<I")
_LENGTHS = struct.Struct("<III")
_FIXED_BYTES = _CHECKSUM.size + _LENGTHS.size
_HEADER_BEGIN = b'{"query_key":'
_BLOCK_BYTES = 1 << 20
# Beyond these, nothing is a record: bodies have some 8 MiB.
_MAX_HEADER_BYTES = 1 << 20
_MAX_BODY_BYTES = 1 << 28
_MAX_COUNT = 1 << 32
_MAX_TIMESTAMP = 1 << 53
_HEADER_VALUE = re.compile(r"[\x21-\x7e][\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Head:
    """Everything about a stored record but its body.

    Attributes
    ----------
    record : Record
        The record, with an empty body.
    body_checksum : int
        CRC-32.
    start, body_start, end : int
        Where in the file the record, and its body, begin, and where both end.
    """

    record: Record
    body_checksum: int
    start: int
    body_start: int
    end: int

    @property
    def n_points(self) -> int:
        """Points in the body."""
        return self.record.n_points


def encode(record: Record) -> bytes:
    """Return the record as it is in a file."""
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
    """Read what precedes the body of the record at `offset`.

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
    if header_bytes > _MAX_HEADER_BYTES or body_bytes > _MAX_BODY_BYTES:
        return None
    if body_start + body_bytes > size:
        return None
    header = os.pread(file, header_bytes, header_start)
    if zlib.crc32(fixed[_CHECKSUM.size :] + header) != checksum:
        return None
    try:
        record = _record(orjson.loads(header))
    except (ValueError, KeyError, TypeError):
        return None
    return Head(record, body_checksum, offset, body_start, body_start + body_bytes)


def find_head(file: int, offset: int, size: int) -> Head | None:
    """Read the head of the first record that begins at `offset` or later; see `read_head`.

    Returns
    -------
    Head or None
        None if there is none up to `size`.
    """
    head = read_head(file, offset, size)
    at = offset + 1 + _FIXED_BYTES
    while head is None and at < size:
        block = os.pread(file, min(_BLOCK_BYTES + len(_HEADER_BEGIN) - 1, size - at), at)
        found = block.find(_HEADER_BEGIN)
        while head is None and found != -1:
            head = read_head(file, at + found - _FIXED_BYTES, size)
            found = block.find(_HEADER_BEGIN, found + 1)
        if not block:
            return None
        at += _BLOCK_BYTES
    return head


def read_heads(file: int, offset: int, size: int) -> Iterator[Head]:
    """Yield the heads of the records from `offset` on. What lies between two is damaged."""
    while (head := find_head(file, offset, size)) is not None:
        yield head
        offset = head.end


def read_record(file: int, head: Head) -> Record | None:
    """Return the record that `head` belongs to, None if its body is damaged."""
    body = os.pread(file, head.end - head.body_start, head.body_start)
    if len(body) < head.end - head.body_start or zlib.crc32(body) != head.body_checksum:
        return None
    return replace(head.record, body=body)


def _record(header: Any) -> Record:
    """Return what a header says.

    Raises
    ------
    ValueError, KeyError, TypeError
        It says what no writer writes.
    """
    request = header["request"]
    encoding = request.get("Content-Encoding") if isinstance(request, dict) else None
    return Record(
        b"",
        query_key=_text(header["query_key"]),
        n_points=_number(header["n_points"], 0, _MAX_COUNT),
        oldest_timestamp=_number(header["oldest_timestamp"], -_MAX_TIMESTAMP, _MAX_TIMESTAMP),
        scheduler_alias=_text(request["scheduler_alias"]),
        n_series=_number(int(_text(request["n_series"])), 0, _MAX_COUNT),
        content_type=_header_value(request["Content-Type"]),
        content_encoding=None if encoding is None else _header_value(encoding),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object, minimum: int, maximum: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    if not minimum <= value <= maximum:
        raise ValueError
    return value


def _header_value(value: object) -> str:
    if not _HEADER_VALUE.fullmatch(_text(value)):
        raise ValueError
    return _text(value)


def _request(record: Record) -> dict[str, str]:
    request = {
        "scheduler_alias": record.scheduler_alias,
        "n_series": str(record.n_series),
        "Content-Type": record.content_type,
    }
    if record.content_encoding is not None:
        request["Content-Encoding"] = record.content_encoding
    return request
