"""What an incident looks like: in which way the values left what was expected."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vmanomaly.series import FloatArray, of_usual_size

DEVIATIONS = (
    "spike",
    "dip",
    "higher level",
    "lower level",
    "rising",
    "falling",
    "wider spread",
    "frozen value",
)
"""What `deviation_of` returns, in pairs of up and down as far as there are two."""

_BRIEF = 2
"""So many samples are a spike or a dip."""
_FROZEN = 8
_GRADUAL = 8
_STEADY = 0.8
_BOTH_SIDES = 0.2
_MOSTLY = 0.9
_WELL_INSIDE = 0.5
_FOLLOWED = 0.25
_LARGEST_DEVIATION = 1e100
"""In half-widths: what is further away is not told apart, so that squares of them are finite."""


def deviation_of(outputs: Mapping[str, FloatArray]) -> str | None:
    """Return in which way the samples of an incident left what was expected.

    Samples are measured in half-widths of the range: 1 is the upper bound, -1 the lower one.

    ===============  =======================================================================
    spike, dip       one or two samples
    frozen value     eight samples or more, nine of ten of which are equal
    wider spread     a fifth or more of the samples outside the range is on the other side
    rising, falling  eight or more, that move away steadily: a correlation with time of 0.8,
                     and by the half-width of the range or more from the first to the last third;
                     or what is expected moves by a quarter of it, and most are well inside the
                     range: a drift that it follows
    higher level,    everything else, by the side on which most are
    lower level
    ===============  =======================================================================

    Parameters
    ----------
    outputs
        `y`, `yhat`, `yhat_lower` and `yhat_upper` from the first to the last point of the incident,
        each float64 of shape (T,).

    Returns
    -------
    str or None
        One of `DEVIATIONS`; None if outputs are missing.

    Examples
    --------
    >>> expected = {"yhat": np.zeros(9), "yhat_lower": np.full(9, -1.0), "yhat_upper": np.ones(9)}
    >>> deviation_of({"y": np.array([3.0, 2.9, 3.2] * 3), **expected})
    'higher level'
    >>> deviation_of({"y": -np.arange(9.0), **expected})
    'falling'
    """
    needed = ("y", "yhat", "yhat_lower", "yhat_upper")
    if any(name not in outputs for name in needed):
        return None
    there = np.isfinite(outputs["y"]) & np.isfinite(outputs["yhat"])
    if not there.any():
        return None
    y, yhat, lower, upper = (outputs[name][there] for name in needed)
    middle = np.partition(y, y.size // 2)[y.size // 2]
    if y.size >= _FROZEN and np.count_nonzero(y == middle) >= _MOSTLY * y.size:
        return "frozen value"
    y, yhat, lower, upper = of_usual_size(np.stack([y, yhat, lower, upper]))
    deviation = _in_half_widths(y - yhat, yhat - lower, upper - yhat)
    n_above, n_below = int((deviation > 1).sum()), int((deviation < -1).sum())
    if min(n_above, n_below) >= max(2, _BOTH_SIDES * (n_above + n_below)):
        return "wider spread"
    if y.size <= _BRIEF:
        side, names = deviation[np.abs(deviation).argmax()], ("spike", "dip")
    elif y.size >= _GRADUAL and np.median(np.abs(deviation)) < _WELL_INSIDE:
        side, names = _moved(yhat), ("rising", "falling")
        if abs(side) < _FOLLOWED * float(np.median(upper - lower)) / 2.0:
            side, names = np.median(deviation), ("higher level", "lower level")
    else:
        side = np.median(deviation)
        is_gradual = y.size >= _GRADUAL and _moves_away(np.sign(side) * deviation)
        names = ("rising", "falling") if is_gradual else ("higher level", "lower level")
    return names[0] if side > 0 else names[1]


def _in_half_widths(residual: FloatArray, below: FloatArray, above: FloatArray) -> FloatArray:
    """Return residuals in half-widths of the range; where it has none, or no end, their signs."""
    width = np.where(residual > 0, above, below)
    is_measure = np.isfinite(width) & (width > 0)
    with np.errstate(over="ignore"):
        deviation = residual / np.where(is_measure, width, 1.0)
    far = np.clip(deviation, -_LARGEST_DEVIATION, _LARGEST_DEVIATION)
    return np.where(is_measure, far, np.sign(residual))


def _moved(values: FloatArray) -> float:
    """Return how far values move from the first to the last third."""
    third = values.size // 3
    return float(np.median(values[-third:]) - np.median(values[:third]))


def _moves_away(deviation: FloatArray) -> bool:
    if _moved(deviation) < 1.0:
        return False
    time = np.arange(deviation.size, dtype=np.float64)
    return float(np.corrcoef(time, deviation)[0, 1]) >= _STEADY
