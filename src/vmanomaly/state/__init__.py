"""What models have learned, kept across restarts in a folder, with a signature of what made it."""

from vmanomaly.series import JobKey, UnitKey
from vmanomaly.state.content import Content, Members, WrittenBy
from vmanomaly.state.errors import StateError
from vmanomaly.state.index import StoredUnit
from vmanomaly.state.store import Saved, StateStore

__all__ = [
    "Content",
    "JobKey",
    "Members",
    "Saved",
    "StateError",
    "StateStore",
    "StoredUnit",
    "UnitKey",
    "WrittenBy",
]
