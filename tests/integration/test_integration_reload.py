"""`--watch` with real processes: what a change does not affect continues undisturbed."""

from __future__ import annotations

import copy
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.servers import (
    VictoriaMetrics,
    Vmanomaly,
    answers,
    free_port,
    health,
    replace_file,
    request,
)

OFFSET_S = 35
MODEL = {"class": "zscore_online", "queries": "all", "schedulers": "all"}


class World:
    """A database with a future, and a service on it whose configuration is watched."""

    def __init__(self, vm: VictoriaMetrics, folder: Path, config_path: Path | None = None) -> None:
        self.vm = vm
        self.folder = folder
        self.port = free_port()
        now = int(time.time())
        vm.import_series(
            (
                {"__name__": name},
                [(1000 * second, float(second % 7)) for second in range(now - 150, now + 1000)],
            )
            for name in ("one", "two")
        )
        vm.force_flush()
        self.config: dict[str, Any] = {
            "reader": {
                "datasource_url": vm.url,
                "sampling_period": "1s",
                "offset": f"-{OFFSET_S}s",
                "queries": {"one": {"expr": "one"}},
            },
            "writer": {"datasource_url": vm.url},
            "schedulers": {
                "live": {"infer_every": "1s", "fit_every": "1d", "fit_window": "1m"},
            },
            "models": {"m": dict(MODEL)},
            "server": {"addr": "127.0.0.1", "port": self.port},
        }
        self.service = Vmanomaly(
            folder, self.config, "--watch", "--configCheckInterval", "300ms", "--loggerLevel=INFO"
        )
        if config_path is not None:
            self.service.command = [
                str(config_path) if part == str(self.service.config) else part
                for part in self.service.command
            ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.service.start()
        self.wait_for_start()

    def wait_for_start(self) -> None:
        self.service.wait_until(lambda: answers(f"{self.url}/health"), "health of the service")
        self.service.wait_until(lambda: bool(self.scored("one")), "the first scores")

    def changed(self, **changes: Any) -> dict[str, Any]:
        """Return the configuration with values at paths, `__` in the place of dots."""
        config = copy.deepcopy(self.config)
        for path, value in changes.items():
            *parents, key = path.split("__")
            place = config
            for parent in parents:
                place = place.setdefault(parent, {})
            place[key] = value
        return config

    def write(self, config: Mapping[str, Any] | str) -> None:
        text = config if isinstance(config, str) else yaml.safe_dump(dict(config))
        replace_file(self.service.config, text)

    def metric(self, name: str, **labels: str) -> float | None:
        _, body = request("GET", f"{self.url}/metrics")
        return next(
            (
                sample.value
                for family in text_string_to_metric_families(body.decode())
                for sample in family.samples
                if sample.name == f"vmanomaly_{name}" and labels.items() <= sample.labels.items()
            ),
            None,
        )

    def reloads(self, status: str) -> float:
        return self.metric("config_reloads_total", status=status) or 0

    def reload(self, change: Callable[[], None], status: str = "success") -> None:
        """Change something, and wait for the reload that follows."""
        n_before = self.reloads(status)
        change()
        self.service.wait_until(lambda: self.reloads(status) == n_before + 1, f"{status} of reload")

    def scored(self, query: str) -> list[int]:
        """Return the seconds that are scored, each as often as it was written."""
        found = self.vm.export(f'anomaly_score{{for="{query}"}}')
        return [timestamp // 1000 for samples in found.values() for timestamp, _ in samples]

    def wait_for_scores(self, n: int, query: str = "one") -> None:
        last = self.scored(query)[-1]
        self.service.wait_until(lambda: self.scored(query)[-1] >= last + n, "more scores")

    def fits(self, query: str) -> float | None:
        return self.metric("model_runs_total", stage="fit", query_key=query)

    def ends_well(self) -> None:
        self.service.signal(signal.SIGTERM)
        assert self.service.wait() == 0, self.service.output
        assert "Traceback" not in self.service.output


@pytest.fixture
def world(vm: VictoriaMetrics, tmp_path: Path) -> Iterator[World]:
    world = World(vm, tmp_path)
    try:
        yield world
    finally:
        world.service.stop()


def is_continuous(seconds: list[int]) -> bool:
    return seconds == list(range(seconds[0], seconds[-1] + 1))


def test_a_query_that_is_not_changed_has_no_gap_and_no_fit(world: World) -> None:
    world.start()
    assert world.metric("config_reload_enabled") == 1
    started = world.metric("config_last_reload_success_timestamp_seconds")

    world.reload(lambda: world.write(world.changed(reader__queries__two={"expr": "two"})))
    world.service.wait_until(lambda: bool(world.scored("two")), "scores of the new query")
    assert (world.metric("config_last_reload_success_timestamp_seconds") or 0) > (started or 0)
    assert world.metric("config_entities", scope="total") == 2

    world.reload(lambda: world.write("reader: [half"), "failure")
    assert world.metric("config_last_reload_successful") == 0
    world.reload(lambda: world.write(world.changed(models__m__decay="none")), "failure")
    world.wait_for_scores(2)

    fewer = {"models__m__provide_series": ["anomaly_score"]}
    both = world.changed(reader__queries__two={"expr": "two"}, **fewer)
    world.reload(lambda: world.write(both))
    assert world.metric("config_last_reload_successful") == 1
    world.reload(lambda: world.write(world.config))
    world.wait_for_scores(3)

    for query in ("one", "two"):
        assert is_continuous(world.scored(query))
    assert world.fits("one") == 1
    assert world.fits("two") is None
    assert world.reloads("success") == 3
    world.ends_well()
    output = world.service.output
    assert output.count("Reload aborted") == 2
    assert "models.m.decay: expected" in output
    assert output.count("Hot reload enabled") == 1


def test_a_config_map_is_rotated(vm: VictoriaMetrics, tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    world = World(vm, tmp_path, mounted)

    def rotate(version: int, config: Mapping[str, Any]) -> None:
        content = mounted / f"..{version}"
        content.mkdir()
        (content / "vmanomaly.yaml").write_text(yaml.safe_dump(dict(config)))
        link = mounted / "..data_tmp"
        link.symlink_to(content.name)
        link.rename(mounted / "..data")

    rotate(1, world.config)
    (mounted / "vmanomaly.yaml").symlink_to("..data/vmanomaly.yaml")
    with world.service:
        world.wait_for_start()
        world.reload(lambda: rotate(2, world.changed(reader__queries__two={"expr": "two"})))
        world.service.wait_until(lambda: bool(world.scored("two")), "scores of the new query")
        world.wait_for_scores(2)
        assert is_continuous(world.scored("one"))
        assert world.fits("one") == 1
        world.ends_well()


def test_the_server_moves_and_stays_when_it_cannot(world: World) -> None:
    world.start()
    # That of the database.
    taken = int(world.vm.url.rpartition(":")[2])
    world.reload(
        lambda: world.write(world.changed(server__port=taken, models__m__decay=0.9)), "failure"
    )
    assert world.metric("config_last_reload_successful") == 0
    world.wait_for_scores(2)
    assert world.fits("one") == 1

    before, world.port = world.port, free_port()
    world.write(world.changed(server__port=world.port))
    world.service.wait_until(lambda: answers(f"{world.url}/health"), "health at the new port")
    world.service.wait_until(lambda: world.reloads("success") == 1, "success of reload")
    assert not answers(f"http://127.0.0.1:{before}/health")
    world.wait_for_scores(2)
    assert is_continuous(world.scored("one"))
    assert world.fits("one") == 1
    world.ends_well()
    assert "Reload apply failed; attempting rollback" in world.service.output
    assert "Reload aborted: server: cannot listen on" in world.service.output


def test_levels_of_loggers_change_alone(world: World) -> None:
    world.start()
    n_started = world.service.output.count("Active schedulers")
    world.reload(
        lambda: world.write(world.changed(settings={"logger_levels": {"reader": "DEBUG"}}))
    )
    world.service.wait_until(lambda: "DEBUG reader.vm" in world.service.output, "a line of DEBUG")
    world.reload(lambda: world.write(world.config))
    n_lines = world.service.output.count("DEBUG reader.vm")
    world.wait_for_scores(2)
    assert world.service.output.count("DEBUG reader.vm") <= n_lines + 2
    assert world.service.output.count("Active schedulers") == n_started
    assert (
        world.service.output.count(
            "Applied component log level changes without restarting services"
        )
        == 2
    )
    world.ends_well()


def test_what_waits_for_the_database_is_sent_by_the_writer_that_comes(
    world: World, tmp_path: Path
) -> None:
    """The scores of an outage wait in memory; the new writer has an address that works."""
    folder = tmp_path / "scores"
    folder.mkdir()
    with VictoriaMetrics(folder) as target:
        nowhere = f"http://127.0.0.1:{free_port()}"
        world.config["writer"]["datasource_url"] = nowhere
        world.write(world.config)
        world.service.start()
        world.service.wait_until(
            lambda: (
                health(world.url) == "degraded" and (world.metric("writer_queue_bytes") or 0) > 2000
            ),
            "a queue",
        )
        world.vm = target
        world.reload(lambda: world.write(world.changed(writer__datasource_url=target.url)))
        world.service.wait_until(lambda: health(world.url) == "ok", "good health")
        world.service.wait_until(lambda: bool(world.scored("one")), "scores")
        world.wait_for_scores(3)
        seconds = world.scored("one")
        assert is_continuous(seconds)
        assert world.metric("writer_dropped_datapoints_total", reason="shutdown") == 0
        produced = world.metric("model_datapoints_produced_total", stage="infer") or 0
        assert len(seconds) >= produced / 4 - 3
        assert world.fits("one") == 1
        world.ends_well()


def test_sighup_reloads_without_watching(world: World) -> None:
    world.service.command = [part for part in world.service.command if part != "--watch"]
    world.start()
    assert world.metric("config_reload_enabled") == 0
    world.write(world.changed(reader__queries__two={"expr": "two"}))
    world.wait_for_scores(2)
    assert world.reloads("success") == 0
    world.reload(lambda: world.service.signal(signal.SIGHUP))
    world.service.wait_until(lambda: bool(world.scored("two")), "scores of the new query")
    assert is_continuous(world.scored("one"))
    world.ends_well()
