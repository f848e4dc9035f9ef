"""A service with its UI, the database behind it, and the series in it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.servers import Samples, VictoriaMetrics, Vmanomaly, answers, free_port

STEP_MS = 60_000
DAY_MS = 86_400_000
N_DAYS = 3
EXPR = 'ui_requests{env="test"}'
HOSTS = ("web-1", "web-2", "web-3", "db-1")
SPIKES = 4
"""Minutes in which the series of web-1 is far above the others, on its last day."""


def end_ms() -> int:
    """Return the last time that has samples: a whole minute."""
    return int(time.time() * 1000) // STEP_MS * STEP_MS


def series(end: int) -> Iterator[tuple[Mapping[str, str], Samples]]:
    """Yield daily cycles with noise; that of web-1 has a spike six hours before the end.

    They look the same at any time of the day.
    """
    noise = random.Random(1)  # noqa: S311 - not for secrets
    n_points = N_DAYS * DAY_MS // STEP_MS
    times = [end - (n_points - 1 - index) * STEP_MS for index in range(n_points)]
    spike = end - DAY_MS // 4
    for number, host in enumerate(HOSTS):
        samples = []
        for at in times:
            day = 2 * math.pi * (at - end) / DAY_MS
            value = 100 + 30 * math.sin(day + number) + noise.gauss(0, 2)
            if host == "web-1" and spike <= at < spike + SPIKES * STEP_MS:
                value += 150
            samples.append((at, round(value, 3)))
        labels = {"__name__": "ui_requests", "env": "test", "host": host, "zone": "a<b>&c"}
        yield labels, samples


def config(vm_url: str, port: int, server: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return that of a service that also scores by itself, rarely."""
    return {
        "reader": {
            "class": "vm",
            "datasource_url": vm_url,
            "sampling_period": "1m",
            "queries": {"requests": {"expr": EXPR}},
        },
        "writer": {"class": "vm", "datasource_url": vm_url},
        "schedulers": {
            "daily": {
                "class": "periodic",
                "fit_window": "1h",
                "fit_every": "1d",
                "infer_every": "1d",
            }
        },
        "models": {
            "m": {"class": "zscore_online", "queries": ["requests"], "schedulers": ["daily"]}
        },
        "server": {
            "addr": "127.0.0.1",
            "port": port,
            "ui_default_state": "#/?anomaly_threshold=1.25",
            **(server or {}),
        },
    }


class Site:
    """Addresses of a running service and of its database."""

    def __init__(self, vm: VictoriaMetrics, process: Vmanomaly, url: str, end: int) -> None:
        self.vm = vm
        self.process = process
        self.url = url
        self.end = end


@contextmanager
def database(folder: Path) -> Iterator[tuple[VictoriaMetrics, int]]:
    """Run a VictoriaMetrics with the series."""
    with VictoriaMetrics(folder) as vm:
        end = end_ms()
        vm.import_series(series(end))
        vm.force_flush()
        yield vm, end


@contextmanager
def service(
    folder: Path,
    vm: VictoriaMetrics,
    end: int,
    server: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """Run a service on it."""
    port = free_port()
    prefix = (server or {}).get("path_prefix", "")
    url = f"http://127.0.0.1:{port}{prefix}"
    with Vmanomaly(folder, config(vm.url, port, server), environ=environ) as process:
        process.wait_until(lambda: answers(f"{url}/health"), "the start of the service")
        yield Site(vm, process, url, end)
