"""Another writer takes the place of one that is in use."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import eventually
from tests.loopback import Asked, Handler, serve
from tests.recorder import Recorder, record
from vmanomaly.config.writer import (
    DuckdbWriterSection,
    RemoteWriteSection,
    VmWriterSection,
    WriterSection,
)
from vmanomaly.errors import RollbackError, VmanomalyError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, Origin, Predictions
from vmanomaly.service.writer_slot import QueueNotEmptyError, WriterSlot
from vmanomaly.writer import create_writer

ORIGIN = Origin(("cpu",), "zscore", "every_minute", "default")
DOWN = (503, "text/plain", b"down")


def predict(minute: int) -> Predictions:
    timestamps = np.array([60_000 * minute], dtype=np.int64)
    return Predictions((Labels({"cpu": "0"}),), timestamps, {"yhat": np.array([[float(minute)]])})


def section(url: str, **keys: Any) -> VmWriterSection:
    return VmWriterSection(datasource_url=url, connection_retry_attempts=0, **keys)


@contextmanager
def slot_of(first: WriterSection, metrics: Metrics | None = None) -> Iterator[WriterSlot]:
    metrics = metrics or Metrics()
    slot = WriterSlot(first, lambda section: create_writer(section, metrics))
    slot.start()
    try:
        yield slot
    finally:
        slot.close()


def arrived(recorder: Recorder, first: int = 0) -> list[int]:
    """Return the minutes that came with the requests from a number on, in order."""
    return [
        int(line.rpartition(b"[")[2].rstrip(b"]}")) // 60_000
        for request in recorder.requests[first:]
        for line in request.body.splitlines()
    ]


def keys_of(queue: str, folder: Path) -> dict[str, Any]:
    return {"queue_path": str(folder / "queue")} if queue == "disk" else {}


@pytest.mark.parametrize("queue", ["memory", "disk"])
def test_what_waits_is_delivered_once_and_in_order_by_the_next_writer(
    queue: str, tmp_path: Path
) -> None:
    keys = keys_of(queue, tmp_path)
    metrics = Metrics()
    with (
        record() as old,
        record() as new,
        slot_of(section(old.url, **keys), metrics) as slot,
    ):
        old.answers = [DOWN] * 100
        for minute in (1, 2, 3):
            slot.write(predict(minute), ORIGIN)
        n_asked = len(old.requests)
        slot.replace(section(new.url, **keys))
        assert slot.flush(60)
        slot.write(predict(4), ORIGIN)
        assert arrived(new) == [1, 2, 3, 4]
        assert len(old.requests) - n_asked <= 1
        assert slot.n_dropped == 0
        assert metrics.registry.get_sample_value("vmanomaly_writer_queue_bytes") == 0


def test_a_request_that_is_under_way_is_not_repeated_by_the_next_writer() -> None:
    entered, go_on = threading.Event(), threading.Event()
    first = True

    def respond(handler: Handler, asked: Asked) -> None:
        nonlocal first
        if first:
            first = False
            handler.reply(503, b"down")
            return
        entered.set()
        go_on.wait(60)
        handler.reply(204)

    with (
        serve(respond) as old,
        record() as new,
        slot_of(section(old.url, timeout="20s")) as slot,
    ):
        slot.write(predict(1), ORIGIN)
        assert entered.wait(60)
        replacing = threading.Thread(target=slot.replace, args=(section(new.url),))
        replacing.start()
        go_on.set()
        replacing.join(60)
        slot.write(predict(2), ORIGIN)
        assert slot.flush(60)
        assert arrived(new) == [2]
        assert len(old.requests) == 2


def test_who_writes_is_waited_for_and_who_comes_waits() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def respond(handler: Handler, asked: Asked) -> None:
        entered.set()
        go_on.wait(60)
        handler.reply(204)

    with (
        serve(respond) as old,
        record() as new,
        slot_of(section(old.url, timeout="20s")) as slot,
    ):
        threads = [threading.Thread(target=slot.write, args=(predict(1), ORIGIN))]
        threads[0].start()
        assert entered.wait(60)
        threads.append(threading.Thread(target=slot.replace, args=(section(new.url),)))
        threads[1].start()
        assert eventually(lambda: slot._is_replacing)
        threads.append(threading.Thread(target=slot.write, args=(predict(2), ORIGIN)))
        threads[2].start()
        assert new.requests == []
        go_on.set()
        for thread in threads:
            thread.join(60)
        assert len(old.requests) == 1
        assert arrived(new) == [2]


@pytest.mark.parametrize("queue", ["memory", "disk"])
@pytest.mark.parametrize("other", ["class", "queue_path"])
def test_what_the_next_writer_could_not_deliver_is_kept_and_told_of(
    queue: str, other: str, tmp_path: Path
) -> None:
    keys = keys_of(queue, tmp_path)
    with record() as server, slot_of(section(server.url, **keys)) as slot:
        server.answers = [DOWN]
        slot.write(predict(1), ORIGIN)
        following: WriterSection
        if other == "class":
            following = RemoteWriteSection(datasource_url=server.url, **keys)
        else:
            following = section(server.url, queue_path=str(tmp_path / "other"))
        with pytest.raises(QueueNotEmptyError, match=rf"1 points wait .*writer\.{other} "):
            slot.replace(following)
        assert slot.flush(60)
        assert arrived(server, first=1) == [1]
        slot.replace(following)


def test_a_writer_that_cannot_be_made_leaves_the_old_one_and_what_waits(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with record() as server, slot_of(section(server.url)) as slot:
        slot.write(predict(1), ORIGIN)
        with pytest.raises(VmanomalyError):
            slot.replace(section(server.url, queue_path=str(tmp_path / "file")))
        slot.write(predict(2), ORIGIN)
        server.answers = [DOWN]
        slot.write(predict(3), ORIGIN)
        assert slot.flush(60)
        assert arrived(server)[-1] == 3
        assert slot.n_dropped == 0


def test_without_any_writer_there_is_no_way_back() -> None:
    writers = iter([create_writer(section("http://localhost:1"), Metrics())])

    def create(_: WriterSection) -> Any:
        try:
            return next(writers)
        except StopIteration:
            raise VmanomalyError("no more") from None

    slot = WriterSlot(section("http://localhost:1"), create)
    slot.start()
    with pytest.raises(RollbackError, match=r"no more\. The rollback failed too: no more"):
        slot.replace(section("http://localhost:2"))
    slot.close()


def test_writers_of_all_classes_take_each_others_place(tmp_path: Path) -> None:
    with record() as server:
        sections = [
            section(server.url),
            DuckdbWriterSection.model_validate({"path": str(tmp_path / "scores.duckdb")}),
            RemoteWriteSection(datasource_url=server.url),
        ]
        with slot_of(sections[0]) as slot:
            for following in [*sections[1:], sections[0]]:
                slot.write(predict(1), ORIGIN)
                slot.replace(following)
                assert slot.last_error is None
            slot.check_health()
