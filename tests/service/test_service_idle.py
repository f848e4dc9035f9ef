"""A service without anything to run stays up, and begins to work when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.config_helpers import changed, load
from tests.fakes import FakeReader, FakeWriter, SteppedClock, eventually
from vmanomaly.config.reader import Query, ReaderSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.service import Service
from vmanomaly.writer.noop import NoopWriter

MINUTE = 60_000
IDLE: dict[str, Any] = {"reader": {"class": "noop"}, "writer": {"class": "noop"}}
BUSY: dict[str, Any] = {
    "reader": {
        "datasource_url": "http://localhost:1",
        "sampling_period": "1m",
        "eval_delay": "0s",
        "queries": {"cpu": {"expr": "cpu"}},
    },
    "schedulers": {"live": {"infer_every": "1m", "fit_every": "1d", "fit_window": "1h"}},
    "models": {"z": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
    "writer": {"class": "noop"},
}


def answer(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    grid = time_range.grid(int(query.step))
    return SeriesBatch((Labels({"job": "a"}),), grid, np.ones((1, len(grid))))


class Running:
    """A service in a thread of its own."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.metrics = Metrics()
        self.status: list[int] = []
        self.service = Service(load(content), SteppedClock(1_000 * MINUTE), self.metrics)
        self.thread = threading.Thread(target=lambda: self.status.append(self.service.run()))
        self.thread.start()

    def n_fits(self) -> float:
        labels = {"query_key": "cpu", "model_alias": "z", "scheduler_alias": "live"}
        value = self.metrics.registry.get_sample_value(
            "vmanomaly_model_runs_total", labels | {"stage": "fit", "preset": "default"}
        )
        return value or 0.0

    def stop(self) -> int:
        self.service.stop()
        self.thread.join(60)
        return self.status[0]


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> FakeReader:
    reader = FakeReader(answer)

    def create(section: ReaderSection, *parts: Any) -> object:
        return reader if section.reads else create_reader(section, *parts)

    monkeypatch.setattr("vmanomaly.service.work.create_reader", create)
    monkeypatch.setattr("vmanomaly.service.service.warm_up", lambda *_: None)
    return reader


@pytest.fixture
def running(reader: FakeReader) -> Iterator[Running]:
    running = Running(IDLE)
    yield running
    running.stop()


def test_it_is_healthy_and_ready_until_it_is_stopped(running: Running) -> None:
    assert eventually(running.service._has_started.is_set)
    running.thread.join(0.3)
    assert running.thread.is_alive()
    assert running.service.health.status().reasons == []
    assert running.service.readiness.reasons() == []
    assert running.stop() == 0


def test_it_begins_to_work_when_it_is_told_to_and_rests_again(
    running: Running, reader: FakeReader
) -> None:
    running.service.apply(load(BUSY))
    assert eventually(lambda: running.n_fits() == 1)
    running.service.apply(load(IDLE))
    running.thread.join(0.3)
    assert running.thread.is_alive()
    assert running.service._schedulers.aliases == []
    assert running.stop() == 0


def test_the_scheduler_noop_runs_nothing_and_holds_up_nobody(reader: FakeReader) -> None:
    writer = FakeWriter()
    content = changed(
        {
            "schedulers.rest": {"class": "noop"},
            "models.never": {"class": "mad_online", "queries": "all", "schedulers": ["rest"]},
            "models.z.schedulers": ["live"],
        },
        BUSY,
    )
    running = Running(content)
    try:
        assert eventually(lambda: running.n_fits() == 1)
        assert eventually(lambda: running.service.readiness.reasons() == [])
        assert {stage for _, _, stage in reader.asked} <= {"fit", "infer", "fit_infer"}
        assert running.service._work.jobs["rest"] == []
        assert writer.written == []
    finally:
        assert running.stop() == 0


def test_a_service_whose_only_scheduler_is_noop_waits(reader: FakeReader) -> None:
    running = Running(changed({"schedulers.live": {"class": "noop"}}, BUSY))
    assert eventually(running.service._has_started.is_set)
    running.thread.join(0.3)
    assert running.thread.is_alive()
    assert running.stop() == 0
    assert reader.asked == []


def test_the_writer_noop_is_always_well(reader: FakeReader) -> None:
    writer = NoopWriter()
    writer.check_health()
    assert (writer.last_error, writer.n_dropped, writer.flush(0.0)) == (None, 0, True)
