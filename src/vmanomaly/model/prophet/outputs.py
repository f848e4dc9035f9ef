"""The names of what Prophet gives, as they are in metrics and in `provide_series`."""

from __future__ import annotations

import re
from collections.abc import Iterable

SIDES = ("", "_lower", "_upper")
FORECASTED = ("yhat", "yhat_lower", "yhat_upper")
COMPONENTS = ("trend", "additive_terms", "multiplicative_terms", "daily", "weekly", "yearly")


def metric_name(column: str) -> str:
    """Return the name of a column of Prophet's as it can be the name of an output.

    Examples
    --------
    >>> metric_name("New Year's Day"), metric_name("1st of May")
    ('New_Year_s_Day', '_1st_of_May')
    """
    name = re.sub(r"[^a-zA-Z0-9_]", "_", column)
    return f"_{name}" if name[:1].isdigit() else name


def forecasts(offsets: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the forecasts that far ahead.

    Examples
    --------
    >>> forecasts(["1h"])
    ('yhat_1h', 'yhat_lower_1h', 'yhat_upper_1h')
    """
    return tuple(f"{name}_{offset}" for offset in offsets for name in FORECASTED)
