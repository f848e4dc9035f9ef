"""What differs between two records, to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import duckdb
import numpy as np
from numpy.typing import NDArray

# Not those of the package: an older checkout may have them elsewhere.
BoolArray: TypeAlias = NDArray[np.bool_]
FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]

_READ = "SELECT model, output, series, timestamps, values FROM read_parquet($path) ORDER BY ALL"


class Name(NamedTuple):
    """Which series: the model and the output that it is of, and its labels as JSON."""

    model: str
    output: str
    series: str


@dataclass(frozen=True, slots=True)
class Points:
    """What was written of a series.

    Attributes
    ----------
    timestamps : ndarray of int64, shape (T,)
        Unix microseconds, ascending.
    values : ndarray of float64, shape (T,)
    """

    timestamps: IntArray
    values: FloatArray

    @property
    def bits(self) -> IntArray:
        """The values as integers, shape (T,): those of 0.0 and -0.0 differ."""
        return self.values.view(np.int64)


Record: TypeAlias = Mapping[Name, Points]
_NOTHING = Points(np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True, slots=True)
class Difference:
    """How the two records of a series differ.

    Attributes
    ----------
    name : Name
        The series.
    n_values : int
        Timestamps with different values, or with a value in one record only.
    first : int
        The earliest of them, Unix microseconds.
    before, after : float or None
        The values there; None for none.
    largest : float
        The largest difference of two values, as a share of the larger one.
    """

    name: Name
    n_values: int
    first: int
    before: float | None
    after: float | None
    largest: float


def read_record(path: Path) -> Record:
    """Read what `record` wrote.

    Raises
    ------
    SystemExit
        There is no such file, or a series has two values at one timestamp.
    """
    if not path.is_file():
        raise SystemExit(
            f"There is no {path}; make it with: python -m benchmarks.regression record"
        )
    with duckdb.connect() as connection:
        columns = connection.execute(_READ, {"path": str(path)}).fetchnumpy()
    record: dict[Name, Points] = {}
    for model, output, series, timestamps, values in zip(*columns.values(), strict=True):
        name = Name(model, output, series)
        if (np.diff(timestamps) <= 0).any():
            raise SystemExit(f"{path}: {name} has two values at one timestamp")
        record[name] = Points(timestamps, values)
    return record


def differences(before: Record, after: Record) -> list[Difference]:
    """Return the series that differ in any bit, in the order of their names."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, _NOTHING), after.get(name, _NOTHING)
        if not (
            np.array_equal(old.timestamps, new.timestamps) and np.array_equal(old.bits, new.bits)
        ):
            found.append(_difference(name, old, new))
    return found


def _difference(name: Name, before: Points, after: Points) -> Difference:
    timestamps = np.union1d(before.timestamps, after.timestamps)
    (old_there, old), (new_there, new) = (_spread(each, timestamps) for each in (before, after))
    both = old_there & new_there
    different = ~both | (old.view(np.int64) != new.view(np.int64))
    first = int(np.argmax(different))
    return Difference(
        name,
        int(np.count_nonzero(different)),
        int(timestamps[first]),
        float(old[first]) if old_there[first] else None,
        float(new[first]) if new_there[first] else None,
        _largest(old[both & different], new[both & different]),
    )


def _spread(points: Points, timestamps: IntArray) -> tuple[BoolArray, FloatArray]:
    """Return at which of the timestamps there are points, and the values there."""
    there = np.isin(timestamps, points.timestamps)
    values = np.zeros(len(timestamps))
    values[there] = points.values
    return there, values


def _largest(old: FloatArray, new: FloatArray) -> float:
    # Halved, so that the difference of two large values does not overflow.
    larger = np.maximum(np.abs(old), np.abs(new))
    distance = np.abs(old / 2.0 - new / 2.0)
    shares = np.divide(distance, larger, out=np.zeros(len(old)), where=larger > 0.0)
    return 2.0 * float(shares.max(initial=0.0))
