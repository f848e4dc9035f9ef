"""No secret is in anything that is printed, wherever in the YAML it stands."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from tests.config_helpers import MINIMAL, changed, load, problems, required
from vmanomaly.cli.dispatch import dispatch
from vmanomaly.config import resolved_yaml
from vmanomaly.config.loading.build import SECTIONS
from vmanomaly.config.model import ModelSection
from vmanomaly.config.model.auto import OptimizationParams
from vmanomaly.config.monitoring import MonitoringSection
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS, READERS, SCHEDULERS, WRITERS
from vmanomaly.config.section import Section
from vmanomaly.config.server import ServerSection
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.values.scalar import EnvironmentText
from vmanomaly.errors import ConfigError

CANARY = "hunter2canary"
NUMBER = "918273645"
NUMBERS = ("0." + NUMBER, NUMBER, "1" + NUMBER + "M")

BROKEN_ADDRESSES = [
    f"http://u:{CANARY}/x@h:8428",
    f"http://u:x/{CANARY}@h:8428",
    f"http://u:{CANARY} x@h",
    f"http://u:x {CANARY}@h",
    f"u:{CANARY}@h:8428",
    f"http:/u:{CANARY}@h:8428",
    f"htp//u:{CANARY}@h",
    f"ftp://u:{CANARY}@h/",
    f"http://u:{CANARY}#@h",
    f"http://u:{CANARY}?@h",
    f"http://[u:{CANARY}@h",
    f"://u:{CANARY}@h",
]
ADDRESSES = [
    f"http://h:8428/?authKey={CANARY}",
    f"http://h:8428/?{CANARY}",
    f"http://h:8428/#{CANARY}",
    f"http://u:{CANARY}@h:8428",
    f"http://{CANARY}@h:8428",
]

FIRST_MODEL = MODELS["zscore_online"].section

Place = tuple[str, ...]


def nested(section: type[Section], place: Place) -> Iterator[tuple[Place, str]]:
    """Yield the place and the key of everything in a section, sections inside it included."""
    for key in section.yaml_keys():
        yield place, key
        field = next(
            (f for name, f in section.model_fields.items() if (f.alias or name) == key), None
        )
        inner = next(_sections(field.annotation), None) if field else None
        if inner is not None and not issubclass(inner, Query):
            yield from nested(inner, (*place, key))


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)


def _bases() -> Iterator[tuple[dict[str, Any], type[Section], Place]]:
    for entry in READERS:
        reader = {"class": entry.alias, "sampling_period": "1m", "queries": {"cpu": {"expr": "a"}}}
        address = {"path": "x"} if entry.alias == "duckdb" else {"datasource_url": "http://h"}
        base = {**MINIMAL, "reader": {**reader, **address}}
        yield base, entry.section, ("reader",)
        yield base, entry.section.query, ("reader", "queries", "cpu")
    for writer in WRITERS:
        address = {"path": "x"} if writer.alias == "duckdb" else {"datasource_url": "http://h"}
        base = {**MINIMAL, "writer": {"class": writer.alias, **address}}
        yield base, writer.section, ("writer",)
    for model in MODELS:
        keys = required(model.section) | {"class": model.alias}
        base = {**MINIMAL, "models": {"z": {**keys, "queries": "all", "schedulers": "all"}}}
        yield base, model.section, ("models", "z")
    for scheduler in SCHEDULERS:
        base = {**MINIMAL, "schedulers": {"live": {"class": scheduler.alias, "fit_window": "1h"}}}
        yield base, scheduler.section, ("schedulers", "live")
    yield MINIMAL, SettingsSection, ("settings",)
    yield MINIMAL, ServerSection, ("server",)
    yield MINIMAL, MonitoringSection, ("monitoring",)


def _case_id(base: dict[str, Any], place: Place, key: str) -> str:
    class_name = base.get(place[0], {}).get("class", "")
    if place[0] in ("models", "schedulers"):
        class_name = base[place[0]][place[1]]["class"]
    return ".".join((*place, key)) + f"-{class_name}"


TRIALS = [
    (base, place, key)
    for base, section, top in _bases()
    for place, key in nested(section, top)
    if not (key in ModelSection.yaml_keys() and top == ("models", "z") and section != FIRST_MODEL)
]
"""What all models share is tried on one of them."""
CASES = [pytest.param(*trial, id=_case_id(*trial)) for trial in TRIALS]
PLACES = {(place, key) for _, place, key in TRIALS}


def put(base: dict[str, Any], place: Place, key: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(base)
    where = config
    for part in place:
        where = where.setdefault(part, {})
    where[key] = value
    return config


def printed(config: dict[str, Any] | str, environ: dict[str, str], caplog: Any) -> str:
    """Return all that a configuration makes the service say of it."""
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    try:
        said = resolved_yaml(load(config, environ))
    except ConfigError as error:
        said = str(error)
    return "\n".join([said, *caplog.messages])


def test_the_walk_finds_the_keys_of_all_sections() -> None:
    assert (("reader",), "bearer_token") in PLACES
    assert (("reader", "queries", "cpu"), "tenant_id") in PLACES
    assert (("monitoring", "push"), "url") in PLACES
    assert (("server", "auth"), "password") in PLACES
    assert (("models", "z", "holidays"), "countries") in PLACES
    assert {
        (("models", "z", "optimization_params"), k) for k in OptimizationParams.yaml_keys()
    } <= (PLACES)
    tops = {place[0] for place, _ in PLACES}
    assert tops == set(SECTIONS) - {"preset"}


@pytest.mark.slow
@pytest.mark.parametrize(("base", "place", "key"), CASES)
def test_a_secret_at_any_key(
    base: dict[str, Any], place: Place, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"SECRET": CANARY}
    for value in ("%{SECRET}", ["%{SECRET}"], {"%{SECRET}": "%{SECRET}"}, [{"%{SECRET}": 1}]):
        said = printed(put(base, place, key, value), environ, caplog)
        # A file may have any name; where it is, is no secret.
        if not (key == "queue_path" and value == "%{SECRET}"):
            assert CANARY not in said, value
    if key in ("expr", "path", "queue_path"):
        return
    addresses = [*BROKEN_ADDRESSES, *ADDRESSES]
    if not key.endswith("url"):
        # A part of them at each key, and others at the next one.
        addresses = addresses[TRIALS.index((base, place, key)) % 5 :: 5]
    for address in addresses:
        said = printed(put(base, place, key, address), {}, caplog)
        # Where any text is right, one without :// is no address.
        if "://" in address or key.endswith("url") or "preset:" not in said:
            assert CANARY not in said, address


@pytest.mark.slow
@pytest.mark.parametrize(("base", "place", "key"), CASES)
def test_a_number_from_the_environment_in_a_problem(
    base: dict[str, Any], place: Place, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in NUMBERS:
        config = yaml.safe_dump(put(base, place, key, "PLACE")).replace("PLACE", "%{SECRET}")
        said = printed(config, {"SECRET": number}, caplog)
        # What is a valid number is resolved, and a tenant is named.
        if "preset:" not in said and key != "tenant_id":
            assert NUMBER not in said


@pytest.mark.parametrize(
    ("place", "key"), sorted(case for case in PLACES if case[1] in ("password", "bearer_token"))
)
@pytest.mark.parametrize(
    "value",
    [CANARY, [CANARY], {"x": CANARY}, f"{CANARY}\nx", f"*{CANARY}", f"!{CANARY}", f"%{CANARY}"],
)
def test_a_secret_at_its_own_key(
    place: Place, key: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for changes in ({}, {"user": "me"}):
        config = MINIMAL
        if place == ("monitoring", "push"):
            config = changed({"monitoring.push.url": "http://h"})
        for name, other in changes.items():
            config = put(config, place, name, other)
        said = printed(put(config, place, key, value), {}, caplog)
        assert CANARY not in said
        if isinstance(value, str) and not value.startswith("*"):
            text = yaml.safe_dump(put(config, place, key, "PLACE")).replace("PLACE", value)
            assert CANARY not in printed(text, {}, caplog)


@pytest.mark.parametrize(
    "text",
    [
        f"reader: {{password: *{CANARY}}}",
        f"reader: {{password: !{CANARY} x}}",
        f"reader: {{password: !{CANARY}}}",
        f"reader: {{password: !!{CANARY} x}}",
        f"reader: {{password: !e!{CANARY} x}}",
        f"reader: {{password: &{CANARY}}}",
        f"reader: {{password: '{CANARY}}}",
        f"reader: {{password: @{CANARY}}}",
        f"reader: {{password: %{CANARY}}}",
        f'reader: {{password: "\\{CANARY}"}}',
        f"reader:\n  password:{CANARY}\n  user: x",
        f"reader: {{user: x, password:{CANARY}}}",
        f"reader: {{user: x, datasource_url:http://u:{CANARY}@h}}",
        f"reader: password:{CANARY}",
        f"password:{CANARY}",
        f"reader: {{password: {CANARY}, password: {CANARY}}}",
        f"reader: {{headers: 'X-Key:{CANARY}'}}",
        f"reader: {{headers: {{'X Key': {CANARY}}}}}",
        f"models: {{z: {{class: custom, args: 'token:{CANARY}'}}}}",
        f"server: {{uvicorn_config: 'ssl_keyfile_password:{CANARY}'}}",
        f"monitoring: {{push: {{url: http://h, extra_labels: 'a:{CANARY}'}}}}",
        f"writer: {{password_file: {CANARY}, user: x}}",
    ],
)
def test_a_secret_in_broken_yaml(text: str, caplog: pytest.LogCaptureFixture) -> None:
    said = printed(text, {}, caplog)
    assert said
    assert CANARY not in said


@pytest.mark.parametrize(
    "text",
    [
        "%{SECRET}: 1",
        "%{SECRET}: {a: 1}\nreader: {%{SECRET}: 1, queries: {%{SECRET}: 1}}",
        "reader: {queries: {%{SECRET}: {expr: 1, %{SECRET}: 1, step: %{SECRET}}}}",
        "reader: {queries: {%{SECRET}: avg(x)}}",
        "reader: {queries: {%{SECRET}: {expr: x}}}",
        "models: {%{SECRET}: {class: std}, b: {class: zscore, queries: [%{SECRET}]}}",
        "models: {%{SECRET}: 1}\nschedulers: {%{SECRET}: {class: x}, b: {%{SECRET}: x}}",
        "model: {%{SECRET}: {class: x}}",
        "settings: {logger_levels: {%{SECRET}: x}, retention: {%{SECRET}: 1}}",
        "server: {auth: {%{SECRET}: 1}, %{SECRET}: 1}",
        "writer: {metric_format: {%{SECRET} x: x}}",
        "writer: {datasource_url: http://h, metric_format: {__name__: '%{SECRET} $VAR'}}",
        "reader: {a: 1, %{SECRET}: 2, %{SECRET}: 3}",
        "preset: %{SECRET}",
        "models: {b: {class: std, period: 3, provide_series: [%{SECRET}]}}",
        (
            "models: {b: {class: temporal_envelope, provide_series: [yhat_%{SECRET}],"
            " seasonalities: [%{SECRET}], holidays: {countries: [%{SECRET}], %{SECRET}: 1}}}"
        ),
        "models: {b: {class: auto, optimization_params: {%{SECRET}: 1}}}",
        "models: {b: {class: prophet, seasonalities: [{%{SECRET}: 1}]}}",
    ],
)
def test_a_name_from_the_environment(text: str, caplog: pytest.LogCaptureFixture) -> None:
    said = printed(text, {"SECRET": CANARY}, caplog)
    assert said
    assert CANARY not in said
    # The test can fail: written out, it is shown.
    assert CANARY in printed(text.replace("%{SECRET}", CANARY), {}, caplog)


def test_names_that_are_suggested_or_listed(caplog: pytest.LogCaptureFixture) -> None:
    config = yaml.safe_dump(
        changed({"reader.queries": {"PLACE": {"expr": "x"}}, "models.z.queries": [CANARY + "x"]})
    ).replace("PLACE", "%{SECRET}")
    said = printed(config.replace(CANARY + "x", "cpu"), {"SECRET": CANARY}, caplog)
    assert "known here: %{SECRET}" in said
    assert CANARY not in said


def test_all_that_the_command_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", CANARY)
    before = logging.getLogger().handlers[:]
    text = yaml.safe_dump(
        changed(
            {
                "reader.datasource_url": f"http://u:{CANARY}@h/?authKey={CANARY}",
                "reader.query_range_path": f"/x?token={CANARY}",
                "reader.queries": {"QPLACE": {"expr": "PLACE"}},
                "writer.bearer_token": CANARY,
                "writer.headers": {"X-Key": CANARY},
                "models.z.args": {"api_key": CANARY, "x": "PLACE", "y": [{"token": CANARY}]},
                "models.APLACE": {"class": "zscore_online", "queries": "all", "schedulers": "all"},
                "server.uvicorn_config": {"log_level": "warning"},
                "server.auth": {"user": "PLACE", "password": "PLACE"},
                "monitoring.push": {"url": "http://me:PLACE@h", "extra_labels": {"a": "PLACE"}},
            }
        )
    )
    file = tmp_path / "config.yaml"
    file.write_text(text.replace("PLACE", "%{SECRET}"))
    spec = tmp_path / "spec.yaml"
    try:
        status = dispatch(["--dryRun", "--loggerLevel=DEBUG", f"--outputSpec={spec}", str(file)])
    finally:
        logging.getLogger().handlers[:] = before
    out, err = capsys.readouterr()
    assert status == 0, err
    assert "model A%{SECRET} (zscore_online) on Q%{SECRET} under live" in out
    for said in (out, err, spec.read_text()):
        assert said
        assert CANARY not in said


def test_what_came_from_the_environment_loads_again() -> None:
    config = load(
        yaml.safe_dump(
            changed(
                {
                    "reader.datasource_url": "http://me:PLACE@h:8428/a?authKey=PLACE",
                    "reader.queries": {"QPLACE": {"expr": "PLACE"}},
                    "models.APLACE": {"class": "mad_online", "queries": ["QPLACE"]},
                    "server.path_prefix": "PLACE",
                }
            )
        ).replace("PLACE", "%{SECRET}"),
        {"SECRET": CANARY},
    )
    text = resolved_yaml(config)
    assert load(text, {"SECRET": CANARY}) == config
    assert "http://me:%{SECRET}@h:8428/a?authKey=%{SECRET}" in text


def test_text_from_the_environment_can_be_copied() -> None:
    text = EnvironmentText("a", "%{A}")
    for copied in (copy.deepcopy(text), pickle.loads(pickle.dumps(text))):  # noqa: S301
        assert (copied, copied.placeholder) == (text, text.placeholder)


def test_what_is_wrong_with_an_address_is_said() -> None:
    found = {
        "h:8428": "write http:// or https:// in front",
        "http://h/a b": "write %20 for a space",
        "http://u:a/b@h": "write characters such as / : @ # as %2F",
        "http://": "the host is missing",
    }
    for address, remedy in found.items():
        (problem,) = problems(changed({"reader.datasource_url": address}))
        assert remedy in problem
