"""What a process takes of the machine, and what its metrics say."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.servers import request


def scrape(url: str) -> dict[str, float]:
    """Return every metric, its values over all labels added."""
    status, body = request("GET", url)
    assert status == 200, body
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def written_bytes(pid: int) -> int:
    """Return the bytes that a process has had written to the disk."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def n_descriptors(pid: int) -> int:
    """Return the number of files that a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def n_threads(pid: int) -> int:
    """Return the number of threads of a process."""
    return len(os.listdir(f"/proc/{pid}/task"))


def disk_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder; they may come and go meanwhile."""
    n_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                n_bytes += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return n_bytes
