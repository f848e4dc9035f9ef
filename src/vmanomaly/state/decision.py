"""What happens to what is stored, given what is wanted now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from vmanomaly.series import UnitKey
from vmanomaly.state.compatibility import reason_against
from vmanomaly.state.index import StoredUnit
from vmanomaly.state.signature import differences

_MOST_NAMED = 4


class Verdict(Enum):
    """What is done with a unit."""

    REUSE = "reused"
    REFIT = "refitted"
    FIT = "fitted"
    DROP = "dropped"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with a unit, and why.

    Attributes
    ----------
    verdict : Verdict
        What is done.
    reason : str
        Why, in words for the user.
    """

    verdict: Verdict
    reason: str

    def __str__(self) -> str:
        return f"{self.verdict.value}, because {self.reason}"


def decide(
    wanted: Mapping[UnitKey, Mapping[str, str]], stored: Mapping[UnitKey, StoredUnit], version: str
) -> dict[UnitKey, Decision]:
    """Decide what happens to every unit that is wanted or stored.

    Parameters
    ----------
    wanted
        The signature of each unit of the configuration that keeps a state.
    stored
        What there is.
    version
        The version that is to use it.
    """
    decisions = {
        key: _judge(stored.get(key), signature, version) for key, signature in wanted.items()
    }
    unwanted = Decision(Verdict.DROP, "it is no longer in the configuration")
    return decisions | {key: unwanted for key in stored if key not in wanted}


def _judge(entry: StoredUnit | None, signature: Mapping[str, str], version: str) -> Decision:
    if entry is None:
        return Decision(Verdict.FIT, "nothing is stored for it")
    changed = differences(entry.signature, signature)
    if changed:
        named = ", ".join(changed[:_MOST_NAMED])
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        return Decision(Verdict.REFIT, f"this has changed: {named}{more}")
    reason = reason_against(entry.version, version, entry.class_name)
    if reason is not None:
        return Decision(Verdict.REFIT, reason)
    return Decision(Verdict.REUSE, "nothing has changed")
