"""Connecting to a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from vmanomaly.errors import UsageError, VmanomalyError

logger = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.2"
"""An address of this machine only. Ray replaces 127.0.0.1 by one that others can reach."""
_OBJECT_STORE_BYTES = 100 * 2**20
"""Only configurations and metrics travel; the least that Ray accepts is 75 MiB."""


class ClusterError(VmanomalyError):
    """Ray cannot be reached, or cannot start what is asked of it."""


def check_ray_is_installed() -> None:
    """Raise a UsageError that says how to install Ray, if it is missing."""
    # Before Ray is imported: nothing is sent to its makers, and no line of a log is left out.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    try:
        import ray  # noqa: F401, PLC0415
    except ImportError as error:
        raise UsageError(
            "a cluster needs Ray, which is not installed: pip install 'vmanomaly[ray]'"
        ) from error


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be connected to a Ray cluster while the block runs.

    Parameters
    ----------
    address
        Of a running cluster, as `ray.init` takes it; None starts one on this machine, which others
        cannot reach.

    Raises
    ------
    ClusterError
        It cannot be reached or started.
    """
    import ray  # noqa: PLC0415

    try:
        if address is None:
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                logging_level=logging.WARNING,
                _node_ip_address=_LOOPBACK,
            )
        else:
            ray.init(address=address, logging_level=logging.WARNING)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        what = "cannot start Ray" if address is None else f"cannot connect to Ray at {address}"
        raise ClusterError(f"{what}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()
