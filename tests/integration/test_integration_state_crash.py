"""`kill -9` at any moment costs no score, and changes none."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

from tests.history import DATA, FROM, STEP
from tests.integration.servers import Samples, VictoriaMetrics
from vmanomaly.series import Labels

logger = logging.getLogger(__name__)

N_KILLS = 50
INFER_EVERY = STEP
START = FROM + INFER_EVERY
END = START + 450 * INFER_EVERY


class Nursery:
    """Starts services, one at a time; see `crashing_service`."""

    def __init__(self, orders: IO[bytes], said: IO[bytes]) -> None:
        self._orders = orders
        self._said = said

    def start(self, config: Path, now: int) -> int:
        """Let a service run from a virtual time on; return its process id."""
        self._orders.write(f"{config} {now} {END}\n".encode())
        self._orders.flush()
        what, number = self.next_words()
        assert what == "pid"
        return number

    def next_words(self) -> tuple[str, int]:
        """Return what is said next: `tick` with a time, or `ended`."""
        words = self._said.readline().decode().split()
        assert words, "the nursery has died"
        return words[0], int(words[1]) if len(words) > 1 else 0

    def last_tick(self, otherwise: int) -> int:
        """Wait for the end of the service; return the last time that its clock has come to."""
        last = otherwise
        while (words := self.next_words())[0] == "tick":
            last = words[1]
        return last


@contextmanager
def nursery(config: Path, models: Path, log: Path) -> Iterator[Nursery]:
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "tests.integration.crashing_service", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "VMANOMALY_MODEL_DUMPS_DIR": str(models)},
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        yield Nursery(process.stdin, process.stdout)


def write_config(path: Path, url: str, name: str) -> Path:
    sections: dict[str, Any] = {
        "settings": {"restore_state": True},
        "reader": {
            "datasource_url": url,
            "sampling_period": "1m",
            "queries": {"load": {"expr": "load"}},
        },
        "writer": {"datasource_url": url, "metric_format": {"__name__": name, "for": "load"}},
        "schedulers": {
            "live": {
                "class": "periodic",
                "fit_window": "2h",
                "fit_every": f"{24 * INFER_EVERY // STEP}m",
                "infer_every": f"{INFER_EVERY // STEP}m",
            }
        },
        "models": {
            name: {"class": name, "queries": "all", "schedulers": "all", "min_n_samples_seen": 3}
            for name in ("zscore_online", "mad_online", "quantile_online")
        },
    }
    path.write_text(yaml.safe_dump(sections))
    return path


def fill(vm: VictoriaMetrics) -> None:
    vm.import_series(
        (
            {"__name__": "load", **labels},
            [
                (int(at), float(value))
                for at, value in zip(DATA.timestamps, values, strict=True)
                if np.isfinite(value)
            ],
        )
        for labels, values in zip(DATA.labels, DATA.values, strict=True)
    )
    vm.force_flush()


def scores(vm: VictoriaMetrics, prefix: str) -> tuple[dict[Labels, set[tuple[int, float]]], int]:
    """Return the points of every series under a prefix, and how many are there twice."""
    found: dict[Labels, Samples] = vm.export(f'{{__name__=~"{prefix}_.*"}}')
    points = {
        Labels({**labels, "__name__": labels["__name__"].removeprefix(f"{prefix}_")}): set(samples)
        for labels, samples in found.items()
    }
    return points, sum(map(len, found.values())) - sum(map(len, points.values()))


def test_killed_at_fifty_moments(vm: VictoriaMetrics, tmp_path: Path) -> None:
    chance = random.Random(50)  # noqa: S311 - reproducible
    pause = threading.Event()
    fill(vm)
    killed = write_config(tmp_path / "killed.yaml", vm.url, "killed_$VAR")
    whole = write_config(tmp_path / "whole.yaml", vm.url, "whole_$VAR")

    with nursery(killed, tmp_path / "killed", tmp_path / "killed.log") as services:
        now = START
        for _ in range(N_KILLS):
            process = services.start(killed, now)
            for _ in range(chance.randrange(4)):
                what, now = services.next_words()
                assert what == "tick"
            # Somewhere in the next run, or before the first one.
            pause.wait(chance.uniform(0, 0.1))
            os.kill(process, signal.SIGKILL)
            last = services.last_tick(now)
            # A while passes, of less than the distance of two fits.
            now = last + chance.randrange(3) * INFER_EVERY if last > now else last
        assert START < now < END - INFER_EVERY
        services.start(killed, now)
        assert services.last_tick(now) > END - INFER_EVERY

    with nursery(whole, tmp_path / "whole", tmp_path / "whole.log") as services:
        services.start(whole, START)
        services.last_tick(START)

    expected, n_twice = scores(vm, "whole")
    assert n_twice == 0
    found, n_twice = scores(vm, "killed")
    assert found == expected
    assert len(expected) == 4 * 3 * len(DATA.labels)
    logger.info(
        "killed %d times; %d points, %d of them written again",
        N_KILLS,
        sum(map(len, expected.values())),
        n_twice,
    )
