"""Options that several subcommands take."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmanomaly.config.reader import VmReaderSection
    from vmanomaly.config.values.duration import Duration

TOKEN_VARIABLE = "VMANOMALY_BEARER_TOKEN"  # noqa: S105 - the name of a variable
PASSWORD_VARIABLE = "VMANOMALY_PASSWORD"  # noqa: S105 - the name of a variable


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
        raise ConfigError(findings.problems, findings.n_problems)
    return section
