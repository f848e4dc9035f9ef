"""What queries are called together; apart from arrays, which the command line needs not load."""

from __future__ import annotations

from collections.abc import Iterable


def query_key(queries: Iterable[str]) -> str:
    """Return what the queries that are looked at together are called.

    Examples
    --------
    >>> query_key(["temperature", "power"])
    'power,temperature'
    """
    return ",".join(sorted(queries))
