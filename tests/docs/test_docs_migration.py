"""docs/migration.md lists every key, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vmanomaly.config.http import HttpSection
from vmanomaly.config.model import ModelSection, OnlineModelSection
from vmanomaly.config.model.auto import OptimizationParams
from vmanomaly.config.monitoring import MonitoringSection, PullSection, PushSection
from vmanomaly.config.reader import (
    HttpQuery,
    HttpReaderSection,
    Query,
    ReaderSection,
    VlogsQuery,
    VlogsReaderSection,
)
from vmanomaly.config.registry import MODELS, READERS, SCHEDULERS, WRITERS
from vmanomaly.config.scheduler import SchedulerSection
from vmanomaly.config.section import Section
from vmanomaly.config.server import ServerSection
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.writer import HttpWriterSection, VmWriterSection, WriterSection

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
CONFIG_PAGE = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
STATUSES = {"same", "differs", "new", "no effect"}


def own_keys(*sections: type[Section]) -> set[str]:
    """Return the keys that these sections add to those that they are derived from."""
    keys: set[str] = set()
    for section in sections:
        bases = [base for base in section.__mro__[1:] if issubclass(base, Section)]
        inherited = {key for base in bases for key in base.yaml_keys()}
        keys |= set(section.yaml_keys()) - inherited
    return keys - ({"url"} if PushSection in sections else set())


SECTIONS: dict[str, tuple[type[Section], ...]] = {
    "HTTP": (HttpSection,),
    "Reader": (ReaderSection,),
    "Queries": (Query, HttpQuery),
    "Readers `vm` and `vlogs`": (HttpReaderSection,),
    "Models": (ModelSection,),
    "Online models": (OnlineModelSection,),
    "Model `auto`: `optimization_params`": (OptimizationParams,),
    "Schedulers": (SchedulerSection,),
    "Writer": (WriterSection,),
    "Settings": (SettingsSection,),
    "Server": (ServerSection,),
    "Monitoring": (MonitoringSection,),
    "Monitoring: `pull`": (PullSection,),
    "Monitoring: `push`": (PushSection,),
    **{
        f"{registry.kind.title()} `{entry.alias}`": (entry.section,)
        for registry in (READERS, WRITERS, SCHEDULERS, MODELS)
        for entry in registry
        if own_keys(entry.section) and entry.alias != "noop"
    },
    "Reader `vlogs`": (VlogsReaderSection, VlogsQuery),
    "Writer `vm`": (HttpWriterSection, VmWriterSection),
}
WITHOUT_EFFECT: dict[str, set[str]] = {
    "Models": {*ModelSection.without_effect, "forecast_at"},
    "Model `auto`: `optimization_params`": set(OptimizationParams.without_effect),
    "Monitoring: `push`": set(PushSection.without_effect),
}


def statuses(page: str) -> dict[str, dict[str, str]]:
    """Return the status of each key, by heading; a key that is listed twice counts as wrong."""
    found: dict[str, dict[str, str]] = {}
    for heading, text in re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", page, re.M | re.S):
        rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", text, re.M)
        assert len(dict(rows)) == len(rows), heading
        found[heading] = dict(rows)
    return found


LISTED = statuses(PAGE.partition("## Every key")[2])


def test_every_section_is_listed() -> None:
    assert set(LISTED) == set(SECTIONS)


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_is_listed_once(heading: str) -> None:
    expected = own_keys(*SECTIONS[heading]) | WITHOUT_EFFECT.get(heading, set())
    assert set(LISTED[heading]) == expected


@pytest.mark.parametrize("heading", SECTIONS)
def test_keys_without_effect_are_called_so(heading: str) -> None:
    assert set(LISTED[heading].values()) <= STATUSES
    called_so = {key for key, status in LISTED[heading].items() if status == "no effect"}
    assert called_so == WITHOUT_EFFECT.get(heading, set())


def subclasses(section: type[Section]) -> list[type[Section]]:
    return [each for sub in section.__subclasses__() for each in (sub, *subclasses(sub))]


def test_no_section_has_other_keys_without_effect() -> None:
    own: Mapping[str, Any] = {
        section.__name__: set(vars(section)["without_effect"])
        for section in subclasses(Section)
        if section.__module__.startswith("vmanomaly.") and vars(section).get("without_effect")
    }
    assert own == {
        "ModelSection": {"ttl"},
        "OptimizationParams": {"beta", "show_progress_bar", "gc_after_trial"},
        "PushSection": {"config"},
    }


def test_the_other_page_lists_the_keys_without_effect() -> None:
    table = CONFIG_PAGE.partition("## Keys without effect")[2].partition("\n## ")[0]
    rows = [row.split("|")[2] for row in table.splitlines() if row.startswith("| `")]
    listed = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert listed == set().union(*WITHOUT_EFFECT.values())


@pytest.mark.parametrize("page", ["README.md", "docs/migration.md"])
def test_no_affiliation_is_said_plainly(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert "not affiliated with" in text
