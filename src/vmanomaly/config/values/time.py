"""Times as they are written in a config: ISO 8601, Unix seconds, `HH:MM`."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from zoneinfo import ZoneInfo

_UNIX = re.compile(r"-?\d{1,16}(\.\d{1,9})?")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)
_LATEST_UNIX = 253_402_300_799

EXPECTED_ISO = "expected a time such as 2025-05-08T03:00:00Z"
EXPECTED_UNIX = "expected a Unix time in seconds such as 1746673200"


def parse_iso(text: str, tz: str = "UTC") -> int:
    """Read an ISO 8601 date or date and time.

    Parameters
    ----------
    text
        The offset may be `Z`, `+HH:MM`, `+HHMM` or `+HH`.
    tz
        IANA name of the time zone in which a time without an offset is read.

    Returns
    -------
    int
        Unix milliseconds; what is finer is cut off.

    Raises
    ------
    ValueError
        If `text` is no such time.

    Examples
    --------
    >>> parse_iso("2022-04-01T00:00:00+0100")
    1648767600000
    >>> parse_iso("2022-04-01", tz="Europe/Kyiv") == parse_iso("2022-03-31T21:00:00Z")
    True
    """
    try:
        moment = dt.datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(tz))
        return (moment - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError) as error:
        raise ValueError(EXPECTED_ISO) from error


def parse_unix(text: str) -> int:
    """Read a Unix time in seconds, whole or with a fraction, as Unix milliseconds.

    Raises
    ------
    ValueError
        If `text` is no such number, or lies after the year 9999: milliseconds, most likely.

    Examples
    --------
    >>> parse_unix("1648771200.5")
    1648771200500
    """
    if not _UNIX.fullmatch(text.strip()):
        raise ValueError(EXPECTED_UNIX)
    seconds = Decimal(text.strip())
    if abs(seconds) > _LATEST_UNIX:
        raise ValueError(f"{EXPECTED_UNIX}; milliseconds are not accepted")
    return int(seconds * 1000)


def parse_time(text: str, tz: str = "UTC") -> int:
    """Read an ISO 8601 time or Unix seconds, as Unix milliseconds.

    Raises
    ------
    ValueError
        If `text` is neither.

    Examples
    --------
    >>> parse_time("1970-01-01T00:01Z") == parse_time("60") == 60_000
    True
    """
    return parse_unix(text) if _UNIX.fullmatch(text.strip()) else parse_iso(text, tz)


def parse_clock(text: str) -> dt.time | None:
    """Read a time of day `HH:MM`; None if `text` is not of that form.

    Examples
    --------
    >>> parse_clock("20:00")
    datetime.time(20, 0)
    >>> parse_clock("2025-05-08T20:00Z") is None
    True
    """
    match = _CLOCK.fullmatch(text.strip())
    return dt.time(int(match[1]), int(match[2])) if match else None


def format_time(unix_ms: int) -> str:
    """Write Unix milliseconds as an ISO 8601 time, UTC.

    Examples
    --------
    >>> format_time(1648771200500)
    '2022-04-01T00:00:00.500Z'
    >>> format_time(1648771200000)
    '2022-04-01T00:00:00Z'
    """
    moment = _EPOCH + unix_ms * _MILLISECOND
    precision = "milliseconds" if unix_ms % 1000 else "seconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")
