"""A service that its cgroup ends for the memory it takes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.servers import VictoriaMetrics, Vmanomaly, free_port
from tests.integration.test_integration_state import HISTORY_S, HOSTS, config, fill, on

_MEMORY = Path("/sys/fs/cgroup/memory")
_ROOM_BYTES = 8 << 20
_N_MORE_SERIES = 10_000


def scored(vm: VictoriaMetrics) -> list[list[int]]:
    """Return the seconds of each of the first series that have a score."""
    found = vm.export('anomaly_score{host!=""}')
    return [[timestamp // 1000 for timestamp, _ in samples] for samples in found.values()]


def last_second(vm: VictoriaMetrics) -> int:
    return min((points[-1] for points in scored(vm)), default=0)


class Group:
    """A cgroup (version 1) with a limit of memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def command(self, command: list[str]) -> list[str]:
        """Return what runs a command in the group."""
        return ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(self.path), *command]

    def limit(self, n_bytes: int) -> None:
        (self.path / "memory.limit_in_bytes").write_text(str(n_bytes))

    @property
    def used(self) -> int:
        return int((self.path / "memory.usage_in_bytes").read_text())


@contextmanager
def group() -> Iterator[Group]:
    path = _MEMORY / f"vmanomaly-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup with a limit of memory can be made: {error}")
    try:
        yield Group(path)
    finally:
        path.rmdir()


def test_a_service_that_is_ended_for_its_memory_goes_on_where_it_was(
    vm: VictoriaMetrics, tmp_path: Path
) -> None:
    fill(vm)
    sections = config(vm.url, vm.url, free_port())
    with group() as limited:
        service = Vmanomaly(tmp_path, sections, environ=on(tmp_path))
        unlimited = service.command
        service.command = limited.command(unlimited)
        with service:
            service.wait_until(lambda: last_second(vm) > 0, "the first score")
            limited.limit(limited.used + _ROOM_BYTES)
            now = int(time.time())
            vm.import_series(
                (
                    {"__name__": "load", "more": str(number)},
                    [(s * 1000, 1.0) for s in range(now - HISTORY_S, now + 60, 5)],
                )
                for number in range(_N_MORE_SERIES)
            )
            vm.force_flush()
            assert service.wait() == -signal.SIGKILL, service.output
        time.sleep(1.0)
    before = last_second(vm)
    service.command = unlimited
    with service:
        service.wait_until(lambda: last_second(vm) > before + 2, "more scores")
        service.signal(signal.SIGTERM)
        assert service.wait() == 0, service.output
    assert "model 'z', query 'load': reused, because nothing has changed" in service.output
    assert len(scored(vm)) == len(HOSTS)
    for points in scored(vm):
        assert sorted(set(points)) == list(range(points[0], points[-1] + 1))
