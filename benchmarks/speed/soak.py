"""The service live on 100,000 series, a cycle a minute, with a stored state.

The series are in a real VictoriaMetrics on the same machine, ahead of time, so that nothing but the
service and the database works. A line a cycle says how long its parts took by the service's own
metrics, what CPU time the process used, what memory it holds, and what it had written to the disk.
At the end the service is killed and started again, and does what a crash leaves to do.

Run it with `python -m benchmarks.speed.soak`; it takes as many minutes as there are cycles.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import cpu_s, resident_bytes, scrape, written_bytes
from benchmarks.speed.infer_cycle import EXPRESSION
from tests.integration.servers import VictoriaMetrics, Vmanomaly, free_port

STEP_S = 60
N_FIT = 10
PARTS = {
    "read": "vmanomaly_reader_request_duration_seconds_sum",
    "parse": "vmanomaly_reader_response_parsing_seconds_sum",
    "model": "vmanomaly_model_run_duration_seconds_sum",
    "encode": "vmanomaly_writer_request_serialize_seconds_sum",
    "write": "vmanomaly_writer_request_duration_seconds_sum",
    "save": "vmanomaly_state_save_duration_seconds_sum",
}
SENT, STATE = "vmanomaly_writer_datapoints_sent_total", "vmanomaly_state_bytes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--model", default="zscore_online")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with VictoriaMetrics(folder, "-search.latencyOffset=1ms") as vm:
            _load(vm, arguments.series, arguments.cycles)
            port = free_port()
            config = _config(vm.url, port, arguments.model)
            environ = {"VMANOMALY_MODEL_DUMPS_DIR": str(folder / "models")}
            metrics_url = f"http://127.0.0.1:{port}/metrics"
            with Vmanomaly(folder, config, environ=environ) as service:
                _watch(service, metrics_url, arguments.cycles)
                service.kill()
            service.log.unlink()
            # The next run has to be due, so that there is something to score.
            time.sleep(STEP_S)
            started = time.monotonic()
            with Vmanomaly(folder, config, environ=environ) as service:
                _wait_for_scores(service, metrics_url)
                print(f"{time.monotonic() - started:.1f} s from a start after a kill to scores")
                print("\n".join(line for line in service.output.splitlines() if "repla" in line))


def _load(vm: VictoriaMetrics, n_series: int, n_cycles: int) -> None:
    """Write what was and what is going to be."""
    now = int(time.time()) // STEP_S * STEP_S
    times = [1000 * (now + STEP_S * n) for n in range(-N_FIT - 2, n_cycles + 5)]
    values = np.random.default_rng(1).normal(50, 5, (n_series, len(times))).round(3)
    for start in range(0, n_series, 10_000):
        vm.import_series(
            (
                {
                    "__name__": EXPRESSION,
                    "instance": f"host-{number // 8:05d}",
                    "cpu": str(number % 8),
                },
                list(zip(times, row.tolist(), strict=True)),
            )
            for number, row in enumerate(values[start : start + 10_000], start)
        )
    vm.force_flush()


def _config(url: str, port: int, model: str) -> dict[str, Any]:
    return {
        "settings": {"restore_state": True},
        "schedulers": {
            "live": {"fit_window": f"{N_FIT}m", "fit_every": "1d", "infer_every": f"{STEP_S}s"}
        },
        "models": {"z": {"class": model, "queries": "all", "schedulers": "all"}},
        "reader": {
            "datasource_url": url,
            "sampling_period": f"{STEP_S}s",
            "queries": {"cpu": {"expr": EXPRESSION}},
        },
        "writer": {"datasource_url": url, "timeout": "30s"},
        "server": {"addr": "127.0.0.1", "port": port},
    }


def _watch(service: Vmanomaly, metrics_url: str, n_cycles: int) -> None:
    print(f"{'cycle':>5} {'points':>9} " + " ".join(f"{part:>7}" for part in PARTS), end="")
    print(f" {'all':>7} {'CPU':>7} {'RSS':>8} {'state':>8} {'disk':>8}")
    _wait_for_scores(service, metrics_url)
    time.sleep(STEP_S / 2)
    pid = service.pid
    before, used_before, disk_before = scrape(metrics_url), cpu_s(pid), written_bytes(pid)
    for cycle in range(1, n_cycles + 1):
        time.sleep(STEP_S)
        after, used, disk = scrape(metrics_url), cpu_s(pid), written_bytes(pid)
        parts = [after.get(name, 0.0) - before.get(name, 0.0) for name in PARTS.values()]
        print(
            f"{cycle:>5} {after[SENT] - before[SENT]:>9,.0f} "
            + " ".join(f"{1000 * part:>4.0f} ms" for part in parts)
            + f" {sum(parts):>5.2f} s {used - used_before:>5.2f} s"
            f" {resident_bytes(pid) / 1e6:>5.0f} MB"
            f" {after[STATE] / 1e6:>5.1f} MB {(disk - disk_before) / 1e6:>5.1f} MB",
            flush=True,
        )
        before, used_before, disk_before = after, used, disk


def _wait_for_scores(service: Vmanomaly, metrics_url: str) -> None:
    service.wait_until(lambda: "Listening on port" in service.output, "a listener")
    service.wait_until(lambda: scrape(metrics_url).get(SENT, 0.0) > 0.0, "scores", 300.0)


if __name__ == "__main__":
    main()
