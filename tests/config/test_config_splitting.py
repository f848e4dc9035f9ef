"""Cutting a config into sub-configs."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.config_helpers import MINIMAL, changed, load
from vmanomaly.config import Config, load_config, resolved_yaml
from vmanomaly.config.loading.load import load_as_written
from vmanomaly.config.members import STRATEGIES, Member
from vmanomaly.config.presets import without_rest
from vmanomaly.config.spec import written_yaml
from vmanomaly.config.splitting import own_part, split, sub_mapping
from vmanomaly.errors import ConfigError

PERIODIC = {"class": "periodic", "infer_every": "1m", "fit_every": "1h", "fit_window": "1d"}
PUBLISHED: dict[str, Any] = {
    "schedulers": {"fast": PERIODIC, "seasonal": PERIODIC},
    "models": {
        "gpu_envelope": {
            "class": "temporal_envelope_multivariate",
            "queries": ["temperature", "power"],
            "schedulers": ["seasonal"],
        },
        "cpu_zscore": {
            "class": "zscore_online",
            "queries": ["cpu", "error_rate"],
            "schedulers": ["fast"],
        },
    },
    "reader": {
        "class": "vm",
        "datasource_url": "http://localhost:8428",
        "sampling_period": "1m",
        "extra_filters": ['{env="prod"}', '{env="dev"}'],
        "queries": {name: {"expr": name} for name in ("temperature", "power", "cpu", "error_rate")},
    },
    "writer": {"class": "vm", "datasource_url": "http://localhost:8428"},
}
"""The published example: what it is split into is known for every strategy."""

MIXED: dict[str, Any] = changed(
    {
        "models": {
            "z": {"class": "zscore_online", "queries": ["a", "b"], "schedulers": ["s", "t"]},
            "m": {"class": "mad_online", "queries": ["b"], "schedulers": ["t"]},
            "joint": {
                "class": "temporal_envelope_multivariate",
                "queries": ["b", "a"],
                "schedulers": ["s"],
            },
            "single": {
                "class": "temporal_envelope_multivariate",
                "queries": ["a"],
                "schedulers": ["s"],
            },
        },
        "schedulers": {"s": PERIODIC, "t": PERIODIC, "unused": PERIODIC},
        "reader.queries": {name: {"expr": name} for name in "abc"},
    }
)


def names(content: dict[str, Any], strategy: str) -> list[str]:
    return [sub_config.name for sub_config in split(load(content), strategy)]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("schedulers", ["fast", "seasonal"]),
        ("models", ["cpu_zscore", "gpu_envelope"]),
        ("queries", ["cpu", "error_rate", "power,temperature"]),
        ("extra_filters", ['{env="dev"}', '{env="prod"}']),
        (
            "complete",
            [
                "fast:cpu_zscore:cpu",
                "fast:cpu_zscore:error_rate",
                "seasonal:gpu_envelope:power,temperature",
            ],
        ),
    ],
)
def test_the_published_example(strategy: str, expected: list[str]) -> None:
    assert names(PUBLISHED, strategy) == expected


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("schedulers", {"s": "z:a z:b joint:a,b single:a", "t": "z:a z:b m:b"}),
        ("models", {"z": "s:a s:b t:a t:b", "m": "t:b", "joint": "s:a,b", "single": "s:a"}),
        ("queries", {"a": "s:z t:z s:single", "b": "s:z t:z t:m", "a,b": "s:joint"}),
    ],
)
def test_links_of_many_to_many_are_kept(strategy: str, expected: dict[str, str]) -> None:
    dropped = {"schedulers": 0, "models": 1, "queries": 2}[strategy]
    for sub_config in split(load(MIXED), strategy):
        shown = set()
        for scheduler, model, queries in sub_config.units:
            parts = [scheduler, model, ",".join(queries)]
            del parts[dropped]
            shown.add(":".join(parts))
        assert shown == set(expected.pop(sub_config.name).split())
    assert not expected


@pytest.mark.parametrize("strategy", [each for each in STRATEGIES if each != "extra_filters"])
def test_every_unit_is_in_exactly_one_sub_config(strategy: str) -> None:
    config = load(MIXED)
    found = Counter(unit for each in split(config, strategy) for unit in each.units)
    assert found == Counter(config.units)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("content", [PUBLISHED, changed({"reader.extra_filters": ["up"]}, MIXED)])
def test_each_is_a_valid_config_that_runs_just_that(
    content: dict[str, Any], strategy: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parent, file = tmp_path / "parent.yaml", tmp_path / "child.yaml"
    parent.write_text(yaml.safe_dump(content))
    config, sections = load_as_written([parent], {})
    caplog.clear()
    for sub_config in split(config, strategy):
        file.write_text(written_yaml(sub_mapping(sections, sub_config)))
        child = load_config([file], {})
        assert set(child.units) == sub_config.units
        if strategy == "extra_filters":
            assert child.reader.extra_filters == (sub_config.name,)  # type: ignore[attr-defined]
        assert (child.writer, child.settings, child.server) == (
            config.writer,
            config.settings,
            config.server,
        )
        for alias, section in child.schedulers.items():
            assert section == config.schedulers[alias]
    assert caplog.messages == []


@given(
    models=st.permutations(sorted(MIXED["models"])),
    schedulers=st.permutations(sorted(MIXED["schedulers"])),
)
@pytest.mark.slow
def test_files_that_differ_only_in_order_are_split_alike(
    models: list[str], schedulers: list[str]
) -> None:
    orders = {"models": models, "schedulers": schedulers}
    sections = {key: {each: MIXED[key][each] for each in order} for key, order in orders.items()}
    assert split(load(MIXED | sections), "complete") == split(load(MIXED), "complete")


def test_a_query_with_a_comma_in_its_alias_is_not_two_queries() -> None:
    content = changed(
        {"reader.queries": {"a,b": {"expr": "x"}, **MIXED["reader"]["queries"]}}, MIXED
    )
    content["models"]["z"]["queries"] = ["a,b"]
    found = [each for each in split(load(content), "queries") if each.name == "a,b"]
    assert [sorted(unit[2] for unit in each.units)[0] for each in found] == [("a", "b"), ("a,b",)]


def test_what_a_scheduler_without_runs_has_is_nothing_to_share() -> None:
    content = changed({"schedulers.s": {"class": "noop"}}, MIXED)
    assert names(content, "schedulers") == ["t"]
    assert names(changed({"reader": {"class": "noop"}}, MIXED), "complete") == []


def test_without_filters_there_is_nothing_to_split_by() -> None:
    with pytest.raises(ConfigError, match=r"reader\.extra_filters: required"):
        split(load(MINIMAL), "extra_filters")


def member(content: dict[str, Any], number: int, count: int, **more: Any) -> Config:
    environ = {"VMANOMALY_MEMBERS_COUNT": str(count), "VMANOMALY_MEMBER_NUM": str(number)}
    environ |= {f"VMANOMALY_{name}": str(value) for name, value in more.items()}
    return own_part(load(content, environ))


class TestOwnPart:
    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize("count", [1, 2, 3, 9])
    def test_the_members_together_run_everything_once(self, strategy: str, count: int) -> None:
        parts = [member(PUBLISHED, n, count, SPLIT_BY=strategy) for n in range(count)]
        units = Counter(unit for part in parts for unit in part.units)
        if strategy == "extra_filters":
            filters = [
                each
                for part in parts
                if part.units
                for each in part.reader.extra_filters  # type: ignore[attr-defined]
            ]
            assert sorted(filters) == sorted(PUBLISHED["reader"]["extra_filters"])
        else:
            assert units == Counter(load(PUBLISHED).units)

    def test_a_model_may_run_on_some_queries_under_one_scheduler_and_others_under_another(
        self,
    ) -> None:
        content = changed({"models": {"z": MIXED["models"]["z"]}}, MIXED)
        # s:z:a, s:z:b, t:z:a, t:z:b
        assert member(content, 0, 3).units == [("s", "z", ("a",)), ("t", "z", ("b",))]
        assert member(content, 1, 3).units == [("s", "z", ("b",))]

    def test_what_is_not_used_is_left_out(self) -> None:
        part = member(MIXED, 1, 6)  # s:single:a
        assert part.share is not None
        assert part.share.names == ("s:single:a",)
        assert set(part.schedulers) == {"s"}
        assert set(part.models) == {"single"}
        assert set(part.reader.queries) == {"a"}

    def test_a_member_with_nothing_to_do(self) -> None:
        part = member(MINIMAL, 1, 2)
        assert part.share is not None
        assert (part.share.names, part.share.n_total) == ((), 1)
        assert (part.units, part.models, part.schedulers, part.reader.queries) == ([], {}, {}, {})

    def test_one_alone_runs_the_config_itself(self) -> None:
        config = load(MIXED)
        assert own_part(config) is config

    def test_the_specification_of_a_part_is_that_part(self) -> None:
        for number in range(3):
            part = member(PUBLISHED, number, 3)
            text = resolved_yaml(part)
            assert text.startswith(f"# The part of member {number} of 3, split by complete; ")
            assert set(load(text).units) == set(part.units)
            assert "Loaded on its own" not in text

    def test_the_specification_of_a_part_that_no_file_can_hold_says_so(self) -> None:
        content = changed({"models": {"z": MIXED["models"]["z"]}}, MIXED)
        head = list(
            itertools.takewhile(
                lambda line: line.startswith("#"), resolved_yaml(member(content, 0, 3)).splitlines()
            )
        )
        assert head[1:] == [
            "# Loaded on its own, it runs more than these, which share models:",
            "#   s:z:a",
            "#   t:z:b",
        ]

    def test_replicas_run_at_the_same_times(self) -> None:
        alone = member(MINIMAL, 0, 2)
        (scheduler,) = member(MINIMAL, 0, 2, REPLICATION_FACTOR=2).schedulers.values()
        assert scheduler.aligned  # type: ignore[attr-defined]
        assert not alone.schedulers["live"].aligned  # type: ignore[attr-defined]
        assert "aligned" not in resolved_yaml(member(MINIMAL, 0, 2, REPLICATION_FACTOR=2))

    def test_the_number_of_the_member_changes_nothing_else(self) -> None:
        assert member(MINIMAL, 0, 1).member == Member()


WRITTEN = """
preset: default:v1.2
schedulers: {live: {class: periodic, infer_every: 1m, fit_window: 1d}}
models: {z: {class: zscore_online, queries: all, schedulers: all, decay: 0.90}}
reader:
  datasource_url: http://%{HOST}:8428
  sampling_period: 1m
  user: %{USER}
  password: "%{PASSWORD}"
  queries: {"%{QUERY}": {expr: "up{a=\\"%{HOST}\\"}"}, b: {expr: b, step: 5m}}
