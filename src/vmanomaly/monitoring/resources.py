"""How much memory and how many CPUs the service may use, limits of its cgroup included."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = _CGROUP) -> float:
    """Return how many CPUs this process may use; a fraction when a quota says so.

    Parameters
    ----------
    cgroup
        Where the control groups are mounted, version 2 or 1.
    """
    cpus = float(len(os.sched_getaffinity(0)))
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if not quota:
        quota = _read(cgroup / "cpu/cpu.cfs_quota_us")
        period = _read(cgroup / "cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(period) > 0:
        return min(cpus, int(quota) / int(period))
    return cpus


def available_memory(cgroup: Path = _CGROUP) -> int:
    """Return how many bytes of memory this process may use.

    Parameters
    ----------
    cgroup
        Where the control groups are mounted, version 2 or 1.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (cgroup / "memory.max", cgroup / "memory/memory.limit_in_bytes")
    return min([memory, *(int(text) for path in limits if (text := _read(path)).isdigit())])


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
