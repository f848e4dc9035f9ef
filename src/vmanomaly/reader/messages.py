"""What readers say about queries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from vmanomaly.series import TimeRange

if TYPE_CHECKING:
    from vmanomaly.config.reader import Query

_MAX_WARNINGS = 5
_MAX_WARNING_CHARACTERS = 300
# Thanos and Prometheus warn with the failure of the store that did not answer.
_MISSING_DATA = re.compile(
    r"\bpartial|\bincomplete|no StoreAPIs matched|receive series from|fetch series"
    r"|rpc error|remote_read",
    re.IGNORECASE,
)


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


def says_partial(warnings: Sequence[str]) -> bool:
    """Return whether one of the warnings of a server says that data is missing.

    Examples
    --------
    >>> says_partial(["No StoreAPIs matched for this query"]), says_partial(["deprecated"])
    (True, False)
    """
    return any(_MISSING_DATA.search(text) for text in warnings)


def shown_warnings(warnings: Sequence[str]) -> str:
    """Return the first warnings of a server, on one line, each cut to 300 characters.

    Examples
    --------
    >>> shown_warnings(["a", "b"])
    'a; b'
    """
    shown = "; ".join(text[:_MAX_WARNING_CHARACTERS] for text in warnings[:_MAX_WARNINGS])
    n_more = len(warnings) - _MAX_WARNINGS
    return f"{shown}; and {n_more} more" if n_more > 0 else shown
