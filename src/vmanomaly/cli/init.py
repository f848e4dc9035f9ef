"""The subcommand `init`: a first configuration, from what a database holds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vmanomaly.cli.dispatch import DONE
from vmanomaly.cli.options import add_connection, connection_of
from vmanomaly.cli.output import write_output
from vmanomaly.cli.parser import Parser
from vmanomaly.errors import UsageError
from vmanomaly.output_file import write_file

_URLS = ("http://", "https://")


def init(arguments: Sequence[str]) -> int:
    """Run `vmanomaly init` and return the exit status.

    Raises
    ------
    UsageError, ConfigError, DatasourceError
        An argument is wrong, the file exists, or the server cannot answer.
    """
    options = _parser().parse_args(arguments)
    target = None if options.out == "-" else Path(options.out)
    if target is not None and target.exists() and not options.force:
        raise UsageError(f"{target} exists; name another file with --out, or add --force")
    if options.writer_url is not None and not options.writer_url.startswith(_URLS):
        raise UsageError("--writer-url: expected a URL such as http://localhost:8428")
    from vmanomaly.proposal import propose, written_config

    section = connection_of(options)
    proposal = propose(section)
    text = written_config(proposal, section, options.writer_url or options.url)
    if target is None:
        write_output(text)
        return DONE
    write_file(target, text)
    lines = [
        f"{proposal.summary}",
        f"{len(proposal.queries)} queries are in {target}. Next:",
        f"  vmanomaly --dryRun {target}",
        f"  vmanomaly {target}",
    ]
    write_output("\n".join(lines) + "\n")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="vmanomaly init",
        description=(
            "Asks a database which jobs and metrics it holds, and writes a configuration with "
            "queries for them and comments."
        ),
        epilog="example: vmanomaly init http://localhost:8428",
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", help="of VictoriaMetrics or Prometheus")
    parser.add_argument(
        "--out", metavar="FILE", default="vmanomaly.yaml", help="default %(default)s; - to print"
    )
    parser.add_argument("--writer-url", metavar="URL", help="where scores go; default: the URL")
    parser.add_argument("--force", action="store_true", help="replace the file")
    add_connection(parser)
    return parser
