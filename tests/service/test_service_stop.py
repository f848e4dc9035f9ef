"""A stop ends reads at once and lets what is read be scored; a run that fails says why."""

from __future__ import annotations

import itertools
import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.config_helpers import changed, load
from tests.drips import DRIPS, dripping
from tests.fakes import FakeWriter, eventually
from tests.loopback import Asked, Handler, serve
from vmanomaly.config.reader import Query
from vmanomaly.context import RunContext
from vmanomaly.model.online import OnlineModel
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.service import Service

ONCE = {
    "class": "oneoff",
    "fit_start_s": 60,
    "fit_end_s": 600,
    "infer_start_s": 660,
    "infer_end_s": 720,
}
BASE: dict[str, Any] = {
    "reader": {
        "datasource_url": "http://localhost:1",
        "sampling_period": "1m",
        "timeout": "1h",
        "series_processing_batch_size": 1,
        "queries": {"quick": {"expr": "quick"}, "slow": {"expr": "slow"}},
    },
    "schedulers": {"once": ONCE},
    "models": {"z": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
    "writer": {"datasource_url": "http://localhost:1"},
}

Read = Callable[[Query, TimeRange, RunContext], SeriesBatch]


class Reader:
    """Answers as a function does, which may wait."""

    def __init__(self, answer: Read) -> None:
        self.answer = answer

    def read(
        self,
        query: Query,
        time_range: TimeRange,
        scheduler_alias: str,
        *,
        stage: str,
        context: RunContext | None = None,
    ) -> SeriesBatch:
        assert context is not None
        return self.answer(query, time_range, context)

    def check_health(self) -> None: ...

    def close(self) -> None: ...


def answer(query: Query, time_range: TimeRange, context: RunContext) -> SeriesBatch:
    grid = time_range.grid(int(query.step))
    values = (grid // 60_000 % 7).astype(np.float64)
    return SeriesBatch((Labels({"query": query.alias}),), grid, values[np.newaxis])


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> FakeWriter:
    writer = FakeWriter()
    monkeypatch.setattr("vmanomaly.service.service.create_writer", lambda *_: writer)
    return writer


def service_on(
    monkeypatch: pytest.MonkeyPatch, answer: Read, context: RunContext | None = None
) -> Service:
    monkeypatch.setattr("vmanomaly.service.work.create_reader", lambda *_: Reader(answer))
    return Service(load(BASE), context=context)


def scored(writer: FakeWriter) -> set[str]:
    return {origin.query_key for _, origin in writer.written}


@pytest.mark.parametrize("by_context", [True, False])
def test_a_stop_ends_reads_at_once_and_is_no_failure(
    by_context: bool,
    monkeypatch: pytest.MonkeyPatch,
    writer: FakeWriter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hanging, context = threading.Event(), RunContext()

    def hang_if_slow(query: Query, time_range: TimeRange, context: RunContext) -> SeriesBatch:
        if query.alias == "slow":
            hanging.set()
            context.wait(threading.Event())
        return answer(query, time_range, context)

    service = service_on(monkeypatch, hang_if_slow, context)
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(service.run)
        assert hanging.wait(60)
        assert eventually(lambda: scored(writer) == {"quick"})
        context.cancel() if by_context else service.stop()
        assert running.result(60) == 0
    assert not service.abandoned
    assert scored(writer) == {"quick"}
    assert [each.message for each in caplog.records if each.levelno > logging.INFO] == []


def test_what_is_read_is_scored_and_written_after_a_stop(
    monkeypatch: pytest.MonkeyPatch, writer: FakeWriter
) -> None:
    computing, go_on = threading.Semaphore(0), threading.Event()
    infer = OnlineModel.infer

    def slowly(*arguments: Any) -> Any:
        computing.release()
        assert go_on.wait(60)
        return infer(*arguments)

    monkeypatch.setattr(OnlineModel, "infer", slowly)
    monkeypatch.setattr("vmanomaly.service.service.warm_up", lambda *_: None)
    service = service_on(monkeypatch, answer)
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(service.run)
        assert computing.acquire(timeout=60)
        assert computing.acquire(timeout=60)
        service.stop()
        go_on.set()
        assert running.result(60) == 0
    assert scored(writer) == {"quick", "slow"}


def test_what_does_not_end_in_time_is_abandoned_and_ends_after_its_block(
    monkeypatch: pytest.MonkeyPatch, writer: FakeWriter
) -> None:
    computing, go_on = threading.Semaphore(0), threading.Event()
    infer = OnlineModel.infer
    n_blocks = itertools.count()

    def slowly(*arguments: Any) -> Any:
        next(n_blocks)
        computing.release()
        assert go_on.wait(60)
        return infer(*arguments)

    def two_series(query: Query, time_range: TimeRange, context: RunContext) -> SeriesBatch:
        one = answer(query, time_range, context)
        labels = (*one.labels, Labels({"query": "another"}))
        return SeriesBatch(labels, one.timestamps, np.vstack([one.values] * 2))

    monkeypatch.setattr("vmanomaly.model.base.BaseModel.block_bytes", 1)
    monkeypatch.setattr(OnlineModel, "infer", slowly)
    monkeypatch.setattr("vmanomaly.service.service.warm_up", lambda *_: None)
    monkeypatch.setattr("vmanomaly.service.service._GRACE_S", 0.0)
    service = service_on(monkeypatch, two_series)
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(service.run)
        for _ in range(2):
            assert computing.acquire(timeout=60)
        service.stop()
        assert running.result(60) == 0
    assert service.abandoned
    go_on.set()
    assert eventually(lambda: not [t for t in threading.enumerate() if "worker" in t.name])
    assert next(n_blocks) == 2


def test_every_fit_and_every_infer_is_a_step(
    monkeypatch: pytest.MonkeyPatch, writer: FakeWriter
) -> None:
    steps: list[tuple[int, int, str]] = []
    context = RunContext(on_progress=lambda *step: steps.append(step))
    assert service_on(monkeypatch, answer, context).run() == 0
    assert [(done, expected) for done, expected, _ in steps] == [(n, 4) for n in range(1, 5)]
    assert sorted(name for _, _, name in steps) == [
        "fit z on quick",
        "fit z on slow",
        "infer z on quick",
        "infer z on slow",
    ]


def test_a_run_that_fails_says_at_last_what_failed(
    writer: FakeWriter, caplog: pytest.LogCaptureFixture
) -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        if asked.method == "GET":
            handler.reply(404)
        else:
            handler.reply(422, b'{"status":"error","error":"cannot parse sum("}')

    with serve(respond) as server:
        config = changed({"reader.datasource_url": server.url}, BASE)
        steps: list[tuple[int, int]] = []
        context = RunContext(on_progress=lambda done, expected, _: steps.append((done, expected)))
        with caplog.at_level(logging.INFO):
            assert Service(load(config), context=context).run() == 1
    last = caplog.records[-1]
    assert last.levelno == logging.ERROR
    assert last.message.startswith("Scheduler 'once' failed: Error querying ")
    # The name of the status differs among Pythons.
    assert re.search(r"answered 422 Unprocessable \w+: cannot parse sum\(", last.message)
    assert "for slow with" in last.message
    assert "for quick with" in last.message
    assert steps[-1] == (4, 4)


def test_a_server_that_drips_does_not_keep_a_service_that_is_stopped(
    writer: FakeWriter,
) -> None:
    with dripping(DRIPS["chunk size"]) as (address, is_asked):
        config = changed({"reader.datasource_url": f"http://{address}"}, BASE)
        service = Service(load(config))
        with ThreadPoolExecutor(1) as executor:
            running = executor.submit(service.run)
            assert is_asked.wait(60)
            service.stop()
            assert running.result(60) == 0
        assert not service.abandoned


def test_a_stop_is_heeded_between_the_kernels_of_two_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = {"class": "zscore_online", "queries": "all", "schedulers": "all"}
    service = Service(load(changed({"models": {"a": two, "b": two}}, BASE)))
    warmed: list[object] = []

    def warm_up(model: object) -> None:
        warmed.append(model)
        assert service.health._thread.is_alive()
        service.stop()

    def never(*args: object) -> None:
        raise AssertionError("the service was stopped")

    monkeypatch.setattr("vmanomaly.service.work.warm_up_model", warm_up)
    monkeypatch.setattr("vmanomaly.service.work.warm_up_writer", never)
    assert service.run() == 0
    assert len(warmed) == 1
