"""What is wrong in one key: the place, the bad value, and what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config_helpers import changed, load, problems, without
from vmanomaly.config.registry import MODELS
from vmanomaly.errors import ConfigError


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("server.port", "abc", "expected a whole number from 0 to 65535, got 'abc'"),
        ("server.port", 70000, "expected a whole number from 0 to 65535, got 70000"),
        ("server.port", True, "expected a whole number from 0 to 65535, got true"),
        ("server.port", [1], "expected a whole number from 0 to 65535, got a list"),
        ("reader.workers", 1.5, "expected a whole number of 0 or more, got 1.5"),
        ("reader.workers", -1, "expected a whole number of 0 or more, got -1"),
        ("settings.n_workers", "many", "expected a whole number, got 'many'"),
        ("reader.extra_filters", "{a='b'}", "expected a list such as [a, b], got \"{a='b'}\""),
        ("reader.query_from_last_seen_timestamp", 2, "expected true or false, got 2"),
        ("reader.tz", "Europe/Kiew", "time zone (did you mean Europe/Kiev?), got 'Europe/Kiew'"),
        ("reader.tz", "Mars", "time zone (such as Europe/Kyiv), got 'Mars'"),
        ("reader.tz", "../../etc/passwd", "expected the IANA name of a time zone"),
        ("reader.tenant_id", "1:2:3", "expected a tenant: account or account:project"),
        ("reader.tenant_id", "4294967296", "numbers up to 4294967295"),
        ("reader.tenant_id", "a", "or multitenant, got 'a'"),
        (
            "reader.datasource_url",
            "localhost:8428",
            "got text that may hold a secret; write http://",
        ),
        ("reader.datasource_url", "ftp://host", "expected a URL such as http://localhost:8428"),
        ("reader.datasource_url", "http://", "expected a URL such as http://localhost:8428"),
        ("reader.datasource_url", "http://h:port", "expected a URL such as http://localhost:8428"),
        ("reader.datasource_url", "http://h/a b", "expected a URL such as http://localhost:8428"),
        ("reader.timeout", 30, "got 30; a bare number has no unit, write 30s for seconds"),
        ("reader.timeout", "0s", "or 14d, above 0, got '0s'"),
        ("reader.timeout", "-5s", "or 14d, above 0, got '-5s'"),
        ("reader.timeout", True, "expected a duration such as 30s, 5m, 1h30m or 14d, got true"),
        ("reader.latency_offset", "-1ms", "not negative, got '-1ms'"),
        ("reader.data_range", [1], "expected a list [low, high] with low below high"),
        ("reader.data_range", [5, 1], "expected a list [low, high] with low below high"),
        ("reader.data_range", ["a", 1], "expected a list [low, high] with low below high"),
        ("reader.data_range", ["nan", 1], "expected a list [low, high] with low below high"),
        ("reader.max_points_per_query", 0, "expected a whole number of 1 or more, got 0"),
        ("reader.verify_tls", "no/such.crt", "expected true, false or the path of a CA bundle"),
        ("reader.tls_cert_file", "no/such.crt", "expected a file that can be read (No such file"),
        ("reader.queries.cpu.step", "1 minute", "or 14d, got '1 minute'"),
        ("reader.queries.cpu.expr", " ", "expected text that is not empty, got ' '"),
        ("reader.queries.cpu.expr", "", "required, but not set"),
        (
            "reader.queries.cpu.expr",
            True,
            "expected text, got true; put it in quotes if it is text: 'true'",
        ),
        ("reader.queries.cpu.detection_direction", "up", "expected one of both, above_expected,"),
        ("reader.queries.cpu.min_dev_from_expected", -1, "a number of 0 or more, or a list of two"),
        ("reader.queries.cpu.min_dev_from_expected", [1, 2, 3], "list of two: [lower, upper]"),
        ("reader.queries.cpu.min_rel_dev_from_expected", "x", "list of two: [lower, upper]"),
        ("models.z.z_threshold", 0, "expected a number above 0, got 0"),
        ("models.z.z_threshold", "inf", "expected a number above 0, got 'inf'"),
        ("models.z.decay", 0, "expected a number above 0 and up to 1, got 0"),
        ("models.z.decay", 1.1, "expected a number above 0 and up to 1, got 1.1"),
        ("models.z.history_strength", 0, "expected a number above 0, got 0"),
        ("models.z.min_n_samples_seen", 0, "expected a whole number of 1 or more, got 0"),
        ("models.z.scale", 0, "expected a number above 0, or a list of two: [lower, upper], got 0"),
        ("models.z.scale", [1, 2, 3], "expected a number above 0, or a list of two"),
        ("models.z.anomaly_score_outside_data_range", -1, "expected a number of 0 or more"),
        ("models.z.provide_series", [], "expected at least one output"),
        ("models.z.provide_series", ["timestamp"], "expected at least one output"),
        ("models.z.args", [1], "expected a mapping, got a list"),
        ("schedulers.live.infer_every", "500ms", "at least 1s, got '500ms'"),
        ("schedulers.live.start_from", "25:00", "expected HH:MM, or a time such as"),
        ("settings.retention", {"ttl": "1d", "check_interval": "x"}, "got 'x'"),
        ("settings.checkpoint_interval", "-5m", "got '-5m'"),
        ("server.ui_default_state", "?x", "starting with #/?, got '?x'"),
        ("writer.metric_format", "$VAR", "expected a mapping, got text; is a space missing"),
        ("writer.connection_retry_attempts", -1, "expected a whole number of 0 or more"),
        ("writer.queue_max_size", "big", "expected a size such as 512MiB, 1GiB"),
        ("monitoring.pull", {"port": -1}, "expected a whole number from 0 to 65535, got -1"),
        ("reader.queries", [1], "expected a mapping of aliases"),
        ("models.z", "zscore", "expected a mapping, got text; is a space missing after a colon?"),
        ("schedulers.live", [], "expected a mapping, got a list"),
        ("settings", "n_workers:4", "expected a mapping, got text; is a space missing"),
        ("settings.retention", "1d", "expected a mapping, got text; is a space missing"),
    ],
)
def test_bad_value(path: str, value: Any, message: str) -> None:
    (problem,) = problems(changed({path: value}))
    assert problem.startswith(path)
    assert message in problem


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("raeder", {}, "raeder: unknown section; did you mean reader?"),
        ("reader.datasource", "x", "reader.datasource: unknown key; did you mean datasource_url?"),
        ("reader.class_name", "vm", "reader.class_name: unknown key; did you mean class?"),
        (
            "reader.queries.cpu.stpe",
            "1m",
            "reader.queries.cpu.stpe: unknown key; did you mean step?",
        ),
        (
            "reader.queries.cpu.alias",
            "x",
            "reader.queries.cpu.alias: unknown key; known here: expr",
        ),
        (
            "models.z.threshold",
            3,
            (
                "models.z.threshold: not a key of zscore_online, only of mad_online; "
                "did you mean z_threshold?"
            ),
        ),
        (
            "writer.path",
            "scores.duckdb",
            "writer.path: not a key of vm, only of duckdb; remove it",
        ),
        (
            "schedulers.live.n_jobs",
            2,
            "schedulers.live.n_jobs: not a key of periodic, only of backtesting; remove it",
        ),
        (
            "schedulers.live.infer_evry",
            "1m",
            "schedulers.live.infer_evry: unknown key; did you mean infer_every?",
        ),
        (
            "settings.retention",
            {"tll": "1d"},
            "settings.retention.tll: unknown key; did you mean ttl?",
        ),
        ("monitoring.pull", {"prt": 1}, "monitoring.pull.prt: unknown key; did you mean port?"),
        ("server.auth", {"usr": "x"}, "server.auth.usr: unknown key; did you mean user?"),
    ],
)
def test_unknown_key(path: str, value: Any, problem: str) -> None:
    assert any(found.startswith(problem) for found in problems(changed({path: value})))


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("reader", "reader: required, but not set; it says where series are read from"),
        ("writer", "writer: required, but not set; it says where scores are written to"),
        ("models", "models: required, but not set; it says what looks for anomalies"),
        ("schedulers", "schedulers: required, but not set; it says when models run"),
        ("reader.datasource_url", "reader.datasource_url: required, but not set"),
        (
            "reader.queries",
            "reader.queries: required, but not set; write an expression under an alias",
        ),
        ("reader.queries.cpu.expr", "reader.queries.cpu.expr: required, but not set"),
        (
            "reader.sampling_period",
            "reader.sampling_period: required, because these queries have no step: cpu",
        ),
        ("schedulers.live.fit_window", "schedulers.live.fit_window: required, but not set"),
        ("schedulers.live.infer_every", "schedulers.live.infer_every: required, but not set"),
        (
            "models.z.class",
            f"models.z.class: required, but not set; available: {', '.join(MODELS.aliases)}",
        ),
    ],
)
def test_missing(path: str, problem: str) -> None:
    assert problems(without(path)) == [problem]


def test_null_is_the_same_as_left_out() -> None:
    null = {"reader.datasource_url": None, "settings": None, "server": None, "monitoring": None}
    assert problems(changed(null)) == ["reader.datasource_url: required, but not set"]


@pytest.mark.parametrize(
    ("path", "name", "problem"),
    [
        (
            "models.z.class",
            "zscore_onlin",
            "unknown model class, got 'zscore_onlin'; did you mean zscore_online?",
        ),
        (
            "models.z.class",
            "neural",
            f"unknown model class, got 'neural'; available: {', '.join(MODELS.aliases)}",
        ),
        (
            "models.z.class",
            "model.online.OnlineZscorModel",
            "got 'model.online.OnlineZscorModel'; did you mean model.online.OnlineZscoreModel?",
        ),
        ("models.z.class", "model.std.Mine", "unknown model class, got 'model.std.Mine'"),
        ("models.z.class", "my package.Mine", "unknown model class, got 'my package.Mine'"),
        ("writer.class", "writer.vm.VmWritr", "did you mean writer.vm.VmWriter?"),
        ("schedulers.live.class", "cron", "unknown scheduler class, got 'cron'; available:"),
        ("models.z.class", ["a"], "expected the name of a class, got a list"),
    ],
)
def test_class(path: str, name: Any, problem: str) -> None:
    (found,) = [line for line in problems(changed({path: name})) if line.startswith(path)]
    assert problem in found


def test_every_problem_at_once() -> None:
    found = problems(
        changed(
            {
                "reader.datasource_url": "nowhere",
                "reader.queries.cpu.step": "x",
                "reader.queries.ram": {"exp": "avg(ram)"},
                "schedulers.live.infer_every": "5",
                "models.z.z_threshold": -1,
                "models.z.queries": ["cpuu"],
                "models.y": {"class": "none", "queries": "all"},
                "writer.metric_format": {"for": "x"},
                "writer.timeout": 5,
                "server.port": "x",
                "settings.restore_state": True,
                "extra": 1,
            }
        )
    )
    assert {line.partition(": ")[0] for line in found} == {
        "extra",
        "reader.datasource_url",
        "reader.queries.cpu.step",
        "reader.queries.ram.expr",
        "reader.queries.ram.exp",
        "schedulers.live.infer_every",
        "models.z.z_threshold",
        "models.z.queries[0]",
        "models.y.class",
        "writer.metric_format",
        "writer.timeout",
        "server.port",
        "settings.restore_state",
    }
    assert len(found) == 13


@pytest.mark.parametrize("path", ["reader", "server", "server.auth"])
def test_only_the_first_of_many_are_listed(path: str) -> None:
    keys: dict[str, Any] = {f"{path}.k{n}": 1 for n in range(1000)}
    if path == "server.auth":
        keys |= {f"{path}.user": "me", f"{path}.password": "x"}
    found = problems(changed(keys))
    assert len(found) == 101
    assert found[0].startswith(f"{path}.k0: unknown key; ")
    assert found[-1] == "and 900 more"
    with pytest.raises(ConfigError) as caught:
        load(changed(keys))
    assert caught.value.n_problems == 1000


def test_an_alias_cannot_look_like_another_line() -> None:
    (problem,) = problems(changed({"reader.queries": {"a\nb\x1b": {"expr": "x", "step": "y"}}}))
    assert problem.startswith(r'reader.queries."a\nb\x1b".step: ')


def test_a_wrong_default_of_the_reader_is_told_once() -> None:
    queries = {name: {"expr": "x"} for name in "abc"}
    changes = {"reader.queries": queries, "reader.sampling_period": "x", "reader.tz": "Mars"}
    assert len(problems(changed(changes))) == 2


def test_aliases_that_are_no_plain_words_are_quoted() -> None:
    (problem,) = problems(changed({"reader.queries": {"a.b c": {"expr": "x", "step": "y"}}}))
    assert problem.startswith('reader.queries."a.b c".step: ')


@pytest.mark.parametrize(
    "changes",
    [
        {"reader.password": ["hunter2"]},
        {"reader.password": {"x": "hunter2"}},
        {"reader.user": "me", "reader.password": "hunter2\nx"},
        {"reader.bearer_token": "hunter2\n"},
        {"reader.headers": {"X-Key": "hunter2\r"}},
        {"reader.headers": {"X Key": "hunter2"}},
        {"reader.headers": "hunter2"},
        {"reader.datasource_url": "ftp://me:hunter2@host"},
        {"reader.password": "hunter2"},
        {"reader.passwort": "hunter2"},
        {"reader": "password:hunter2"},
        {"server.auth": "hunter2"},
        {"server.auth": {"password": "hunter2"}},
        {"monitoring.push": {"url": "http://x", "bearer_token": ["hunter2"]}},
    ],
)
def test_secrets_are_not_shown(changes: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    found = problems(changed(changes))
    assert found
    assert "hunter2" not in "\n".join([*found, *caplog.messages])


def as_text(models: str = "", schedulers: str = "", queries: str = "", rest: str = "") -> str:
    """Return a configuration with parts as they are indented in the arguments."""
    models = models or "  z:\n    class: zscore_online\n    queries: all\n    schedulers: all"
    schedulers = schedulers or "  live:\n    fit_window: 1d\n    infer_every: 1m"
    queries = queries or "    cpu:\n      expr: avg(cpu)"
    return (
        f"models:\n{models}\nschedulers:\n{schedulers}\n"
        "writer:\n  datasource_url: http://vm:8428\n"
        "reader:\n  datasource_url: http://vm:8428\n  sampling_period: 1m\n"
        f"  queries:\n{queries}\n{rest}\n"
    )


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return caught.value.problems


@pytest.mark.parametrize(
    ("parts", "section", "kind", "keys", "alias"),
    [
        (
            {"models": "  z:\n  class: std\n  queries: [cpu]"},
            "models",
            "model",
            "class, queries",
            "z",
        ),
        ({"models": "  class: std\n  args:\n    x: 1"}, "models", "model", "class, args", None),
        ({"models": "  z: {class: std}\n  queries: all"}, "models", "model", "queries", "z"),
        (
            {"models": "  y: {class: std}\n  z:\n  class: custom\n  own: 3"},
            "models",
            "model",
            "class",
            "z",
        ),
        (
            {"schedulers": "  live:\n  fit_window: 1d\n  infer_every: 1m"},
            "schedulers",
            "scheduler",
            "fit_window, infer_every",
            "live",
        ),
        (
            {"queries": "    cpu:\n    expr: avg(cpu)\n    step: 1m"},
            "reader.queries",
            "query",
            "expr, step",
            "cpu",
        ),
    ],
)
def test_keys_at_the_level_of_aliases(
    parts: dict[str, str], section: str, kind: str, keys: str, alias: str | None
) -> None:
    below = (
        f"their alias, such as {alias}" if alias else "an alias of your choice, such as my_model"
    )
    (problem,) = problems_of(as_text(**parts))
    assert problem == (
        f"{section}: expected aliases, got keys of a {kind} ({keys}); indent them by one more "
        f"level, below {below}"
    )


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("m:\n  class: mad_online", "m: unknown section; looks like a model; indent it by one"),
        ("m:\n  class: model.mad.MADModel", "level, below models"),
        ("s:\n  class: oneoff", "s: unknown section; looks like a scheduler; indent it by one"),
        ("s:\n  infer_every: 1m\n  fit_every: 1h", "level, below schedulers"),
        ("q:\n  expr: avg(x)", "q: unknown section; looks like a query; indent it by one more"),
        ("queries:\n  x: {expr: y}", "queries: unknown section; a key of reader; indent it by one"),
        ("sampling_period: 1m", "a key of reader; indent it by one more level, below that"),
        ("tenant_id: 1", "a key of reader or writer; indent it by one more level, below that"),
        ("modles:\n  z: {class: mad_online}", "modles: unknown section; did you mean models?"),
        ("other: {a: b}", "other: unknown section; known here: preset, settings,"),
        ("other: {class: [x]}", "other: unknown section; known here: preset, settings,"),
    ],
)
def test_what_stands_at_the_level_of_sections(rest: str, expected: str) -> None:
    (problem,) = problems_of(as_text(rest=rest))
    assert expected in problem


def test_the_only_model_at_the_level_of_sections() -> None:
    text = as_text().replace("\n  z:\n    class", "\nz:\n    class")
    assert problems_of(text) == [
        "z: unknown section; looks like a model; indent it by one more level, below models",
        "models: required, but not set; it says what looks for anomalies",
    ]


def test_aliases_may_have_names_of_keys() -> None:
    models = "  class:\n    class: mad_online\n    queries: all\n    schedulers: all"
    queries = "    expr:\n      expr: avg(cpu)\n    step:\n      expr: avg(x)"
    config = load(as_text(models=models, queries=queries))
    assert set(config.models) == {"class"}
    assert set(config.reader.queries) == {"expr", "step"}
