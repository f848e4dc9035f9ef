"""How far the level has drifted from where it was for days, compared with how far it ever did.

A leak is slow: no sample of it is unusual next to the last ones, and the level follows it. What is
unusual is how far the level has come from the base, which follows over a day.
"""

from __future__ import annotations

from vmanomaly.kernel import inlined, inner
from vmanomaly.model.state import Record
from vmanomaly.model.temporal_envelope.calendar import DAY
from vmanomaly.model.temporal_envelope.tails import ABOVE, BELOW, IMPATIENT, learn_tails

_FARTHER = 4.0
_LEAST_SIGMAS = 2.5
"""A drift is unusual at so many times what it ever was, and so many standard deviations."""
_SETTLING = 2.0 * DAY
"""Milliseconds after which the base is known: as long as it takes to forget what it began with."""
_EVENT = DAY / 4.0
"""Milliseconds that a drift takes at least before its farthest is learned."""


@inner
def drift_of(x: Record) -> float:
    """Return how far the level is above the base, in the unit of the series; 0 if unknown."""
    if x.outage != 0.0 or x.last_time - x.base_since < _SETTLING:
        return 0.0
    return float(x.level + x.slope - x.base)


@inner
def drift_score(x: Record, drift: float, sigma: float) -> float:
    """Return how unusual a drift is: the square of it in what is unusual.

    Parameters
    ----------
    x
        A row of `ENVELOPE`.
    drift
        From `drift_of`.
    sigma
        The standard deviation of the residuals.
    """
    farthest = x.drift.reach[ABOVE] if drift > 0.0 else x.drift.reach[BELOW]
    unusual = max(_FARTHER * farthest, _LEAST_SIGMAS * sigma)
    share = abs(drift) / max(unusual, 1e-300)
    return float(min(share * share, 1e6))


@inlined
def learn_drift(x: Record, sigma: float, window: int, weeks: float, kept: float) -> float:
    """Learn how far the level drifts; return how far it has.

    Parameters
    ----------
    x
        A row of `ENVELOPE`, changed.
    sigma
        As for `drift_score`.
    window, weeks, kept
        As for `learn_tails`; a drift takes longer than other events.
    """
    drift = drift_of(x)
    if x.step > 0.0:
        window = max(window, int(min(_EVENT / x.step, 1e6)))
    least = _LEAST_SIGMAS / _FARTHER * sigma
    learn_tails(x.drift, -drift, drift, least, window, weeks, kept, IMPATIENT)
    return drift
