"""How much memory and how many CPUs the service may use, limits of its cgroups included."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def available_cpus(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> float:
    """Return how many CPUs this process may use; a fraction if a quota says so.

    Parameters
    ----------
    cgroups
        Where the control groups are mounted, version 2 or 1.
    membership
        Says which groups the process is in. The quotas of the groups around them apply too.
    """
    quotas = [float(len(os.sched_getaffinity(0)))]
    for folder in _folders(cgroups, membership, "cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:
            quota = _read(folder / "cpu.cfs_quota_us")
            period = _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            quotas.append(int(quota) / int(period))
    return min(quotas)


def available_memory(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return how many bytes of memory this process may use.

    Parameters
    ----------
    cgroups, membership
        As for `available_cpus`.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        limits.append(address_space)
    for folder in _folders(cgroups, membership, "memory"):
        written = (_read(folder / name) for name in ("memory.max", "memory.limit_in_bytes"))
        limits.extend(int(limit) for limit in written if limit.isdigit())
    return min(limits)


def _folders(cgroups: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the groups that the process is in, and of those around them.

    Inside a container the path of the group may be that of the host, which does not exist there;
    the limits of the container are then at the top.
    """
    roots = {"": cgroups, controller: cgroups / controller}
    yield from roots.values()
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            parts = Path(path.strip("/")).parts
            if name in roots:
                yield from (roots[name].joinpath(*parts[:n]) for n in range(1, len(parts) + 1))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
