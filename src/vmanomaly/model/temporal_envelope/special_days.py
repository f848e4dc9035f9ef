"""Days with patterns of their own: public holidays and other events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import cache

import holidays
import numpy as np

from vmanomaly.series import IntArray

_YEARS = range(2000, 2051)
_NOTES = (" (observed)", " (estimated)", " (observed, estimated)", " (estimated, observed)")
GROUP = "all"
"""The name of all days together."""


def special_days(
    countries: tuple[str, ...], special_events: tuple[str, ...], *, group: bool
) -> Mapping[str, IntArray]:
    """Return the days of every event, as days since 1970-01-01.

    Parameters
    ----------
    countries
        Two-letter codes; their public holidays from 2000 to 2050 count.
    special_events
        `MM-DD` every year, `YYYY-MM-DD` once.
    group
        Whether all days are one event, called `GROUP`; if not, holidays of the same name are one,
        and each special event is.

    Returns
    -------
    dict of str to ndarray of int64
        Ascending days of each event, by name; empty where nothing was asked for.

    Examples
    --------
    >>> days = special_days(("US",), ("12-24",), group=False)
    >>> np.datetime64("2026-07-03") in days["Independence Day"].astype("datetime64[D]")
    True
    >>> len(days["12-24"])
    51
    """
    named: dict[str, set[date]] = {}
    for country in countries:
        for day, name in _public_holidays(country):
            named.setdefault(name, set()).add(day)
    for event in special_events:
        named.setdefault(event, set()).update(_dates(event))
    if group and named:
        named = {GROUP: set().union(*named.values())}
    return {
        name: np.array(sorted(days), "datetime64[D]").astype(np.int64)
        for name, days in sorted(named.items())
    }


@cache
def _public_holidays(country: str) -> tuple[tuple[date, str], ...]:
    """Return every holiday with its name; one that is moved to another day keeps its name."""
    languages = holidays.country_holidays(country).supported_languages
    language = "en_US" if "en_US" in languages else None
    found = holidays.country_holidays(country, years=_YEARS, language=language)
    return tuple(
        (day, _without_notes(name)) for day, names in found.items() for name in names.split("; ")
    )


def _without_notes(name: str) -> str:
    for note in _NOTES:
        name = name.removesuffix(note)
    return name


def _dates(event: str) -> set[date]:
    if len(event) > len("MM-DD"):
        return {date.fromisoformat(event)}
    month, day = (int(part) for part in event.split("-"))
    # 02-29 is a day in leap years only.
    leap = [year for year in _YEARS if year % 4 == 0]
    return {date(year, month, day) for year in (leap if (month, day) == (2, 29) else _YEARS)}
