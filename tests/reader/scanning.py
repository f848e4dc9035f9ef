"""One answer of a datasource, read in pieces of chosen sizes."""

from __future__ import annotations

from dataclasses import dataclass

from vmanomaly.reader.labels import LabelCache
from vmanomaly.reader.scanner import Scanner
from vmanomaly.reader.stitch import MemoryRows, Stitch
from vmanomaly.series import IntArray, SeriesBatch


@dataclass
class Answer:
    batch: SeriesBatch
    is_partial: bool
    n_samples: int
    n_off_grid: int
    n_merged: int


def scan(
    body: bytes, grid: IntArray, step: int, cache: LabelCache | None = None, *sizes: int
) -> Answer:
    """Scan an answer that arrives in pieces of the given sizes, and a last one."""
    cache = cache or LabelCache()
    stitch = Stitch(grid, MemoryRows(len(grid)))
    stitch.begin(len(grid))
    scanner = Scanner(grid, step, cache, stitch.place)
    start = 0
    for size in sizes:
        scanner.feed(body[start : start + size])
        scanner._scan_at = 0
        start += size
    scanner.feed(body[start:])
    answer = scanner.finish()
    stitch.end()
    batch = SeriesBatch(cache.as_tuple(stitch.labels), grid, stitch.finish())
    return Answer(batch, answer.is_partial, answer.n_samples, answer.n_off_grid, stitch.n_merged)
