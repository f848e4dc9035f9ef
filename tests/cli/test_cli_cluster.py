"""`vmanomaly cluster`: what is wrong before anything runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from tests.config_helpers import MINIMAL, without
from tests.integration.servers import free_port
from vmanomaly.cli import cluster as module
from vmanomaly.cli.dispatch import dispatch


@pytest.fixture(autouse=True)
def _no_logging_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "configure_logging", lambda *_: None)


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(MINIMAL))
    return str(file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--members"),
        (["--members", "0"], "expected a whole number from 1 to 1000, got '0'"),
        (["--members", "2", "--replication", "x"], "expected a whole number from 1 to 1000"),
        (["--members", "2", "--cpus", "-1"], "expected a number from 0 to 1000, got '-1'"),
        (["--members", "2", "--splitBy", "size"], "invalid choice: 'size'"),
        (["--members", "2", "--address", "ray://x:1"], "expected auto or HOST:PORT"),
        (["--members", "2", "--address", "somewhere"], "expected auto or HOST:PORT"),
    ],
)
def test_wrong_options_end_with_status_2(
    config: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["cluster", config, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_ray_it_says_how_to_install_it(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert dispatch(["cluster", config, "--members", "2"]) == 2
    assert "pip install 'vmanomaly[ray]'" in capsys.readouterr().err


def test_a_wrong_configuration_starts_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump(without("reader.queries")))
    monkeypatch.setattr("vmanomaly.cluster.ray_cluster.connected", None)
    assert dispatch(["cluster", str(file), "--members", "2"]) == 2
    assert "Config validation failed" in caplog.text


def test_where_nothing_listens_it_says_so(config: str, caplog: pytest.LogCaptureFixture) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert dispatch(["cluster", config, "--members", "2", "--address", address]) == 1
    assert f"cannot connect to Ray at {address}: Connection refused" in caplog.text


def test_more_replicas_than_members_is_worth_a_warning(
    config: str, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"127.0.0.1:{free_port()}"
    arguments = ["--members", "2", "--replication", "3", "--address", address]
    assert dispatch(["cluster", config, *arguments]) == 1
    assert "every member runs everything" in caplog.text
