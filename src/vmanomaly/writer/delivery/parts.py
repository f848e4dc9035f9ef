"""Save the good samples of a remote-write request that was refused for a few bad ones.

Prometheus accepts a request whole or not at all: one sample that comes too late keeps out all the
others. So a refused request is cut in halves, in time and by series in turn, until only what has
to be refused is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from vmanomaly.writer.delivery.delivery import Outcome, Refused, Retry, Sent
from vmanomaly.writer.delivery.halves import halves_of, request_of, series_of
from vmanomaly.writer.delivery.queue import Record

# In the words of Prometheus, Mimir, Cortex and Thanos.
_REASONS = {
    "out_of_order": re.compile(r"out[ -]of[ -]order", re.IGNORECASE),
    "duplicate_sample": re.compile(r"duplicate|repeated timestamp", re.IGNORECASE),
    "too_old_sample": re.compile(r"too[ -]old|out of bounds", re.IGNORECASE),
}
_SAMPLE_STATUSES = frozenset({"400", "409"})
# Nothing more is cut after this many requests, if none, or only some, were accepted.
_MAX_REQUESTS_IN_VAIN = 64
_MAX_REQUESTS = 256


def sample_reason(refused: Refused) -> str | None:
    """Return what the server says is wrong with a sample's time, or None if it is something else.

    Returns
    -------
    str or None
        `out_of_order`, `duplicate_sample` or `too_old_sample`.
    """
    if refused.error.code not in _SAMPLE_STATUSES:
        return None
    words = str(refused.error)
    return next((reason for reason, said in _REASONS.items() if said.search(words)), None)


def send_in_parts(record: Record, send: Callable[[Record], Outcome]) -> Outcome:
    """Send a record; if it is refused for the time of a sample, send its parts.

    The parts of a series are sent oldest first. A server that becomes unavailable meanwhile gets
    the whole record again: it refuses what it has already accepted, or accepts it again without
    harm.

    Parameters
    ----------
    record
        A compressed `WriteRequest`.
    send
        Makes one request.

    Returns
    -------
    Sent, Retry or Refused
        The last one with the samples that had to be dropped, by reason.
    """
    outcome = send(record)
    if not isinstance(outcome, Refused) or sample_reason(outcome) is None:
        return outcome
    n_requests = 1
    taken = False
    refused: Counter[str] = Counter()
    refusal = outcome
    parts = list(halves_of(series_of(record), in_time=True))
    if not parts:
        refused[sample_reason(outcome) or outcome.error.code] += record.n_points
    while parts:
        series, in_time = parts.pop()
        part = request_of(series, record)
        outcome = send(part)
        n_requests += 1
        if isinstance(outcome, Retry):
            return outcome
        if isinstance(outcome, Sent):
            taken = True
            continue
        refusal = outcome
        reason = sample_reason(outcome)
        may_cut = n_requests < (_MAX_REQUESTS if taken else _MAX_REQUESTS_IN_VAIN)
        halves = list(halves_of(series, in_time)) if reason is not None and may_cut else []
        if halves:
            parts += halves
        else:
            refused[reason or outcome.error.code] += part.n_points
    return Refused(refusal.error, refused) if refused else Sent()
