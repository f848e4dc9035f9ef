"""What runs here, the classes of models, configurations and rules: routes without a datasource."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.config_helpers import MINIMAL, changed, load, required
from tests.server.api_client import Client, serving
from vmanomaly.config.registry import MODELS
from vmanomaly.config.spec import resolved_mapping
from vmanomaly.config.tuned import starting_values

AVAILABLE = [alias for alias in MODELS.aliases if alias != "custom"]


@pytest.fixture(scope="module")
def api() -> Iterator[Client]:
    changes = {"reader.user": "me", "reader.password": "hunter2"}
    with serving(
        {**changes, "reader.datasource_url": "http://vm:8428/x?authKey=hunter3"}
    ) as client:
        yield client


def test_what_runs(api: Client) -> None:
    for path in ("server", "status"):
        assert api.ok("GET", f"/api/v1/{path}/buildinfo")["vmanomaly"].startswith("v")
    assert api.ok("GET", "/api/v1/server/queries") == {"cpu": "avg(cpu)"}
    models = api.ok("GET", "/api/v1/server/models")["models"]
    assert models.keys() == {"z"}
    assert models["z"]["model_configuration"]["class"] == "zscore_online"
    assert models["z"]["queries"]["cpu"] == {
        "expr": "avg(cpu)",
        "tz": "UTC",
        "tenant_id": None,
        "offset": "0s",
        "step": "1m",
        "max_points_per_query": None,
    }
    assert models["z"]["is_online"] is True
    assert models["z"]["is_multivariate"] is False


def test_no_answer_holds_a_secret(api: Client) -> None:
    for path in ("queries", "models", "datasource"):
        text = api.raw("GET", f"/api/v1/server/{path}").data.decode()
        assert "hunter" not in text
    found = api.ok("GET", "/api/v1/server/datasource")
    assert found["server_datasource_url"] == "http://vm:8428/x"
    assert found["server_datasource_type"] == "vm"


def test_each_class_has_a_schema_that_its_defaults_obey(api: Client) -> None:
    assert api.ok("GET", "/api/v1/models")["models"] == AVAILABLE
    for alias in AVAILABLE:
        answer = api.ok("GET", f"/api/v1/model/schema?model_class={alias}")
        assert answer["model_class"] == alias
        schema = answer["schema"]
        assert schema["additionalProperties"] is False
        for key, each in schema["properties"].items():
            assert each.get("description"), (alias, key)
            assert "type" in each or "anyOf" in each, (alias, key)
            assert each["x-group"] in ("common", "model")
        assert not {"queries", "schedulers"} & schema["properties"].keys()
        spec = {
            key: each["default"]
            for key, each in schema["properties"].items()
            if each.get("default") is not None
        } | starting_values(alias)
        written = api.ok("POST", "/api/v1/model/validate", spec)["model_spec"]
        assert api.ok("POST", "/api/v1/model/validate", written)["model_spec"] == written


def test_bounds_are_those_of_the_validation(api: Client) -> None:
    for alias in AVAILABLE:
        schema = api.ok("GET", f"/api/v1/model/schema?model_class={alias}")["schema"]
        for key, each in schema["properties"].items():
            below = each.get("minimum", each.get("exclusiveMinimum", 0) + 1) - 1
            if "minimum" not in each and "exclusiveMinimum" not in each:
                continue
            spec = {"class": alias, **required(MODELS[alias].section), key: below}
            assert key in api.error(422, "POST", "/api/v1/model/validate", spec)


@pytest.mark.parametrize("name", ["", "nope", "custom", "prophet"])
def test_an_unknown_class_is_told_with_the_list(api: Client, name: str) -> None:
    if name in AVAILABLE:
        return
    error = api.error(404, "GET", f"/api/v1/model/schema?model_class={name}")
    assert "zscore_online" in error


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"class": "zscore_online", "z_threshold": -1}, "z_threshold: expected a number above 0"),
        ({"class": "zscore_online", "z_treshold": 3}, "z_treshold: unknown key; did you mean z_th"),
        ({"z_threshold": 3}, "class: required"),
        ({"class": "nope"}, "class: unknown model class"),
        ({"class": "custom", "module": "os"}, "class: custom classes run in a configuration only"),
        ({"class": "model.custom.Mine"}, "class: custom classes run in a configuration only"),
        ({"class": "zscore_online", "queries": ["q"]}, "queries: a model spec is not attached"),
        ([1], "body"),
    ],
)
def test_a_wrong_spec_is_named(api: Client, spec: Any, error: str) -> None:
    assert error in api.error(422, "POST", "/api/v1/model/validate", spec)


def test_what_is_not_json_is_refused(api: Client) -> None:
    assert "not valid JSON" in api.error(400, "POST", "/api/v1/model/validate", b'{"class": ')
    form = {"kind": "text/plain"}
    api.error(415, "POST", "/api/v1/model/validate", b'{"class":"mad_online"}', **form)
    api.error(415, "POST", "/api/v1/config/validate", b"{}", **form)
    api.error(413, "POST", "/api/v1/config/validate", b'"' + b"x" * (5 << 20) + b'"')


def test_a_config_is_checked_and_nothing_is_applied(
    api: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CANARY", "hunter9")
    changes = {
        "reader.queries.ram": {"expr": "%{CANARY}"},
        "reader.user": "me",
        "reader.password": "hunter2",
        "reader.password_file": None,
        "server.tls_cert_file": str(tmp_path / "nowhere.pem"),
        "models.mine": {
            "class": "custom",
            "module": "os",
            "class_name": "system",
            "queries": ["ram"],
            "schedulers": ["live"],
        },
    }
    config = changed(changes, MINIMAL)
    del config["models"]["mine"]
    as_json = api.ok("POST", "/api/v1/config/validate", config)
    as_yaml = api.ok(
        "POST",
        "/api/v1/config/validate",
        yaml.safe_dump(config, sort_keys=False).encode(),
        kind="application/yaml",
    )
    assert as_json["is_valid"] is as_yaml["is_valid"] is True
    assert as_json["validated"] == as_yaml["validated"]
    assert "hunter" not in json.dumps(as_json)
    assert as_json["validated"]["models"]["z"]["z_threshold"] == 2.5
    assert "ram" not in api.ok("GET", "/api/v1/server/queries")


def test_all_mistakes_of_a_config_are_told_at_once(api: Client) -> None:
    config = changed({"models.z.treshold": 1, "reader.sampling_period": "soon"}, MINIMAL)
    answer = api.raw("POST", "/api/v1/config/validate", config)
    content = json.loads(answer.data)
    assert answer.status == 422
    assert {tuple(each["loc"]) for each in content["detail"]} == {
        ("models", "z", "treshold"),
        ("reader", "sampling_period"),
    }
    api.error(400, "POST", "/api/v1/config/validate", b"a: [", kind="application/yaml")


@pytest.mark.parametrize(
    "spec",
    [None, {"class": "mad", "threshold": 3, "data_range": [0, "inf"], "provide_series": ["y"]}],
)
def test_a_generated_config_loads(api: Client, spec: Any) -> None:
    arguments = {"query": 'sum(rate(x{a="é"}[5m])) by (a)', "step": "60", "infer_every": "2m"}
    if spec is not None:
        arguments["model_spec"] = json.dumps(spec)
    answer = api.raw("GET", "/api/vmanomaly/config.yaml?" + urlencode(arguments))
    assert answer.headers["Content-Type"] == "application/yaml"
    assert "hunter" not in answer.data.decode()
    config = load(answer.data.decode())
    model = resolved_mapping(config)["models"]["default"]
    assert config.reader.queries["explore"].expr == arguments["query"]
    assert str(config.reader.queries["explore"].step) == "1m"
    if spec is not None:
        # What the spec says stays; where there is a range, predictions are clipped to it.
        assert model["provide_series"] == ["y"]
        assert model["clip_predictions"] is True
        assert config.models["default"].class_name == "mad_online"
        assert config.reader.queries["explore"].data_range == (0, float("inf"))
    else:
        assert "incident_score" in model["provide_series"]
        assert model["clip_predictions"] is False


def test_a_generated_config_refuses_what_is_wrong(api: Client) -> None:
    target = "/api/vmanomaly/config.yaml?"
    assert "query" in api.error(422, "GET", target + "step=1m")
    error = api.error(422, "GET", target + urlencode({"query": "x", "step": "0"}))
    assert "step: expected a duration above 0" in error
    wrong = {"query": "x", "step": "1m", "model_spec": '{"class":"nope"}'}
    assert "model_spec.class" in api.error(422, "GET", target + urlencode(wrong))


@pytest.mark.parametrize(
    "text",
    [
        'a "b"',
        "{{ $value }} of {{ $labels.host }}",
        "{{ bad",
        "é\nline 2",
        "'",
        "- x: {",
        "\N{GRINNING FACE}\x01\x7f\x85\u2028\\d",
    ],
)
def test_vmalert_takes_a_rule_whatever_it_says(api: Client, tmp_path: Path, text: str) -> None:
    arguments = {
        "query": text,
        "step": "1m",
        "rule_name": text,
        "group_name": text,
        "rule_description": text,
        "anomaly_threshold": "1.5",
        "consecutive": "4",
    }
    answer = api.raw("GET", "/api/vmanomaly/example-alert-rule.yaml?" + urlencode(arguments))
    assert answer.headers["Content-Type"] == "application/yaml"
    (group,) = yaml.safe_load(answer.data)["groups"]
    (rule,) = group["rules"]
    assert rule["expr"] == "anomaly_score > 1.5"
    assert rule["for"] == "3m"
    aliases = dict.fromkeys(["preset", "for", "model_alias", "scheduler_alias"], text)
    narrow = api.raw(
        "GET", "/api/vmanomaly/example-alert-rule.yaml?" + urlencode(arguments | aliases)
    )
    for number, content in enumerate((answer.data, narrow.data)):
        (tmp_path / f"{number}.yaml").write_bytes(content)
    checked = subprocess.run(
        ["vmalert", "-dryRun", f"-rule={tmp_path}/*.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_a_rule_for_the_scores_of_a_generated_config(api: Client, tmp_path: Path) -> None:
    text = api.raw("GET", "/api/vmanomaly/config.yaml?" + urlencode({"query": "x", "step": "1m"}))
    config = load(text.data.decode())
    aliases = {
        "preset": config.preset,
        "for": next(iter(config.reader.queries)),
        "model_alias": next(iter(config.models)),
        "scheduler_alias": next(iter(config.schedulers)),
    }
    arguments = {"query": "x", "step": "1m", "anomaly_threshold": "2", **aliases}
    answer = api.raw("GET", "/api/vmanomaly/example-alert-rule.yaml?" + urlencode(arguments))
    (rule,) = yaml.safe_load(answer.data)["groups"][0]["rules"]
    assert rule["expr"] == (
        'min(anomaly_score{preset="default",for="explore",model_alias="default",'
        'scheduler_alias="periodic"}) without (model_alias, scheduler_alias) >= 2'
    )
    assert rule["labels"] == {"severity": "warning", **aliases}
    file = tmp_path / "rule.yaml"
    file.write_bytes(answer.data)
    checked = subprocess.run(
        ["vmalert", "-dryRun", f"-rule={file}"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_compatibility(api: Client) -> None:
    found = api.ok("GET", "/api/v1/compatibility?version_to=v1.29.0")
    assert found["runtime_version"] == "1.29.0"
    assert found["global_check"]["has_state"] is False
    assert found["global_check"]["is_compatible"] is True
    assert "version_to" in api.error(422, "GET", "/api/v1/compatibility?version_to=soon")


def test_requests_are_counted_by_route(api: Client) -> None:
    api.ok("GET", "/api/v1/models")
    api.error(404, "GET", "/api/v1/no/such/thing")
    value = api.metrics.registry.get_sample_value
    labels = {"path": "/api/v1/models", "method": "GET", "code": "200"}
    assert value("vmanomaly_api_requests_total", labels)
    unknown = {"path": "unknown", "method": "unknown", "code": "404"}
    assert value("vmanomaly_api_requests_total", unknown)


def test_other_pages_may_ask_only_where_that_is_configured() -> None:
    origin = {"Origin": "https://grafana.example.com"}
    with serving() as client:
        assert (
            "Access-Control-Allow-Origin"
            not in client.raw("GET", "/api/v1/models", **origin).headers
        )
    with serving({"server.cors_allowed_origins": ["https://grafana.example.com"]}) as client:
        answer = client.raw("GET", "/api/v1/models", **origin)
        assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]
        other = client.raw("GET", "/api/v1/models", Origin="https://evil.example.com")
        assert "Access-Control-Allow-Origin" not in other.headers
