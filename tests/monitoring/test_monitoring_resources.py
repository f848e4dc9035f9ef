from __future__ import annotations

import os
from pathlib import Path

import pytest

from vmanomaly.monitoring.resources import available_cpus, available_memory

ALL_CPUS = float(len(os.sched_getaffinity(0)))
ALL_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, ALL_CPUS),
        ({"cpu.max": "max 100000\n"}, ALL_CPUS),
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, ALL_CPUS),
        ({"cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "100000"}, 0.25),
    ],
)
def test_cpus_respect_the_quota(tmp_path: Path, files: dict[str, str], cpus: float) -> None:
    write(tmp_path, files)
    assert available_cpus(tmp_path) == cpus


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        ({}, ALL_MEMORY),
        ({"memory.max": "max\n"}, ALL_MEMORY),
        ({"memory.max": "1048576\n"}, 1048576),
        ({"memory/memory.limit_in_bytes": "2097152"}, 2097152),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, ALL_MEMORY),
    ],
)
def test_memory_respects_the_limit(tmp_path: Path, files: dict[str, str], memory: int) -> None:
    write(tmp_path, files)
    assert available_memory(tmp_path) == memory


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
