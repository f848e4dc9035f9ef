"""The resolved config gives the same config again, and no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.config_helpers import changed, load, problems, without
from vmanomaly.config import resolved_yaml
from vmanomaly.config.secrets import names_secret
from vmanomaly.config.values.duration import Duration

TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Co"], exclude_characters="%"), min_size=1
).filter(str.strip)
DURATION = st.integers(1, 10**12).map(lambda milliseconds: str(Duration(milliseconds)))
NUMBER = st.floats(0.001, 1e9)
PAIR = st.tuples(NUMBER, NUMBER).map(list)
QUERY = st.fixed_dictionaries(
    {"expr": TEXT},
    optional={
        "step": DURATION,
        "data_range": st.sampled_from([[0, "inf"], ["-inf", 1.5], [-3, 3]]),
        "detection_direction": st.sampled_from(["both", "above_expected", "below_expected"]),
        "min_dev_from_expected": NUMBER | PAIR,
        "max_points_per_query": st.integers(1, 10**6),
        "tz": st.sampled_from(["UTC", "Europe/Kyiv"]),
        "offset": DURATION | DURATION.map("-{}".format),
    },
)
DUCKDB = {
    "class": "duckdb",
    "path": "x",
    "sampling_period": "1m",
    "queries": {"a": {"expr": "SELECT 1"}},
}
# What a key of such a name holds is redacted, and does not load.
NAME = TEXT.filter(lambda text: not names_secret(text))
ARGS = st.dictionaries(
    NAME,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBER | TEXT,
        lambda items: st.lists(items, max_size=3) | st.dictionaries(NAME, items, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)


@given(
    queries=st.dictionaries(TEXT, QUERY, min_size=1, max_size=3),
    scale=NUMBER | PAIR,
    args=ARGS,
    labels=st.dictionaries(st.from_regex(r"l[a-z0-9_]{0,8}", fullmatch=True), TEXT, max_size=3),
    fit_start=st.integers(0, 2 * 10**9),
)
@pytest.mark.slow
def test_loading_it_gives_the_same_config(
    queries: dict[str, Any],
    scale: Any,
    args: dict[str, Any],
    labels: dict[str, str],
    fit_start: int,
) -> None:
    config = load(
        changed(
            {
                "reader.queries": queries,
                "models.z.scale": scale,
                "models.z.args": args,
                "writer.metric_format": {"__name__": "vm_$VAR", "for": "$QUERY_KEY", **labels},
                "schedulers.once": {
                    "class": "oneoff",
                    "fit_start_s": fit_start,
                    "fit_end_s": fit_start + 0.5,
                    "infer_start_s": fit_start,
                    "infer_end_s": fit_start + 1,
                    "tz": "Europe/Kyiv",
                },
            }
        )
    )
    assert load(resolved_yaml(config)) == config


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"reader.queries": {"off": {"expr": "1e3"}, "1.10": {"expr": "0x1F"}, "~": {"expr": "~"}}},
        {"reader.queries": {"a": {"expr": "max(\n  x\n)\n"}, "b": {"expr": " x\n\n y \n"}}},
        {"models.z.args": {"a": "1e3", "b": "yes", "c": None, "d": [1, "1", 1.5, {"e": "inf"}]}},
        {"settings": {"retention": {"ttl": "1d", "check_interval": "1h"}, "n_workers": 0}},
        {"server": {"path_prefix": "x", "port": 0, "ui_default_state": "#/?a=1"}},
        {"monitoring": {"pull": None, "push": {"url": "http://x", "push_frequency": ""}}},
        {
            "reader": {
                "class": "duckdb",
                "path": "x",
                "sampling_period": "1m",
                "queries": {"a": {"expr": "1"}},
            }
        },
        {"writer": {"class": "duckdb", "path": "scores.duckdb"}},
        {"models.z.class": "custom", "models.z.window": "1h", "models.z.args": {"a": [1]}},
        {"models.z.class": "my_package.detectors.Mine", "models.z.folder": "0x1F"},
        {"reader.verify_tls": False, "reader.tenant_id": "0", "writer.tenant_id": "0"},
    ],
)
def test_special_forms(changes: dict[str, Any]) -> None:
    config = load(changed(changes))
    text = resolved_yaml(config)
    assert load(text) == config
    assert resolved_yaml(load(text)) == text


def test_it_is_ordinary_yaml() -> None:
    config = load(changed({}))
    sections = yaml.safe_load(resolved_yaml(config))
    assert list(sections) == [
        "preset",
        "settings",
        "schedulers",
        "models",
        "reader",
        "writer",
        "monitoring",
        "server",
    ]
    assert sections["models"]["z"]["queries"] == ["cpu"]
    assert sections["reader"]["queries"]["cpu"]["step"] == "1m"
    assert sections["schedulers"]["live"]["fit_every"] == "1m"


def test_files_stay(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    config = load(
        changed(
            {
                "reader.bearer_token_file": str(file),
                "reader.verify_tls": str(file),
                "reader.tls_cert_file": str(file),
                "reader.tls_key_file": str(file),
            }
        )
    )
    assert load(resolved_yaml(config)) == config


def test_secrets_are_not_in_it() -> None:
    config = load(
        changed(
            {
                "reader.user": "me",
                "reader.password": "hunter2",
                "reader.headers": {"X-Key": "hunter2"},
                "writer.datasource_url": "http://me:hunter2@host/",
                "server.auth": {"bearer_token": "hunter2"},
                "server.uvicorn_config": {"ssl_keyfile_password": "hunter2"},
                "monitoring.push": {"url": "http://me:hunter2@host/", "headers": {"a": "hunter2"}},
            }
        )
    )
    text = resolved_yaml(config)
    assert "hunter2" not in text
    found = problems(text)
    assert [line.partition(":")[0] for line in found] == [
        "server.uvicorn_config",
        "server.auth.bearer_token",
        "monitoring.push.url",
        "monitoring.push.headers.a",
        "reader.password",
        "reader.headers.X-Key",
        "writer.datasource_url",
    ]
    assert all("redacted; write" in line for line in found)


def test_secrets_from_the_environment_stay_placeholders() -> None:
    text = yaml.safe_dump(changed({"reader.user": "me", "reader.password": "PLACE"}))
    environ = {"PW": "0123"}
    for placeholder in ("%{PW}", "'%{PW}'"):
        config = load(text.replace("PLACE", placeholder), environ)
        resolved = resolved_yaml(config)
        assert "password: '%{PW}'\n" in resolved
        assert load(resolved, environ) == config
    mixed = resolved_yaml(load(text.replace("PLACE", "'half%{PW}'"), environ))
    assert "half" not in mixed
    assert "<redacted>" in mixed


def test_what_does_not_run_is_not_in_it() -> None:
    sections = without("models.z.schedulers", changed({"reader.queries.ram": {"expr": "x"}}))
    sections["models"]["z"]["queries"] = ["ram"]
    assert list(yaml.safe_load(resolved_yaml(load(sections)))["reader"]["queries"]) == ["ram"]


def test_loading_it_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    load(resolved_yaml(load(changed({}))))
    assert caplog.messages == []
