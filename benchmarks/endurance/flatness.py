"""Whether a quantity that was measured again and again stays where it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trend:
    """The straight line through the measurements.

    Attributes
    ----------
    median : float
        Of the measurements.
    rise : float
        How much higher the line is at the last measurement than at the first.
    per_hour : float
        Its slope.
    """

    median: float
    rise: float
    per_hour: float

    def is_flat(self, share: float, least: float) -> bool:
        """Tell whether the line rises by no more than a share of the median, or than `least`.

        >>> Trend(median=100.0, rise=4.0, per_hour=8.0).is_flat(0.05, 0.0)
        True
        >>> Trend(median=100.0, rise=6.0, per_hour=12.0).is_flat(0.05, 0.0)
        False
        """
        return self.rise <= max(share * self.median, least)


def fit_trend(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """Fit a line by the medians of slopes (Theil-Sen), which no single outlier can tilt.

    >>> fit_trend([0, 1800, 3600, 5400], [10, 11, 99, 13])
    Trend(median=12.0, rise=3.0, per_hour=2.0)
    """
    times, levels = np.asarray(seconds, np.float64), np.asarray(values, np.float64)
    first, second = np.triu_indices(len(times), 1)
    slope = float(np.median((levels[second] - levels[first]) / (times[second] - times[first])))
    span = float(times[-1] - times[0])
    return Trend(float(np.median(levels)), round(slope * span, 9), round(slope * 3600, 9))


def growing(trends: Mapping[str, Trend], share: float, least: Mapping[str, float]) -> list[str]:
    """Return the names of the quantities that are not flat.

    >>> growing({"memory": Trend(median=100.0, rise=6.0, per_hour=12.0)}, 0.05, {"memory": 0.0})
    ['memory']
    """
    return [name for name, trend in trends.items() if not trend.is_flat(share, least[name])]
