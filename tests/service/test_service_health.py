from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from tests.fakes import eventually
from vmanomaly.errors import DatasourceError
from vmanomaly.series import Origin
from vmanomaly.service.health import Health

REFUSED = DatasourceError("connection refused", "connection_error")
DENIED = DatasourceError("answered 401", "401")
ORIGIN = Origin(("cpu",), "z", "s")


class Datasource:
    """Fails until it is told to work, and tells when it was probed."""

    def __init__(self, works: bool = True) -> None:
        self.error = None if works else REFUSED
        self.probed = threading.Semaphore(0)

    def probe(self) -> None:
        error = self.error
        self.probed.release()
        if error is not None:
            raise error

    def wait_for_probes(self, n: int) -> None:
        for _ in range(n):
            assert self.probed.acquire(timeout=60)


class World:
    def __init__(self) -> None:
        self.reader, self.writer = Datasource(), Datasource()
        self.health = Health(
            {"reader": self.reader.probe, "writer": self.writer.probe}, probe_every=0.001
        )

    def start(self) -> None:
        self.health.start()
        self.reader.wait_for_probes(1)
        self.writer.wait_for_probes(1)

    def read(self, error: DatasourceError | None, query: str = "cpu", stage: str = "infer") -> None:
        self.health.report_read("s", query, stage, error)

    def reads(self, *reasons: str) -> bool:
        return eventually(lambda: self.health.reasons() == list(reasons))


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.health.stop()


