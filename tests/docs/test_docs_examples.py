"""What the documentation shows must work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmanomaly.config import load_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_WHOLE_CONFIG = re.compile(r"<!-- config: (\S+) -->\n```yaml\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]+))?\)")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

WHOLE_CONFIGS = [
    pytest.param(text, id=f"{page.name}:{name}")
    for page in PAGES
    for name, text in _WHOLE_CONFIG.findall(page.read_text())
]


@pytest.mark.parametrize("text", WHOLE_CONFIGS)
def test_a_whole_configuration_is_valid(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    environ = {"VM_PASSWORD": "sesame", "VMANOMALY_MODEL_DUMPS_DIR": str(tmp_path)}
    load_config([path], environ)
    assert caplog.messages == [], "an example shows how it is done, without warnings"


def test_there_are_whole_configurations() -> None:
    assert len(WHOLE_CONFIGS) >= 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = []
    for target, heading in _LINK.findall(page.read_text()):
        path = page.parent / target if target else page
        if not path.exists() or (path.suffix == ".md" and heading and heading not in _names(path)):
            missing.append(f"{target}#{heading}")
    assert missing == []


def _names(page: Path) -> set[str]:
    """Return what headings are called in links to them."""
    names: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", _CODE.sub("", page.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        names.add(name if name not in names else f"{name}-1")
    return names
