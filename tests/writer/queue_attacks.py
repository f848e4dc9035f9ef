"""Queues whose files somebody has damaged or forged, at random but repeatably.

`python -m tests.writer.queue_attacks 100000` runs as many as wanted, `... 1 42` the case 42.
"""

from __future__ import annotations

import json
import os
import random
import struct
import sys
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmanomaly.writer.delivery.disk_queue import DiskQueue
from vmanomaly.writer.delivery.queue import Record
from vmanomaly.writer.delivery.segment import encode

BIG = 1 << 30
# Nobody pulls the plug here, and flushing a disk takes most of the time of a case.
_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
# What a header never holds, by the place in it.
_WRONG: list[tuple[tuple[str, ...], list[Any]]] = [
    (("query_key",), [None, 7, [], {}]),
    (("n_points",), [None, True, -1, 1 << 40, 10**30, 1.5, "7", [[1]]]),
    (("oldest_timestamp",), [None, True, 1 << 60, -(10**30), 1.5, "7"]),
    (("request",), [None, "", [], 7]),
    (("request", "scheduler_alias"), [None, 7, {}]),
    (("request", "n_series"), [None, 7, "-1", "x", str(1 << 40), "9" * 5000]),
    (("request", "Content-Type"), [None, 7, "", "a\r\nX: y", "\x00"]),
    (("request", "Content-Encoding"), [7, "", "gzip\r\nX: y", []]),
]


