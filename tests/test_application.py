"""What one process runs, while its configuration changes."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import urllib3

from tests.config_helpers import MINIMAL, changed, load
from tests.fakes import FakeReader, FakeWriter, eventually
from tests.recorder import record
from tests.service.test_service_apply import answer
from vmanomaly.application import Application
from vmanomaly.errors import RollbackError, VmanomalyError

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_healthy(port: int, path: str = "/health") -> bool:
    try:
        answer = urllib3.request("GET", f"http://127.0.0.1:{port}{path}", retries=False, timeout=60)
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200


class World:
    def __init__(self) -> None:
        self.port = free_port()
        self.base = changed({"server": {"addr": "127.0.0.1", "port": self.port}}, MINIMAL)
        self.application = Application(load(self.base))
        self.status: int | None = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        self.status = self.application.run()

    def apply(self, changes: Mapping[str, Any]) -> None:
        self.application.apply(load(changed(changes, self.base)))

    def stop(self) -> None:
        self.application.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("vmanomaly.service.service.warm_up", lambda *_: None)
    monkeypatch.setattr("vmanomaly.service.work.create_reader", lambda *_: FakeReader(answer))
    monkeypatch.setattr("vmanomaly.service.service.create_writer", lambda *_: FakeWriter())
    world = World()
    try:
        assert is_healthy(world.port)
        yield world
    finally:
        world.stop()


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_listener_moves_to_another_port(world: World) -> None:
    port = free_port()
    world.apply({"server.port": port})
    assert is_healthy(port)
    assert not is_healthy(world.port)


def test_the_listener_stays_on_its_port_under_another_prefix(world: World) -> None:
    world.apply({"server.path_prefix": "/prefix"})
    assert is_healthy(world.port, "/prefix/health")
    assert not is_healthy(world.port)
    world.apply({})
    assert is_healthy(world.port)


def test_a_listener_of_its_own_for_metrics_comes_and_goes(world: World) -> None:
    port = free_port()
    world.apply({"monitoring.pull": {"addr": "127.0.0.1", "port": port}})
    assert is_healthy(world.port)
    assert is_healthy(port)
    world.apply({})
    assert not is_healthy(port)


@pytest.mark.parametrize("key", ["server.port", "monitoring.pull"])
def test_a_port_that_is_taken_leaves_the_listeners_as_they_were(
    world: World, taken: int, key: str
) -> None:
    value: Any = {"addr": "127.0.0.1", "port": taken} if key == "monitoring.pull" else taken
    with pytest.raises(VmanomalyError, match=f"cannot listen on 127.0.0.1:{taken}"):
        world.apply({key: value})
    assert is_healthy(world.port)
    world.apply({"models.z.decay": 0.9})


def test_the_listener_comes_back_when_something_else_cannot_be_applied(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> FakeWriter:
        raise VmanomalyError("no writer")

    port = free_port()
    with monkeypatch.context() as patch:
        patch.setattr("vmanomaly.service.work.create_reader", fail)
        with pytest.raises(VmanomalyError, match="no writer"):
            world.apply({"server.port": port, "reader.timeout": "7s"})
    assert is_healthy(world.port)
    assert not is_healthy(port)


def test_the_old_port_may_be_lost_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()

    def lose_the_port(*_: object) -> FakeWriter:
        other.bind(("127.0.0.1", world.port))
        other.listen()
        raise VmanomalyError("no writer")

    with socket.socket() as other, monkeypatch.context() as patch:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        patch.setattr("vmanomaly.service.work.create_reader", lose_the_port)
        with pytest.raises(
            RollbackError, match=r"no writer\. The rollback failed too: .*cannot listen"
        ):
            world.apply({"server.port": port, "reader.timeout": "7s"})


def test_a_configuration_that_says_the_same_changes_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.apply({"models.z.queries": ["cpu"]})
    world.apply({"settings.logger_levels": {"reader": "ERROR"}})
    world.apply({})
    world.apply({"settings.native_threads_per_worker": 2, "settings.restore_state": False})
    assert [
        message
        for message in caplog.messages
        if "chang" in message or "nothing to apply" in message
    ] == [
        "Configuration is equivalent; nothing to apply",
        "Applied component log level changes without restarting services",
        "Applied component log level changes without restarting services",
        "Applied settings changes without restarting services",
    ]
    assert "Config has been reloaded successfully" not in caplog.messages


def test_threads_of_libraries_follow_their_settings(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmanomaly.service.service.available_cpus", lambda: 8.0)
    monkeypatch.setattr("vmanomaly.service.service.limit_native_threads", lambda n_threads: None)

    def n_threads() -> float | None:
        return world.application.metrics.registry.get_sample_value(
            "vmanomaly_native_threads_per_worker"
        )

    world.apply({"settings.native_threads_per_worker": 3})
    assert n_threads() == 3
    world.apply({"settings.n_workers": 4})
    assert n_threads() == 2
    world.apply({"settings.retention": {"ttl": "1d", "check_interval": "1h"}})
    assert n_threads() == 8


def test_giving_up_is_a_failure(world: World) -> None:
    world.application.give_up()
    world.thread.join(60)
    assert world.status == 1


def test_a_reload_that_the_end_overtakes_starts_nothing(world: World) -> None:
    port = free_port()
    world.stop()
    world.apply({"server.port": port, "monitoring.push": {"url": "http://127.0.0.1:1"}})
    assert not is_healthy(port)
    assert not [
        thread for thread in threading.enumerate() if thread.name in {"server", "monitoring.push"}
    ]


def test_pushes_follow_their_section(world: World) -> None:
    with record() as first, record() as second:
        world.apply({"monitoring.push": {"url": first.url, "push_frequency": "5ms"}})
        assert eventually(lambda: len(first.requests) > 0)
        world.apply({"monitoring.push": {"url": second.url, "push_frequency": ""}})
        n_pushed = len(first.requests)
        world.apply({})
        assert len(first.requests) == n_pushed
        assert len(second.requests) == 1  # The last one, at the end.


@pytest.mark.parametrize(
    ("sections", "opened"),
    [
        ({}, set()),
        ({"server": {"addr": "127.0.0.1", "port": 0}}, {"server"}),
        ({"monitoring": {"pull": {"addr": "127.0.0.1", "port": 0}}}, {"monitoring.pull"}),
    ],
)
def test_a_run_that_ends_by_itself_opens_no_port_unless_asked(
    sections: dict[str, Any],
    opened: set[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("vmanomaly.service.service.warm_up", lambda *_: None)
    monkeypatch.setattr("vmanomaly.service.work.create_reader", lambda *_: FakeReader(answer))
    monkeypatch.setattr("vmanomaly.service.service.create_writer", lambda *_: FakeWriter())
    once = {"class": "oneoff", "fit_start_s": 0, "infer_start_s": 3600}
    once |= {"fit_end_s": 3600, "infer_end_s": 7200}
    push = {"monitoring.push": {"url": "http://localhost:1", "timeout": "1s"}}
    config = load(changed({"schedulers": {"once": once}, **sections, **push}, MINIMAL))
    with caplog.at_level(logging.INFO, "vmanomaly.server.listener"):
        assert Application(config).run() == 0
    places = {record.args[1] for record in caplog.records if "Listening" in record.msg}  # type: ignore[index]
    assert places == opened


def test_with_the_preset_ui_only_the_server_works() -> None:
    port = free_port()
    server = {"addr": "127.0.0.1", "port": port, "path_prefix": "p"}
    application = Application(load({"preset": "ui:v1", "server": server}))
    status: list[int] = []
    thread = threading.Thread(target=lambda: status.append(application.run()))
    thread.start()
    try:
        assert is_healthy(port, "/p/health")
        assert eventually(lambda: is_healthy(port, "/p/ready"))
        url = f"http://127.0.0.1:{port}/p"
        assert urllib3.request("GET", f"{url}/presets/", timeout=60).json()["preset"] == "ui"
        metrics = urllib3.request("GET", f"{url}/metrics", timeout=60).data.decode()
        assert 'vmanomaly_config_entities{preset="ui",scope="total"} 0.0' in metrics
        thread.join(0.3)
        assert thread.is_alive()
    finally:
        application.stop()
        thread.join(60)
    assert status == [0]


def test_the_files_of_another_preset_are_served_after_a_reload(world: World) -> None:
    url = f"http://127.0.0.1:{world.port}/presets/"
    assert urllib3.request("GET", url, timeout=60).json()["preset"] == "default"
    world.apply({"preset": "ui"})
    assert urllib3.request("GET", url, timeout=60).json()["preset"] == "ui"
