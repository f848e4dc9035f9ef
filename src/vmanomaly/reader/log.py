"""What readers say about the outcome of queries, without saying it again and again."""

from __future__ import annotations

import logging
import threading
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from vmanomaly.series import TimeRange

if TYPE_CHECKING:
    from vmanomaly.config.reader import Query


class StateLog:
    """Log the state of a query when it changes; a state that lasts is for DEBUG.

    A query has a state for each scheduler and each stage.

    Parameters
    ----------
    logger
        Where to log.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._states: dict[tuple[str, str, str], str] = {}

    def enter(
        self,
        scheduler_alias: str,
        query_key: str,
        stage: str,
        state: str,
        level: int,
        message: str,
    ) -> None:
        """Log `message` at `level` if the query was in another state before; `""` is well."""
        key = (scheduler_alias, query_key, stage)
        with self._lock:
            before = self._states.get(key, "")
            self._states[key] = state
        self._logger.log(logging.DEBUG if state == before else level, message)


def no_data(query: Query, window: TimeRange, scheduler_alias: str, stage: str) -> str:
    """Return the message for an empty result, its range in the query's time zone and Unix time."""
    start, end = (
        datetime.fromtimestamp(moment / 1000, ZoneInfo(query.tz)).isoformat()
        for moment in (window.start, window.end)
    )
    what = "No unseen data" if stage == "infer" else "No data"
    return (
        f"{what} for query_key {query.alias} from {start} to {end} "
        f"({window.start / 1000:.15g} to {window.end / 1000:.15g}), "
        f"scheduler '{scheduler_alias}', stage '{stage}'"
    )
