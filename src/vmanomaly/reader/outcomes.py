"""Outcomes of queries, logged in few lines: an outage is one episode, however many it affects."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from vmanomaly.clock import Clock
from vmanomaly.episodes import Episodes, counted
from vmanomaly.errors import DatasourceError

EMPTY = "empty"
PARTIAL = "partial"

# Within reach, but not for this request.
_SHARED_CODES = frozenset({PARTIAL, "404", "429"})
_MAX_NAMES = 10
_NOUNS = {EMPTY: "empty result", PARTIAL: "partial result"}


class Reading(NamedTuple):
    """What is read repeatedly: a query, for a scheduler and a stage."""

    scheduler_alias: str
    query_key: str
    stage: str


_Key: TypeAlias = tuple[str, Reading | None]
"""What is wrong, and with which reading; None if it is the datasource."""


@dataclass(slots=True)
class _Hit:
    """What an episode has affected.

    Attributes
    ----------
    failing
        The readings that fail.
    well
        Those that have worked since the last failure of any.
    queries
        The aliases of all affected queries, in this order.
    n_told
        How many failing queries the log has reported at a time.
    """

    failing: set[Reading] = field(default_factory=set)
    well: set[Reading] = field(default_factory=set)
    queries: dict[str, None] = field(default_factory=dict)
    n_told: int = 1


class Outcomes:
    """Logs what goes wrong with queries when it begins and when it is over.

    A datasource that is out of reach, or lacks data, is one episode for all queries with the same
    code: the first failure is logged in full, those that join it in one line a round later. The
    episode is over when none of them fails any more, or when one of them has worked twice while
    none failed. Anything else is an episode of one query, for a scheduler and a stage.

    Parameters
    ----------
    logger
        Where to log.
    clock
        Tells how long an episode lasted.
    """

    def __init__(self, logger: logging.Logger, clock: Clock | None = None) -> None:
        self._logger = logger
        self._episodes = Episodes(logger, clock)
        self._key_of: dict[Reading, _Key] = {}
        self._hits: dict[_Key, _Hit] = {}
        self._lock = threading.Lock()

    def fails(self, reading: Reading, url: str, error: DatasourceError) -> None:
        """Note that a query failed.

        Parameters
        ----------
        reading
            What was read.
        url
            From where, without credentials.
        error
            Its message is logged.
        """
        is_shared = error.out_of_reach or error.code in _SHARED_CODES
        key = (error.code, None if is_shared else reading)
        self._note(reading, url, key, logging.ERROR, str(error))

    def is_empty(self, reading: Reading, url: str, message: str) -> None:
        """Note that a query returned nothing."""
        self._note(reading, url, (EMPTY, reading), logging.WARNING, message)

    def is_partial(self, reading: Reading, url: str) -> None:
        """Note that the server says that its answer to a query is incomplete."""
        message = f"Partial data for {reading.query_key}: {url} says that it lacks a part"
        self._note(reading, url, (PARTIAL, None), logging.WARNING, message)

    def works(self, reading: Reading, url: str) -> None:
        """Note that a query succeeded."""
        with self._lock:
            key = self._key_of.pop(reading, None)
            if key is None:
                over = [key for key, hit in self._hits.items() if reading in hit.well]
            else:
                hit = self._hits[key]
                hit.failing.discard(reading)
                hit.well.add(reading)
                over = [] if hit.failing else [key]
            for each in over:
                self._tell_end(each, self._forget(each), url)

    def _note(self, reading: Reading, url: str, key: _Key, level: int, message: str) -> None:
        with self._lock:
            before = self._key_of.get(reading)
            if before is not None and before != key:
                self._leave(reading, before)
            self._key_of[reading] = key
            hit = self._hits.setdefault(key, _Hit())
            hit.failing.add(reading)
            hit.well.clear()
            hit.queries[reading.query_key] = None
            self._episodes.begin(key, message, level)
            failing = sorted({each.query_key for each in hit.failing})
            if before == key and len(failing) > hit.n_told:
                hit.n_told = len(failing)
                self._logger.log(
                    level, "Querying %s still fails (%s) for %s", url, key[0], _listed(failing)
                )

    def _leave(self, reading: Reading, key: _Key) -> None:
        """Note that something else is wrong with a reading now."""
        hit = self._hits[key]
        hit.failing.discard(reading)
        if not hit.failing:
            self._forget(key)
            self._episodes.end(key)

    def _forget(self, key: _Key) -> _Hit:
        hit = self._hits.pop(key)
        for reading in hit.failing:
            del self._key_of[reading]
        return hit

    def _tell_end(self, key: _Key, hit: _Hit, url: str) -> None:
        episode = self._episodes.end(key)
        if episode is None:
            return
        affected = f"; {len(hit.queries)} queries were affected" if len(hit.queries) > 1 else ""
        (first, *others) = hit.queries
        self._logger.info(
            "Querying %s%s works again after %.0f s and %s%s",
            url,
            "" if others else f" for {first}",
            episode.seconds,
            counted(episode.n, _NOUNS.get(key[0], "failure")),
            affected,
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{len(names)} queries: {', '.join(names[:_MAX_NAMES])}{more}"
