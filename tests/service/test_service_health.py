from __future__ import annotations

import logging
import threading

import pytest

from tests.fakes import eventually
from vmanomaly.errors import DatasourceError
from vmanomaly.http import StatusError
from vmanomaly.service.health import Health


class Datasource:
    """Fails until it is told to work, and tells when it was probed."""

    def __init__(self, works: bool) -> None:
        self.works = works
        self.probed = threading.Semaphore(0)

    def probe(self) -> None:
        works = self.works
        self.probed.release()
        if not works:
            raise DatasourceError("connection refused", "connection_error")

    def wait_for_probes(self, n: int) -> None:
        for _ in range(n):
            assert self.probed.acquire(timeout=10)


def test_a_datasource_out_of_reach_is_probed_until_it_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader, writer = Datasource(works=False), Datasource(works=True)
    health = Health({"reader": reader.probe, "writer": writer.probe}, probe_every=0.001)
    with caplog.at_level(logging.INFO):
        health.start()
        reader.wait_for_probes(3)
        assert health.reasons() == ["reader: connection refused"]
        reader.works = True
        assert eventually(lambda: health.reasons() == [])
        assert eventually(lambda: "Reader is well again after" in caplog.text)
        health.stop()
    failures = [message for message in caplog.messages if "connection refused" in message]
    assert failures == ["The reader cannot reach its datasource: connection refused"]


def test_what_was_reported_is_not_said_again_by_a_probe(caplog: pytest.LogCaptureFixture) -> None:
    reader = Datasource(works=False)
    health = Health({"reader": reader.probe}, probe_every=0.001)
    with caplog.at_level(logging.INFO):
        health.report_datasource("reader", DatasourceError("no answer", "timeout"))
        health.start()
        reader.wait_for_probes(3)
        assert health.reasons() == ["reader: connection refused"]
        assert caplog.messages == []
        reader.works = True
        assert eventually(lambda: "Reader is well again after" in caplog.text)
        health.stop()
    assert len(caplog.messages) == 1


def test_a_failure_that_one_probe_finds_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    reader = Datasource(works=False)
    health = Health({"reader": reader.probe}, probe_every=3600)
    with caplog.at_level(logging.INFO):
        health.start()
        assert eventually(lambda: health.reasons() == ["reader: connection refused"])
        health.report_datasource("reader", None)
        health.stop()
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("code", "unhealthy"),
    [
        ("connection_error", True),
        ("timeout", True),
        ("ssl_error", True),
        ("io_error", True),
        ("401", True),
        ("503", True),
        ("400", False),
        ("422", False),
    ],
)
def test_a_server_that_refuses_a_query_is_there(code: str, unhealthy: bool) -> None:
    health = Health({})
    health.report_datasource("reader", DatasourceError("words of the server", code))
    assert bool(health.reasons()) is unhealthy
    health.report_datasource("reader", None)
    assert health.reasons() == []


@pytest.mark.parametrize("denied", [True, False])
def test_a_server_that_denies_access_is_out_of_reach(denied: bool) -> None:
    health = Health({})
    health.report_datasource("writer", StatusError("no such token", 400, "", None, denied))
    assert bool(health.reasons()) is denied
