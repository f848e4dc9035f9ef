"""Mappings in mappings, such as the `args` of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def merged(*mappings: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings; what comes later wins, and mappings in them are merged too.

    Examples
    --------
    >>> merged({"args": {"a": 1, "b": 1}}, {"args": {"b": 2}, "c": 3})
    {'args': {'a': 1, 'b': 2}, 'c': 3}
    """
    result: dict[str, Any] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            before = result.get(key)
            both = isinstance(before, Mapping) and isinstance(value, Mapping)
            result[key] = merged(before, value) if both else value  # type: ignore[arg-type]
    return result


def leaf_paths(mapping: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all values that are no mappings.

    Examples
    --------
    >>> list(leaf_paths({"args": {"a": 1}, "b": []}))
    [('args', 'a'), ('b',)]
    """
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from ((key, *path) for path in leaf_paths(value))
        else:
            yield (key,)
