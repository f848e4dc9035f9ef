"""What the command line says about one of several members."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.config.test_config_splitting import PUBLISHED
from vmanomaly.cli import run as module
from vmanomaly.cli.dispatch import dispatch
from vmanomaly.config import load_config

MEMBER_0 = "Member 0 of 2 (from 0), replication factor 1, split by complete"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(module, "configure_logging", lambda *_: None)
    monkeypatch.setenv("VMANOMALY_MEMBERS_COUNT", "2")
    monkeypatch.setenv("VMANOMALY_MEMBER_NUM", "vmanomaly-0")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(PUBLISHED))
    return str(path)


def test_a_dry_run_lists_the_sub_configs_of_this_member(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["--dryRun", config]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"The configuration is valid. {MEMBER_0}: 2 of 3 sub-configs",
        "  fast:cpu_zscore:cpu",
        "  seasonal:gpu_envelope:power,temperature",
        "No state is stored: every model is fitted at startup.",
    ]


def test_a_dry_run_of_a_member_with_nothing_to_do(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMANOMALY_MEMBERS_COUNT", "5")
    monkeypatch.setenv("VMANOMALY_MEMBER_NUM", "4")
    assert dispatch(["--dryRun", config]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(
        "Member 4 of 5 (from 0), replication factor 1, split by complete: 0 of 3 sub-configs"
    )


def test_the_specification_is_that_of_this_members_part(config: str, tmp_path: Path) -> None:
    specification = tmp_path / "spec.yaml"
    assert dispatch(["--dryRun", "--outputSpec", str(specification), config]) == 0
    part = load_config([specification], {})
    assert set(part.units) == {
        ("fast", "cpu_zscore", ("cpu",)),
        ("seasonal", "gpu_envelope", ("power", "temperature")),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VMANOMALY_MEMBER_NUM", "2"),
        ("VMANOMALY_MEMBERS_COUNT", "0"),
        ("VMANOMALY_REPLICATION_FACTOR", "none"),
        ("VMANOMALY_SPLIT_BY", "hosts"),
    ],
)
def test_a_wrong_variable_ends_it_with_its_name(
    name: str,
    value: str,
    config: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(name, value)
    assert dispatch([config]) == 2
    (problem,) = caplog.records[-1].problems  # type: ignore[attr-defined]
    assert problem.startswith(f"{name}: ")
