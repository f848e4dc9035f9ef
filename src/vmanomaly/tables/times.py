"""Columns of times, however they are written, as Unix milliseconds."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from vmanomaly.errors import TableError
from vmanomaly.series import IntArray
from vmanomaly.tables.table import is_numeric, is_time

_EPOCH_UNITS = ((1e11, 1000.0), (1e14, 1.0), (1e17, 1e-3), (1e20, 1e-6))
"""Below the first number, Unix times are in a unit of so many milliseconds."""
_DAY_MS = 86_400_000


def times_ms(
    values: NDArray[Any], name: str, source: str, tz: str, zoned: bool = False
) -> IntArray:
    """Return a column of times.

    Parameters
    ----------
    values
        Times, text in ISO 8601, or Unix times in seconds, milliseconds, microseconds or
        nanoseconds, which is told by their size.
    name, source
        The column and the table, for messages.
    tz
        IANA name of the zone of times that name none.
    zoned
        Whether the times name their zone, and are in UTC.

    Returns
    -------
    ndarray of int64, shape (n,)
        Unix milliseconds.

    Raises
    ------
    TableError
        A value is missing or no time; the message names the row.

    Examples
    --------
    >>> times_ms(np.array([1_700_000_000, 1_700_000_060]), "t", "x.csv", "UTC")
    array([1700000000000, 1700000060000])
    >>> times_ms(np.array(["2026-07-01 12:00"], object), "t", "x.csv", "Europe/Berlin")
    array([1782900000000])
    """
    if is_time(values):
        missing = np.isnat(values)
        if missing.any():
            raise _no_time(int(np.flatnonzero(missing)[0]), None, name, source)
        milliseconds = values.astype("datetime64[ms]").astype(np.int64)
        return milliseconds if zoned else _to_utc(milliseconds, tz)
    if is_numeric(values):
        return _from_epoch(values.astype(np.float64), values, name, source)
    return _from_text(values, name, source, tz)


def _from_epoch(
    numbers: NDArray[np.float64], values: NDArray[Any], name: str, source: str
) -> IntArray:
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise _no_time(row, values[row], name, source)
    largest = float(np.abs(numbers).max(initial=0.0))
    for below, factor in _EPOCH_UNITS:
        if largest < below:
            return np.round(numbers * factor).astype(np.int64)
    raise TableError(f"{source}: the numbers in column {name!r} are too large for Unix times")


def _from_text(values: NDArray[Any], name: str, source: str, tz: str) -> IntArray:
    zone = ZoneInfo(tz)
    result = np.empty(len(values), np.int64)
    has_zone: bool | None = None
    for row, value in enumerate(values):
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            raise _no_time(row, value, name, source) from None
        if value is None:
            raise _no_time(row, value, name, source)
        if has_zone is not None and has_zone != (moment.tzinfo is not None):
            raise TableError(
                f"{source}: some times in column {name!r} name a time zone and others do not "
                f"(row {row + 1}: {_shown(value)}); write all of them one way"
            )
        has_zone = moment.tzinfo is not None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        result[row] = round(moment.timestamp() * 1000)
    return result


def _to_utc(civil: IntArray, tz: str) -> IntArray:
    """Turn civil times into Unix milliseconds; an hour that occurs twice is the first one."""
    if tz == "UTC" or not civil.size:
        return civil
    zone = ZoneInfo(tz)
    result = civil.copy()
    # The offset hardly ever changes within a day; where it does, each time is looked up.
    days = civil // _DAY_MS
    for day in np.unique(days):
        rows = days == day
        first, last = (_offset(int(day) * _DAY_MS + at, zone) for at in (0, _DAY_MS - 1))
        if first == last:
            result[rows] -= first
        else:
            result[rows] = [at - _offset(int(at), zone) for at in civil[rows]]
    return result


def _offset(civil_ms: int, zone: ZoneInfo) -> int:
    moment = datetime.fromtimestamp(civil_ms // 1000, ZoneInfo("UTC")).replace(tzinfo=zone)
    offset = moment.utcoffset()
    assert offset is not None  # noqa: S101 - a zone has one
    return round(offset.total_seconds() * 1000)


def _no_time(row: int, value: object, name: str, source: str) -> TableError:
    what = "nothing" if value is None else _shown(value)
    return TableError(
        f"{source}, row {row + 1}: column {name!r} holds {what}, which is no time; write ISO 8601 "
        "such as 2026-01-31T12:00:00Z, or Unix seconds"
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."
