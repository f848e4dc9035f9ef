"""The lists of classes on the pages name those that the registry has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmanomaly.config.registry import MODELS, READERS, SCHEDULERS, WRITERS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
REGISTRIES = (READERS, WRITERS, SCHEDULERS, MODELS)


def listed(row: str) -> set[str]:
    """Return the names in a row of the table in README.md that says what there is."""
    match = re.search(rf"^\| {row}s? \| (.*) \|$", README, re.M)
    assert match, row
    return set(re.findall(r"`(\w+)`", match[1]))


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_the_readme_lists_what_there_is(registry: object) -> None:
    available = set(registry.aliases) - {"custom", "noop"}  # type: ignore[attr-defined]
    assert listed(registry.kind) == available  # type: ignore[attr-defined]


@pytest.mark.parametrize("alias", sorted(set(MODELS.aliases) - {"custom"}))
def test_every_model_has_its_part_of_the_page(alias: str) -> None:
    assert re.search(rf"^##+ `{alias}`$", PAGE, re.M)
    assert f"](#{alias})" in PAGE
