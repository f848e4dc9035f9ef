"""`vmanomaly split`, also as `python -m config_splitter`."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.test_config_presets import NODE_EXPORTER
from tests.config.test_config_splitting import PUBLISHED
from tests.config_helpers import changed
from vmanomaly.cli import split as module
from vmanomaly.cli.dispatch import dispatch
from vmanomaly.cli.split import file_names
from vmanomaly.config import load_config
from vmanomaly.config.splitting import SubConfig


@pytest.fixture(autouse=True)
def _no_logging_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "configure_logging", lambda *_: None)


def write(path: Path, content: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(content))
    return str(path)


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def split(*arguments: str | Path) -> int:
    return dispatch(["split", *map(str, arguments)])


def test_defaults(tmp_path: Path) -> None:
    config = write(tmp_path / "config.yaml", PUBLISHED)
    assert split(config, "--outputDir", tmp_path / "a" / "b") == 0
    assert files(tmp_path / "a" / "b") == [
        "fast:cpu_zscore:cpu.yaml",
        "fast:cpu_zscore:error_rate.yaml",
        "seasonal:gpu_envelope:power,temperature.yaml",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--splitBy=schedulers"], ["fast.yaml", "seasonal.yaml"]),
        (["-splitBy", "MODELS"], ["cpu_zscore.yaml", "gpu_envelope.yaml"]),
        (["--splitBy", "queries", "--fileNameFormat", "int"], ["0.yaml", "1.yaml", "2.yaml"]),
        (["--splitBy", "extra_filters"], ["_env=_dev__.yaml", "_env=_prod__.yaml"]),
    ],
)
def test_options(options: list[str], expected: list[str], tmp_path: Path) -> None:
    config = write(tmp_path / "config.yaml", PUBLISHED)
    assert split(config, *options, f"--outputDir={tmp_path / 'out'}") == 0
    assert files(tmp_path / "out") == expected


def test_files_and_folders_are_merged_as_the_service_does(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    write(folder / "a.yml", {key: PUBLISHED[key] for key in ("schedulers", "models")})
    write(folder / "b.yaml", {key: PUBLISHED[key] for key in ("reader", "writer")})
    extra = write(tmp_path / "extra.yaml", {"models": {"gpu_envelope": {"schedulers": ["fast"]}}})
    assert split(folder, extra, "--splitBy", "schedulers", "--outputDir", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["fast.yaml"]


def test_each_file_is_a_valid_config_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    config = write(tmp_path / "config.yaml", NODE_EXPORTER)
    assert split(config, "--outputDir", tmp_path / "out", "--fileNameFormat", "hash") == 0
    units = []
    for file in (tmp_path / "out").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        child = load_config([file], {})
        assert child.preset == "node-exporter"
        units += child.units
    assert sorted(units) == sorted(load_config([Path(config)], {}).units)


def test_the_parent_is_validated_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = changed({"models.cpu_zscore.data_range": [0, 1]}, PUBLISHED)
    config = write(tmp_path / "config.yaml", content)
    assert split(config, "--outputDir", tmp_path / "out") == 0
    assert sum("deprecated on a model" in line for line in caplog.messages) == 1


def test_a_wrong_config_writes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = write(tmp_path / "config.yaml", changed({"reader.sampling_period": 1}, PUBLISHED))
    assert split(config, "--outputDir", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()
    assert "Config validation failed: 1 problem" in caplog.text


def test_nothing_to_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = write(tmp_path / "config.yaml", {"preset": "ui"})
    assert split(config, "--outputDir", tmp_path / "out") == 2
    assert caplog.records[-1].problems == ["models: there is nothing to split, since no model runs"]  # type: ignore[attr-defined]


def test_variables_of_members_have_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMANOMALY_MEMBERS_COUNT", "3")
    monkeypatch.setenv("VMANOMALY_MEMBER_NUM", "2")
    config = write(tmp_path / "config.yaml", PUBLISHED)
    assert split(config, "--outputDir", tmp_path / "out") == 0
    assert len(files(tmp_path / "out")) == 3


def test_files_of_another_split_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = write(tmp_path / "config.yaml", PUBLISHED)
    assert split(config, "--outputDir", tmp_path / "out", "--splitBy", "models") == 0
    assert "also holds" not in caplog.text
    assert split(config, "--outputDir", tmp_path / "out", "--splitBy", "schedulers") == 0
    assert "also holds 2 files that this did not write, such as cpu_zscore.yaml" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.yaml"], "--outputDir"),
        (["--outputDir", "out"], "CONFIG"),
        (["a.yaml", "--outputDir", "out", "--splitBy", "hosts"], "invalid choice: 'hosts'"),
        (["a.yaml", "--outputDir", "out", "--fileNameFormat", "x"], "invalid choice: 'x'"),
        (["a.yaml", "--outputDir", "out", "--output", "x"], "--output"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert split(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.endswith("see vmanomaly split -h\n")


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(tmp_path / "config.yaml", PUBLISHED)
    assert split(config, "--outputDir", Path(config) / "out") == 2
    assert "Not a directory" in capsys.readouterr().err


class TestFileNames:
    @staticmethod
    def names(*names: str) -> list[str]:
        return file_names([SubConfig(name, frozenset()) for name in names], "raw")

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("a:b:c,d", "a:b:c,d.yaml"),
            ("../../etc/passwd", "_._.._etc_passwd.yaml"),
            (".hidden", "_hidden.yaml"),
            ("-rf", "_rf.yaml"),
            ("größe\n", "gr__e_.yaml"),
            ("%{NAME}", "__NAME_.yaml"),
        ],
    )
    def test_are_safe(self, name: str, expected: str) -> None:
        assert self.names(name) == [expected]

    def test_differ(self) -> None:
        assert self.names("a/b", "a b", "A_b") == ["a_b.yaml", "a_b-2.yaml", "A_b-3.yaml"]
        long, longer = self.names("x" * 300, "x" * 301)
        assert long != longer
        assert max(len(long), len(longer)) < 255

    def test_hashes_depend_on_the_name_only(self) -> None:
        one, two = (SubConfig(name, frozenset()) for name in "ab")
        assert file_names([one, two], "hash")[1:] == file_names([two], "hash")


@pytest.mark.slow
@pytest.mark.parametrize("command", [["config_splitter"], ["vmanomaly", "split"]])
def test_as_a_process(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command, "/dev/stdin", "--splitBy", "models", "--outputDir", "out"],
        cwd=tmp_path,
        env=os.environ,
        input=yaml.safe_dump(PUBLISHED),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Split by models: 2 files in out" in done.stderr
    assert files(tmp_path / "out") == ["cpu_zscore.yaml", "gpu_envelope.yaml"]
