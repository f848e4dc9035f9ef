"""Connecting to Ray, for `settings.executor` and `vmanomaly cluster`."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from typing import Any

logger = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.2"
"""An address of this machine only. Ray replaces 127.0.0.1 by one that others can reach."""


def import_ray(address: str | None) -> Any:
    """Import Ray, with the settings that it reads only then, unless the user has set them.

    It sends nothing to its makers. The one that is started here lets only those in who have its
    token, since some of its ports are on all addresses, whatever it is told.

    Parameters
    ----------
    address
        Of a running cluster; None if one is to be started on this machine.

    Returns
    -------
    module
        The package `ray`.

    Raises
    ------
    ImportError
        It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Later it would be half in effect: with the processes of Ray, but not with this one.
    if address is None and "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    return import_module("ray")


def start_ray(ray: Any, **options: Any) -> None:
    """Start Ray on a loopback address of this machine, without a dashboard, and connect to it.

    Parameters
    ----------
    ray
        As `import_ray` returns it.
    **options
        Further arguments of `ray.init`.

    Raises
    ------
    ConnectionError, OSError, RuntimeError, ValueError
        As `ray.init`.
    """
    connect_ray(ray, "local", include_dashboard=False, _node_ip_address=_LOOPBACK, **options)


def connect_ray(ray: Any, address: str, **options: Any) -> None:
    """Connect to Ray. What it has to say in this process appears among our log lines.

    What it logs does from warnings on; what it prints, such as the last state of a worker that has
    died, at level `DEBUG`.

    Parameters
    ----------
    ray
        As `import_ray` returns it.
    address
        As `ray.init` takes it.
    **options
        Further arguments of `ray.init`.

    Raises
    ------
    ConnectionError, OSError, RuntimeError, ValueError
        As `ray.init`.
    """
    ray_logger = logging.getLogger("ray")
    ray_logger.handlers.clear()
    ray_logger.setLevel(logging.WARNING)
    ray_logger.propagate = True
    # No option of Ray stops what the processes of the cluster have it print.
    ray._private.worker.print_to_stdstream = _log_lines
    ray.init(address=address, configure_logging=False, log_to_driver=False, **options)


def _log_lines(printed: dict[str, Any], ignore_prefix: bool = False) -> None:
    for line in filter(None, map(str.rstrip, "\n".join(printed["lines"]).splitlines())):
        logger.debug("Ray: %s", line)
