"""How long a detection task takes to end that is canceled while its model is being fitted.

For each class a task with more to fit than anybody waits for, in a process that has nothing else
to do; it is canceled at several moments of its fit. What is measured is the time from the request
to the free slot. The status of the task is `canceled` at once.

Run it with `python -m benchmarks.speed.canceled_tasks`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from vmanomaly.config.loading.model_spec import read_model_spec
from vmanomaly.config.reader import HttpQuery
from vmanomaly.config.scheduler import BacktestingSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.executor import Executor
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.tasks import Note, Tasks
from vmanomaly.tasks.detection import Detection, detect

STEP_MS = 300_000
DAY_MS = 86_400_000
MOMENTS_S = (0.5, 1.3, 2.9)
HOLTWINTERS = {"class": "holtwinters", "frequency": "5m", "seasonality": "1d"}
CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    "temporal_envelope": ({"class": "temporal_envelope"}, 20_000, 7),
    "mad_online": ({"class": "mad_online"}, 100_000, 7),
    "isolation_forest": ({"class": "isolation_forest", "args": {"n_estimators": 500}}, 2_000, 7),
    "prophet": ({"class": "prophet"}, 500, 14),
    "prophet, a long series": ({"class": "prophet"}, 1, 60),
    "prophet, a very long series": ({"class": "prophet"}, 1, 365),
    "holtwinters": (HOLTWINTERS, 500, 14),
    "holtwinters, a long series": (HOLTWINTERS, 1, 60),
    "holtwinters, a very long series": (HOLTWINTERS, 1, 365),
    "auto": (
        {
            "class": "auto",
            "tuned_class_name": "temporal_envelope",
            "optimization_params": {"anomaly_percentage": 0.01},
        },
        500,
        14,
    ),
}
"""A model, the number of series and the days of each that it is fitted on."""


def main() -> None:
    """Measure and print, for every case, the longest of several times."""
    names = sys.argv[1:] or list(CASES)
    for name in names:
        spec, n_series, days = CASES[name]
        took = [_measure(spec, n_series, days, moment) for moment in (0.0, *MOMENTS_S)][1:]
        shown = ", ".join("ended before" if each is None else f"{each:.2f} s" for each in took)
        print(f"{name}, {n_series:,} series of {days} days: {shown}", flush=True)


def _measure(spec: dict[str, Any], n_series: int, days: int, moment_s: float) -> float | None:
    """Return the seconds from a cancellation to a free slot; None if the task ended before."""
    tasks = Tasks(lambda: 1, Metrics())
    request = Detection(
        query=HttpQuery(alias="query", expr="up", step=Duration(STEP_MS)),
        model=read_model_spec(spec),
        stretch=BacktestingSection(
            from_time=days * DAY_MS,
            to_time=days * DAY_MS + STEP_MS,
            fit_window=Duration(days * DAY_MS),
            fit_every=Duration(DAY_MS),
            infer_every=Duration(STEP_MS),
            inference_only=True,
        ),
        executor=Executor(n_workers=2, apart=True),
    )

    def work(context: RunContext, note: Note) -> bytes:
        return detect(request, lambda: _Reader(n_series), context, note)

    task = tasks.start("detection", work)
    while task.snapshot()["message"] != "fitting model on chunk 1 of 1" and not task.has_ended:
        time.sleep(0.001)
    time.sleep(moment_s)
    started = time.monotonic()
    if not task.cancel():
        if task.error:
            raise SystemExit(task.error)
        return None
    while tasks.limits["running"]:
        time.sleep(0.001)
    return time.monotonic() - started


class _Reader:
    """Gives noise around a daily pattern."""

    n_reads_at_once = 1

    def __init__(self, n_series: int) -> None:
        self._n_series = n_series

    def read(self, query: Any, time_range: TimeRange, *_: object, **__: object) -> SeriesBatch:
        timestamps = time_range.grid(STEP_MS)
        random = np.random.default_rng(1)
        values = random.normal(50, 1, (self._n_series, len(timestamps)))
        values += 10 * np.sin(timestamps * (2 * np.pi / DAY_MS))
        labels = tuple(Labels({"number": str(number)}) for number in range(self._n_series))
        return SeriesBatch(labels, timestamps, values)

    def check_health(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


if __name__ == "__main__":
    main()
