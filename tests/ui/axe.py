"""What axe finds wrong with a page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

_SCRIPT = Path(__file__).parents[2] / "ui/node_modules/axe-core/axe.min.js"


def violations(page: Page) -> list[str]:
    """Return one line for each element that breaks a rule of WCAG 2.2 AA or a good practice."""
    assert _SCRIPT.is_file(), "axe is not installed; run: make ui"
    page.evaluate(_SCRIPT.read_text())
    found: list[str] = page.evaluate(
        """async () => (await axe.run()).violations.flatMap(({id, help, nodes}) =>
            nodes.map(({target}) => `${id}: ${help}: ${target}`))"""
    )
    return found
