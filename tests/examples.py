"""How many examples Hypothesis tries."""

from __future__ import annotations

import os

from hypothesis import settings

FACTOR = float(os.environ.get("EXAMPLES", "1"))
"""`make endurance` tries many times as many as `make test`."""


def examples(number: int) -> settings:
    """Return settings with this many examples, times the factor of the environment."""
    return settings(max_examples=max(1, round(number * FACTOR)))
