from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.config_helpers import MINIMAL, changed, load, problems
from vmanomaly.config import config_files, load_config
from vmanomaly.config.loading.document import MAX_BYTES
from vmanomaly.config.loading.load import load_again
from vmanomaly.config.reader import VmReaderSection
from vmanomaly.errors import ConfigError, DatasourceError
from vmanomaly.http.credentials import Credentials


def write(folder: Path, **contents: str) -> None:
    for name, content in contents.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")


def refused(*paths: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(paths, {})
    return caught.value.problems


class TestFiles:
    def test_folder_is_read_in_order_and_not_its_subfolders(self, tmp_path: Path) -> None:
        write(tmp_path, b="preset: b", a="preset: a")
        (tmp_path / "c.yml").write_text("preset: default")
        (tmp_path / "d.txt").write_text("preset: d")
        (tmp_path / ".hidden.yaml").write_text("preset: hidden")
        (tmp_path / "sub.yaml").mkdir()
        write(tmp_path / "sub.yaml", e="preset: e")
        assert [file.name for file in config_files(tmp_path)] == ["a.yaml", "b.yaml", "c.yml"]

    def test_later_files_win_and_mappings_merge(self, tmp_path: Path) -> None:
        minimal = yaml.safe_dump(MINIMAL)
        override = "reader: {timeout: 7s, queries: {cpu: {step: 2m}, ram: {expr: avg(ram)}}}"
        write(tmp_path, a=minimal, b=override, c="reader: {timeout: 9s}")
        config = load_config([tmp_path], {})
        assert config.reader.timeout.seconds == 9  # type: ignore[attr-defined]
        cpu, ram = config.reader.queries.values()
        assert (cpu.expr, str(cpu.step)) == ("avg(cpu)", "2m")
        assert (ram.expr, str(ram.step)) == ("avg(ram)", "1m")

    def test_lists_are_replaced(self, tmp_path: Path) -> None:
        base = changed({"reader.extra_filters": ["{a='1'}", "{b='1'}"]})
        write(tmp_path, a=yaml.safe_dump(base), b="reader: {extra_filters: [\"{c='1'}\"]}")
        reader = load_config([tmp_path], {}).reader
        assert reader.extra_filters == ("{c='1'}",)  # type: ignore[attr-defined]

    def test_class_names_of_both_kinds_merge(self, tmp_path: Path) -> None:
        long = "models: {z: {class: model.online.OnlineZscoreModel, z_threshold: 4}}"
        write(tmp_path, a=yaml.safe_dump(MINIMAL), b=long)
        assert load_config([tmp_path], {}).models["z"].class_name == "zscore_online"
        write(tmp_path, c="models: {z: {class: zscore_online, decay: 0.9}}")
        section = load_config([tmp_path], {}).models["z"]
        assert section.z_threshold == 4  # type: ignore[attr-defined]
        assert section.decay == 0.9  # type: ignore[attr-defined]

    def test_every_broken_file_is_told(self, tmp_path: Path) -> None:
        write(tmp_path, a="a: [", b="- 1", c="", d=yaml.safe_dump(MINIMAL))
        (tmp_path / "e.yaml").write_bytes(b"a: 1\nb: \xff")
        missing = tmp_path / "missing.yaml"
        messages = refused(tmp_path, missing)
        assert [message.partition(": ")[0] for message in messages] == [
            f"{tmp_path}/a.yaml:2:1",
            f"{tmp_path}/b.yaml:1:1",
            f"{tmp_path}/c.yaml",
            f"{tmp_path}/e.yaml:2",
            str(missing),
        ]
        assert messages[3].endswith("not YAML: the file is not UTF-8 text")
        assert messages[4].endswith("cannot be read (No such file or directory)")

    def test_folder_without_yaml(self, tmp_path: Path) -> None:
        assert refused(tmp_path) == [f"{tmp_path}: the folder holds no .yaml or .yml file"]

    def test_too_large(self, tmp_path: Path) -> None:
        write(tmp_path, a="#" * (MAX_BYTES + 1))
        assert refused(tmp_path / "a.yaml") == [f"{tmp_path}/a.yaml: larger than 8 MiB"]

    def test_byte_order_mark(self, tmp_path: Path) -> None:
        file = tmp_path / "a.yaml"
        file.write_text(yaml.safe_dump(MINIMAL), encoding="utf-8-sig")
        assert load_config([file], {}).models

    def test_string_paths(self, tmp_path: Path) -> None:
        write(tmp_path, a=yaml.safe_dump(MINIMAL))
        assert load_config([str(tmp_path / "a.yaml")], {}).models


class TestEnvironment:
    def test_values_reach_typed_keys(self) -> None:
        text = """
        reader: {datasource_url: %{URL}, tenant_id: %{TENANT}, user: u, password: %{PASSWORD},
                 sampling_period: %{STEP}, queries: {cpu: {expr: avg(cpu)}}}
        schedulers: {live: {fit_window: 1d, infer_every: 1m}}
        models: {z: {class: zscore_online, queries: all, schedulers: all, z_threshold: %{Z}}}
        writer: {datasource_url: %{URL}, tenant_id: %{TENANT}}
        server: {port: %{PORT}, use_reader_connection_settings: %{FLAG}}
        """
        environ = {
            "URL": "http://x:1",
            "TENANT": "0",
            "PASSWORD": "0123",
            "STEP": "30s",
            "Z": "3",
            "PORT": "80",
            "FLAG": "true",
        }
        config = load(text, environ)
        assert config.reader.datasource_url == "http://x:1"  # type: ignore[attr-defined]
        assert config.reader.tenant_id == "0"  # type: ignore[attr-defined]
        password = config.reader.password  # type: ignore[attr-defined]
        assert password.get_secret_value() == "0123"
        assert config.models["z"].z_threshold == 3  # type: ignore[attr-defined]
        assert config.server is not None
        assert config.server.port == 80
        assert config.server.use_reader_connection_settings

    def test_unset_is_warned_of_and_named(self, caplog: pytest.LogCaptureFixture) -> None:
        text = yaml.safe_dump(changed({"reader.user": "me", "reader.password": "PLACE"}))
        load(text.replace("PLACE", "%{DS_PASSWORD} # %{IN_A_COMMENT}"))
        (message,) = [record.message for record in caplog.records]
        assert message.startswith(
            "reader.password: the environment variable DS_PASSWORD is not set, "
            "so %{DS_PASSWORD} stays as it is (/"
        )

    def test_a_copilot_is_warned_of_once(self, caplog: pytest.LogCaptureFixture) -> None:
        model, server = "openai:x", "http://user:secret@mcp:8081"
        environ = {"VMANOMALY_COPILOT_MODEL": model, "VMANOMALY_MCP_SERVER_URL": server}
        text = yaml.safe_dump(MINIMAL)
        load(text, environ)
        assert caplog.records == []
        load(text, environ | {"VMANOMALY_COPILOT_ENABLED": "true"})
        (message,) = [record.message for record in caplog.records]
        assert message.startswith(
            "VMANOMALY_COPILOT_ENABLED, VMANOMALY_COPILOT_MODEL, VMANOMALY_MCP_SERVER_URL: ignored"
        )
        assert "secret" not in message

    def test_unset_url(self) -> None:
        text = yaml.safe_dump(changed({"reader.datasource_url": "PLACE"}))
        assert problems(text.replace("PLACE", "%{DS_URL}")) == [
            (
                "reader.datasource_url: expected a URL such as http://localhost:8428, "
                "got '%{DS_URL}': the environment variable DS_URL is not set"
            )
        ]

    def test_content_is_not_shown(self) -> None:
        text = yaml.safe_dump(changed({"reader.bearer_token_file": "PLACE"}))
        assert problems(text.replace("PLACE", "%{TOKEN}"), {"TOKEN": "hunter2"}) == [
            (
                "reader.bearer_token_file: expected a file that can be read "
                "(No such file or directory), got the value of %{TOKEN}"
            )
        ]


class TestLegacy:
    def test_flat_model_and_scheduler_and_bare_queries(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        config = load(
            """
            reader: {datasource_url: http://x, sampling_period: 1m, queries: {q1: avg(x)}}
            writer: {datasource_url: http://x}
            model: {class: model.zscore.ZscoreModel, z_threshold: 3.0}
            scheduler: {infer_every: 1m, fit_every: 2m, fit_window: 3h}
            """
        )
        assert config.models["default_model"].class_name == "zscore_online"
        assert config.models["default_model"].queries == ("q1",)
        assert config.models["default_model"].schedulers == ("default_scheduler",)
        assert config.reader.queries["q1"].expr == "avg(x)"
        messages = [record.message for record in caplog.records]
        assert "model: deprecated; runs as models.default_model" in messages
        assert "scheduler: deprecated; runs as schedulers.default_scheduler" in messages
        assert (
            "reader.queries: an expression in place of a mapping is deprecated (q1); "
            "put it under expr"
        ) in messages
        assert (
            "models.default_model.class: model.zscore.ZscoreModel is deprecated and runs as "
            "zscore_online; write that"
        ) in messages
        assert {record.name for record in caplog.records} == {"vmanomaly.config"}
        assert {record.levelno for record in caplog.records} == {logging.WARNING}

    def test_the_new_section_wins(self, caplog: pytest.LogCaptureFixture) -> None:
        config = load(changed({"model": {"class": "mad"}}))
        assert list(config.models) == ["z"]
        assert caplog.messages == ["model: deprecated, and ignored because models is there too"]

    def test_aliases_under_the_old_name(self, caplog: pytest.LogCaptureFixture) -> None:
        sections = {**MINIMAL, "scheduler": MINIMAL["schedulers"]}
        del sections["schedulers"]
        assert list(load(sections).schedulers) == ["live"]
        assert caplog.messages == ["scheduler: deprecated; call the section schedulers"]


def test_a_clean_config_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    load(MINIMAL)
    assert caplog.messages == []


def test_the_import_is_light() -> None:
    code = (
        "import sys, vmanomaly.config;"
        "heavy = {'numpy', 'numba', 'duckdb', 'fastapi', 'uvicorn', 'urllib3', 'orjson'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_a_pipe_is_not_read_again(tmp_path: Path) -> None:
    """It would block until somebody writes to it, and with it every reload to come."""
    pipe = tmp_path / "config.yaml"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match=r"config.yaml: a pipe or device is not read again"):
        load_again([pipe], {})
    pipe.unlink()
    with pytest.raises(ConfigError, match=r"config.yaml: cannot be read"):
        load_again([pipe], {})
    pipe.write_text(yaml.safe_dump(MINIMAL))
    assert load_again([str(pipe)], {}) == load_again([tmp_path], {})


def test_a_secret_is_not_read_from_a_pipe(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    content = changed({"reader.bearer_token_file": str(token)})
    section = load(content).reader
    assert isinstance(section, VmReaderSection)
    credentials = Credentials(section, "reader")
    assert credentials.headers(section.datasource_url) == {"Authorization": "Bearer secret"}
    token.unlink()
    os.mkfifo(token)
    with pytest.raises(DatasourceError, match=r"`reader.bearer_token_file` .*token is not a file"):
        credentials.headers(section.datasource_url)
    with pytest.raises(ConfigError, match=r"reader.bearer_token_file: .*\(Is a pipe\)"):
        load(content)
