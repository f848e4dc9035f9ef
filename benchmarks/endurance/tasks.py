"""Detection tasks, one after the other: does what the service takes of the machine stay the same?

A service with `preset: ui` does what clients of the API have it do: start a task, ask how far it
is, take the result. Classes take turns, and every tenth task is canceled. Memory, descriptors and
threads are measured after each. The service keeps the results of 100 tasks; after that the line
through the measurements may rise by no more than 3 % of the median.

    python -m benchmarks.endurance.tasks --tasks 1000

The exit status is 1 if something grows, or if a task failed.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from benchmarks.endurance.churning_source import ChurningSource, serve
from benchmarks.endurance.flatness import Trend, fit_trend, growing
from benchmarks.endurance.progress import Show, progress
from benchmarks.processes import n_descriptors, n_threads, resident_bytes
from tests.integration.servers import Vmanomaly, free_port

SHARE = 0.03
"""What the line may rise by, of the median."""

LEAST = {"memory": 4e6, "descriptors": 2.0, "threads": 2.0}
"""What it may rise by in any case."""

N_KEPT = 100
"""Results that the service keeps."""

CLASSES = ("temporal_envelope", "mad_online", "zscore_online", "quantile_online", "std")
_N_SERIES = 20
_STEP_S = 300
_DAY_S = 86_400
_TASKS = "/api/v1/anomaly_detection/tasks"
_EVERY = 10
_PATIENCE_S = 120.0


@dataclass
class Outcome:
    """What came of the tasks.

    Attributes
    ----------
    n_tasks : int
        How many there were.
    n_settled : int
        After so many of them everything that is kept is there.
    measured : dict of str to list of float
        Each quantity after each task.
    failures : list of str
        What was wrong with tasks.
    took_s : float
        How long all of them took.
    """

    n_tasks: int
    n_settled: int
    measured: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def trends(self) -> dict[str, Trend]:
        """The trend of each quantity, from task to task, once it has settled."""
        return {
            name: fit_trend(range(self.n_settled, self.n_tasks), values[self.n_settled :])
            for name, values in self.measured.items()
        }

    @property
    def growing(self) -> list[str]:
        """The quantities that are not flat."""
        return growing(self.trends, SHARE, LEAST)

    @property
    def is_well(self) -> bool:
        """Whether nothing grew and no task failed."""
        return not self.growing and not self.failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=1000)
    arguments = parser.parse_args()
    # The service is not left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with (
        tempfile.TemporaryDirectory() as folder,
        progress(f"{arguments.tasks:,} tasks, one after the other") as show,
    ):
        outcome = run(arguments.tasks, Path(folder), show)
    print(verdict(outcome))
    return 0 if outcome.is_well else 1


def run(n_tasks: int, folder: Path, show: Show, n_settled: int = N_KEPT) -> Outcome:
    """Have a service do tasks, and measure it after each."""
    port = free_port()
    outcome = Outcome(n_tasks, min(n_settled, n_tasks // 2))
    config = {"preset": "ui", "server": {"addr": "127.0.0.1", "port": port}}
    with serve(ChurningSource(_N_SERIES, period_s=10**9)) as url, Vmanomaly(folder, config) as each:
        each.wait_until(lambda: "Listening on port" in each.output, "a listener")
        quantities: dict[str, Callable[[], float]] = {
            "memory": lambda: resident_bytes(each.pid),
            "descriptors": lambda: n_descriptors(each.pid),
            "threads": lambda: n_threads(each.pid),
        }
        outcome.measured = {name: [] for name in quantities}
        client = _Client(f"http://127.0.0.1:{port}")
        started = time.monotonic()
        for number in range(n_tasks):
            failure = _do(client, number, url)
            if failure:
                outcome.failures.append(f"task {number + 1}: {failure}")
            for name, measure in quantities.items():
                outcome.measured[name].append(measure())
            memory = outcome.measured["memory"][-1] / 1e6
            show(number + 1, n_tasks, f"tasks; memory {memory:,.1f} MB")
        outcome.took_s = time.monotonic() - started
        client.close()
    return outcome


def verdict(outcome: Outcome) -> str:
    """Say in a few lines what came of it."""
    what = [f"{name} grows" for name in outcome.growing]
    what += [f"{len(outcome.failures):,} failed, {outcome.failures[0]}"] if outcome.failures else []
    said = "; ".join(what).upper() or "flat"
    trends = ", ".join(
        f"{name} {_shown(name, trend.median)} ({_shown(name, trend.rise, '+')})"
        for name, trend in outcome.trends.items()
    )
    memory = outcome.measured["memory"]
    after = ", ".join(
        f"{memory[n - 1] / 1e6:,.0f} after {n:,}" for n in range(N_KEPT, len(memory) + 1, N_KEPT)
    )
    return (
        f"tasks: {said}. {outcome.n_tasks:,} tasks in {outcome.took_s:,.0f} s; from task "
        f"{outcome.n_settled:,} on: {trends}\nMB of memory: {after or 'too few tasks'}"
    )


class _Client:
    def __init__(self, url: str) -> None:
        self._url = url
        self._http = urllib3.PoolManager(retries=urllib3.Retry(3), timeout=_PATIENCE_S)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._http.request(
            method,
            self._url + path,
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        content: dict[str, Any] = json.loads(answer.data)
        assert answer.status < 300, content
        return content

    def close(self) -> None:
        self._http.clear()


def _do(client: _Client, number: int, url: str) -> str:
    """Have a task done, or canceled; return what is wrong with it."""
    end = 1_750_000_000 // _DAY_S * _DAY_S + number * _STEP_S
    body = {
        "query": "requests",
        "step": f"{_STEP_S}s",
        "start_infer_s": end - _DAY_S,
        "end_infer_s": end,
        "fit_window": "2d",
        "model_spec": {"class": CLASSES[number % len(CLASSES)]},
        "datasource_url": url,
    }
    path = f"{_TASKS}/{client.ask('POST', _TASKS, body)['task_id']}"
    if number % _EVERY == _EVERY - 1:
        client.ask("DELETE", path)
        status = client.ask("GET", path)["status"]
        return "" if status in ("canceled", "done") else f"{status} instead of canceled"
    until = time.monotonic() + _PATIENCE_S
    while (state := client.ask("GET", path))["status"] == "running":
        if time.monotonic() > until:
            return f"still running after {_PATIENCE_S:g} s"
        time.sleep(0.01)
    if state["status"] != "done":
        return f"{state['status']}: {state['error']}"
    n_points = state["metrics"]["points"]
    expected = _N_SERIES * _DAY_S // _STEP_S
    return "" if n_points == expected else f"{n_points} points instead of {expected}"


def _shown(name: str, value: float, sign: str = "") -> str:
    return f"{value / 1e6:{sign},.1f} MB" if name == "memory" else f"{value:{sign},.3g}"


if __name__ == "__main__":
    sys.exit(main())
