"""Ray on this machine only, as `settings.executor` and `vmanomaly cluster` start it."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

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
    """Start Ray on a loopback address, without a dashboard, and connect to it.

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
    ray.init(
        address="local",
        include_dashboard=False,
        configure_logging=False,
        log_to_driver=False,
        _node_ip_address=_LOOPBACK,
        **options,
    )
