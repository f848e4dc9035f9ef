"""Lasting problems are logged when they begin and when they are over, not each time they occur."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from vmanomaly.clock import Clock, SystemClock

_MAX_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode that is over.

    Attributes
    ----------
    n : int
        How often it occurred, the first time included.
    seconds : float
        How long it lasted.

    Examples
    --------
    >>> print(Episode(n=3, seconds=62.9))
    after 63 s and 3 failures
    """

    n: int
    seconds: float

    def __str__(self) -> str:
        return f"after {self.seconds:.0f} s and {counted(self.n, 'failure')}"


@dataclass(slots=True)
class _Ongoing:
    cause: Hashable
    began_s: float
    told_s: float
    n: int = 1


class Episodes:
    """Logs the beginning and the end of episodes, and what happens in between as DEBUG.

    Safe to use from several threads.

    Parameters
    ----------
    logger
        Where to log.
    clock
        Tells how long an episode lasted.
    again_after_s
        An episode that lasts is logged again after that many seconds; None logs it once.
    max_keys
        Of more episodes at a time, the oldest are forgotten, and logged again if they continue.

    Examples
    --------
    >>> episodes = Episodes(logging.getLogger("vmanomaly.example"))
    >>> [episodes.begin("disk", "No space is left on the disk") for _ in range(3)]
    [True, False, False]
    >>> episodes.end("disk", "The disk has space again").n
    3
    >>> episodes.end("disk", "The disk has space again") is None
    True
    """

    def __init__(
        self,
        logger: logging.Logger,
        clock: Clock | None = None,
        again_after_s: float | None = None,
        max_keys: int = _MAX_KEYS,
    ) -> None:
        self._logger = logger
        self._clock = clock or SystemClock()
        self._again_after_s = again_after_s
        self._max_keys = max_keys
        self._ongoing: OrderedDict[Hashable, _Ongoing] = OrderedDict()
        self._lock = threading.Lock()

    def begin(
        self,
        key: Hashable,
        message: str,
        level: int = logging.WARNING,
        *,
        cause: Hashable = None,
        error: BaseException | None = None,
    ) -> bool:
        """Log `message`, or count it and log it as DEBUG if the episode has begun already.

        Parameters
        ----------
        key
            Which episode it is.
        message
            What happened, and what to do.
        level
            Of the line that reports the beginning.
        cause
            A change of it is logged like a beginning.
        error
            Logged with its trace.

        Returns
        -------
        bool
            Whether `message` was logged at `level`.
        """
        now = self._clock.monotonic()
        with self._lock:
            ongoing = self._ongoing.get(key)
            if ongoing is None:
                self._ongoing[key] = _Ongoing(cause, now, now)
                if len(self._ongoing) > self._max_keys:
                    self._ongoing.popitem(last=False)
                is_news = True
            else:
                ongoing.n += 1
                is_news = ongoing.cause != cause or (
                    self._again_after_s is not None and now - ongoing.told_s >= self._again_after_s
                )
                if is_news:
                    ongoing.cause, ongoing.told_s = cause, now
        self._logger.log(level if is_news else logging.DEBUG, message, exc_info=error)
        return is_news

    def end(self, key: Hashable, message: str | None = None) -> Episode | None:
        """End an episode; if there was one, log `message`, and how long and how often.

        Parameters
        ----------
        key
            Which episode it is.
        message
            What works again, without a full stop: the duration follows. None logs nothing.

        Returns
        -------
        Episode or None
            The episode; None if there was none.
        """
        with self._lock:
            ongoing = self._ongoing.pop(key, None)
        if ongoing is None:
            return None
        episode = Episode(ongoing.n, self._clock.monotonic() - ongoing.began_s)
        if message is not None:
            self._logger.info("%s %s", message, episode)
        return episode

    def clear(self) -> None:
        """End all episodes without logging anything."""
        with self._lock:
            self._ongoing.clear()


def counted(n: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1, "failure"), counted(2, "failure")
    ('1 failure', '2 failures')
    """
    return f"{n} {noun}{'' if n == 1 else 's'}"