def make_record(number: int, size: int) -> Record:
    """Return a record that can be told from every other."""
    body = (number.to_bytes(8, "big") * (size // 8 + 1))[: max(size, 8)]
    return Record(body, f"q{number % 3}", 1 + number % 7, 1000 * number, "s", 2, "text/plain")


def forge(
    header: bytes, body: bytes, n_body: int | None = None, n_header: int | None = None
) -> bytes:
    """Return a record with right checksums, whatever else is in it."""
    lengths = struct.pack(
        "<III",
        zlib.crc32(body),
        len(header) if n_header is None else n_header,
        len(body) if n_body is None else n_body,
    )
    return struct.pack("<I", zlib.crc32(lengths + header)) + lengths + header + body


def forged_record(rng: random.Random) -> bytes:
    """Return a record with right checksums that no writer writes."""
    good = encode(make_record(rng.randrange(10**6), rng.randrange(200)))
    (n_header,) = struct.unpack_from("<I", good, 8)
    header, body = good[16 : 16 + n_header], good[16 + n_header :]
    kind = rng.randrange(5)
    if kind == 0:
        return forge(rng.randbytes(rng.randrange(80)), body)
    if kind == 1:
        return forge(header[: rng.randrange(n_header)], body)
    if kind == 2:
        return forge(header, body, n_body=rng.choice([1 << 20, (1 << 32) - 1]))
    if kind == 3:
        return forge(header, body, n_header=rng.choice([1 << 20, (1 << 32) - 1]))
    fields = json.loads(header)
    (*outer, name), wrong = rng.choice(_WRONG)
    holder = fields[outer[0]] if outer else fields
    holder[name] = rng.choice(wrong)
    if name != "Content-Encoding" and rng.random() < 0.2:
        del holder[name]
    return forge(json.dumps(fields, separators=(",", ":")).encode(), body)


def forged_cursor(rng: random.Random, sizes: list[int]) -> bytes:
    """Return a cursor with a right checksum that points anywhere."""
    segment = rng.choice([0, *range(1, len(sizes) + 3), 5_000_000_000, 10**10, (1 << 64) - 1])
    offset = rng.choice([0, 1, rng.randrange(max(sizes) + 2), 1 << 40, (1 << 64) - 1])
    position = struct.pack("<QQ", segment, offset)
    return position + struct.pack("<I", zlib.crc32(position))


@dataclass
class Case:
    """A queue on disk, and what is known of each of its records."""

    folder: Path
    rng: random.Random
    records: list[Record] = field(default_factory=list)
    unharmed: set[int] = field(default_factory=set)

    def run(self) -> None:
        """Fill a folder, attack it, open it, and hold what comes out against what went in."""
        rng = self.rng
        segments: list[list[bytes]] = []
        for _ in range(rng.randrange(1, 4)):
            frames = []
            for _ in range(rng.randrange(1, 6)):
                self.records.append(make_record(len(self.records), rng.randrange(300)))
                frames.append(encode(self.records[-1]))
            segments.append(frames)
        self.unharmed = set(range(len(self.records)))
        drops: list[int] = []
        self.attack(segments)
        queue = DiskQueue(self.folder, BIG, lambda reason, n_points: drops.append(n_points))
        kept = []
        while (record := queue.peek()) is not None:
            assert record.n_points >= 0
            kept.append(record)
            queue.acknowledge(record)
            assert len(kept) <= len(self.records)
        # The queue works, and what it takes outlives it.
        queue.append(make_record(999, 50))
        queue.close()
        queue = DiskQueue(self.folder, BIG, lambda reason, n_points: drops.append(n_points))
        assert queue.peek() == make_record(999, 50)
        queue.close()
        assert all(n_points > 0 for n_points in drops)
        # Nothing invented, changed, doubled or out of order.
        positions = [self.records.index(record) for record in kept]
        assert positions == sorted(set(positions))
        # Nothing lost but what was harmed.
        assert self.unharmed <= set(positions), sorted(self.unharmed - set(positions))

    def attack(self, segments: list[list[bytes]]) -> None:
        """Write the segments, with damage."""
        rng = self.rng
        first = 0
        sizes = []
        for number, frames in enumerate(segments, start=1):
            content = bytearray()
            spans = []
            for position, frame in enumerate(frames):
                if rng.random() < 0.15:
                    content += forged_record(rng)
                if rng.random() < 0.1:
                    content += rng.randbytes(rng.randrange(40))
                spans.append((first + position, len(content), len(content) + len(frame)))
                content += frame
            sizes.append(len(content))
            for _ in range(rng.choice([0, 0, 1, 1, 2, 5])):
                at = rng.randrange(len(content))
                content[at] ^= rng.randrange(1, 256)
                self.unharmed -= {one for one, start, end in spans if start <= at < end}
            if rng.random() < 0.15:
                cut = rng.randrange(len(content))
                del content[cut:]
                self.unharmed -= {one for one, _, end in spans if end > cut}
            if rng.random() < 0.1:
                content += bytes(rng.randrange(100))
            (self.folder / f"{number:010d}.segment").write_bytes(content)
            first += len(frames)
        if rng.random() < 0.5:
            self.attack_cursor(sizes, segments)

    def attack_cursor(self, sizes: list[int], segments: list[list[bytes]]) -> None:
        rng = self.rng
        path = self.folder / "cursor"
        if rng.random() < 0.3:
            path.write_bytes(rng.randbytes(rng.choice([0, 7, 20, 20, 33])))
            return
        content = forged_cursor(rng, sizes)
        path.write_bytes(content)
        segment, offset, _ = struct.unpack("<QQI", content)
        if 1 <= segment <= len(sizes):
            # It may point to a boundary of records, and then it is as good as any other.
            before = sum(len(frames) for frames in segments[: segment - 1])
            here = before + len(segments[segment - 1])
            if self.points_to_a_boundary(segment, offset):
                self.unharmed -= set(range(before))
                if offset:
                    self.unharmed -= set(range(before, here))

    def points_to_a_boundary(self, segment: int, offset: int) -> bool:
        content = (self.folder / f"{segment:010d}.segment").read_bytes()
        ends = {0}
        for record in self.records:
            frame = encode(record)
            at = content.find(frame)
            if at != -1:
                ends |= {at, at + len(frame)}
        return offset in ends


def run_case(seed: int) -> None:
    """Run one case; the same number gives the same case."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        try:
            Case(Path(folder), random.Random(seed)).run()  # noqa: S311
        except Exception as error:
            raise AssertionError(f"case {seed}: {error!r}") from error


if __name__ == "__main__":
    n_cases = int(sys.argv[1])
    begin = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for seed in range(begin, begin + n_cases):
        run_case(seed)
    sys.stdout.write(f"{n_cases} cases from {begin} on: all well{os.linesep}")
