"""Which version may use the state of which other version.

The table names each version in which stored states changed their meaning. A state may be used
across versions as long as no such change for its class lies between them. What later versions
change, this one cannot know: it uses the states of its own minor version, which keeps the format
in all patches, and of those before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBERS = re.compile(r"v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})", re.ASCII)

VERSION_OVERRIDE = "VMANOMALY_STATE_VERSION_OVERRIDE"
"""The environment variable with the version that `--dryRun` decides as."""


@dataclass(frozen=True, slots=True)
class Change:
    """A version that changed the meaning of stored states.

    Attributes
    ----------
    version : str
        The first version that stores the new form.
    classes : frozenset of str or None
        The models that are affected; None for all.
    reason : str
        What has changed.
    """

    version: str
    classes: frozenset[str] | None
    reason: str


CHANGES: tuple[Change, ...] = ()
"""Every change so far, ordered by version."""


def reason_against(
    stored: str, running: str, class_name: str, changes: tuple[Change, ...] = CHANGES
) -> str | None:
    """Return why a version may not use a state; None if it may.

    Parameters
    ----------
    stored
        The version that stored the state.
    running
        The version that is to use it.
    class_name
        Of the model.
    changes
        The table.

    Examples
    --------
    >>> reason_against("0.1.0", "0.1.3", "mad_online") is None
    True
    >>> reason_against("0.2.0", "0.1.3", "mad_online")
    'it is of the newer version 0.2.0'
    """
    old, new = parse_version(stored), parse_version(running)
    if old is None or new is None:
        return f"it is of an unknown version {stored}" if old is None else None
    if old[:2] > new[:2]:
        return f"it is of the newer version {stored}"
    low, high = sorted((old, new))
    for change in changes:
        at = parse_version(change.version) or (0, 0, 0)
        concerned = change.classes is None or class_name in change.classes
        if concerned and low < at <= high:
            return f"it is of version {stored}: {change.reason}"
    return None


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Return the numbers of a version; None if it has none.

    Examples
    --------
    >>> parse_version("v1.25.2")
    (1, 25, 2)
    """
    match = _NUMBERS.match(text)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))
