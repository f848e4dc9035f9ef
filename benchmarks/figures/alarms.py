"""Alarms on the anomaly score, as an alerting rule of vmalert makes them.

The figures show models by their anomaly score::

    expr: anomaly_score > 1
    for: 2m
    keep_firing_for: 5m
"""

from __future__ import annotations

import numpy as np

from vmanomaly.report import Alarm, ScoredSeries

FOR = 2 * 60_000
"""Milliseconds the score must stay above 1 before an alarm fires."""
KEEP_FIRING_FOR = 5 * 60_000
"""Milliseconds without a score above 1 after which an alarm is resolved."""


def held_alarms(scored: ScoredSeries) -> list[Alarm]:
    """Return the alarms of one series, in order of time.

    Examples
    --------
    >>> from vmanomaly.series import Labels
    >>> minutes = np.arange(12, dtype=np.int64) * 60_000
    >>> score = np.array([0, 2, 2, 2, 0, 3, 0, 0, 0, 0, 0, 2.0])
    >>> series = ScoredSeries("cpu", "mad", Labels(), minutes, {"anomaly_score": score})
    >>> [(alarm.start // 60_000, alarm.end // 60_000) for alarm in held_alarms(series)]
    [(3, 10)]
    """
    score = scored.outputs["anomaly_score"]
    present = ~np.isnan(score)
    timestamps = scored.timestamps[present]
    above = score[present] > 1
    edges = np.flatnonzero(np.diff(above, prepend=False, append=False))
    firing: list[list[float]] = []
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        begin, last = int(timestamps[first]), int(timestamps[stop - 1])
        peak = float(score[present][first:stop].max())
        if firing and begin <= firing[-1][1]:
            firing[-1][1] = last + KEEP_FIRING_FOR
            firing[-1][2] = max(firing[-1][2], peak)
        elif last - begin >= FOR:
            held = np.searchsorted(timestamps, begin + FOR)
            firing.append([int(timestamps[held]), last + KEEP_FIRING_FOR, peak])
    return [
        Alarm(scored.query, scored.model, scored.series, int(start), int(end), peak)
        for start, end, peak in firing
    ]
