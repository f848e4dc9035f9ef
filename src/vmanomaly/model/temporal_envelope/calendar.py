"""Which parts of the day, the week and the year a timestamp belongs to.

A calendar pattern divides its period into bins and learns one value for each. What is computed
here depends on timestamps only and is shared by all series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vmanomaly.model.civil_time import civil_time
from vmanomaly.series import FloatArray, IntArray

HOUR = 3_600_000
DAY = 24 * HOUR
WEEK = 7 * DAY
YEAR = 365 * DAY
_FIRST_MONDAY = 4 * DAY
_FIRST_SATURDAY = 2 * DAY


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that repeats with the calendar.

    Attributes
    ----------
    unit : str
        `day`, `week`, `weekpart`, `year` or `holiday`: what is divided into bins.
    n_bins : int
        The parts that it is divided into.
    smooth : bool
        Whether the profile is interpolated between the middles of the bins; if not, it is level
        within a bin.
    prior_visits : float
        How many visits without effect the value of a bin is shrunk by.
    most_visits : float
        The visits of a bin that its value remembers.
    """

    unit: str
    n_bins: int
    smooth: bool
    prior_visits: float
    most_visits: float

    @property
    def period(self) -> int:
        """Milliseconds after which the pattern repeats."""
        return {"day": DAY, "week": WEEK, "weekpart": WEEK}.get(self.unit, YEAR)

    @property
    def width(self) -> float:
        """Milliseconds that a visit of a bin takes; of the longest part where they differ."""
        if self.unit == "weekpart":
            return 5.0 * DAY
        return (DAY if self.unit == "holiday" else self.period) / self.n_bins


PATTERNS = {
    "hod_smooth": Pattern("day", 48, True, 2.0, 21.0),
    "hod_spiky": Pattern("day", 144, False, 2.0, 21.0),
    "hod_plateau": Pattern("day", 24, False, 2.0, 21.0),
    "dow_smooth": Pattern("week", 168, True, 8.0, 8.0),
    "dow_spiky": Pattern("week", 168, False, 8.0, 8.0),
    "dow_plateau": Pattern("week", 7, False, 2.0, 8.0),
    "weekpart_plateau": Pattern("weekpart", 2, False, 2.0, 8.0),
    "month_smooth": Pattern("year", 12, True, 2.0, 3.0),
    "month_plateau": Pattern("year", 12, False, 2.0, 3.0),
}
"""The patterns that `seasonalities` may name."""

ALL_HOLIDAYS = Pattern("holiday", 24, True, 0.5, 8.0)
"""The pattern that all holidays have in common, by the hour."""
ONE_HOLIDAY = Pattern("holiday", 6, True, 0.5, 8.0)
"""The pattern of one of many holidays, by four hours."""


class Profiles(NamedTuple):
    """How the profiles of P patterns lie in the state, as the kernels take it.

    Attributes
    ----------
    periods, widths : ndarray of float64, shape (P,)
        Milliseconds of the period and of a visit of a bin.
    priors, mosts : ndarray of float64, shape (P,)
        As in `Pattern`.
    """

    periods: FloatArray
    widths: FloatArray
    priors: FloatArray
    mosts: FloatArray


class Places(NamedTuple):
    """Where T timestamps lie in P profiles.

    Attributes
    ----------
    bins : ndarray of int64, shape (T, P, 2)
        The two bins, of all patterns numbered consecutively, between which a timestamp lies;
        -1 where the pattern does not apply.
    shares : ndarray of float64, shape (T, P)
        The share of the second bin.
    """

    bins: IntArray
    shares: FloatArray


def profiles_of(patterns: Sequence[Pattern]) -> Profiles:
    """Return how the profiles of the patterns are learned."""
    return Profiles(
        np.array([pattern.period for pattern in patterns], np.float64),
        np.array([pattern.width for pattern in patterns], np.float64),
        np.array([pattern.prior_visits for pattern in patterns], np.float64),
        np.array([pattern.most_visits for pattern in patterns], np.float64),
    )


def places_of(
    patterns: Sequence[Pattern],
    timestamps: IntArray,
    tz: str,
    days: Sequence[IntArray] = (),
) -> Places:
    """Return where the timestamps lie in the profiles.

    Parameters
    ----------
    patterns
        P patterns, whose bins are numbered consecutively.
    timestamps
        int64, Unix milliseconds, UTC, shape (T,).
    tz
        IANA name of the time zone in whose civil time the calendar counts.
    days
        For each of the last patterns, the civil days on which it applies, int64, ascending, since
        1970-01-01; the others apply always.

    Examples
    --------
    Half past midnight, one quarter of an hour after the middle of the second half hour:

    >>> places = places_of([PATTERNS["hod_smooth"]], np.array([3_600_000]), "UTC")
    >>> places.bins.tolist(), places.shares.tolist()
    ([[[1, 2]]], [[0.5]])
    """
    civil = civil_time(timestamps, tz)
    bins = np.empty((len(timestamps), len(patterns), 2), np.int64)
    shares = np.zeros((len(timestamps), len(patterns)))
    start = 0
    for number, pattern in enumerate(patterns):
        phase = _phase(civil, pattern)
        if pattern.smooth:
            phase = phase - 0.5
            shares[:, number] = phase % 1.0
        first = np.floor(phase).astype(np.int64)
        bins[:, number, 0] = start + first % pattern.n_bins
        bins[:, number, 1] = start + (first + 1) % pattern.n_bins
        start += pattern.n_bins
    for number, on_days in enumerate(days, start=len(patterns) - len(days)):
        bins[~np.isin(civil // DAY, on_days), number] = -1
    return Places(bins, shares)


def _phase(civil: IntArray, pattern: Pattern) -> FloatArray:
    """Return how many bins of the period have passed, in [0, n_bins)."""
    if pattern.unit == "weekpart":
        return ((civil - _FIRST_SATURDAY) % WEEK < 2 * DAY).astype(np.float64)
    if pattern.unit == "year":
        moments = civil.astype("datetime64[ms]")
        months = moments.astype("datetime64[M]")
        begin = months.astype("datetime64[ms]").astype(np.int64)
        end = (months + np.timedelta64(1, "M")).astype("datetime64[ms]").astype(np.int64)
        share = (civil - begin).astype(np.float64) / (end - begin).astype(np.float64)
        return np.asarray(months.astype(np.int64) % 12 + share, np.float64)
    start = _FIRST_MONDAY if pattern.unit == "week" else 0
    period = DAY if pattern.unit == "holiday" else pattern.period
    return np.asarray((civil - start) % period / period * pattern.n_bins, np.float64)
