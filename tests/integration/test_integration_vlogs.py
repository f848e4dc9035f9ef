"""The service on logs: a stand-in for VictoriaLogs, the service as a process, a real database."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.servers import Samples, VictoriaMetrics, Vmanomaly, free_port
from tests.victorialogs import PATH, VictoriaLogs, victorialogs
from vmanomaly.series import Labels

STEP_S = 60
START_S = 1_750_000_020
N_FIT, N_INFER = 60, 10
SILENCE, SPIKE = N_FIT + 3, N_FIT + 7


def line(second: float, level: str) -> dict[str, str]:
    time_of = datetime.fromtimestamp(second, UTC).isoformat(timespec="milliseconds")
    return {"_time": time_of.removesuffix("+00:00") + "Z", "level": level, "took": "12ms"}


def counts() -> dict[str, list[int]]:
    """Return the number of lines in each bucket, by level."""
    rng = np.random.default_rng(11)
    numbers = {level: rng.integers(20, 30, N_FIT + N_INFER).tolist() for level in ("info", "error")}
    numbers["error"][SPIKE] = 90
    for of_level in numbers.values():
        of_level[SILENCE] = 0
    return numbers


def store(logs: VictoriaLogs) -> None:
    for level, numbers in counts().items():
        for bucket, n in enumerate(numbers):
            start = START_S + bucket * STEP_S
            logs.add(*(line(start + i * STEP_S / n, level) for i in range(n)))


def labels(output: str, level: str, result: str = "n") -> Labels:
    return Labels(
        {
            "__name__": output,
            "for": "logs",
            "level": level,
            "result_name": result,
            "model_alias": "zscore",
            "scheduler_alias": "s",
            "preset": "default",
        }
    )


def config(logs_url: str, vm_url: str, scheduler: dict[str, Any], **query: Any) -> dict[str, Any]:
    return {
        "reader": {
            "class": "vlogs",
            "datasource_url": logs_url,
            "sampling_period": f"{STEP_S}s",
            "queries": {"logs": {"expr": "* | stats by (level) count() as n", **query}},
        },
        "writer": {"class": "vm", "datasource_url": vm_url},
        "schedulers": {"s": scheduler},
        "models": {
            "zscore": {
                "class": "zscore_online",
                "z_threshold": 4,
                "provide_series": ["anomaly_score", "y"],
                "queries": ["logs"],
                "schedulers": ["s"],
            }
        },
        "server": {"addr": "127.0.0.1", "port": free_port()},
    }


@pytest.mark.parametrize("fill", [True, False])
def test_oneoff(vm: VictoriaMetrics, tmp_path: Path, fill: bool) -> None:
    scheduler = {
        "class": "oneoff",
        "fit_start_s": START_S,
        "fit_end_s": START_S + N_FIT * STEP_S,
        "infer_start_s": START_S + N_FIT * STEP_S,
        "infer_end_s": START_S + (N_FIT + N_INFER) * STEP_S,
    }
    with victorialogs() as (logs, server):
        store(logs)
        # A fit takes several requests, after one that is too much.
        logs.most_buckets = 40
        query = {"fill": 0} if fill else {}
        status, output = Vmanomaly(tmp_path, config(server.url, vm.url, scheduler, **query)).run()
    assert status == 0, output
    for word in ("Traceback", "WARNING", "ERROR"):
        assert word not in output
    written = vm.export('{for="logs"}')
    assert set(written) == {
        labels(output, level) for output in ("y", "anomaly_score") for level in counts()
    }
    buckets = [i for i in range(N_FIT, N_FIT + N_INFER) if fill or i != SILENCE]
    for level, numbers in counts().items():
        assert written[labels("y", level)] == [
            ((START_S + i * STEP_S) * 1000, float(numbers[i])) for i in buckets
        ]
        high = [
            (time_ms // 1000 - START_S) // STEP_S
            for time_ms, score in written[labels("anomaly_score", level)]
            if score > 1
        ]
        expected = [SILENCE] * fill + [SPIKE] * (level == "error")
        assert high == expected


class Shipper(threading.Thread):
    """Adds log lines as time goes by, three a second, and none any more from `silent_from` on."""

    def __init__(self, logs: VictoriaLogs, silent_from: float) -> None:
        super().__init__(name="shipper")
        self.logs, self.silent_from = logs, silent_from
        self.stopped = threading.Event()
        self.seconds: list[float] = []

    def run(self) -> None:
        while not self.stopped.wait(1 / 3) and (now := time.time()) < self.silent_from:
            second = round(now, 3)
            self.logs.add(line(second, "info"))
            self.seconds.append(second)


def test_periodic_scores_each_bucket_when_it_is_over(vm: VictoriaMetrics, tmp_path: Path) -> None:
    step = 2
    scheduler = {
        "class": "periodic",
        "fit_window": "2m",
        "fit_every": "1h",
        "infer_every": f"{step}s",
    }
    now = int(time.time())
    silent_from = now - now % step + 24
    with victorialogs() as (logs, server):
        history = [second + i / 3 for second in range(now - 120, now) for i in range(3)]
        history = [round(second, 3) for second in history]
        logs.add(*(line(second, "info") for second in history))
        shipper = Shipper(logs, silent_from)
        settings = config(server.url, vm.url, scheduler, fill=0, step=f"{step}s")
        settings["reader"]["eval_delay"] = "500ms"
        shipper.start()
        try:
            with Vmanomaly(tmp_path, settings) as service:

                def values() -> Samples:
                    vm.force_flush()
                    return vm.export('y{for="logs"}').get(labels("y", "info"), [])

                def is_done() -> bool:
                    return bool(values()) and values()[-1][0] >= (silent_from + 3 * step) * 1000

                service.wait_until(is_done, "scores of the silence")
                service.signal(signal.SIGTERM)
                assert service.wait() == 0, service.output
                found = values()
        finally:
            shipper.stopped.set()
            shipper.join()
    expected = Counter(int(second // step * step) for second in [*history, *shipper.seconds])
    seconds = [time_ms // 1000 for time_ms, _ in found]
    assert seconds == list(range(seconds[0], seconds[-1] + step, step))
    assert seconds[0] < silent_from - step
    assert [value for _, value in found] == [expected.get(second, 0) for second in seconds]
    assert {asked.path for asked in server.requests if asked.method == "POST"} == {PATH}
    for word in ("Traceback", "ERROR"):
        assert word not in service.output
