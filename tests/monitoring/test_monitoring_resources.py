from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from vmanomaly.monitoring.resources import available_cpus, available_memory

ALL_CPUS = float(len(os.sched_getaffinity(0)))
ALL_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

UNIFIED = "0::/system.slice/vmanomaly.service\n"
SPLIT = "11:memory:/docker/f00\n4:cpu,cpuacct:/docker/f00\n1:name=systemd:/x\n"


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        ("", {}, ALL_CPUS),
        ("0::/\n", {"cpu.max": "max 100000\n"}, ALL_CPUS),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        (UNIFIED, {"system.slice/vmanomaly.service/cpu.max": "25000 100000"}, 0.25),
        (UNIFIED, {"system.slice/cpu.max": "30000 100000"}, 0.3),
        (
            UNIFIED,
            {
                "system.slice/cpu.max": "30000 100000",
                "system.slice/vmanomaly.service/cpu.max": "max 100000",
            },
            0.3,
        ),
        (SPLIT, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, ALL_CPUS),
        # In a container, whose own group is mounted in the place of all.
        (SPLIT, {"cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "100000"}, 0.25),
        (
            SPLIT,
            {
                "cpu/docker/f00/cpu.cfs_quota_us": "75000",
                "cpu/docker/f00/cpu.cfs_period_us": "100000",
            },
            0.75,
        ),
    ],
)
def test_cpus_respect_the_quota(
    tmp_path: Path, membership: str, files: dict[str, str], cpus: float
) -> None:
    assert available_cpus(*made(tmp_path, membership, files)) == cpus


@pytest.mark.parametrize(
    ("membership", "files", "memory"),
    [
        ("", {}, ALL_MEMORY),
        ("0::/\n", {"memory.max": "max\n"}, ALL_MEMORY),
        ("0::/\n", {"memory.max": "1048576\n"}, 1048576),
        (UNIFIED, {"system.slice/vmanomaly.service/memory.max": "3145728"}, 3145728),
        (SPLIT, {"memory/memory.limit_in_bytes": "2097152"}, 2097152),
        (SPLIT, {"memory/docker/f00/memory.limit_in_bytes": "4194304"}, 4194304),
        (SPLIT, {"memory/memory.limit_in_bytes": "9223372036854771712"}, ALL_MEMORY),
    ],
)
def test_memory_respects_the_limit(
    tmp_path: Path, membership: str, files: dict[str, str], memory: int
) -> None:
    assert available_memory(*made(tmp_path, membership, files)) == memory


def test_memory_respects_the_limit_of_the_address_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8_388_608, resource.RLIM_INFINITY))
    assert available_memory(*made(tmp_path, "", {})) == 8_388_608


def made(folder: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in {"membership": membership, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder, folder / "membership"
