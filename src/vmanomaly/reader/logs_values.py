"""Values and labels as VictoriaLogs writes them, as numbers and labels of series."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

#: The label that tells apart the results of one query.
RESULT_NAME = "result_name"

_NUMBER = r"[0-9][0-9_]*(?:\.[0-9][0-9_]*)?"
_PLAIN = re.compile(rf"[+-]?(?:{_NUMBER}|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BASED = re.compile(r"[+-]?0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")
_SPECIAL = re.compile(r"[+-]?inf|nan", re.IGNORECASE)
_LARGEST = 2**63 - 1
_LONGEST = 256

_NANOSECONDS = {
    "ns": 1,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86_400 * 10**9,
    "w": 7 * 86_400 * 10**9,
    "y": 365 * 86_400 * 10**9,
}
_BYTES = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", 1)},
    **{prefix: 1000**power for power, prefix in enumerate("KMGT", 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)},
    **{f"{prefix}i": 1024**power for power, prefix in enumerate("KMGT", 1)},
}
_UNITS = {unit: factor for units in (_NANOSECONDS, _BYTES) for unit, factor in units.items()}


def _amounts(units: Mapping[str, int]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what matches a sum of amounts such as `1m5s`, and one of the amounts."""
    one = rf"({_NUMBER})({'|'.join(sorted(units, key=len, reverse=True))})"
    return re.compile(rf"-?(?:{one})+"), re.compile(one)


_DURATION, _OF_DURATION = _amounts(_NANOSECONDS)
_SIZE, _OF_SIZE = _amounts(_BYTES)


def number_of(text: str) -> float | None:
    """Return the number that a value means to VictoriaLogs, None where it means none.

    Durations are nanoseconds and sizes are bytes, as its own `sum` reads them. Nothing, as `max`
    of an absent field gives, is NaN.

    Examples
    --------
    >>> [number_of(text) for text in ("2", "1m5s", "-1.5ms", "2KiB", "1.5MB", "0x10")]
    [2.0, 65000000000.0, -1500000.0, 2048.0, 1500000.0, 16.0]
    >>> number_of(""), number_of("10.0.0.1"), number_of('["a"]')
    (nan, None, None)
    """
    if not text:
        return math.nan
    if len(text) > _LONGEST:
        return None
    if _PLAIN.fullmatch(text) or _SPECIAL.fullmatch(text):
        return float(text.replace("_", ""))
    if _BASED.fullmatch(text):
        return float(int(text, 0))
    for whole, part in ((_DURATION, _OF_DURATION), (_SIZE, _OF_SIZE)):
        if whole.fullmatch(text):
            parts = part.findall(text)
            total = sum(int(float(n.replace("_", "")) * _UNITS[unit]) for n, unit in parts)
            total = min(total, _LARGEST)
            return float(-total if text.startswith("-") else total)
    return None


def series_labels(fields: Mapping[str, str], query_alias: str) -> dict[str, str]:
    """Return the labels of a series.

    Parameters
    ----------
    fields
        Its by-fields, and under `__name__` the name of the result.
    query_alias
        Of the query.

    Returns
    -------
    dict of str to str
        The name `<alias>__<result>`, the label `result_name`, and the by-fields that have a value,
        with `_` for what no name of a label may hold. Fields that would have the same name share
        it, their values joined by `;` in the order of their own names. A by-field called
        `result_name` becomes `exported_result_name`.

    Examples
    --------
    >>> series_labels({"__name__": "count(*)", "resource_attr:service.name": "api"}, "logs")
    {'__name__': 'logs__count(*)', 'result_name': 'count(*)', 'resource_attr_service_name': 'api'}
    """
    result = fields.get("__name__", "")
    labels = {"__name__": f"{query_alias}__{result}", RESULT_NAME: result}
    for field in sorted(fields):
        value = fields[field]
        if field == "__name__" or not value:
            continue
        name = _label_name(field)
        labels[name] = f"{labels[name]};{value}" if name in labels else value
    return labels


def _label_name(field: str) -> str:
    name = re.sub(r"[^a-zA-Z0-9_]", "_", field)
    if not name or name[0].isdigit():
        name = f"_{name}"
    return f"exported_{name}" if name in {"__name__", RESULT_NAME} else name
