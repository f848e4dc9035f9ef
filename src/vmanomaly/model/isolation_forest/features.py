"""What a forest looks at: values, and the place in the calendar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from vmanomaly.model.civil_time import civil_time
from vmanomaly.series import FloatArray, IntArray, SingleArray

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

CalendarPart = Callable[[IntArray], IntArray]


class Part(NamedTuple):
    """A part of civil time that repeats.

    Attributes
    ----------
    number : callable
        From milliseconds of civil time to the number of the part.
    period : int
        The numbers after which it repeats.
    """

    number: CalendarPart
    period: int


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "minute": Part(lambda civil: civil // _MINUTE % 60, 60),
        "hod": Part(lambda civil: civil // _HOUR % 24, 24),
        # 1970-01-01 was a Thursday; Monday is 1.
        "dow": Part(lambda civil: (civil // _DAY + 3) % 7 + 1, 7),
        "month": Part(lambda civil: _months(civil) % 12 + 1, 12),
    }
)
"""What `seasonal_features` may name."""


def seasonal_features(timestamps: IntArray, names: Sequence[str], tz: str) -> FloatArray:
    """Return the sine and the cosine of the calendar at each timestamp.

    Parameters
    ----------
    timestamps
        int64, Unix milliseconds, UTC, shape (T,).
    names
        K keys of `PARTS`.
    tz
        IANA name of the time zone in whose civil time the calendar counts.

    Returns
    -------
    ndarray of float64, shape (T, 2 K)
        The sine and the cosine of each, next to each other.

    Examples
    --------
    Six o'clock in Paris is a quarter of the day.

    >>> seasonal_features(np.array([1735707600_000]), ["hod"], "Europe/Paris").round(3)
    array([[1., 0.]])
    """
    civil = civil_time(timestamps, tz) if names else timestamps
    features = np.empty((len(timestamps), 2 * len(names)))
    for place, name in enumerate(names):
        part = PARTS[name]
        angle = 2.0 * np.pi * part.number(civil) / part.period
        features[:, 2 * place], features[:, 2 * place + 1] = np.sin(angle), np.cos(angle)
    return features


def scaled_values(values: FloatArray, low: FloatArray, high: FloatArray) -> SingleArray:
    """Return values as float32, the type that trees compare.

    Values are taken as they are, unless float32 is too coarse for what they differ by, or too
    small; then -1 is the lowest value of the fit window, and 1 the highest.

    Parameters
    ----------
    values : ndarray of float64, shape (C, T)
        Of C channels.
    low, high : ndarray of float64, shape (C,)
        The lowest and the highest value in the fit window of each.

    Returns
    -------
    ndarray of float32, shape (C, T)
        Infinite where a value is too far outside the fit window.

    Examples
    --------
    >>> low, high = np.array([1e12, 0.0]), np.array([1e12 + 8, 8.0])
    >>> scaled_values(np.array([[1e12, 1e12 + 6], [0.0, 6.0]]), low, high)
    array([[-1. ,  0.5],
           [ 0. ,  6. ]], dtype=float32)
    """
    largest = np.maximum(np.abs(low), np.abs(high))
    half = high / 2.0 - low / 2.0
    fits = (largest < _LARGEST) & (half > largest * _FINEST) & (half > _SMALLEST)
    fits |= half == 0.0
    origin = np.where(fits, 0.0, low / 2.0 + high / 2.0)
    unit = np.where(fits, 1.0, half)
    with np.errstate(over="ignore", invalid="ignore"):
        return ((values - origin[:, None]) / unit[:, None]).astype(np.float32)


_LARGEST = 1e30
_SMALLEST = 1e-30
_FINEST = 2.0**-12
"""Of the largest value: float32 tells 4,000 values apart in twice as much."""


def _months(civil: IntArray) -> IntArray:
    return civil.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
