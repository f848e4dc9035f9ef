"""What a field decides: how much is made again when its value changes.

Every field says it, as `Annotated[..., RESTARTS]`; a section may say it for all of its fields that
say nothing, as `default_effect`.
"""

from __future__ import annotations

from enum import Enum


class Effect(Enum):
    """How far a change of a field reaches."""

    LEARNED_FROM = "what models learn depends on it: their states are not used again"
    RESTARTS = "what runs with it is made again; what models have learned is kept"
    HARMLESS = "nothing that runs is made again"


LEARNED_FROM = Effect.LEARNED_FROM
RESTARTS = Effect.RESTARTS
HARMLESS = Effect.HARMLESS
