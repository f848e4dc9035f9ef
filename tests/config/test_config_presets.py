"""Presets, and the user's files over them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.config_helpers import MINIMAL, changed, load, problems
from vmanomaly.config import resolved_yaml
from vmanomaly.config.presets import preset_names, read_preset
from vmanomaly.config.reader import VmReaderSection

NODE_EXPORTER: dict[str, Any] = {
    "preset": "node-exporter",
    "reader": {"datasource_url": "http://vm:8428"},
    "writer": {"datasource_url": "http://vm:8428"},
}
INDICATORS = {
    "page_faults",
    "context_switch",
    "cpu_seconds_total",
    "host_network_receive_errors",
    "host_network_transmit_errors",
    "receive_bytes",
    "transmit_bytes",
    "read_latency",
    "write_latency",
}


class TestName:
    @pytest.mark.parametrize("written", [None, "", "default", "default:v1", "default:v1.30.2"])
    def test_of_none(self, written: str | None) -> None:
        assert load(changed({"preset": written})) == load(MINIMAL)

    @pytest.mark.parametrize("name", ["ui", "node-exporter"])
    def test_with_a_version(self, name: str) -> None:
        content = {**NODE_EXPORTER, "preset": name} if name != "ui" else {"preset": name}
        config = load({**content, "preset": f"{name}:v1.2"})
        assert config.preset == name
        assert config == load(content)

    def test_unknown(self) -> None:
        known = "expected one of default, node-exporter, ui"
        assert problems({"preset": "mine"}) == [f"preset: {known}, got 'mine'"]
        assert problems({"preset": "mine:v1"}) == [f"preset: {known}, got 'mine:v1'"]
        assert problems({"preset": [1]}) == [f"preset: {known}, got a list"]
        assert problems({"preset": "../ui"}) == [f"preset: {known}, got '../ui'"]

    def test_with_a_wrong_version(self) -> None:
        (problem,) = problems({"preset": "ui:1"})
        assert problem.startswith("preset: expected a version such as v1.2 after the colon")


class TestUi:
    def test_needs_nothing_and_warns_of_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        config = load({"preset": "ui"})
        assert (config.preset, config.units, config.reader.reads) == ("ui", [], False)
        assert config.server is not None
        assert caplog.messages == []

    def test_takes_settings_of_the_server(self) -> None:
        content = {"preset": "ui", "server": {"port": 9000}, "settings": {"n_workers": 2}}
        config = load(content)
        assert config.server is not None
        assert (config.server.port, config.settings.n_workers) == (9000, 2)

    def test_written_out_as_the_operator_does(self, caplog: pytest.LogCaptureFixture) -> None:
        content = {
            "preset": "ui",
            "models": {"placeholder": {"class": "zscore", "schedulers": ["noop"]}},
            "schedulers": {"noop": {"class": "noop"}},
            "reader": {"class": "noop", "datasource_url": "", "sampling_period": None},
            "writer": {"class": "noop", "datasource_url": ""},
        }
        assert load(content) == load({"preset": "ui"})
        (deprecated,) = caplog.messages
        assert deprecated.startswith("models.placeholder.class: zscore is deprecated")


class TestNodeExporter:
    def test_has_nine_indicators_of_three_models_under_two_schedulers(self) -> None:
        config = load(NODE_EXPORTER)
        assert set(config.reader.queries) == INDICATORS
        assert set(config.models) == {"temporal_envelope", "mad", "z-score"}
        windows = {alias: str(each.fit_window) for alias, each in config.schedulers.items()}  # type: ignore[attr-defined]
        assert windows == {"1d_1m": "1d", "2w_1m": "2w"}
        assert {str(each.infer_every) for each in config.schedulers.values()} == {"1m"}  # type: ignore[attr-defined]
        assert len(config.units) == 9 * 3 * 2
        assert config.monitoring.pull is not None
        assert config.writer.metric_format["__name__"] == "$VAR"

    def test_the_published_expressions(self) -> None:
        queries = load(NODE_EXPORTER).reader.queries
        assert queries["context_switch"].expr == "rate(node_context_switches_total[3m])"
        assert queries["host_network_receive_errors"].expr == (
            "rate(node_network_receive_errs_total[3m]) / "
            "rate(node_network_receive_packets_total[3m])"
        )
        assert queries["cpu_seconds_total"].expr == (
            "avg(rate(node_cpu_seconds_total[5m])) by (mode, instance)"
        )

    def test_needs_the_addresses(self) -> None:
        assert problems({"preset": "node-exporter"}) == [
            "reader.datasource_url: required, but not set",
            "writer.datasource_url: required, but not set",
        ]

    def test_the_users_files_win(self) -> None:
        content = changed(
            {
                "reader.tenant_id": "7:1",
                "reader.queries": {
                    "page_faults": {"expr": "rate(node_vmstat_pgfault[3m])"},
                    "load": {"expr": "node_load5"},
                },
                "models": {"mad": {"threshold": 7}, "z-score": {"queries": ["load"]}},
                "monitoring": {"pull": {"port": 9999}},
            },
            NODE_EXPORTER,
        )
        config = load(content)
        assert set(config.reader.queries) == {*INDICATORS, "load"}
        page_faults = config.reader.queries["page_faults"]
        assert page_faults.expr == "rate(node_vmstat_pgfault[3m])"
        assert page_faults.detection_direction == "above_expected"
        assert config.models["mad"].threshold == 7  # type: ignore[attr-defined]
        assert config.models["mad"].class_name == "mad_online"
        assert config.models["z-score"].queries == ("load",)
        assert config.monitoring.pull is not None
        assert config.monitoring.pull.port == 9999

    def test_null_removes_what_it_brings(self) -> None:
        changes = {
            "reader.queries": {"page_faults": None},
            "models": {"temporal_envelope": None},
            "schedulers": {"2w_1m": None},
        }
        config = load(changed(changes, NODE_EXPORTER))
        assert set(config.reader.queries) == INDICATORS - {"page_faults"}
        assert set(config.models) == {"mad", "z-score"}
        assert set(config.schedulers) == {"1d_1m"}

    def test_null_removes_nothing_else(self) -> None:
        (problem,) = problems(changed({"models": {"mine": None}}, NODE_EXPORTER))
        assert problem.startswith("models.mine: expected a mapping")

    def test_old_forms_are_merged_too(self) -> None:
        content = changed({"model": {"mad": {"threshold": 7}}}, NODE_EXPORTER)
        assert load(content).models["mad"].threshold == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "content",
    [
        {"preset": "ui"},
        NODE_EXPORTER,
        changed(
            {
                "reader.queries": {"page_faults": None},
                "models": {"temporal_envelope": None, "mad": {"queries": None}},
                "schedulers": {"2w_1m": None},
                "monitoring": {"pull": {"enabled": False}},
            },
            NODE_EXPORTER,
        ),
    ],
)
def test_the_resolved_config_loads_as_the_same(content: dict[str, Any]) -> None:
    config = load(content)
    text = resolved_yaml(config)
    assert load(text) == config
    assert yaml.safe_load(text)["preset"] == content["preset"]


def test_every_preset_names_itself() -> None:
    for name in preset_names():
        assert read_preset(name)["preset"] == name


def test_the_ui_takes_a_reader_without_queries() -> None:
    config = load(
        {
            "preset": "ui",
            "reader": {"class": "vm", "datasource_url": "http://vm", "queries": {}},
            "writer": {"class": "vm", "datasource_url": "http://vm"},
            "models": {},
            "schedulers": {},
        }
    )
    assert isinstance(config.reader, VmReaderSection)
    assert not config.reader.queries
    assert not config.models
    assert not config.schedulers
    assert config.server is not None
