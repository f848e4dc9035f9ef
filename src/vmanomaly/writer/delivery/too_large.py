"""Cut what a server, or a proxy in front of it, finds too large (413)."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from vmanomaly.clock import Clock, SystemClock
from vmanomaly.episodes import Episodes
from vmanomaly.writer.delivery.delivery import Outcome, Refused, Retry, Sent
from vmanomaly.writer.delivery.halves import Halves
from vmanomaly.writer.delivery.queue import Record

logger = logging.getLogger(__name__)

_TOO_LARGE = "413"
_REMEMBERED_S = 3600.0
# After this many single samples, if none was accepted, a record is not cut any further: the server
# accepts nothing of any size.
_MAX_SAMPLES_IN_VAIN = 1000


class SizeLimit:
    """The size that a destination has refused, until an hour has passed.

    Safe to use from several threads.

    Parameters
    ----------
    url
        Of the destination, without credentials.
    clock
        Tells when it may have changed.

    Examples
    --------
    >>> limit = SizeLimit("http://vm:8428")
    >>> limit.exceeded_by(5000)
    False
    >>> limit.refused(4000)
    >>> limit.exceeded_by(4000), limit.exceeded_by(3999)
    (True, False)
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self._url = url
        self._clock = clock or SystemClock()
        self._refused: int | None = None
        self._forgotten_at = 0.0
        self._episodes = Episodes(logger, self._clock)
        self._lock = threading.Lock()

    def refused(self, n_bytes: int) -> None:
        """Note that a body of that many bytes, as sent, was too large."""
        with self._lock:
            self._refused = n_bytes if self._refused is None else min(n_bytes, self._refused)
            self._forgotten_at = self._clock.monotonic() + _REMEMBERED_S
        self._episodes.begin(
            self._url,
            f"{self._url} answers 413 to a body of {n_bytes} bytes: what is too large is sent in "
            "parts. To save requests, raise the limit of the server, or of the proxy in front of "
            "it (nginx: client_max_body_size)",
        )

    def exceeded_by(self, n_bytes: int) -> bool:
        """Return whether that many bytes, or fewer, were refused within the last hour."""
        with self._lock:
            if self._refused is None:
                return False
            if self._clock.monotonic() < self._forgotten_at:
                return n_bytes >= self._refused
            self._refused = None
        self._episodes.end(self._url)
        return False


def send_fitting(
    record: Record,
    send: Callable[[Record], Outcome],
    halves: Halves,
    limit: SizeLimit,
) -> Outcome:
    """Send a record; what is too large for the server is cut in halves until it fits.

    The parts are sent in order. Only a single sample that is too large is dropped.

    Parameters
    ----------
    record
        What to send.
    send
        Makes one request.
    halves
        Cuts a record in two.
    limit
        What is known to be too large is cut before it is sent.

    Returns
    -------
    Sent, Retry or Refused
        A `Retry` holds what is left to be sent, and what was refused before.
    """
    waiting = [record]
    refused: Counter[str] = Counter()
    refusal: Refused | None = None
    taken = False
    n_in_vain = 0
    while waiting:
        part = waiting.pop()
        may_cut = taken or n_in_vain < _MAX_SAMPLES_IN_VAIN
        if may_cut and limit.exceeded_by(len(part.body)) and (pieces := halves(part)):
            waiting += reversed(pieces)
            continue
        outcome = send(part)
        if isinstance(outcome, Retry):
            earlier = None if refusal is None else Refused(refusal.error, refused)
            return Retry(outcome.error, outcome.after_s, (part, *reversed(waiting)), earlier)
        if isinstance(outcome, Sent):
            taken = True
            continue
        if outcome.error.code == _TOO_LARGE:
            if may_cut and (pieces := halves(part)):
                limit.refused(len(part.body))
                waiting += reversed(pieces)
                continue
            n_in_vain += 1
        refusal = outcome
        refused.update(outcome.n_points)
    return Sent() if refusal is None else Refused(refusal.error, refused)
