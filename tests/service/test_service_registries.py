"""What holds for every class of the registries."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from vmanomaly.config.registry import MODELS, READERS, SCHEDULERS, WRITERS, Registry

REGISTRIES = (READERS, WRITERS, SCHEDULERS, MODELS)


def each_class(*registries: Registry[Any]) -> list[Any]:
    return [
        pytest.param(registry, alias, id=f"{registry.kind} {alias}")
        for registry in registries
        for alias in registry.aliases
    ]


@pytest.mark.parametrize(("registry", "alias"), each_class(*REGISTRIES))
def test_every_class_has_its_code(registry: Registry[Any], alias: str) -> None:
    assert callable(registry.implementation(alias))


PARTS = {
    "reader": {"section", "metrics", "data_folder"},
    "writer": {"section", "metrics"},
    "scheduler": {"section", "jobs", "clock", "executor", "longest_catch_up", "context"},
}


@pytest.mark.parametrize(("registry", "alias"), each_class(READERS, WRITERS, SCHEDULERS))
def test_a_class_is_made_of_what_there_is(registry: Registry[Any], alias: str) -> None:
    parameters = inspect.signature(registry.implementation(alias)).parameters.values()
    needed = {each.name for each in parameters if each.default is each.empty}
    assert needed <= PARTS[registry.kind]


@pytest.mark.parametrize(("registry", "alias"), each_class(READERS, WRITERS))
def test_readers_and_writers_can_be_warmed_up_before_there_is_one(
    registry: Registry[Any], alias: str
) -> None:
    registry.implementation(alias).warm_up()


def test_parts_go_to_the_parameters_that_name_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Made:
        def __init__(self, b: int, missing: int = 3) -> None:
            self.given = (b, missing)

    monkeypatch.setattr(READERS, "implementation", lambda name: Made)
    assert READERS.create("vm", a=1, b=2).given == (2, 3)