def test_a_datasource_out_of_reach_is_probed_until_it_answers(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.reader.error = REFUSED
    world.start()
    world.reader.wait_for_probes(3)
    assert world.health.reasons() == ["reader: connection refused"]
    assert not world.health.status().needs_restart
    world.reader.error = None
    assert world.reads()
    assert eventually(lambda: "The reader reaches its datasource again after" in caplog.text)
    failures = [message for message in caplog.messages if "connection refused" in message]
    assert failures == ["The reader cannot reach its datasource: connection refused"]


def test_what_was_reported_is_not_said_again_by_a_probe(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.reader.error = REFUSED
    world.read(DatasourceError("no answer", "timeout"))
    world.start()
    world.reader.wait_for_probes(3)
    assert world.health.reasons() == ["reader: connection refused"]
    assert caplog.messages == []
    world.reader.error = None
    assert eventually(lambda: "The reader reaches its datasource again after" in caplog.text)
    assert len(caplog.messages) == 1


def test_a_failure_that_one_probe_finds_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    health = Health({"reader": Datasource(works=False).probe}, probe_every=3600)
    health.start()
    assert eventually(lambda: health.reasons() == ["reader: connection refused"])
    health.report_read("s", "cpu", "infer", None)
    health.stop()
    assert caplog.messages == []


@pytest.mark.parametrize("code", ["401", "403", "422", "500", "503", "timeout", "io_error"])
def test_a_successful_probe_does_not_end_the_failure_of_a_query(world: World, code: str) -> None:
    world.start()
    world.read(DatasourceError("words of the server", code))
    world.reader.wait_for_probes(1)
    world.health.probe_again()
    world.reader.wait_for_probes(1)
    world.writer.wait_for_probes(1)
    assert world.health.reasons() == ["reader: query cpu: words of the server"]
    world.read(None)
    assert world.health.reasons() == []


def test_a_success_of_one_query_does_not_speak_for_another(world: World) -> None:
    world.start()
    for query in ("cpu", "mem"):
        world.read(DENIED, query)
    world.read(None, "mem")
    assert world.health.reasons() == ["reader: query cpu: answered 401"]


def test_a_read_for_an_infer_does_not_speak_for_that_of_a_fit(world: World) -> None:
    world.start()
    world.read(DatasourceError("too many samples", "422"), stage="fit")
    world.read(None, stage="infer")
    assert world.health.reasons() == ["reader: query cpu: too many samples"]
    assert world.health.failing_fits() == {("s", "cpu")}
    world.read(None, stage="fit")
    assert world.health.failing_fits() == set()


def test_an_outage_is_one_reason_and_its_end_the_end_of_all_it_caused(world: World) -> None:
    world.start()
    world.read(DENIED, "denied")
    world.reader.error = REFUSED
    for query in ("cpu", "mem"):
        world.read(REFUSED, query)
    assert world.reads("reader: connection refused", "reader: query denied: answered 401")
    world.reader.error = None
    assert world.reads("reader: query denied: answered 401")


def test_a_query_that_was_out_of_reach_while_its_datasource_answers_stays_a_reason(
    world: World,
) -> None:
    world.start()
    world.read(DatasourceError("broke off", "connection_error"))
    world.reader.wait_for_probes(1)
    world.health.probe_again()
    world.reader.wait_for_probes(1)
    assert world.health.reasons() == ["reader: query cpu: broke off"]


def test_a_read_that_works_ends_an_outage_whatever_the_probe_says(world: World) -> None:
    health = Health({"reader": Datasource(works=False).probe}, probe_every=3600)
    health.start()
    assert eventually(lambda: health.reasons() == ["reader: connection refused"])
    health.report_read("s", "cpu", "infer", None)
    assert health.reasons() == []
    health.stop()


def test_a_write_that_is_refused_is_a_reason_until_it_is_taken(world: World) -> None:
    world.start()
    world.health.report_write(ORIGIN, DatasourceError("answered 400", "400"))
    world.writer.wait_for_probes(1)
    world.health.report_write(Origin(("mem",), "z", "s"), None)
    assert world.health.reasons() == ["writer: query cpu: answered 400"]
    world.health.report_write(ORIGIN, None)
    assert world.health.reasons() == []


def test_what_waits_for_a_login_is_one_reason_until_the_writer_delivers(world: World) -> None:
    world.start()
    world.writer.error = DENIED
    world.health.report_write(ORIGIN, DENIED)
    assert world.reads("writer: answered 401")
    world.writer.error = None  # All that waited was sent, and nothing is to be written now.
    assert world.reads()


def test_queries_that_fail_alike_share_a_line(world: World) -> None:
    for query in ("a", "b", "c", "d", "e"):
        world.read(DENIED, query)
    world.read(DENIED, "a", stage="fit")
    world.read(DatasourceError("no such function", "422"), "f")
    assert world.health.reasons() == [
        "reader: queries a, b, c and 2 more: answered 401",
        "reader: query f: no such function",
    ]


def test_the_range_of_a_read_does_not_make_it_another_reason(world: World) -> None:
    for query in ("a", "b"):
        error = DatasourceError(f"Error querying for {query} from 17 to 18: answered 401", "401")
        error.__cause__ = DENIED
        world.read(error, query)
    assert world.health.reasons() == ["reader: queries a, b: answered 401"]


def test_reasons_are_bounded(world: World) -> None:
    for number in range(50):
        world.read(DatasourceError(f"no {number}\n" + "x" * 5000, "422"), f"q{number}")
    reasons = world.health.reasons()
    assert len(reasons) == 21
    assert reasons[-1] == "and 30 more"
    assert {len(reason) for reason in reasons[:-1]} == {1000}
    assert not any("\n" in reason for reason in reasons)


def test_only_some_reasons_need_a_restart_and_come_first(world: World) -> None:
    world.health.report("scheduler 'a'", "died")
    world.health.report("lane 'b'", "has been stuck for 2 h", needs_restart=True)
    status = world.health.status()
    assert status.needs_restart
    assert status.reasons == ["lane 'b': has been stuck for 2 h", "scheduler 'a': died"]
    assert world.health.reasons_to_restart() == ["lane 'b': has been stuck for 2 h"]
    world.health.report("lane 'b'", None)
    assert not world.health.status().needs_restart


def test_a_scheduler_that_is_gone_leaves_no_reason(world: World) -> None:
    world.health.report("scheduler 's'", "died", needs_restart=True)
    world.read(DENIED)
    world.health.report_write(ORIGIN, DENIED)
    world.health.report_read("other", "cpu", "infer", DENIED)
    world.health.forget_scheduler("s")
    assert world.health.reasons() == ["reader: query cpu: answered 401"]


def test_datasources_have_to_answer_once(world: World) -> None:
    waiting = ["reader: has not answered yet", "writer: has not answered yet"]
    assert world.health.reasons_of_datasources() == waiting
    world.read(DENIED)
    assert world.health.reasons_of_datasources() == waiting
    world.reader.error = REFUSED
    world.start()
    assert eventually(
        lambda: world.health.reasons_of_datasources() == ["reader: connection refused"]
    )
    world.read(None)
    assert world.health.reasons_of_datasources() == []
