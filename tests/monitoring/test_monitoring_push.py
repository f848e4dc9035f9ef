from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import eventually
from tests.loopback import Asked, Handler, serve
from tests.recorder import record
from vmanomaly.config.monitoring import PushSection
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.monitoring.push import Pusher


@contextmanager
def pushing(url: str, pause_s: float = 0.0, **keys: Any) -> Iterator[tuple[Pusher, Metrics]]:
    section = PushSection.model_validate({"url": url, "push_frequency": "", **keys})
    metrics = Metrics()
    pusher = Pusher(section, metrics.registry, "host:8490", pause_s)
    pusher.start()
    try:
        yield pusher, metrics
    finally:
        pusher.stop()


def values(body: bytes, name: str) -> list[float]:
    return [
        sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name == name
    ]


def labels(path: str) -> list[str]:
    return parse_qs(urlsplit(path).query)["extra_label"]


def test_a_push_carries_every_metric_as_text() -> None:
    with record() as target, pushing(target.url) as (pusher, metrics):
        metrics.start_time_seconds.set(17)
        pusher.push_soon()
        assert eventually(lambda: len(target.requests) == 1)
    pushed = target.requests[0]
    assert pushed.method == "POST"
    assert pushed.headers["Content-Type"].startswith("text/plain")
    assert values(pushed.body, "vmanomaly_start_time_seconds") == [17.0]
    assert values(pushed.body, "process_start_time_seconds")


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({}, "/api/v1/import/prometheus"),
        ({"tenant_id": "3:4"}, "/insert/3:4/prometheus/api/v1/import/prometheus"),
    ],
)
def test_the_address_is_that_of_a_single_node_or_of_a_tenant(
    keys: dict[str, Any], path: str
) -> None:
    with record() as target, pushing(f"{target.url}/prefix", **keys):
        pass
    assert urlsplit(target.requests[0].path).path == f"/prefix{path}"


@pytest.mark.parametrize(
    ("extra_labels", "expected"),
    [
        ({}, ["job=vmanomaly", "instance=host:8490"]),
        ({"team": "a&b=c"}, ["job=vmanomaly", "instance=host:8490", "team=a&b=c"]),
        ({"job": "mine", "instance": "x"}, ["job=mine", "instance=x"]),
    ],
)
def test_labels_say_who_pushed(extra_labels: dict[str, str], expected: list[str]) -> None:
    with record() as target, pushing(target.url, extra_labels=extra_labels):
        pass
    assert labels(target.requests[0].path) == expected


def test_arguments_of_the_url_are_kept() -> None:
    with record() as target, pushing(f"{target.url}/?authKey=sesame"):
        pass
    assert parse_qs(urlsplit(target.requests[0].path).query)["authKey"] == ["sesame"]


def test_pushes_come_at_their_frequency_without_being_asked_for() -> None:
    with record() as target, pushing(target.url, push_frequency="5ms"):
        assert eventually(lambda: len(target.requests) >= 3)


def test_without_a_frequency_only_what_is_asked_for_is_pushed_and_the_end() -> None:
    with record() as target:
        with pushing(target.url) as (_, metrics):
            metrics.start_time_seconds.set(23)
        assert [values(r.body, "vmanomaly_start_time_seconds") for r in target.requests] == [[23]]


class Gate:
    """Keeps each push waiting until it is let through."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.let_through = threading.Semaphore(0)

    def respond(self, handler: Handler, asked: Asked) -> None:
        self.entered.release()
        self.let_through.acquire(timeout=60)
        handler.reply(204)


def test_what_is_asked_for_during_a_push_is_one_push_after_it() -> None:
    gate = Gate()
    with serve(gate.respond) as target:
        with pushing(target.url) as (pusher, _):
            pusher.push_soon()
            assert gate.entered.acquire(timeout=60)
            for _ in range(100):
                pusher.push_soon()
            gate.let_through.release()
            assert gate.entered.acquire(timeout=60)
            gate.let_through.release(2)
        assert len(target.requests) == 3  # The last one is that of the end.


def test_an_end_during_a_push_still_pushes_for_the_last_time() -> None:
    gate = Gate()
    with serve(gate.respond) as target, pushing(target.url) as (pusher, _):
        pusher.push_soon()
        assert gate.entered.acquire(timeout=60)
        gate.let_through.release(2)
        pusher.stop()
        assert len(target.requests) == 2


def test_an_end_breaks_off_a_push_that_hangs_for_the_last_one() -> None:
    def respond(handler: Handler, asked: Asked) -> None:
        if len(target.requests) == 1:
            handler.hang()
        handler.reply(204)

    with serve(respond) as target, pushing(target.url, timeout="1h") as (pusher, metrics):
        pusher.push_soon()
        assert eventually(lambda: len(target.requests) == 1)
        metrics.start_time_seconds.set(17)
        pusher.stop()
        assert len(target.requests) == 2


def test_an_end_does_not_wait_for_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmanomaly.monitoring.push._LAST_PUSH_S", 0.05)
    with serve(lambda handler, asked: handler.hang()) as target:
        with pushing(target.url, timeout="1m") as (pusher, _):
            pusher.push_soon()
            assert eventually(lambda: len(target.requests) == 1)
        assert len(target.requests) <= 2


REFUSED = (503, "text/plain", b"overloaded")


def test_failures_are_logged_when_they_begin_and_when_they_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with record() as target:
        target.answers = [REFUSED, None, REFUSED]
        url = target.url.replace("http://", "http://me:hunter2@")
        with pushing(url) as (pusher, _):
            for n in range(1, 6):
                pusher.push_soon()
                assert eventually(lambda n=n: len(target.requests) == n)  # type: ignore[misc]
    # A push of another test that was left hanging may still say that it failed.
    address = target.url.partition("//")[2]
    failed, again = [message for message in caplog.messages if address in message]
    assert failed.startswith("Cannot push the service's own metrics: ")
    assert "503" in failed
    assert "overloaded" in failed
    assert again.startswith("Metrics are pushed again to ")
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("keys", "header"),
    [
        ({"bearer_token": "sesame"}, "Bearer sesame"),
        ({"user": "me", "password": "open"}, "Basic bWU6b3Blbg=="),
    ],
)
def test_logins_are_those_of_the_shared_client(keys: dict[str, Any], header: str) -> None:
    with record() as target, pushing(target.url, **keys):
        pass
    assert target.requests[0].headers["Authorization"] == header


def test_a_server_out_of_reach_is_named_with_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    with record() as target:
        url = target.url
    with pushing(url) as (pusher, _):
        pusher.push_soon()
    (message,) = [message for message in caplog.messages if url in message]
    assert "Is `monitoring.push.url` right?" in message
