"""How long a series stands still, compared with how long it usually does.

No sample of a frozen value is unusual by itself, and the level follows it: what is unusual is that
it lasts. A flatline is a run of samples that hardly differ from the one before.
"""

from __future__ import annotations

from vmanomaly.kernel import inlined, inner
from vmanomaly.model.state import Record

_STILL = 0.3
"""A change that counts as none, in the usual one."""
_USUAL = 2.0
_LEAST = 16.0
"""A flatline is unusual from `_USUAL` times the second longest before it, and `_LEAST` samples,
on."""
_FORGETTING = 0.1
"""Share of the length of the longest flatlines that is forgotten in a week."""
_SHARE_GAIN = 0.001
_LEAST_MOVES = 16.0
"""Of the samples of late, those that must differ from the one before: a constant is no flatline."""
_LONGEST = 1e15


@inlined
def learn_flatline(x: Record, change: float, n: float, weeks: float) -> None:
    """Continue or end the flatline of a series.

    Parameters
    ----------
    x
        A row of `ENVELOPE`, changed.
    change
        How far the sample is from the one before.
    n
        The samples from which on flatlines are counted, this one included.
    weeks
        The time that the sample represents.
    """
    kept = 1.0 - min(_FORGETTING * weeks, 1.0)
    x.longest_flat *= kept
    x.second_flat *= kept
    still = change <= _STILL * x.usual_change
    x.flat_share += ((1.0 if still else 0.0) - x.flat_share) * max(_SHARE_GAIN, 1.0 / n)
    x.flat_share = min(max(x.flat_share, 0.0), 1.0)
    if still:
        x.flat_length = min(x.flat_length + 1.0, _LONGEST)
        return
    if x.flat_length > x.longest_flat:
        x.second_flat = x.longest_flat
        x.longest_flat = x.flat_length
    elif x.flat_length > x.second_flat:
        x.second_flat = x.flat_length
    x.flat_length = 0.0


@inner
def flatline_score(x: Record, change: float, n: float) -> float:
    """Return how unusually long a series has been standing still if this sample is the next.

    The square of the length of the flatline in what is unusual, 0 if the sample ends it. What
    happened once may have been an incident, so the second longest flatline before is what is usual;
    the longest is, in so far as the series mostly stands still.

    Parameters
    ----------
    x
        A row of `ENVELOPE`.
    change
        How far the sample is from the one before.
    n
        The samples so far since flatlines are counted.
    """
    n_moves = (1.0 - x.flat_share) * min(n, 1.0 / _SHARE_GAIN)
    if n_moves < _LEAST_MOVES or change > _STILL * x.usual_change:
        return 0.0
    usual = max(x.second_flat, x.flat_share * x.longest_flat)
    length = (x.flat_length + 1.0) / (_USUAL * usual + _LEAST)
    return float(length * length)
