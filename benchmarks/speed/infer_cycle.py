"""One infer cycle on a real VictoriaMetrics, compared with a bare client that moves the same bytes.

The cycle is the one that the service runs: read one new point of each of 1,000, 10,000 and 100,000
series, score them, write four outputs. The bare client posts the same query, reads the answer, and
posts the same import bodies; it looks at nothing.

Run it with `python -m benchmarks.speed.infer_cycle`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import urllib3
import yaml

from tests.integration.servers import VictoriaMetrics
from vmanomaly.config import Config, load_config
from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader
from vmanomaly.scheduler.run import Run
from vmanomaly.series import Origin, Predictions, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob
from vmanomaly.service.plan import create_jobs, create_models
from vmanomaly.writer import Writer, create_writer
from vmanomaly.writer.encoding.json_lines import LineEncoder

SIZES = (1_000, 10_000, 100_000)
N_FIT = 30
N_CYCLES = 15
N_WARM_UP = 3
STEP_MS = 60_000
START_MS = 1_750_000_020_000
EXPRESSION = "node_cpu_usage"
OUTPUTS = ("anomaly_score", "yhat", "yhat_lower", "yhat_upper")
TARGETS = {"zscore_online": 1.5, "temporal_envelope": 2.0}
"""The models, and the ratio to reach with each."""


def main() -> None:
    """Measure and print, for every size, the medians of both and their ratio."""
    for alias, target in TARGETS.items():
        print(f"infer cycle: 1 point a series, {alias}, {len(OUTPUTS)} outputs")
        for n_series in SIZES:
            with (
                tempfile.TemporaryDirectory() as folder,
                # Without its cache, so that the one who asks second gains nothing.
                VictoriaMetrics(Path(folder), "-search.disableCache") as vm,
            ):
                _load(vm, n_series)
                product, bare, n_bytes = _measure(vm, Path(folder), n_series, alias)
            # Of each pair, made within one second: other work on the machine slows both.
            ratio = median(ours / theirs for ours, theirs in zip(product, bare, strict=True))
            verdict = "met" if ratio <= target else "NOT met"
            print(
                f"  {n_series:>7,} series: product {1000 * median(product):7.1f} ms, bare client "
                f"{1000 * median(bare):7.1f} ms for the same {n_bytes / 1e6:.1f} MB, "
                f"ratio {ratio:5.2f} (to reach: {target}; {verdict})"
            )


def _load(vm: VictoriaMetrics, n_series: int) -> None:
    random = np.random.default_rng(1)
    n_points = N_FIT + N_WARM_UP + N_CYCLES
    times = [START_MS + STEP_MS * n for n in range(1, n_points + 1)]
    values = random.normal(50, 5, (n_series, n_points)).round(3)
    for start in range(0, n_series, 10_000):
        vm.import_series(
            (
                {
                    "__name__": EXPRESSION,
                    "job": "node",
                    "instance": f"host-{number // 8:05d}.example.com:9100",
                    "cpu": str(number % 8),
                    "mode": "user",
                },
                list(zip(times, row.tolist(), strict=True)),
            )
            for number, row in enumerate(values[start : start + 10_000], start)
        )
    vm.force_flush()


def _measure(
    vm: VictoriaMetrics, folder: Path, n_series: int, alias: str
) -> tuple[list[float], list[float], int]:
    """Return the seconds of each cycle and of each bare exchange, and the bytes of one."""
    config = config_of(vm.url, folder, {}, alias)
    metrics = Metrics()
    reader = create_reader(config.reader, metrics)
    writer = _Recorder(create_writer(config.writer, metrics))
    (job,) = create_jobs(config, create_models(config), reader, writer, Health({}), metrics)["live"]
    bare = _BareClient(vm.url)
    _fit(job)

    product_s: list[float] = []
    bare_s: list[float] = []
    n_bytes = 0
    for cycle in range(N_WARM_UP + N_CYCLES):
        end = START_MS + (N_FIT + cycle + 1) * STEP_MS
        interval = TimeRange(end - STEP_MS, end)
        if cycle == 0:
            _cycle(job, interval)
            bodies = writer.bodies()
            n_bytes = bare.exchange(interval, bodies)
            continue
        # Whoever comes second may find something warm: take turns.
        for turn in (cycle % 2, (cycle + 1) % 2):
            started = perf_counter()
            if turn:
                _cycle(job, interval)
            else:
                bare.exchange(interval, bodies)
            if cycle >= N_WARM_UP:
                (product_s if turn else bare_s).append(perf_counter() - started)
    vm.force_flush()
    # Over one step, so that no older score stands in for one that is missing.
    stored = vm.query_range("count(count_over_time(anomaly_score[1m]))", end, end, STEP_MS)
    assert stored[0]["values"][0][1] == str(n_series), stored
    bare.close()
    writer.close()
    reader.close()
    return product_s, bare_s, n_bytes


def config_of(
    url: str, folder: Path, environ: Mapping[str, str], alias: str = "zscore_online"
) -> Config:
    """Return a configuration with one query, one model, and VictoriaMetrics at both ends."""
    path = folder / "vmanomaly.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "reader": {
                    "class": "vm",
                    "datasource_url": url,
                    "timeout": "5m",
                    "sampling_period": f"{STEP_MS}ms",
                    "queries": {"cpu": {"expr": EXPRESSION}},
                },
                "writer": {"class": "vm", "datasource_url": url},
                "schedulers": {
                    "live": {
                        "class": "periodic",
                        "fit_window": f"{N_FIT * STEP_MS}ms",
                        "fit_every": "1d",
                        "infer_every": f"{STEP_MS}ms",
                    }
                },
                "models": {
                    "model": {
                        "class": alias,
                        "queries": ["cpu"],
                        "schedulers": ["live"],
                        "provide_series": list(OUTPUTS),
                    }
                },
            }
        )
    )
    return load_config([path], environ)


def _fit(job: QueryJob) -> None:
    window = TimeRange(START_MS, START_MS + N_FIT * STEP_MS)
    assert not job.execute(Run(fit=window, infer=None)).failed


def _cycle(job: QueryJob, interval: TimeRange) -> None:
    assert not job.execute(Run(fit=None, infer=interval, micro_batch=STEP_MS)).failed


class _Recorder(Writer):
    """A writer that remembers what was written last."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._last: tuple[Predictions, Origin] | None = None

    def write(self, predictions: Predictions, origin: Origin) -> None:
        self._last = predictions, origin
        self._writer.write(predictions, origin)

    def bodies(self) -> list[bytes]:
        assert self._last is not None
        encoder = LineEncoder({"__name__": "$VAR", "for": "$QUERY_KEY"})
        return [piece.body for piece in encoder.pieces(*self._last)]

    @property
    def last_error(self) -> DatasourceError | None:
        return self._writer.last_error

    @property
    def n_dropped(self) -> int:
        return self._writer.n_dropped

    def check_health(self) -> None:
        self._writer.check_health()

    def close(self) -> None:
        self._writer.close()


class _BareClient:
    def __init__(self, url: str) -> None:
        self._url = url
        self._http = urllib3.PoolManager(retries=False)

    def exchange(self, interval: TimeRange, bodies: list[bytes]) -> int:
        """Fetch the interval and post the bodies; return the bytes moved."""
        answer = self._http.request(
            "POST",
            f"{self._url}/api/v1/query_range",
            fields={
                "query": EXPRESSION,
                "start": str(interval.end / 1000),
                "end": str(interval.end / 1000),
                "step": str(STEP_MS / 1000),
                "latency_offset": "1ms",
            },
            encode_multipart=False,
        )
        assert answer.status == 200, answer.data
        for body in bodies:
            response = self._http.request("POST", f"{self._url}/api/v1/import", body=body)
            assert response.status == 204, response.data
        return len(answer.data) + sum(map(len, bodies))

    def close(self) -> None:
        self._http.clear()


if __name__ == "__main__":
    main()
