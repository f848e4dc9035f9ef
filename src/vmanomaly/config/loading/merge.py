"""Merging what several files say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings, recursively; what is not a mapping in both is taken from `override`.

    Examples
    --------
    >>> merge({"a": {"x": 1, "y": [1]}}, {"a": {"y": [2]}, "b": None})
    {'a': {'x': 1, 'y': [2]}, 'b': None}
    """
    result = dict(base)
    for key, value in override.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return result
