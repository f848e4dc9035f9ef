"""What readers say about queries."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from vmanomaly.series import TimeRange

if TYPE_CHECKING:
    from vmanomaly.config.reader import Query


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
