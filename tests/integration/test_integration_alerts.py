"""The alert rules of the documentation: valid, and about metrics that there are."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.integration.servers import Process
from vmanomaly.monitoring.metrics import Metrics

ALERTS = Path(__file__).parents[2] / "docs" / "examples" / "alerts.yaml"


def run(log: Path, *command: str) -> tuple[int, str]:
    with Process(command, log) as process:
        return process.wait(30), process.output


def test_vmalert_takes_the_rules(tmp_path: Path) -> None:
    status, output = run(tmp_path / "vmalert.log", "vmalert", "-dryRun", f"-rule={ALERTS}")
    assert status == 0, output


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    status, output = run(tmp_path / "promtool.log", "promtool", "check", "rules", str(ALERTS))
    assert status == 0, output


def test_rules_ask_for_metrics_that_there_are() -> None:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    suffixes = {"counter": "_total", "histogram": "_count", "gauge": ""}
    names = {family.name + suffixes.get(family.type, "") for family in Metrics().registry.collect()}
    for rule in group["rules"]:
        asked = set(re.findall(r"\b(?:vmanomaly|process)_\w+", rule["expr"]))
        assert asked, rule
        assert asked <= names, rule
