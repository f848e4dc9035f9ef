"""Peak memory of a fit, in memory and in on-disk mode, as multiples of the matrix.

5,000 series with a week of one-minute samples are read from a real VictoriaMetrics and learned by
`zscore_online`, each mode in a process of its own.

Run it with `python -m benchmarks.speed.fit_memory`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.speed.infer_cycle import EXPRESSION, config_of
from tests.integration.servers import VictoriaMetrics
from vmanomaly.config.writer import RemoteWriteSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader
from vmanomaly.reader import warm_up as warm_up_reader
from vmanomaly.scheduler.run import Run
from vmanomaly.series import Labels, Origin, Predictions, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.plan import create_jobs, create_models
from vmanomaly.writer import create_writer

N_SERIES, N_POINTS, STEP = 5_000, 10_080, 60_000
START = 1_750_000_020_000
MATRIX_BYTES = 8 * N_SERIES * N_POINTS
TARGET = 1.5


def main() -> None:
    print(
        f"fit of {N_SERIES:,} series x {N_POINTS:,} points, {MATRIX_BYTES / 1e6:.0f} MB of values"
    )
    with tempfile.TemporaryDirectory() as folder, VictoriaMetrics(Path(folder)) as vm:
        load(vm, N_SERIES, N_POINTS)
        for mode, data_folder in (("in memory", ""), ("on disk", folder)):
            environ = {**os.environ, "VMANOMALY_DATA_DUMPS_DIR": data_folder}
            command = [sys.executable, "-m", "benchmarks.speed.fit_memory", vm.url]
            found = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
            peak, seconds = map(float, found.stdout.split())
            verdict = "met" if peak <= TARGET * MATRIX_BYTES else "NOT met"
            print(
                f"  {mode:<10} {peak / 1e6:7.0f} MB more at the peak, {peak / MATRIX_BYTES:5.2f} x "
                f"the values, {seconds:5.1f} s (to reach: {TARGET}; {verdict})"
            )


def load(vm: VictoriaMetrics, n_series: int, n_points: int) -> None:
    """Write noise, one sample a minute after `START`."""
    random = np.random.default_rng(1)
    section = RemoteWriteSection(
        datasource_url=vm.url,
        timeout="1m",
        metric_format={"__name__": EXPRESSION, "output": "$VAR"},
    )
    writer = create_writer(section, Metrics())
    writer.start()
    timestamps = START + STEP * np.arange(1, n_points + 1)
    for start in range(0, n_series, 500):
        labels = tuple(
            Labels({"instance": f"host-{number:05d}.example.com:9100"})
            for number in range(start, start + 500)
        )
        values = random.normal(50, 5, (500, n_points)).round(3)
        predictions = Predictions(labels, timestamps, {"y": values})
        writer.write(predictions, Origin(("load",), "none", "none", "default"))
    assert writer.flush(60)
    writer.close()
    vm.force_flush()


def fit(url: str) -> tuple[int, float]:
    """Return the peak memory of a fit, in addition to that before it, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(url, Path(folder), os.environ)
    metrics = Metrics()
    reader = create_reader(config.reader, metrics, config.data_folder)
    writer = create_writer(config.writer, metrics)
    writer.start()
    (job,) = create_jobs(config, create_models(config), reader, writer, Health({}), metrics)["live"]
    warm_up_reader(config.reader)
    assert not job.execute(Run(fit=TimeRange(START, START + 10 * STEP), infer=None)).failed
    before = _resident()
    # From here on the peak is reset.
    Path("/proc/self/clear_refs").write_text("5")
    started = time.perf_counter()
    assert not job.execute(Run(fit=TimeRange(START, START + N_POINTS * STEP), infer=None)).failed
    took = time.perf_counter() - started
    writer.close()
    reader.close()
    return _resident("VmHWM") - before, took


def _resident(key: str = "VmRSS") -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(*fit(sys.argv[1]))
    else:
        main()