writer: {datasource_url: "http://vm:8428", bearer_token: hunter2}
server: {port: %{PORT}}
"""
ENVIRON = {"HOST": "vm", "USER": "0123", "PASSWORD": "1e3", "QUERY": "cpu", "PORT": "8491"}


class TestWritten:
    """Files hold what the parent's hold, as it was written."""

    def child(self, tmp_path: Path, name: str) -> str:
        file = tmp_path / "parent.yaml"
        file.write_text(WRITTEN)
        config, sections = load_as_written([file], ENVIRON)
        (found,) = [each for each in split(config, "queries") if each.name == name]
        return written_yaml(without_rest(config.preset, sub_mapping(sections, found)))

    def test_variables_stay_and_mean_the_same(self, tmp_path: Path) -> None:
        text = self.child(tmp_path, "%{QUERY}")
        for value in ("0123", "1e3", "8491"):
            assert value not in text
        assert "port: %{PORT}\n" in text
        assert "password: '%{PASSWORD}'\n" in text
        assert "user: %{USER}\n" in text
        assert "decay: 0.90\n" in text
        parent = load(WRITTEN, ENVIRON)
        child = load(text, ENVIRON)
        assert child.server == parent.server
        assert child.reader.password == parent.reader.password  # type: ignore[attr-defined]
        assert child.reader.user == "0123"  # type: ignore[attr-defined]
        assert list(child.reader.queries) == ["cpu"]
        assert load(text, ENVIRON | {"QUERY": "mem"}).units == [("live", "z", ("mem",))]

    def test_what_stands_in_the_parent_is_copied(self, tmp_path: Path) -> None:
        assert "bearer_token: hunter2\n" in self.child(tmp_path, "b")
