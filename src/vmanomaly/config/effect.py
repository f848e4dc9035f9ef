"""What a field decides: how much is rebuilt when its value changes.

Every field declares it as `Annotated[..., RESTARTS]`; a section may declare it as `default_effect`
for all of its fields that do not.
"""

from __future__ import annotations

from enum import Enum


class Effect(Enum):
    """How far the effect of a changed field reaches."""

    LEARNED_FROM = "what models learn depends on it: their states are not used again"
    RESTARTS = "what runs with it is made again; what models have learned is kept"
    HARMLESS = "nothing that runs is made again"


LEARNED_FROM = Effect.LEARNED_FROM
RESTARTS = Effect.RESTARTS
HARMLESS = Effect.HARMLESS
