"""What docs/config.md says is so."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from vmanomaly.config import load_config
from vmanomaly.config.http import HttpSection
from vmanomaly.config.model import (
    AutoSection,
    HoltWintersSection,
    IsolationForestSection,
    MadOnlineSection,
    ModelSection,
    OnlineModelSection,
    OptimizationParams,
    ProphetSection,
    QuantileOnlineSection,
    RollingQuantileSection,
    StdSection,
    TemporalEnvelopeMultivariateSection,
    TemporalEnvelopeSection,
    ZscoreOnlineSection,
)
from vmanomaly.config.monitoring import MonitoringSection, PullSection, PushSection
from vmanomaly.config.reader import (
    DuckdbReaderSection,
    Query,
    ReaderSection,
    VlogsReaderSection,
    VmReaderSection,
)
from vmanomaly.config.registry import MODELS, READERS, SCHEDULERS, WRITERS
from vmanomaly.config.scheduler import (
    BacktestingSection,
    OneoffSection,
    PeriodicSection,
    SchedulerSection,
    TimedSection,
)
from vmanomaly.config.section import Section
from vmanomaly.config.server import ServerSection
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.writer import (
    DuckdbWriterSection,
    HttpWriterSection,
    RemoteWriteSection,
    VmWriterSection,
    WriterSection,
)
from vmanomaly.errors import ConfigError

PAGE = (Path(__file__).parents[2] / "docs" / "config.md").read_text(encoding="utf-8")
EXAMPLE = PAGE.partition("```yaml\n")[2].partition("```")[0]

# The tables under each heading, in order, and the sections whose own keys they list.
TABLES: dict[str, list[tuple[type[Section], ...]]] = {
    "HTTP": [(HttpSection,)],
    "Reader": [(ReaderSection,)],
    "Queries": [(Query,)],
    "Reader `vm`": [(VmReaderSection,)],
    "Reader `duckdb`": [(DuckdbReaderSection,)],
    "Models": [(ModelSection,), (OnlineModelSection,)],
    "Model `zscore_online`": [(ZscoreOnlineSection,)],
    "Model `mad_online`": [(MadOnlineSection,)],
    "Model `quantile_online`": [(QuantileOnlineSection,)],
    "Model `rolling_quantile`": [(RollingQuantileSection,)],
    "Model `std`": [(StdSection,)],
    "Model `temporal_envelope`": [(TemporalEnvelopeSection,)],
    "Model `temporal_envelope_multivariate`": [(TemporalEnvelopeMultivariateSection,)],
    "Model `prophet`": [(ProphetSection,)],
    "Model `holtwinters`": [(HoltWintersSection,)],
    "Model `isolation_forest`": [(IsolationForestSection,)],
    "Model `auto`": [(AutoSection,), (OptimizationParams,)],
    "Schedulers": [(SchedulerSection,)],
    "Scheduler `periodic`": [(PeriodicSection,)],
    "Scheduler `oneoff`": [(OneoffSection,)],
    "Scheduler `backtesting`": [(BacktestingSection,)],
    "Writer": [(WriterSection,)],
    "Writer `vm`": [(HttpWriterSection, VmWriterSection)],
    "Writer `duckdb`": [(DuckdbWriterSection,)],
    "Settings": [(SettingsSection,)],
    "Server": [(ServerSection,)],
    "Monitoring": [(MonitoringSection,), (PullSection,), (PushSection,)],
}
WITHOUT_KEYS_OF_THEIR_OWN = (VlogsReaderSection, RemoteWriteSection)

# Defaults that the page words in another way than the code.
WORDED = {
    ("ReaderSection", "class"): "vm",
    ("WriterSection", "class"): "vm",
    ("SchedulerSection", "class"): "periodic",
    ("ReaderSection", "queries"): "required",
    ("Query", "step"): "sampling_period",
    ("ModelSection", "queries"): "all",
    ("ModelSection", "schedulers"): "all",
    ("VmReaderSection", "fetch_timeout"): "timeout",
    ("VmReaderSection", "processing_timeout"): "timeout",
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


@pytest.mark.parametrize("heading", TABLES)
def test_keys_and_defaults(heading: str) -> None:
    expected = [
        {key: default(section, key) for section in sections for key in own_keys(section)}
        for sections in TABLES[heading]
    ]
    if heading == "Monitoring":
        del expected[2]["url"]
    assert tables(heading) == expected


def test_every_section_has_a_table() -> None:
    shown = {section for places in TABLES.values() for place in places for section in place}
    listed: list[type[Section]] = [
        registry[alias].section
        for registry in (READERS, WRITERS, SCHEDULERS, MODELS)
        for alias in registry.aliases
    ]
    assert all(
        section in shown or section in WITHOUT_KEYS_OF_THEIR_OWN or not own_keys(section)
        for section in listed
    )


@pytest.mark.parametrize("registry", [READERS, WRITERS, SCHEDULERS, MODELS])
def test_classes(registry: object) -> None:
    for alias in registry.aliases:  # type: ignore[attr-defined]
        entry = registry[alias]  # type: ignore[index]
        mark = "" if entry.implementation else "**later** "
        kind = registry.kind  # type: ignore[attr-defined]
        assert f"| {kind} | `{alias}` | `{entry.names[0]}` | {mark}|" in PAGE
    deprecated = [entry.deprecated_names for entry in map(MODELS.__getitem__, MODELS.aliases)]
    assert all(f"`{name}`" in PAGE for names in deprecated for name in names)


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
    assert str(caught.value) + "\n" == printed
