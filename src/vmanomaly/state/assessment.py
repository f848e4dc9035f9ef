"""Whether a version could use what is stored, as other programs ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vmanomaly.state import StateError
from vmanomaly.state.compatibility import parse_version, reason_against
from vmanomaly.state.index import read_index

_OLDEST = "0.1.0"


def assess(folder: Path | None, version: str) -> dict[str, Any]:
    """Say of a version what it could do with the stored state. Nothing is changed.

    Parameters
    ----------
    folder
        Of the state; None where none is kept.
    version
        The version that is to use it.

    Returns
    -------
    dict
        `runtime_version`, `stored_version`, a `global_check`, and a `component_assessment` where
        only some units cannot be used.
    """
    runtime = version.removeprefix("v")
    try:
        stored = {} if folder is None else read_index(folder)[0]
    except StateError as error:
        # What cannot be read is not used, and nothing more is lost by it.
        return _answer(runtime, None, _check(False, True, str(error)))
    if not stored:
        return _answer(runtime, None, _check(False, True, None))
    newest = max((entry.version for entry in stored.values()), key=_order)
    against = {
        key: reason
        for key, entry in stored.items()
        if (reason := reason_against(entry.version, runtime, entry.class_name)) is not None
    }
    if not against:
        return _answer(runtime, newest, _check(True, True, None))
    if len(against) == len(stored):
        reason = next(iter(against.values()))
        needed = _requirement(runtime, newest, reason)
        return _answer(runtime, newest, _check(True, False, reason, needed))
    issues = [
        {
            "component": "model",
            "subcomponent": key.model_alias,
            "requirement": _requirement(runtime, stored[key].version, reason),
            "reason": reason,
            "affected_entities": [str(key)],
        }
        for key, reason in against.items()
    ]
    return {
        **_answer(runtime, newest, _check(True, True, None)),
        "component_assessment": {
            "issues": issues,
            "models_to_purge": sorted({key.model_alias for key in against}),
            "should_purge_reader_data": False,
        },
    }


def _answer(runtime: str, stored: str | None, check: dict[str, Any]) -> dict[str, Any]:
    return {
        "runtime_version": runtime,
        "stored_version": stored,
        "global_check": check,
        "component_assessment": None,
    }


def _check(
    has_state: bool,
    is_compatible: bool,
    reason: str | None,
    requirement: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "has_state": has_state,
        "is_compatible": is_compatible,
        "reason": reason,
        "requirement": requirement,
        "drop_everything": not is_compatible,
    }


def _requirement(runtime: str, stored: str, reason: str) -> dict[str, Any]:
    return {
        "runtime_version": runtime,
        "origin_version": stored,
        "min_state_version": _OLDEST,
        "max_state_version": runtime,
        "description": f"every state that it concerns is refitted: {reason}",
    }


def _order(version: str) -> tuple[int, int, int]:
    return parse_version(version) or (0, 0, 0)
