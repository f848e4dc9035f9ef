"""What docs/config.md says is so."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from vmanomaly.config import load_config
from vmanomaly.config.http import HttpSection
from vmanomaly.config.model import CustomSection, ModelSection, OnlineModelSection
from vmanomaly.config.model.auto import OptimizationParams
from vmanomaly.config.monitoring import MonitoringSection, PullSection, PushSection
from vmanomaly.config.reader import (
    HttpQuery,
    HttpReaderSection,
    Query,
    ReaderSection,
    VlogsQuery,
)
from vmanomaly.config.registry import MODELS, READERS, SCHEDULERS, WRITERS, Entry
from vmanomaly.config.scheduler import SchedulerSection, TimedSection
from vmanomaly.config.section import Section
from vmanomaly.config.server import ServerSection
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.writer import HttpWriterSection, VmWriterSection, WriterSection
from vmanomaly.errors import ConfigError

PAGE = (Path(__file__).parents[2] / "docs" / "config.md").read_text(encoding="utf-8")
EXAMPLE = PAGE.partition("```yaml\n")[2].partition("```")[0]

REGISTRIES = (READERS, WRITERS, SCHEDULERS, MODELS)
ENTRIES: list[tuple[str, Entry[Any]]] = [
    (registry.kind, entry) for registry in REGISTRIES for entry in registry
]
"""Every class, with its kind."""

# Defaults that the page words in another way than the code.
WORDED = {
    ("ReaderSection", "class"): "vm",
    ("WriterSection", "class"): "vm",
    ("SchedulerSection", "class"): "periodic",
    ("ReaderSection", "queries"): "required",
    ("Query", "step"): "sampling_period",
    ("ModelSection", "queries"): "all",
    ("ModelSection", "schedulers"): "all",
    ("HttpReaderSection", "fetch_timeout"): "timeout",
    ("HttpReaderSection", "processing_timeout"): "timeout",
    ("PeriodicSection", "fit_every"): "infer_every",
    ("WriterSection", "metric_format"): "{__name__: $VAR, for: $QUERY_KEY}",
    ("ServerSection", "path_prefix"): "none",
    ("ServerSection", "ui_default_state"): "none",
    ("ServerSection", "uvicorn_config"): "{log_level: warning}",
}


def tables(heading: str) -> list[dict[str, str]]:
    """Return key and default of each table with a column `default` under a heading."""
    match = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
    assert match, heading
    found: list[dict[str, str]] = []
    for line in match[1].splitlines():
        if line.startswith("| key | default |"):
            found.append({})
        elif found and line.startswith("| `"):
            keys, default = (cell.strip() for cell in line.split("|")[1:3])
            found[-1] |= {key.strip(" `"): default.strip("`") for key in keys.split(",")}
    return found


def own_keys(section: type[Section]) -> list[str]:
    inherited = {
        key for base in section.__mro__[1:] if issubclass(base, Section) for key in base.yaml_keys()
    }
    keys = [key for key in section.yaml_keys() if key not in inherited]
    return ["url" if key == "datasource_url" and section is PushSection else key for key in keys]


def default(section: type[Section], key: str) -> str:
    if (section.__name__, key) in WORDED:
        return WORDED[section.__name__, key]
    if issubclass(section, TimedSection) and key in section.time_keys():
        return "required"
    field: FieldInfo = next(
        field for name, field in section.model_fields.items() if key in (name, field.alias)
    )
    if field.default_factory is not None:
        return "{}"
    return "required" if field.default is PydanticUndefined else wording(field.default)


def wording(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case Duration():
            return str(value)
        case float() if not math.isinf(value):
            return f"{value:g}"
        case tuple():
            return f"[{', '.join(wording(item) for item in value)}]"
    return str(value)


# The tables under each heading, in order, and the sections whose own keys they list.
TABLES: dict[str, list[tuple[type[Section], ...]]] = {
    "HTTP": [(HttpSection,)],
    "Reader": [(ReaderSection,)],
    "Queries": [(Query, HttpQuery)],
    "Readers `vm` and `vlogs`": [(HttpReaderSection,)],
    "Models": [(ModelSection,), (OnlineModelSection,)],
    "Schedulers": [(SchedulerSection,)],
    "Writer": [(WriterSection,)],
    "Settings": [(SettingsSection,)],
    "Server": [(ServerSection,)],
    "Monitoring": [(MonitoringSection,), (PullSection,), (PushSection,)],
    **{
        f"{kind.title()} `{entry.alias}`": [(entry.section,)]
        for kind, entry in ENTRIES
        if own_keys(entry.section)
    },
}
TABLES["Writer `vm`"] = [(HttpWriterSection, VmWriterSection)]
TABLES["Reader `vlogs`"].append((VlogsQuery,))
TABLES["Model `auto`"].append((OptimizationParams,))


@pytest.mark.parametrize("heading", TABLES)
def test_keys_and_defaults(heading: str) -> None:
    expected = [
        {key: default(section, key) for section in sections for key in own_keys(section)}
        for sections in TABLES[heading]
    ]
    if heading == "Monitoring":
        del expected[2]["url"]
    assert tables(heading) == expected


@pytest.mark.parametrize(("kind", "entry"), ENTRIES, ids=lambda part: getattr(part, "alias", part))
def test_classes(kind: str, entry: Entry[Any]) -> None:
    mark = "online" if issubclass(entry.section, OnlineModelSection) else ""
    if entry.section is CustomSection:
        mark = "[yours](custom-models.md)"
    if entry.alias == "noop":
        mark = "[does nothing](#the-classes-noop)"
    columns = [kind, f"`{entry.alias}`", f"`{entry.names[0]}`", mark]
    assert f"| {' | '.join(columns)} |".replace("|  |", "| |") in PAGE
    assert all(f"`{name}`" in PAGE for name in entry.deprecated_names)


def test_no_other_classes() -> None:
    rows = re.findall(r"^\| (reader|writer|scheduler|model) \| `(\w+)`", PAGE, re.M)
    assert rows == [(kind, entry.alias) for kind, entry in ENTRIES]


def test_the_example_at_the_top(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(EXAMPLE)
    assert load_config([tmp_path], {}).models


MISTAKES = re.findall(
    r"^\*\*\d+\. (.*?)\*\*\n\n```yaml\n(.*?)```\n\n```text\n(.*?)```",
    PAGE.partition("## Ten mistakes")[2],
    re.M | re.S,
)


def test_there_are_ten_mistakes() -> None:
    assert len(MISTAKES) == 10


@pytest.mark.parametrize(("text", "printed"), [mistake[1:] for mistake in MISTAKES])
def test_mistakes(text: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(EXAMPLE)
    Path("config.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(["base.yaml", "config.yaml"], {})
    pattern = re.escape(printed).replace(re.escape("[...]"), "[^;\n]*")
    assert re.fullmatch(pattern, str(caught.value) + "\n")
