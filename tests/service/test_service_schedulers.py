from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from tests.fakes import FakeClock, FakeReader, FakeWriter, eventually
from tests.history import END, FROM, START, answer, config
from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import SeriesBatch
from vmanomaly.service.health import Health
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.plan import create_models
from vmanomaly.service.schedulers import Schedulers
from vmanomaly.service.work import Work, create_work


def oneoff_work(folder: Path, metrics: Metrics, health: Health) -> Work:
    scheduler = {
        "class": "oneoff",
        "fit_start_s": START / 1000,
        "fit_end_s": FROM / 1000,
        "infer_start_s": FROM / 1000,
        "infer_end_s": END / 1000,
    }
    configuration = config(folder, "zscore_online", scheduler)
    keeper = Keeper(configuration, None, FakeClock(0), metrics)
    models = create_models(configuration)
    work = create_work(configuration, models, keeper, FakeWriter(), health, metrics, None)
    work.reader.close()
    jobs = work.jobs["s"]
    for job in jobs:
        job._reads._reader = FakeReader(answer)
    return work


def test_waiting_ends_with_the_last_scheduler_though_its_thread_still_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics, health = Metrics(), Health({})
    schedulers = Schedulers(FakeClock(0), health, metrics, RunContext())
    schedulers.start(oneoff_work(tmp_path, metrics, health), ["s"])
    monkeypatch.setattr(threading.Thread, "is_alive", lambda self: True)
    waiting = threading.Thread(target=schedulers.wait, daemon=True)
    waiting.start()
    waiting.join(60)
    monkeypatch.undo()
    assert not waiting.is_alive()
    assert schedulers.failures == {}
    assert schedulers.join(0.0)
    schedulers.stop_reading()


def test_a_stop_is_noticed_by_who_waits(tmp_path: Path) -> None:
    schedulers = Schedulers(FakeClock(0), Health({}), Metrics(), RunContext())
    with schedulers.changing():
        waiting = threading.Thread(target=schedulers.wait, daemon=True)
        waiting.start()
        schedulers.stop()
        waiting.join(60)
        assert not waiting.is_alive()


def test_a_signal_that_does_not_interrupt_the_wait_is_handled_soon() -> None:
    """As one that arrives just before the wait begins: here another thread receives it."""
    schedulers = Schedulers(FakeClock(0), Health({}), Metrics(), RunContext())
    over = threading.Event()
    was_in_time = []

    def send() -> None:
        assert eventually(lambda: bool(schedulers._changed._waiters))  # type: ignore[attr-defined]
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        was_in_time.append(over.wait(60))
        schedulers.stop()

    before = signal.signal(signal.SIGUSR1, lambda *_: schedulers.stop())
    sender = threading.Thread(target=send)
    try:
        with schedulers.changing():
            sender.start()
            schedulers.wait()
        over.set()
        sender.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert was_in_time == [True]


def test_only_runs_of_its_own_are_waited_for(tmp_path: Path) -> None:
    over = threading.Event()
    stranger = threading.Thread(target=over.wait, name="worker_7", daemon=True)
    stranger.start()
    schedulers = Schedulers(FakeClock(0), Health({}), Metrics(), RunContext())
    assert schedulers.join(0.0)
    over.set()
    stranger.join()


def test_what_failed_last_is_over_with_a_scheduler_that_ends(tmp_path: Path) -> None:
    metrics, health = Metrics(), Health({})
    schedulers = Schedulers(FakeClock(0), health, metrics, RunContext())
    work = oneoff_work(tmp_path, metrics, health)

    def fail(*_: object) -> SeriesBatch:
        raise DatasourceError("refused", "422")

    for job in work.jobs["s"]:
        job._reads._reader = FakeReader(fail)
    other = DatasourceError("refused too", "422")
    health.report_read("other", "q", "infer", other)
    schedulers.start(work, ["s"])
    schedulers.wait()
    schedulers.stop_reading()
    assert "refused" in str(schedulers.failures["s"])
    assert health.reasons() == ["reader: query q: refused too"]
