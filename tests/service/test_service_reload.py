from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.config_helpers import MINIMAL, load
from tests.fakes import eventually
from vmanomaly.config import Config
from vmanomaly.errors import ConfigError, RollbackError, VmanomalyError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.service.reload import Reloader


@pytest.fixture
def config() -> Config:
    return load(MINIMAL)


class World:
    """A reloader whose files, configuration and application do what they are told."""

    def __init__(self, config: Config, interval_s: float = 3600.0, *, watch: bool = True) -> None:
        self.config = config
        self.has_changed = False
        self.applied: list[Config] = []
        self.on_load: Callable[[], object] = lambda: None
        self.on_apply: Callable[[], object] = lambda: None
        self.n_given_up = 0
        self.metrics = Metrics()
        self.reloader = Reloader(
            self.load,
            self.apply,
            self.give_up,
            self.metrics,
            (lambda: self.has_changed) if watch else None,
            interval_s,
        )

    def load(self) -> Config:
        self.on_load()
        return self.config

    def apply(self, config: Config) -> None:
        self.applied.append(config)
        self.on_apply()

    def give_up(self) -> None:
        self.n_given_up += 1

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"vmanomaly_config_{name}", labels)

    def reloads(self) -> tuple[float | None, float | None]:
        success, failure = (
            self.metric("reloads_total", status=status) for status in ("success", "failure")
        )
        return success, failure


def fail(error: Exception) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


def test_nothing_is_loaded_while_nothing_has_changed(config: Config) -> None:
    world = World(config)
    world.reloader.look()
    assert world.applied == []
    assert world.metric("reload_enabled") == 1


def test_a_changed_configuration_is_loaded_and_applied(config: Config) -> None:
    world = World(config)
    world.has_changed = True
    world.reloader.look()
    assert world.applied == [config]
    assert world.reloads() == (1, None)
    assert world.metric("last_reload_successful") == 1
    assert (world.metric("last_reload_success_timestamp_seconds") or 0) > 1e9


def test_a_wrong_configuration_is_logged_whole_and_changes_nothing(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(config)
    world.on_load = fail(ConfigError(["models.a: wrong", "reader.b: wrong too"]))
    world.reloader.reload()
    (record,) = caplog.records
    assert record.message.startswith("Reload aborted: ")
    assert record.problems == ["models.a: wrong", "reader.b: wrong too"]  # type: ignore[attr-defined]
    assert world.applied == []
    assert world.reloads() == (None, 1)
    assert world.metric("last_reload_successful") == 0
    assert world.metric("last_reload_success_timestamp_seconds") == 0

    world.on_load = lambda: None
    world.reloader.reload()
    assert world.reloads() == (1, 1)
    assert world.metric("last_reload_successful") == 1


@pytest.mark.parametrize("error", [VmanomalyError("the port is taken"), ZeroDivisionError("x")])
def test_a_configuration_that_cannot_be_applied_is_given_up(
    config: Config, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(config)
    world.on_apply = fail(error)
    world.reloader.reload()
    assert world.reloads() == (None, 1)
    assert caplog.messages[0].startswith("Reload aborted")
    assert world.n_given_up == 0


@pytest.mark.parametrize("said", ["the port is taken", "the port is taken. Choose another."])
def test_the_reason_is_a_sentence_with_one_full_stop(
    config: Config, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(config)
    world.on_apply = fail(VmanomalyError(said))
    world.reloader.reload()
    whole = said.removesuffix(".")
    assert caplog.messages == [f"Reload aborted: {whole}. Keeping the current configuration"]


def test_without_a_way_back_the_service_ends(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(config)
    world.on_apply = fail(RollbackError("both ports are taken"))
    world.reloader.reload()
    assert world.n_given_up == 1
    assert caplog.records[0].levelno == logging.CRITICAL


def test_changes_are_looked_for_in_the_background(config: Config) -> None:
    world = World(config, interval_s=0.001)
    world.has_changed = True
    world.reloader.start()
    assert eventually(lambda: len(world.applied) >= 2)
    world.reloader.stop()


def test_a_reload_can_be_asked_for_without_watching(config: Config) -> None:
    world = World(config, interval_s=0.001, watch=False)
    assert world.metric("reload_enabled") == 0
    world.reloader.start()
    world.reloader.reload_soon()
    assert eventually(lambda: world.applied == [config])
    world.reloader.stop()
