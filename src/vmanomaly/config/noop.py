"""What the sections of the classes `noop` share."""

from __future__ import annotations

from typing import Any

from vmanomaly.config.section import Section


class NoopSection(Section):
    """A section in which no key but `class` has an effect."""

    @classmethod
    def yaml_keys(cls) -> list[str]:
        """Return the one key."""
        return ["class"]

    @classmethod
    def why_without_effect(cls, key: str) -> str | None:
        """Return why a key changes nothing: all but `class` do not."""
        return None if key == "class" else "the class noop does nothing; remove it"

    def written(self) -> dict[str, Any]:
        """Return what a YAML file with this section would hold, by key."""
        return {"class": "noop"}
