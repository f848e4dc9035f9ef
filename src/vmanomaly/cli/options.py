"""Options that several subcommands take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmanomaly.config.reader import VmReaderSection
    from vmanomaly.config.values.duration import Duration

TOKEN_VARIABLE = "VMANOMALY_BEARER_TOKEN"  # noqa: S105 - the name of a variable
PASSWORD_VARIABLE = "VMANOMALY_PASSWORD"  # noqa: S105 - the name of a variable

_URL_KEY = "datasource_url"
_OPTIONS = {
    "user": "--user",
    "password": PASSWORD_VARIABLE,
    "bearer_token": TOKEN_VARIABLE,
    "tenant_id": "--tenant",
    "verify_tls": "--ca",
    "timeout": "--timeout",
}


def in_terms_of_options(message: str) -> str:
    """Return a message with the options of `add_connection` where it names keys of a reader.

    Examples
    --------
    >>> in_terms_of_options("Is `reader.datasource_url` right, and `reader.tenant_id`?")
    'Is the URL right, and `--tenant`?'
    >>> in_terms_of_options("`reader.verify_tls: false` accepts any certificate")
    '`--ca false` accepts any certificate'
    >>> in_terms_of_options("Narrow the query, or raise `reader.max_response_size`")
    'Narrow the query, or raise `reader.max_response_size`. Only a configuration can set that'
    """
    from vmanomaly.http.terms import in_terms_of

    return in_terms_of(message, _option, lambda keys: "Only a configuration can set that")


def _option(key: str, value: str | None) -> str | None:
    if key == _URL_KEY:
        return "the URL"
    option = _OPTIONS.get(key)
    return None if option is None else "`" + " ".join(filter(None, (option, value))) + "`"


def duration(text: str) -> Duration:
    """Read a duration above 0."""
    from vmanomaly.config.values.duration import Duration

    try:
        read = Duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if read <= 0:
        raise argparse.ArgumentTypeError(f"expected a duration above 0, got {text!r}")
    return read


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to connect to a server.

    Secrets are no options, since all users of a machine can see those.
    """
    connection = parser.add_argument_group(
        "connection",
        f"The password is taken from {PASSWORD_VARIABLE}, a token from {TOKEN_VARIABLE}.",
    )
    connection.add_argument("--user", metavar="NAME", help="for basic authentication")
    connection.add_argument("--tenant", metavar="ID", help="in a cluster, such as 0 or 0:1")
    connection.add_argument(
        "--ca", metavar="FILE", help="certificates of the authorities to trust, PEM"
    )
    connection.add_argument(
        "--timeout", metavar="DURATION", type=duration, help="of a request; default 30s"
    )


def connection_of(options: argparse.Namespace) -> VmReaderSection:
    """Return the section of a reader that connects as the options say.

    Raises
    ------
    ConfigError
        One of them is wrong.
    """
    from vmanomaly.config.problems import Findings
    from vmanomaly.config.reader import VmReaderSection
    from vmanomaly.config.section import read_section
    from vmanomaly.errors import ConfigError

    given: dict[str, Any] = {
        "datasource_url": options.url,
        "user": options.user,
        "password": os.environ.get(PASSWORD_VARIABLE) if options.user else None,
        "bearer_token": None if options.user else os.environ.get(TOKEN_VARIABLE),
        "tenant_id": options.tenant,
        "verify_tls": options.ca,
        "timeout": options.timeout,
    }
    present = {key: value for key, value in given.items() if value is not None}
    findings = Findings()
    section = read_section(VmReaderSection, present, (), findings, {"queries": {}})
    if section is None:
        names = {**_OPTIONS, _URL_KEY: "URL"}
        parts = (problem.partition(":") for problem in findings.problems)
        problems = [names.get(key, key) + colon + said for key, colon, said in parts]
        raise ConfigError(problems, findings.n_problems)
    return section


def expression(text: str) -> str:
    """Read the expression of a query."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected an expression, such as up")
    return text


def number_of_series(text: str) -> int:
    """Read how many series to take at most."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which column of a file is what."""
    columns = parser.add_argument_group("columns")
    columns.add_argument("--time", metavar="COL", help="the column of times")
    columns.add_argument(
        "--value", metavar="COL", action="append", help="a column of values; may be repeated"
    )
    columns.add_argument(
        "--by", metavar="COL", action="append", help="a column that tells series apart; repeatable"
    )
    columns.add_argument("--step", metavar="DURATION", type=duration, help="distance of the points")
    columns.add_argument(
        "--tz", metavar="ZONE", default="UTC", type=zone, help="zone of times that name none"
    )


def zone(text: str) -> str:
    """Read the name of a time zone."""
    from vmanomaly.config.values.fields import as_time_zone

    try:
        return as_time_zone(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def settings_of(given: Sequence[str]) -> dict[str, Any]:
    """Return the keys of `--set`, their values read as YAML.

    Raises
    ------
    UsageError
        One of them is not KEY=VALUE.
    """
    import yaml

    from vmanomaly.errors import UsageError

    settings: dict[str, Any] = {}
    for each in given:
        key, equals, text = each.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {each}: expected KEY=VALUE, such as z_threshold=3")
        try:
            settings[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {each}: the value is not YAML") from error
    return settings


def add_logging(parser: argparse.ArgumentParser) -> None:
    """Add the options of a service's log: `logger_level` and `logger_format`."""
    parser.add_argument(
        "--loggerLevel",
        dest="logger_level",
        type=str.upper,
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "FATAL"),
        default="INFO",
        help="how much is logged (default: %(default)s)",
    )
    parser.add_argument(
        "--loggerFormat",
        dest="logger_format",
        type=str.lower,
        choices=("text", "json"),
        default="text",
        help="one line of text or JSON per event (default: %(default)s)",
    )


def add_check_interval(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how often files are looked at: `config_check_interval`."""
    from vmanomaly.config.values.duration import Duration

    parser.add_argument(
        "--configCheckInterval",
        dest="config_check_interval",
        type=duration,
        default=Duration.parse("30s"),
        metavar="DURATION",
        help="how often --watch looks for changes (default: 30s)",
    )
