"""From timestamps to the local time that a clock on the wall shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from vmanomaly.series import IntArray

_DAY = 86_400_000
_MILLISECOND = timedelta(milliseconds=1)


def civil_time(timestamps: IntArray, tz: str) -> IntArray:
    """Return the civil time of every timestamp.

    Parameters
    ----------
    timestamps
        int64, Unix milliseconds, UTC.
    tz
        IANA name of the time zone.

    Returns
    -------
    ndarray of int64, of the same shape
        Milliseconds from 1970-01-01T00:00 to what a clock in the zone shows. An hour that the
        clock skips is missing, and one that it repeats is there twice.

    Examples
    --------
    The clock in Berlin went from 02:00 to 03:00 on 30 March 2025, at 01:00 UTC.

    >>> before = 1743296400_000 - 60_000
    >>> civil = civil_time(np.array([before, before + 60_000]), "Europe/Berlin")
    >>> (civil // 60_000 % 1440).tolist()
    [119, 180]
    """
    zone = ZoneInfo(tz)
    days, day_of = np.unique(timestamps // _DAY, return_inverse=True)
    at_start = np.array([_offset(int(day) * _DAY, zone) for day in days], np.int64)
    at_end = np.array([_offset((int(day) + 1) * _DAY, zone) for day in days], np.int64)
    offsets = at_start[day_of]
    changing = (at_start != at_end)[day_of]
    offsets[changing] = [_offset(int(moment), zone) for moment in timestamps[changing]]
    return timestamps + offsets


def _offset(timestamp: int, zone: ZoneInfo) -> int:
    """Return how far the zone is ahead of UTC, milliseconds."""
    moment = datetime.fromtimestamp(timestamp / 1000, UTC).astimezone(zone)
    return (moment.utcoffset() or timedelta()) // _MILLISECOND
