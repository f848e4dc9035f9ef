"""Whether a detection task slows the runs of schedulers in the same process.

A service scores 2,000 series every two seconds. For some seconds a task is being computed, for some
it is not, in turns; the time of a run is the sum of what reading, the model and writing took by the
service's own metrics. The ratio is the median of those of neighbouring turns.

Run it with `python -m benchmarks.speed.tasks_and_runs`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import urllib3

from benchmarks.endurance.churning_source import ChurningSource, serve
from benchmarks.processes import scrape
from tests.integration.servers import Vmanomaly, free_port

RATIO = 1.10
"""What a task may slow runs to."""

N_SERIES = 2_000
EVERY_S = 2
TURN_S = 10.0
DAY_S = 86_400
PARTS = (
    "vmanomaly_reader_request_duration_seconds_sum",
    "vmanomaly_reader_response_parsing_seconds_sum",
    "vmanomaly_model_run_duration_seconds_sum",
    "vmanomaly_writer_request_serialize_seconds_sum",
    "vmanomaly_writer_request_duration_seconds_sum",
)
RUNS = "vmanomaly_model_runs_total"
TASKS = "/api/v1/anomaly_detection/tasks"
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "temporal_envelope": ({"class": "temporal_envelope"}, 200),
    "isolation_forest": ({"class": "isolation_forest"}, 50),
    "holtwinters": ({"class": "holtwinters", "frequency": "1m", "seasonality": "2h"}, 50),
    "prophet": ({"class": "prophet"}, 50),
    "auto": (
        {
            "class": "auto",
            "tuned_class_name": "zscore_online",
            "optimization_params": {"anomaly_percentage": 0.01},
        },
        50,
    ),
}
"""The model of a task, and the number of series."""


def main() -> None:
    """Measure and print the ratio of each case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--turns", type=int, default=12, help="of each kind")
    arguments = parser.parse_args()
    print(f"a task next to runs on {N_SERIES:,} series every {EVERY_S} s")
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(ChurningSource(N_SERIES, period_s=10**9)) as url,
        Vmanomaly(Path(folder), _config(url, port)) as service,
    ):
        service.wait_until(lambda: "Listening on port" in service.output, "a listener")
        api = f"http://127.0.0.1:{port}"
        service.wait_until(lambda: scrape(f"{api}/metrics").get(RUNS, 0) > 3, "runs", 120.0)
        for case in arguments.cases:
            print(_measure(api, case, arguments.turns), flush=True)


def _measure(api: str, case: str, n_turns: int) -> str:
    alone: list[float] = []
    accompanied: list[float] = []
    spec, n_series = CASES[case]
    with serve(ChurningSource(n_series, period_s=10**9)) as url:
        # The first one loads what the later ones find loaded.
        _cancel(api, _start(api, spec, url))
        for _ in range(n_turns):
            task = _start(api, spec, url)
            accompanied.append(_run_s(api))
            _cancel(api, task)
            alone.append(_run_s(api))
    ratio = median(
        with_task / without for with_task, without in zip(accompanied, alone, strict=True)
    )
    return (
        f"  {case}: {1000 * median(accompanied):.1f} ms with a task, {1000 * median(alone):.1f} ms "
        f"without, ratio {ratio:.2f} (to reach: {RATIO:.2f}; "
        f"{'met' if ratio <= RATIO else 'NOT met'})"
    )


def _run_s(api: str) -> float:
    """Return how long a run takes, for some seconds."""
    time.sleep(1.0)
    before = scrape(f"{api}/metrics")
    time.sleep(TURN_S)
    after = scrape(f"{api}/metrics")
    took = sum(after.get(part, 0.0) - before.get(part, 0.0) for part in PARTS)
    return took / (after[RUNS] - before[RUNS])


def _start(api: str, spec: dict[str, Any], url: str) -> str:
    """Start a task, and return its path when it computes."""
    body = {
        "query": "requests",
        "step": "1m",
        "fit_window": "1d",
        "fit_every": "2m",
        "start_infer_s": 1_750_000_000 - DAY_S // 2,
        "end_infer_s": 1_750_000_000,
        "model_spec": spec,
        "datasource_url": url,
    }
    path = f"{TASKS}/{_ask(api, 'POST', TASKS, body)['task_id']}"
    while "chunk" not in (state := _ask(api, "GET", path))["message"]:
        if state["status"] == "error":
            raise SystemExit(state["error"])
        time.sleep(0.05)
    return path


def _cancel(api: str, path: str) -> None:
    """Cancel a task, and return when it has stopped."""
    if not _ask(api, "DELETE", path)["canceled"]:
        raise SystemExit("a task ended too early; give it more to do")
    while _ask(api, "GET", "/api/v1/anomaly_detection/limits")["running"]:
        time.sleep(0.05)


def _ask(api: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = urllib3.request(
        method,
        api + path,
        body=None if body is None else json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    content: dict[str, Any] = json.loads(answer.data)
    if answer.status >= 300:
        raise SystemExit(str(content))
    return content


def _config(url: str, port: int) -> dict[str, Any]:
    return {
        "schedulers": {
            "live": {"fit_window": "10m", "fit_every": "1000d", "infer_every": f"{EVERY_S}s"}
        },
        "models": {
            "envelope": {"class": "temporal_envelope", "queries": "all", "schedulers": "all"}
        },
        "reader": {
            "datasource_url": url,
            "sampling_period": f"{EVERY_S}s",
            "eval_delay": "1s",
            "queries": {"requests": {"expr": "requests"}},
        },
        "writer": {"datasource_url": url},
        "server": {"addr": "127.0.0.1", "port": port},
    }


if __name__ == "__main__":
    main()
