"""The command line: what is accepted, in which spellings, and the help page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import vmanomaly
from vmanomaly.cli.options import add_check_interval, add_logging
from vmanomaly.cli.output import write_output
from vmanomaly.errors import UsageError

DEFAULT_CONFIG = Path("vmanomaly.yaml")

_SPELLINGS = {
    "config.check.interval": "configCheckInterval",
    "config-check-interval": "configCheckInterval",
    "config_check_interval": "configCheckInterval",
    "log-level": "loggerLevel",
    "log_level": "loggerLevel",
    "license-file": "licenseFile",
    "license-verify-offline": "license.forceOffline",
}
_LICENSE = ("license", "licenseFile", "licenseFile.reloadInterval")
_WITH_VALUE = frozenset(
    {"loggerLevel", "loggerFormat", "configCheckInterval", "outputSpec", *_LICENSE}
)
_BOOLEAN = frozenset({"watch", "dryRun", "license.forceOffline"})
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options and configuration files of a command line.

    Every option may be written with one dash or two, as `--name value`, `--name=value` or bare
    `name=value`.

    Parameters
    ----------
    arguments
        The command line without the name of the program.

    Returns
    -------
    Namespace
        `configs` (list of Path), `logger_level`, `logger_format`, `watch`,
        `config_check_interval`, `dry_run`, `output_spec` (Path or None), `licensed` (whether an
        option about a license was given).

    Raises
    ------
    UsageError
        An option is unknown, lacks its value or has a wrong one.

    Examples
    --------
    >>> options = parse_arguments(["-loggerLevel", "DEBUG", "dryRun=true", "a.yaml"])
    >>> options.logger_level, options.dry_run, options.configs
    ('DEBUG', True, [PosixPath('a.yaml')])
    """
    options = _parser().parse_args(_canonical(arguments))
    options.configs = options.configs or [DEFAULT_CONFIG]
    options.licensed = options.force_offline or any(
        vars(options)[name] is not None for name in _LICENSE
    )
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message}\nsee vmanomaly -h")

    def _print_message(self, message: str, file: object = None) -> None:
        # Replaces that of argparse, which says nothing of a full disk.
        write_output(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vmanomaly",
        usage=(
            "vmanomaly [options] [CONFIG ...]\n"
            "       vmanomaly {cluster,demo,detect,init,query,report,split,tune} -h"
        ),
        description=(
            "Reads time series from VictoriaMetrics or Prometheus, learns what is normal for "
            "each of them, and writes anomaly scores and expected ranges back."
        ),
        epilog=(
            "Options may be written with one dash or two, as --name value, --name=value or "
            "name=value. Exit status: 0 done or stopped, 2 wrong configuration or usage, 1 "
            "anything else."
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "configs",
        nargs="*",
        type=Path,
        metavar="CONFIG",
        help=f"YAML files, or directories of them, merged in order (default: {DEFAULT_CONFIG})",
    )
    add_logging(parser)
    parser.add_argument(
        "--dryRun",
        dest="dry_run",
        type=_truth,
        default=False,
        metavar="BOOL",
        help="validate the configuration, show what it would run, and exit",
    )
    parser.add_argument(
        "--outputSpec",
        dest="output_spec",
        type=Path,
        metavar="PATH",
        help="write the configuration with all defaults filled in to a file",
    )
    parser.add_argument(
        "--watch",
        type=_truth,
        default=False,
        metavar="BOOL",
        help="apply changes to the configuration files while running",
    )
    add_check_interval(parser)
    for name in _LICENSE:
        parser.add_argument(
            f"--{name}", dest=name, metavar="X", help="accepted and ignored: no license is needed"
        )
    parser.add_argument(
        "--license.forceOffline",
        dest="force_offline",
        type=_truth,
        default=False,
        metavar="BOOL",
        help="accepted and ignored: no license is needed",
    )
    parser.add_argument("--version", action="version", version=f"vmanomaly {vmanomaly.__version__}")
    return parser


def _canonical(arguments: Sequence[str]) -> list[str]:
    """Return the command line with every option written as `--name=value`."""
    canonical = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        written, equals, value = argument.partition("=")
        name = _SPELLINGS.get(written.lstrip("-"), written.lstrip("-"))
        dashed = written.startswith("-")
        if name not in _BOOLEAN | _WITH_VALUE or not (dashed or equals):
            canonical.append(_two_dashes(argument) if dashed else argument)
        elif equals:
            canonical.append(f"--{name}={value}")
        elif name in _BOOLEAN:
            explicit = bool(rest) and rest[0].lower() in _TRUTH
            canonical.append(f"--{name}={rest.pop(0) if explicit else 'true'}")
        elif rest:
            canonical.append(f"--{name}={rest.pop(0)}")
        else:
            raise UsageError(f"the option {argument} needs a value")
    return canonical


def _two_dashes(argument: str) -> str:
    """Return `-name` as `--name`, but leave the one-letter options alone."""
    name = argument.lstrip("-")
    return f"--{name}" if len(name) > 1 else argument


def _truth(text: str) -> bool:
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}") from None
