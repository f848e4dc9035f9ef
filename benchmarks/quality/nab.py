"""The series of the Numenta Anomaly Benchmark, as they lie in its repository."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.quality.labelled import LabelledSeries, Window, probation


def read_nab(folder: Path) -> list[LabelledSeries]:
    """Read every file that `labels/combined_windows.json` names and `data/` holds.

    A line whose time is not after the line before it is left out: a database would not hold both.
    """
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
    return [
        _read(folder / "data" / name, name, windows)
        for name, windows in sorted(labels.items())
        if (folder / "data" / name).exists()
    ]


def _read(path: Path, name: str, windows: list[list[str]]) -> LabelledSeries:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            (_milliseconds(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)
        ]
    timestamps = np.array([timestamp for timestamp, _ in rows], np.int64)
    values = np.array([value for _, value in rows])
    latest = np.maximum.accumulate(timestamps)
    keep = np.concatenate([[True], timestamps[1:] > latest[:-1]])
    family, _, file_name = name.partition("/")
    return LabelledSeries(
        "nab",
        family,
        file_name.removesuffix(".csv"),
        timestamps[keep],
        values[keep],
        tuple(
            Window(_milliseconds(start), _milliseconds(end), "anomaly") for start, end in windows
        ),
        probation(int(np.count_nonzero(keep))),
    )


def _milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
