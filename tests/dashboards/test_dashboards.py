"""The packaged dashboards: those of the generator, complete in themselves, and laid out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from dashboards.generate import generated
from vmanomaly.monitoring.metrics import Metrics

PRESETS = files("vmanomaly") / "presets"
TEXTS = generated()
BUILT_IN = {"__range", "__rate_interval"}


def panels_of(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all panels, those of collapsed rows too."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", ())


def expressions(board: dict[str, Any]) -> Iterator[str]:
    for panel in panels_of(board):
        yield from (target["expr"] for target in panel.get("targets", ()))


@pytest.fixture(params=TEXTS)
def path(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture
def board(path: str) -> dict[str, Any]:
    loaded = json.loads((PRESETS / path).read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_the_file_is_what_the_generator_gives(path: str) -> None:
    assert (PRESETS / path).read_text() == TEXTS[path], "run `make dashboards`"


def test_every_variable_is_defined_before_it_is_used(board: dict[str, Any]) -> None:
    known = set(BUILT_IN)
    for variable in board["templating"]["list"]:
        used = set(re.findall(r"\$\{?(\w+)", str(variable.get("query"))))
        assert used <= known, variable["name"]
        known.add(variable["name"])
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"]))) <= known


def test_every_variable_but_the_filters_is_used(board: dict[str, Any]) -> None:
    text = json.dumps(board)
    names = {variable["name"] for variable in board["templating"]["list"]} - {"filters"}
    assert names <= set(re.findall(r"\$\{?(\w+)", text))


def test_panels_are_numbered_and_do_not_overlap(board: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in panels_of(board)]
    assert len(numbers) == len(set(numbers))
    for panels in (board["panels"], *(panel.get("panels", ()) for panel in board["panels"])):
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert max(x for x, _ in cells) < 24, panel["title"]
            assert not cells & taken, panel["title"]
            taken |= cells


def test_every_panel_says_what_it_shows(board: dict[str, Any]) -> None:
    for panel in panels_of(board):
        if panel["type"] not in {"row", "text"}:
            assert panel["title"]
            assert panel["description"].endswith("."), panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"


def test_metrics_that_are_asked_for_exist() -> None:
    names = {
        sample
        for family in Metrics().registry.collect()
        for sample in (
            [f"{family.name}_total"]
            if family.type == "counter"
            else [f"{family.name}_{part}" for part in ("bucket", "count", "sum")]
            if family.type == "histogram"
            else [family.name]
        )
    }
    board = json.loads((PRESETS / "common" / "self_monitoring.json").read_text())
    asked = {
        name
        for expression in expressions(board)
        for name in re.findall(r"\b(?:vmanomaly|process)_\w+", expression)
    }
    # A pattern of two names.
    assert asked - {"vmanomaly_"} <= names
    shown = {re.sub("_(bucket|count|sum)$", "", name) for name in asked}
    unshown = {
        re.sub("_(bucket|count|sum)$", "", name) for name in names if name.startswith("vmanomaly")
    } - shown
    assert unshown == {
        "vmanomaly_api_requests_total",
        "vmanomaly_tasks_running",
        "vmanomaly_tasks_total",
        "vmanomaly_config_reload_enabled",
        "vmanomaly_model_last_run_timestamp_seconds",
        "vmanomaly_native_threads_per_worker",
        "vmanomaly_state_save_duration_seconds",
        "vmanomaly_ui_version_info",
    }
