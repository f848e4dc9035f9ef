"""What every field says that it decides."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import pytest
from pydantic import Field

from tests.config_helpers import MINIMAL, changed, load
from vmanomaly.config.config import Config
from vmanomaly.config.effect import HARMLESS, LEARNED_FROM, RESTARTS, Effect
from vmanomaly.config.http import HttpSection
from vmanomaly.config.model import ModelSection
from vmanomaly.config.monitoring import MonitoringSection
from vmanomaly.config.reader import HttpQuery, Query, ReaderSection
from vmanomaly.config.registry import MODELS, READERS, SCHEDULERS, WRITERS
from vmanomaly.config.section import Section
from vmanomaly.config.server import ServerSection
from vmanomaly.config.settings import SettingsSection
from vmanomaly.model.scoring import POLICY_KEYS

SECTIONS: list[type[Section]] = [
    *(entry.section for registry in (READERS, WRITERS, SCHEDULERS, MODELS) for entry in registry),
    *(entry.section.query for entry in READERS),
    SettingsSection,
    ServerSection,
    MonitoringSection,
]


def fields_with(section: type[Section], effect: Effect) -> set[str]:
    return {
        field.alias or name
        for name, field in section.model_fields.items()
        if section.effect_of(name) is effect
    }


@pytest.mark.parametrize("section", list(dict.fromkeys(SECTIONS)))
def test_every_field_says_what_it_decides(section: type[Section]) -> None:
    for name in section.model_fields:
        assert isinstance(section.effect_of(name), Effect)


def test_a_field_that_is_forgotten_is_found() -> None:
    class Forgetful(HttpSection, ReaderSection):
        marked: Annotated[int, RESTARTS] = 1
        forgotten: int = 2

    class Heir(Forgetful):
        marked: int = 3

    assert Heir.effect_of("marked") is RESTARTS
    with pytest.raises(TypeError, match=r"Forgetful\.forgotten does not say what it decides"):
        Heir.effect_of("forgotten")


def test_the_nearest_word_counts() -> None:
    class Base(Section):
        default_effect: ClassVar[Effect | None] = RESTARTS

        name: str = Field("x", alias="n")
        other: Annotated[int, HARMLESS] = 1

    class Derived(Base):
        name: Annotated[str, LEARNED_FROM] = Field("y", alias="n")
        added: int = 2

    assert Base.effect_of("name") is RESTARTS
    assert Derived.effect_of("name") is LEARNED_FROM
    assert Derived.effect_of("added") is RESTARTS
    assert Derived().deciding(LEARNED_FROM, HARMLESS) == {"n": "y", "other": 1}


def test_what_is_learned_from_a_reader_and_its_queries() -> None:
    address = {"class", "datasource_url", "tenant_id", "query_range_path", "extra_filters"}
    assert fields_with(READERS["vm"].section, LEARNED_FROM) == address
    assert fields_with(READERS["duckdb"].section, LEARNED_FROM) == {"class", "path"}
    assert fields_with(Query, LEARNED_FROM) == {"expr", "step", "tz", "tenant_id", "offset"}
    assert fields_with(HttpQuery, LEARNED_FROM) == fields_with(Query, LEARNED_FROM)


@pytest.mark.parametrize("entry", list(MODELS), ids=lambda entry: entry.alias)
def test_models_learn_from_all_but_where_they_run_and_what_scores_become(entry: Any) -> None:
    others = {"queries", "schedulers", "provide_series", "class_folder", *POLICY_KEYS}
    assert not fields_with(entry.section, LEARNED_FROM) & others
    assert fields_with(entry.section, LEARNED_FROM) | others >= {
        field.alias or name for name, field in entry.section.model_fields.items()
    }
    assert fields_with(entry.section, HARMLESS) == {"schedulers"}


def test_policies_of_a_model_are_those_that_scoring_knows() -> None:
    assert set(POLICY_KEYS) <= ModelSection.model_fields.keys()


@pytest.mark.parametrize("entry", list(SCHEDULERS), ids=lambda entry: entry.alias)
def test_all_of_a_scheduler_decides_what_is_learned(entry: Any) -> None:
    # Runs at other times are no reason to learn again.
    deciding = entry.section.model_fields.keys() - {"aligned"}
    assert len(fields_with(entry.section, LEARNED_FROM)) == len(deciding)


def test_nothing_is_learned_from_the_rest() -> None:
    rest: list[type[Section]] = [ServerSection, MonitoringSection]
    rest += [entry.section for entry in WRITERS]
    for section in rest:
        assert len(fields_with(section, RESTARTS)) == len(section.model_fields)
    assert fields_with(SettingsSection, RESTARTS) == {
        "n_workers",
        "executor",
        "executor_address",
        "retention",
        "checkpoint_interval",
    }
    assert fields_with(SettingsSection, LEARNED_FROM) == set()


def test_every_section_of_a_configuration_is_looked_at() -> None:
    config: Config = load(changed({"models.m": {"class": "mad_online", "queries": "all"}}, MINIMAL))
    parts = [
        *config.models.values(),
        *config.schedulers.values(),
        *config.reader.queries.values(),
        config.reader,
        config.writer,
        config.settings,
        config.server,
        config.monitoring,
    ]
    assert {type(part) for part in parts} <= set(SECTIONS)
