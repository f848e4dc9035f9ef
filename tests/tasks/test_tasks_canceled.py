"""A detection task that is canceled while its model is being fitted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partialmethod
from typing import Any

import numpy as np
import pytest

from vmanomaly.config.loading.model_spec import read_model_spec
from vmanomaly.config.reader import HttpQuery
from vmanomaly.config.scheduler import BacktestingSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.model.holtwinters import HoltWinters
from vmanomaly.model.zscore_online import OnlineZscoreModel
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.tasks import NoFreeSlotError, Task, Tasks, TaskStatus
from vmanomaly.tasks.detection import Detection, detect

BOUND_S = 60.0
STEP, HOUR, N_SERIES = 60_000, 3_600_000, 5


class Reader:
    """Gives five series of noise."""

    n_reads_at_once = 1

    def read(self, query: Any, time_range: TimeRange, *_: Any, **__: Any) -> SeriesBatch:
        timestamps = time_range.grid(STEP)
        values = np.random.default_rng(1).normal(0, 1, (N_SERIES, len(timestamps)))
        labels = tuple(Labels({"number": str(number)}) for number in range(N_SERIES))
        return SeriesBatch(labels, timestamps, values)

    def check_health(self) -> None: ...

    def close(self) -> None: ...


class Slow:
    """A fit that lasts until it is told to end, and is counted."""

    def __init__(self, fit: Callable[..., Any]) -> None:
        self._fit = fit
        self.began, self.may_end = threading.Event(), threading.Event()
        self.n_fits = 0

    def __call__(self, *arguments: Any) -> Any:
        self.n_fits += 1
        self.began.set()
        assert self.may_end.wait(BOUND_S)
        return self._fit(*arguments)


def start(tasks: Tasks, spec: dict[str, Any]) -> Task:
    request = Detection(
        query=HttpQuery(alias="query", expr="up", step=Duration(STEP)),
        model=read_model_spec(spec),
        stretch=BacktestingSection(
            from_time=2 * HOUR,
            to_time=3 * HOUR,
            fit_window=Duration(2 * HOUR),
            fit_every=Duration(HOUR),
            infer_every=Duration(STEP),
            inference_only=True,
        ),
    )
    return tasks.start("detection", lambda context, note: detect(request, Reader, context, note))


def wait_for_slot(tasks: Tasks) -> None:
    until = time.monotonic() + BOUND_S
    while not tasks.limits["available"]:
        assert time.monotonic() < until
        time.sleep(0.001)


def slow_blocks(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Have each series be a block of its own."""
    slow = Slow(OnlineZscoreModel.fit)
    monkeypatch.setattr(OnlineZscoreModel, "block_bytes", 1)
    monkeypatch.setattr(OnlineZscoreModel, "fit", partialmethod(slow))
    return slow


def slow_library(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow(HoltWinters.fit_series)
    monkeypatch.setattr(HoltWinters, "fit_series", partialmethod(slow))
    return slow


@pytest.mark.parametrize(
    ("make_slow", "spec"),
    [
        (slow_blocks, {"class": "zscore_online"}),
        (slow_library, {"class": "holtwinters", "frequency": "1m", "seasonality": "10m"}),
    ],
)
def test_a_task_is_canceled_in_the_middle_of_a_fit(
    monkeypatch: pytest.MonkeyPatch,
    make_slow: Callable[[pytest.MonkeyPatch], Slow],
    spec: dict[str, Any],
) -> None:
    slow = make_slow(monkeypatch)
    monkeypatch.setattr("vmanomaly.tasks.tasks._CANCELED_END_WITHIN_S", 0.0)
    tasks = Tasks(lambda: 1, Metrics())
    task = start(tasks, spec)
    assert slow.began.wait(BOUND_S)
    assert task.snapshot()["message"] == "fitting model on chunk 1 of 1"

    # Nobody waits for the fit: the status says at once what is going to be.
    assert task.cancel()
    assert task.status is TaskStatus.CANCELED
    assert tasks.limits == {"max_concurrent": 1, "running": 1, "available": 0}
    with pytest.raises(NoFreeSlotError):
        start(tasks, spec)

    # The slot is free when what cannot be interrupted has ended: the fit of one series.
    slow.may_end.set()
    wait_for_slot(tasks)
    assert slow.n_fits == 1
    assert (task.status, task.result, task.error) == (TaskStatus.CANCELED, None, None)

    done = start(tasks, spec)
    wait_for_slot(tasks)
    assert done.status is TaskStatus.DONE, done.error
    assert slow.n_fits == 1 + N_SERIES
