"""Columns of text that hold dates or numbers, as spreadsheets of many countries write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DATE = re.compile(
    r"\s*(\d{1,2})([./-])(\d{1,2})\2(\d{4})"
    r"(?:(?:\s+|T|,\s*)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,6}))?)?\s*([AaPp][Mm])?)?\s*"
)
_COMMA = re.compile(r"[-+]?(?:\d{1,3}(?:\.\d{3})+|\d+)?(?:,\d+)?(?:[eE][-+]?\d+)?")
_POINT = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][-+]?\d+)?")
_MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "-"})
_LOOKED_AT = 100


def dates_of_text(values: NDArray[Any]) -> NDArray[np.datetime64] | None:
    """Return a column of dates such as `31.01.2026 12:00` as times.

    With points the day comes first; with slashes or dashes whichever part of any date is above
    12 is the day.

    Parameters
    ----------
    values : ndarray of object, shape (n,)
        Texts, and None where there is nothing.

    Returns
    -------
    ndarray of datetime64[ms], shape (n,), or None
        NaT where there is nothing. None if it is no such column, or if it leaves open which part
        is the day.

    Examples
    --------
    >>> dates_of_text(np.array(["31.01.2026 12:00", None], object)).tolist()
    [datetime.datetime(2026, 1, 31, 12, 0), None]
    >>> dates_of_text(np.array(["1/2/2026", "1/31/2026"], object)).astype(str).tolist()
    ['2026-01-02T00:00:00.000', '2026-01-31T00:00:00.000']
    >>> dates_of_text(np.array(["1/2/2026", "3/4/2026"], object)) is None
    True
    """
    found: list[re.Match[str] | None] = []
    for value in values:
        match = None if value is None else _DATE.fullmatch(str(value))
        if match is None and value is not None:
            return None
        found.append(match)
    matches = [each for each in found if each is not None]
    if not matches:
        return None
    day_first = any(each[2] == "." or int(each[1]) > 12 for each in matches)
    month_first = any(each[2] != "." and int(each[3]) > 12 for each in matches)
    if day_first == month_first:
        return None
    try:
        written = ["NaT" if each is None else _iso(each, day_first) for each in found]
        return np.array(written, "datetime64[ms]")
    except ValueError:
        return None


def numbers_of_text(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return a column of numbers with decimal commas or separated thousands as numbers.

    Empty fields, and words such as `N/A`, are missing values.

    Parameters
    ----------
    values : ndarray of object, shape (n,)
        Texts, and None where there is nothing.

    Returns
    -------
    ndarray of float64, shape (n,), or None
        None if it is no such column.

    Examples
    --------
    >>> numbers_of_text(np.array(["1.234,5", "N/A", "7"], object))
    array([1234.5,    nan,    7. ])
    >>> numbers_of_text(np.array(["1,234.5", "7"], object))
    array([1234.5,    7. ])
    >>> numbers_of_text(np.array(["web-1", "7"], object)) is None
    True
    """
    for form, thousands, decimal in ((_COMMA, ".", ","), (_POINT, ",", ".")):
        if not all(_is_number(each, form) for each in _first_texts(values)):
            continue
        texts = ["" if each is None else str(each).strip() for each in values]
        if all(_is_number(each, form) for each in texts) and not all(map(_is_missing, texts)):
            plain = (
                "nan" if _is_missing(each) else each.replace(thousands, "").replace(decimal, ".")
                for each in texts
            )
            return np.fromiter(map(float, plain), np.float64, len(texts))
    return None


def _first_texts(values: NDArray[Any]) -> Sequence[str]:
    return [str(each).strip() for each in values[:_LOOKED_AT] if each is not None]


def _is_number(text: str, form: re.Pattern[str]) -> bool:
    return _is_missing(text) or (form.fullmatch(text) is not None and any(map(str.isdigit, text)))


def _is_missing(text: str) -> bool:
    return text.lower() in _MISSING


def _iso(date: re.Match[str], day_first: bool) -> str:
    first, _, second, year, hour, minute, seconds, fraction, half = date.groups()
    day, month = (first, second) if day_first else (second, first)
    hours = int(hour or 0)
    if half is not None:
        hours = hours % 12 + (12 if half.lower() == "pm" else 0)
    clock = f"{hours:02d}:{minute or '00'}:{seconds or '00'}.{fraction or '0'}"
    return f"{year}-{month:0>2}-{day:0>2}T{clock}"
