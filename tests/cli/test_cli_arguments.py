from __future__ import annotations

from pathlib import Path

import pytest

from vmanomaly.cli.arguments import parse_arguments
from vmanomaly.errors import UsageError


@pytest.mark.parametrize(
    "arguments",
    [
        ["--loggerLevel", "debug"],
        ["--loggerLevel=DEBUG"],
        ["-loggerLevel", "DEBUG"],
        ["-loggerLevel=DEBUG"],
        ["loggerLevel=DEBUG"],
    ],
)
def test_every_spelling_of_an_option(arguments: list[str]) -> None:
    options = parse_arguments([*arguments, "a.yaml", "b"])
    assert options.logger_level == "DEBUG"
    assert options.configs == [Path("a.yaml"), Path("b")]


@pytest.mark.parametrize(
    "name",
    ["configCheckInterval", "config.check.interval", "config-check-interval"],
)
@pytest.mark.parametrize("dashes", ["-", "--"])
def test_the_config_check_interval_has_many_names(name: str, dashes: str) -> None:
    options = parse_arguments([f"{dashes}{name}", "1m30s", "a.yaml"])
    assert options.config_check_interval.seconds == 90
    assert parse_arguments(["config_check_interval=5s"]).config_check_interval.seconds == 5


@pytest.mark.parametrize(
    ("arguments", "dry_run"),
    [
        (["a.yaml"], False),
        (["--dryRun", "a.yaml"], True),
        (["-dryRun", "a.yaml"], True),
        (["--dryRun", "true", "a.yaml"], True),
        (["--dryRun", "0", "a.yaml"], False),
        (["--dryRun=1", "a.yaml"], True),
        (["dryRun=False", "a.yaml"], False),
        (["a.yaml", "--dryRun"], True),
    ],
)
def test_booleans(arguments: list[str], dry_run: bool) -> None:
    options = parse_arguments(arguments)
    assert options.dry_run is dry_run
    assert options.configs == [Path("a.yaml")]


def test_defaults() -> None:
    options = parse_arguments([])
    assert options.configs == [Path("vmanomaly.yaml")]
    assert options.logger_level == "INFO"
    assert options.config_check_interval.seconds == 30
    assert (options.watch, options.dry_run, options.output_spec) == (False, False, None)
    assert options.licensed is False


@pytest.mark.parametrize(
    "arguments",
    [
        ["--license", "X"],
        ["license=X"],
        ["--licenseFile=f"],
        ["--license-file=f"],
        ["-license-file", "f"],
        ["--licenseFile.reloadInterval=1h"],
        ["-license.forceOffline"],
        ["--license-verify-offline"],
        ["--license-verify-offline=true"],
    ],
)
def test_options_about_a_license_are_accepted(arguments: list[str]) -> None:
    options = parse_arguments([*arguments, "a.yaml"])
    assert options.licensed is True
    assert options.configs == [Path("a.yaml")]


@pytest.mark.parametrize("name", ["log-level", "log_level"])
def test_the_level_of_the_log_has_old_names(name: str) -> None:
    assert parse_arguments([f"--{name}", "debug"]).logger_level == "DEBUG"
    assert parse_arguments([f"-{name}=ERROR", "a.yaml"]).logger_level == "ERROR"


def test_a_path_may_follow_a_flag() -> None:
    options = parse_arguments(["--watch", "/etc/config/config.yml", "--license-file=/etc/key"])
    assert (options.watch, options.licensed) == (True, True)
    assert options.configs == [Path("/etc/config/config.yml")]


def test_flags_may_come_before_the_path() -> None:
    options = parse_arguments(
        ["--license.forceOffline", "--licenseFile=k", "--loggerLevel=WARNING", "--watch", "c.yaml"]
    )
    assert (options.watch, options.logger_level) == (True, "WARNING")
    assert options.configs == [Path("c.yaml")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--logerLevel", "INFO"], "unrecognized arguments: --logerLevel"),
        (["--loggerLevel", "LOUD"], "invalid choice: 'LOUD'"),
        (["--loggerLevel"], "needs a value"),
        (["--dryRun=perhaps"], "expected true or false, got 'perhaps'"),
        (["--configCheckInterval=soon"], "--configCheckInterval: expected a duration"),
        (["--configCheckInterval=0s"], "--configCheckInterval: expected a duration above 0"),
    ],
)
def test_wrong_usage_is_told_with_the_remedy(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=r"vmanomaly -h|needs a value") as raised:
        parse_arguments(arguments)
    assert message in str(raised.value)
