"""The examples for Compose and for the public chart, without either."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vmanomaly.cli.arguments import parse_arguments
from vmanomaly.config import load_config

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
VALUES: dict[str, Any] = yaml.safe_load((ROOT / "examples/helm-values.yaml").read_text())
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def as_the_chart_writes_it(values: dict[str, Any]) -> dict[str, Any]:
    """Put the defaults of the chart around its value `config`."""
    config = values["config"]
    return {
        "settings": {"restore_state": values["persistentVolume"]["enabled"]},
        "preset": "",
        **config,
        "reader": {"class": "vm", **config["reader"]},
        "writer": {"class": "vm", **config["writer"]},
    }


def test_the_values_for_the_chart_are_a_configuration_without_warnings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "config.yml"
    file.write_text(yaml.safe_dump(as_the_chart_writes_it(VALUES)))
    environ = {"VM_PASSWORD": "sesame", "VMANOMALY_MODEL_DUMPS_DIR": str(tmp_path / "models")}
    config = load_config([file], environ)
    assert caplog.messages == []
    assert set(config.reader.queries) == set(VALUES["config"]["reader"]["queries"])


def test_the_chart_is_given_what_it_does_not_start_without() -> None:
    assert VALUES["license"]["key"]
    assert all(VALUES["image"].values())
    mounts = {mount["mountPath"] for mount in VALUES["extraVolumeMounts"]}
    assert VALUES["securityContext"]["readOnlyRootFilesystem"]
    assert "/tmp" in mounts  # noqa: S108 - the place in the container


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_images_of_compose_are_pinned(service: str) -> None:
    image = COMPOSE["services"][service]["image"]
    if "build" in COMPOSE["services"][service]:
        assert image == "vmanomaly:local"
    else:
        assert re.search(r":v?\d+\.\d+\.\d+$", image)


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_what_compose_mounts_exists(service: str) -> None:
    for volume in COMPOSE["services"][service].get("volumes", ()):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).is_file(), source
        elif not source.startswith("/"):
            assert source in COMPOSE["volumes"]


def test_the_service_of_compose_starts_with_its_configuration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = COMPOSE["services"]["vmanomaly"]
    places = {
        volume.split(":")[1]: ROOT / volume.split(":")[0]
        for volume in service["volumes"]
        if volume.startswith(".")
    }
    options = parse_arguments(service["command"])
    (config,) = [places[str(path)] for path in options.configs]
    load_config([config], service["environment"])
    assert caplog.messages == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    text = workflow.read_text()
    assert yaml.safe_load(text)["jobs"]
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    for action, comment in used:
        assert re.search(r"@[0-9a-f]{40}$", action), action
        assert re.search(r" # v\d+\.\d+\.\d+$", comment), action


def test_there_are_workflows() -> None:
    assert {path.name for path in WORKFLOWS} == {"ci.yml", "release.yml"}
