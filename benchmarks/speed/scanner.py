"""The scanner of query_range answers compared with `orjson` and `float`, in one run."""

from __future__ import annotations

import json
import time

import numpy as np
import orjson

from vmanomaly.reader import scanner
from vmanomaly.reader.labels import LabelCache
from vmanomaly.reader.stitch import MemoryRows, Stitch
from vmanomaly.series import FloatArray, IntArray

N_SERIES, N_TIMESTAMPS, STEP = 1_000, 1_440, 60_000
PIECE_BYTES = 1 << 16


def answer() -> tuple[bytes, IntArray, FloatArray]:
    """A day of one-minute samples: a third has 17 digits, a third two decimals, a third none."""
    random = np.random.default_rng(1)
    grid = STEP * np.arange(28_333_334, 28_333_334 + N_TIMESTAMPS, dtype=np.int64)
    values = random.normal(50.0, 20.0, (N_SERIES, N_TIMESTAMPS))
    values[1::3] = np.round(values[1::3], 2)
    values[2::3] = np.round(values[2::3] * 1000)
    seconds = (grid // 1000).tolist()
    result = [
        {
            "metric": {
                "__name__": "node_cpu_seconds_total",
                "cpu": str(i % 64),
                "instance": f"10.0.{i >> 8}.{i & 255}:9100",
                "job": "node",
                "mode": "user",
            },
            "values": [
                [second, repr(value).removesuffix(".0")]
                for second, value in zip(seconds, row, strict=True)
            ],
        }
        for i, row in enumerate(values.tolist())
    ]
    data = {"resultType": "matrix", "result": result}
    body = json.dumps({"status": "success", "data": data}, separators=(",", ":")).encode()
    return body, grid, values


def scan(body: bytes, grid: IntArray, cache: LabelCache) -> FloatArray:
    """Feed the answer as a socket would."""
    stitch = Stitch(grid, MemoryRows(len(grid)))
    stitch.begin(len(grid))
    one = scanner.Scanner(grid, STEP, cache, stitch.place)
    for start in range(0, len(body), PIECE_BYTES):
        one.feed(body[start : start + PIECE_BYTES])
    one.finish()
    stitch.end()
    return stitch.finish()


def parse(body: bytes, grid: IntArray) -> FloatArray:
    """The plain way."""
    result = orjson.loads(body)["data"]["result"]
    first, step = int(grid[0]) // 1000, STEP // 1000
    values = np.full((len(result), len(grid)), np.nan)
    for row, series in zip(values, result, strict=True):
        for second, text in series["values"]:
            row[(second - first) // step] = float(text)
    return values


def main() -> None:
    body, grid, values = answer()
    scanner.warm_up()
    cache = LabelCache()
    fastest = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        scanned = scan(body, grid, cache)
        fastest = min(fastest, time.perf_counter() - start)
    start = time.perf_counter()
    parsed = parse(body, grid)
    plain = time.perf_counter() - start
    assert np.array_equal(scanned, values)
    assert np.array_equal(parsed, values)
    millions = values.size / 1e6
    print(f"scan an answer of {N_SERIES} series x {N_TIMESTAMPS} samples, {len(body) / 1e6:.0f} MB")
    print(f"  scanner          {fastest:7.3f} s  {millions / fastest:6.1f} million samples/s")
    print(f"  orjson and float {plain:7.3f} s  {millions / plain:6.1f} million samples/s")
    print(f"  ratio            {plain / fastest:7.1f}    (to reach: 10, and 15 million samples/s)")


if __name__ == "__main__":
    main()
