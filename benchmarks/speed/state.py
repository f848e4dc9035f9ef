"""What a stored state costs per cycle, and what it saves at a restart.

100,000 series are scored and stored again and again, with noise in place of a database. Then a
service with 10,000 series, fitted on a day of one-minute points from a real VictoriaMetrics, is
stopped and started again.

Run it with `python -m benchmarks.speed.state`.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.speed.fit_memory import START, STEP, load
from benchmarks.speed.infer_cycle import EXPRESSION
from tests.fakes import FakeReader, FakeWriter
from tests.integration.servers import VictoriaMetrics, Vmanomaly, free_port, wait_until
from tests.loopback import Asked, Handler, serve
from vmanomaly.clock import SystemClock
from vmanomaly.config import load_config
from vmanomaly.config.reader import Query
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler.run import Run
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.plan import create_jobs, create_models
from vmanomaly.state import StateStore

N_STORED, N_CYCLES = 100_000, 7
N_RESTARTED, N_HISTORY = 10_000, 1500


def main() -> None:
    print(f"state of {N_STORED:,} series, stored at the end of every cycle")
    for model in ("zscore_online", "mad_online"):
        with tempfile.TemporaryDirectory() as folder:
            store_s, load_s, n_bytes = cycles(Path(folder), model)
        print(
            f"  {model:<14} {1000 * store_s:6.0f} ms to store, {1000 * load_s:6.0f} ms to load, "
            f"{n_bytes / 1e6:6.1f} MB written"
        )
    with tempfile.TemporaryDirectory() as folder:
        first, second, n_fits = restarts(Path(folder))
    print(
        f"restart with {N_RESTARTED:,} fitted series: {second:.1f} s from the start of the process "
        f"to the first score, {n_fits} queries for a fit (without a state: {first:.1f} s)"
    )


def sections(model: str, reader_url: str, writer_url: str, **keys: Any) -> dict[str, Any]:
    return {
        "settings": {"restore_state": True, "checkpoint_interval": "0s"},
        "reader": {
            "datasource_url": reader_url,
            "sampling_period": "1m",
            "queries": {"load": {"expr": EXPRESSION}},
            **keys,
        },
        "models": {"m": {"class": model, "queries": "all", "schedulers": "all"}},
        "schedulers": {"s": {"infer_every": "1m", "fit_every": "1000d", "fit_window": "1d"}},
        "writer": {"datasource_url": writer_url},
    }


def cycles(folder: Path, model: str) -> tuple[float, float, int]:
    """Return the median seconds to store and to load a state, and the bytes written a cycle."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(sections(model, "http://localhost:1", "http://localhost:1")))
    config = load_config([path], {"VMANOMALY_MODEL_DUMPS_DIR": str(folder / "models")})
    labels = tuple(
        Labels({"__name__": "cpu", "instance": f"host-{n // 8:05d}:9100", "cpu": str(n % 8)})
        for n in range(N_STORED)
    )

    def noise(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        grid = time_range.grid(STEP)
        return SeriesBatch(
            labels, grid, np.random.default_rng(1).normal(size=(N_STORED, len(grid)))
        )

    keeper = Keeper(config, StateStore(folder / "models"), SystemClock(), Metrics())
    (job,) = create_jobs(
        config,
        create_models(config),
        FakeReader(noise),
        FakeWriter(),
        Health({}),
        Metrics(),
        keeper,
    )["s"]
    store_s, load_s = [], []
    for cycle in range(N_CYCLES):
        end = START + (cycle + 1) * STEP
        fit = TimeRange(START - 60 * STEP, START) if cycle == 0 else None
        started = time.perf_counter()
        keeper.load(job)
        load_s.append(time.perf_counter() - started)
        job.execute(Run(fit, TimeRange(end - STEP, end), STEP, START))
        job.progress.covered = end
        before = set((folder / "models" / "states").iterdir())
        started = time.perf_counter()
        job.keep()
        store_s.append(time.perf_counter() - started)
    fresh = set((folder / "models" / "states").iterdir()) - before
    keeper.close()
    return (
        float(np.median(store_s[1:])),
        float(np.median(load_s[1:])),
        sum(path.stat().st_size for path in fresh),
    )


def restarts(folder: Path) -> tuple[float, float, int]:
    """Return the seconds to the first score without a state and with one, and the fits of that."""
    arrived: list[float] = []

    def take(handler: Handler, asked: Asked) -> None:
        if asked.method == "POST":
            arrived.append(time.monotonic())
        handler.reply(204 if asked.method == "POST" else 200)

    now = int(time.time() * 1000) // STEP * STEP
    # The history ends where the clock of the service is, by an offset of its queries.
    offset = START + N_HISTORY * STEP - now
    with VictoriaMetrics(folder) as vm, serve(take) as target:
        load(vm, N_RESTARTED, N_HISTORY + 10)
        config = sections("zscore_online", vm.url, target.url, offset=f"{offset // 1000}s")
        config["server"] = {"addr": "127.0.0.1", "port": free_port()}
        environ = {"VMANOMALY_MODEL_DUMPS_DIR": str(folder / "models")}
        seconds, n_fits = [], 0
        for _ in range(2):
            arrived.clear()
            started = time.monotonic()
            with Vmanomaly(folder, config, "--loggerLevel=DEBUG", environ=environ) as service:
                wait_until(lambda: bool(arrived), "the first score", timeout_s=120)
                seconds.append(arrived[0] - started)
            n_fits = service.output.count("Fitting on")
            service.log.unlink()
            # The next run has to be due, so that there is something to score.
            time.sleep(STEP / 1000)
    return seconds[0], seconds[-1], n_fits


if __name__ == "__main__":
    main()
