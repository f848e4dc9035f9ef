"""What several queries are called together; without NumPy, so that commands start fast."""

from __future__ import annotations

from collections.abc import Iterable


def query_key(queries: Iterable[str]) -> str:
    """Return the name of queries that are scored jointly.

    Examples
    --------
    >>> query_key(["temperature", "power"])
    'power,temperature'
    """
    return ",".join(sorted(queries))
