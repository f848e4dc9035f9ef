"""Connecting to a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from vmanomaly.errors import UsageError, VmanomalyError
from vmanomaly.executor.ray_connection import connect_ray, import_ray, start_ray

_OBJECT_STORE_BYTES = 100 * 2**20
"""Only configurations and metrics travel; the least that Ray accepts is 75 MiB."""
_CONNECT_S = 5.0


class ClusterError(VmanomalyError):
    """Ray cannot be reached, or cannot start what is asked of it."""


def require_ray(address: str | None) -> None:
    """Import Ray.

    Parameters
    ----------
    address
        As for `connected`.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        import_ray(address)
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
        Of a running cluster, as `ray.init` takes it; None starts one on this machine, on a loopback
        address.

    Raises
    ------
    ClusterError
        It cannot be reached or started.
    """
    import ray  # noqa: PLC0415

    if address is not None and address != "auto":
        _check_address(address)
    try:
        if address is None:
            start_ray(ray, object_store_memory=_OBJECT_STORE_BYTES)
        else:
            connect_ray(ray, address)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        what = "cannot start Ray" if address is None else f"cannot connect to Ray at {address}"
        raise ClusterError(f"{what}: {str(error).strip()}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise unless something listens there: Ray would ask for ever."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise UsageError(f"--address: expected auto or HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except OSError as error:
        raise ClusterError(
            f"cannot connect to Ray at {address}: {error.strerror or error}; `ray status` on a "
            "node of the cluster shows its address"
        ) from error
