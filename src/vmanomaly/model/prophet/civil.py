"""Seasons that follow the clock on the wall, as regressors: Prophet itself knows no time zones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vmanomaly.model.civil_time import civil_time
from vmanomaly.series import FloatArray, IntArray

if TYPE_CHECKING:
    from vmanomaly.config.model.prophet import TzSeasonality

BUILT_IN = {"hod": "daily", "dow": "weekly", "month": "yearly"}
"""Seasons of Prophet's own with the same cycle as one in civil time."""

_DEFAULT_ORDER = {"minute": 4, "hod": 4, "dow": 3, "month": 4}
_HOUR, _DAY = 3_600_000, 86_400_000
_THURSDAY = 3


def regressors_of(
    seasonalities: Sequence[TzSeasonality], timestamps: IntArray, tz: str, *, cyclical: bool
) -> dict[str, FloatArray]:
    """Return the values of all regressors.

    Parameters
    ----------
    seasonalities
        The seasons in civil time.
    timestamps
        int64, shape (T,), Unix milliseconds, UTC.
    tz
        IANA name of the time zone.
    cyclical
        Whether each is one sine and one cosine of its cycle.

    Returns
    -------
    dict of str to ndarray of float64, shape (T,)
        By names that begin with the name of the season and `__`.

    Examples
    --------
    >>> from vmanomaly.config.model.prophet import TzSeasonality
    >>> noon = np.array([12 * 3_600_000])
    >>> found = regressors_of([TzSeasonality(name="hod")], noon, "UTC", cyclical=True)
    >>> {name: values.round(6).tolist() for name, values in found.items()}
    {'hod__sin1': [0.0], 'hod__cos1': [-1.0]}
    """
    civil = civil_time(timestamps, tz)
    return {
        f"{each.name}__{part}": values
        for each in seasonalities
        for part, values in _parts(
            each.name, each.fourier_order or _DEFAULT_ORDER[each.name], civil, cyclical=cyclical
        )
    }


def _parts(
    name: str, order: int, civil: IntArray, *, cyclical: bool
) -> Iterator[tuple[str, FloatArray]]:
    if name == "dow" and not cyclical:
        weekday = (civil // _DAY + _THURSDAY) % 7
        for day in range(7):
            is_day = (weekday == day).astype(np.float64)
            yield f"{day}_level", is_day
            for part, values in _waves(civil % _DAY / _DAY, order):
                yield f"{day}_{part}", values * is_day
        return
    yield from _waves(_phase(name, civil), 1 if cyclical else order)


def _phase(name: str, civil: IntArray) -> FloatArray:
    """Return the share of the cycle that has passed, from 0 to 1."""
    match name:
        case "minute":
            return civil % _HOUR / _HOUR
        case "hod":
            return civil % _DAY / _DAY
        case "dow":
            return (civil + _THURSDAY * _DAY) % (7 * _DAY) / (7 * _DAY)
    months = civil.astype("datetime64[ms]").astype("datetime64[M]")
    one = np.timedelta64(1, "M")
    begin, end = (each.astype("datetime64[ms]").astype(np.int64) for each in (months, months + one))
    of_month = (civil - begin) / (end - begin)
    result: FloatArray = (months.astype(np.int64) % 12 + of_month) / 12
    return result


def _waves(phase: FloatArray, order: int) -> Iterator[tuple[str, FloatArray]]:
    for n in range(1, order + 1):
        yield f"sin{n}", np.sin(2 * np.pi * n * phase)
        yield f"cos{n}", np.cos(2 * np.pi * n * phase)
