"""The subcommand `cluster`: the members of a configuration on a Ray cluster."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import vmanomaly
from vmanomaly.cli.arguments import DEFAULT_CONFIG
from vmanomaly.cli.options import add_check_interval, add_logging
from vmanomaly.cli.parser import Parser
from vmanomaly.cli.run import serve
from vmanomaly.config import Config, load_config
from vmanomaly.config.loading.watch import ConfigWatch
from vmanomaly.config.members import (
    MEMBER_NUM,
    MEMBERS_COUNT,
    REPLICATION_FACTOR,
    SPLIT_BY,
    STRATEGIES,
)
from vmanomaly.logs import configure_logging, set_logger_levels

if TYPE_CHECKING:
    from vmanomaly.application import RunningService
    from vmanomaly.context import RunContext
    from vmanomaly.monitoring.metrics import Metrics

logger = logging.getLogger("vmanomaly.cli")


def cluster(arguments: Sequence[str]) -> int:
    """Run the members of a configuration on a Ray cluster; return the exit status.

    Raises
    ------
    UsageError
        An option is wrong, or Ray is not installed.
    ConfigError
        With every problem of the configuration.
    ClusterError
        Ray cannot be reached or started.
    """
    options = _parser().parse_args(arguments)
    options.configs = options.configs or [DEFAULT_CONFIG]
    from vmanomaly.cluster.ray_cluster import connected, require_ray

    require_ray(options.address)
    configure_logging(options.logger_level, options.logger_format)
    logger.info("vmanomaly %s", vmanomaly.__version__)
    environ = {
        **os.environ,
        MEMBERS_COUNT: str(options.members),
        MEMBER_NUM: "0",
        REPLICATION_FACTOR: str(options.replication),
        SPLIT_BY: options.split_by or os.environ.get(SPLIT_BY, ""),
    }
    watch = ConfigWatch(options.configs, pause=time.sleep)
    config = load_config(options.configs, environ)
    set_logger_levels(config.settings.logger_levels, options.logger_level)
    logger.info("Config has been loaded successfully")
    with connected(options.address):
        from vmanomaly.application import Application
        from vmanomaly.cluster.cluster import Cluster

        def create(config: Config, metrics: Metrics, context: RunContext) -> RunningService:
            return Cluster(
                config,
                metrics,
                context,
                options.logger_level,
                options.logger_format,
                options.cpus,
            )

        application = Application(config, options.logger_level, create)
        return serve(application, config, options, watch, environ)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="vmanomaly cluster",
        description=(
            "Runs a configuration as members that share its work, each in a process that Ray "
            "places on a node of its cluster, watches, and restarts. Health, metrics and the API "
            "of all are where this process listens."
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
    parser.add_argument(
        "--members", type=_count, required=True, metavar="N", help="how many members there are"
    )
    parser.add_argument(
        "--replication",
        type=_count,
        default=1,
        metavar="N",
        help="how many members run each sub-config (default: %(default)s)",
    )
    parser.add_argument(
        "--splitBy",
        dest="split_by",
        type=str.lower,
        choices=STRATEGIES,
        help=f"what one sub-config is (default: ${SPLIT_BY}, or else {STRATEGIES[0]})",
    )
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        help=(
            "host:port of a running Ray cluster, or auto for the one that this machine belongs "
            "to; without it Ray is started on this machine only"
        ),
    )
    parser.add_argument(
        "--cpus",
        type=_cpus,
        default=0.0,
        metavar="N",
        help="how many CPUs Ray reserves for each member (default: none)",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="apply changes to the configuration files while running",
    )
    add_check_interval(parser)
    add_logging(parser)
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 1000, got {text!r}")
    return int(text)


def _cpus(text: str) -> float:
    try:
        cpus = float(text)
    except ValueError:
        cpus = -1.0
    if not 0 <= cpus <= 1_000:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1000, got {text!r}")
    return cpus
