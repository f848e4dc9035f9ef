"""A soak with churn: does what the service takes of the machine stay the same?

10,000 series, a tenth of which is replaced every minute, are scored every second, so that an hour
has the runs of days. Memory, descriptors, threads and disk are measured all along. After a while
in which everything has come and gone once, the line through the measurements may rise by no more
than 5 % of the median. In less than twenty minutes, the disk is not flat yet: the write-ahead log
of the index grows up to 4 MB first.

    python -m benchmarks.endurance.churn --minutes 60

The exit status is 1 if something grows, or if a run failed or a point was lost.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.endurance.churning_source import N_COHORTS, ChurningSource, serve
from benchmarks.endurance.flatness import Trend, fit_trend, growing
from benchmarks.endurance.progress import Show, progress
from benchmarks.processes import cpu_s, disk_bytes, n_descriptors, n_threads, resident_bytes, scrape
from tests.integration.servers import Vmanomaly, free_port

SHARE = 0.05
"""What the line may rise by, of the median."""

LEAST = {"memory": 4e6, "descriptors": 2.0, "threads": 2.0, "disk": 1e6}
"""What it may rise by in any case: the noise of a small service."""

_N_MEASUREMENTS = 720
_FAULTS = {
    "skipped runs": "vmanomaly_model_runs_skipped_total",
    "failed runs": "vmanomaly_model_run_errors_total",
    "lost points": "vmanomaly_writer_dropped_datapoints_total",
    "states not stored": "vmanomaly_state_save_errors_total",
    "restarts of schedulers": "vmanomaly_scheduler_restarts_total",
}
_SENT, _SERIES = "vmanomaly_writer_datapoints_sent_total", "vmanomaly_models_active"


@dataclass(frozen=True)
class Soak:
    """What is to be run.

    Attributes
    ----------
    n_series
        How many series there are at any time.
    period_s
        Every so many seconds a tenth of them is replaced.
    minutes
        How long it is measured, the first while included.
    """

    n_series: int = 10_000
    period_s: int = 60
    minutes: float = 60.0

    @property
    def settling_s(self) -> float:
        """How long it takes until everything has come and gone, and some were forgotten."""
        return min(self.minutes * 60 / 3, 1.5 * N_COHORTS * self.period_s)


@dataclass(frozen=True)
class Outcome:
    """What came of a soak.

    Attributes
    ----------
    trends
        The trend of each quantity, after it has settled.
    faults
        What must not happen, and how often it did; only what did.
    n_points
        Points that were written.
    n_replaced
        Series that went and were replaced.
    cpu_share
        Of one CPU, used by the service.
    """

    trends: dict[str, Trend]
    faults: dict[str, int]
    n_points: int
    n_replaced: int
    cpu_share: float

    @property
    def growing(self) -> list[str]:
        """The quantities that are not flat."""
        return growing(self.trends, SHARE, LEAST)

    @property
    def is_well(self) -> bool:
        """Whether nothing grew and nothing failed."""
        return not self.growing and not self.faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=Soak.minutes)
    parser.add_argument("--series", type=int, default=Soak.n_series)
    parser.add_argument("--period", type=int, default=Soak.period_s, help="seconds; see above")
    parser.add_argument("--folder", type=Path, help="for the log of the service; kept")
    arguments = parser.parse_args()
    # The service is not left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    soak = Soak(arguments.series, arguments.period, arguments.minutes)
    with (
        tempfile.TemporaryDirectory() as temporary,
        progress(f"{soak.n_series:,} series, a tenth replaced every {soak.period_s} s") as show,
    ):
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = run(soak, folder, show)
    print(verdict(soak, outcome))
    return 0 if outcome.is_well else 1


def run(soak: Soak, folder: Path, show: Show) -> Outcome:
    """Run the service on churning series, and measure it."""
    source = ChurningSource(soak.n_series, soak.period_s)
    port = free_port()
    environ = {"VMANOMALY_MODEL_DUMPS_DIR": str(folder / "models")}
    metrics_url = f"http://127.0.0.1:{port}/metrics"
    with (
        serve(source) as url,
        Vmanomaly(folder, _config(url, port, soak), environ=environ) as service,
    ):
        service.wait_until(lambda: "Listening on port" in service.output, "a listener")
        service.wait_until(lambda: scrape(metrics_url).get(_SENT, 0) > 0, "scores", 120.0)
        started, used = time.monotonic(), cpu_s(service.pid)
        before = scrape(metrics_url)
        times, measured = _measure(service.pid, folder / "models", soak, show, metrics_url)
        after = scrape(metrics_url)
        cpu_share = (cpu_s(service.pid) - used) / (time.monotonic() - started)
    settled = [number for number, at in enumerate(times) if at >= soak.settling_s]
    return Outcome(
        trends={
            name: fit_trend([times[n] for n in settled], [values[n] for n in settled])
            for name, values in measured.items()
        },
        faults={
            what: int(after[name])
            for what, name in _FAULTS.items()
            if after.get(name, 0) > before.get(name, 0)
        },
        n_points=int(after[_SENT] - before[_SENT]),
        n_replaced=int(times[-1] / soak.period_s * soak.n_series / N_COHORTS),
        cpu_share=cpu_share,
    )


def verdict(soak: Soak, outcome: Outcome) -> str:
    """Say in one line what came of it."""
    what = [f"{name} grows" for name in outcome.growing]
    what += [f"{n:,} {name}" for name, n in outcome.faults.items()]
    said = "; ".join(what).upper() or "flat"
    quantities = ", ".join(_described(name, trend) for name, trend in outcome.trends.items())
    return (
        f"churn: {said}. {soak.n_series:,} series, {outcome.n_replaced:,} replaced in "
        f"{soak.minutes:g} minutes, {outcome.n_points:,} points written, "
        f"{100 * outcome.cpu_share:.0f} % of a CPU; {quantities}"
    )


def _described(name: str, trend: Trend) -> str:
    unit, scale = (" MB", 1e6) if name in {"memory", "disk"} else ("", 1.0)
    return f"{name} {trend.median / scale:,.4g}{unit} ({trend.per_hour / scale:+,.2g}{unit}/h)"


def _measure(
    pid: int, models: Path, soak: Soak, show: Show, metrics_url: str
) -> tuple[list[float], dict[str, list[float]]]:
    """Return when it was measured, seconds, and every quantity at these times."""
    quantities: dict[str, Callable[[], float]] = {
        "memory": lambda: resident_bytes(pid),
        "descriptors": lambda: n_descriptors(pid),
        "threads": lambda: n_threads(pid),
        "disk": lambda: disk_bytes(models),
    }
    times: list[float] = []
    measured: dict[str, list[float]] = {name: [] for name in quantities}
    n_seconds = soak.minutes * 60
    started = time.monotonic()
    while (at := time.monotonic() - started) < n_seconds:
        times.append(at)
        for name, measure in quantities.items():
            measured[name].append(measure())
        known = scrape(metrics_url).get(_SERIES, 0)
        now = ", ".join(
            f"{name} {values[-1] / 1e6:,.1f} MB" if values[-1] > 1e5 else f"{values[-1]:,g} {name}"
            for name, values in measured.items()
        )
        show(int(at), int(n_seconds), f"seconds; {now}, {known:,.0f} series known")
        time.sleep(max(0.5, n_seconds / _N_MEASUREMENTS))
    return times, measured


def _config(url: str, port: int, soak: Soak) -> dict[str, Any]:
    return {
        "settings": {
            "restore_state": True,
            "retention": {
                "ttl": f"{2 * soak.period_s}s",
                "check_interval": f"{max(1, soak.period_s // 2)}s",
            },
        },
        "schedulers": {
            "live": {"fit_window": "30s", "fit_every": "1000d", "infer_every": "1s"},
        },
        "models": {"z": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
        "reader": {
            "datasource_url": url,
            "sampling_period": "1s",
            "eval_delay": "1s",
            "queries": {"requests": {"expr": "requests"}},
        },
        "writer": {"datasource_url": url},
        "server": {"addr": "127.0.0.1", "port": port},
    }


if __name__ == "__main__":
    sys.exit(main())
