"""Stored states of a service as a user starts it, stops it, and starts it again."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.integration.servers import VictoriaMetrics, Vmanomaly, answers, free_port, request
from tests.loopback import Asked, Handler, serve

HOSTS = ("a", "b", "c")
HISTORY_S = 200
# VictoriaMetrics fills in what is younger than 30 s.
DELAY_S = 40
FIT_WINDOW_S = 60


class Source:
    """A database whose long queries, those of fits, can be held back."""

    def __init__(self, vm: VictoriaMetrics) -> None:
        self._vm = vm
        self._http = urllib3.PoolManager(retries=False)
        self.fits: list[float] = []
        self.holds = False
        self.held = threading.Event()

    def respond(self, handler: Handler, asked: Asked) -> None:
        if asked.path.endswith("/query_range"):
            start, end = (float(asked.form[name][0]) for name in ("start", "end"))
            if end - start > FIT_WINDOW_S / 2:
                self.fits.append(end)
                if self.holds:
                    self.held.set()
                    handler.hang()
                    return
        answer = self._http.request(
            asked.method,
            self._vm.url + asked.path,
            body=asked.body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        handler.reply(answer.status, answer.data)


@contextmanager
def source(vm: VictoriaMetrics) -> Iterator[tuple[Source, str]]:
    made = Source(vm)
    with serve(made.respond) as loopback:
        yield made, loopback.url


def config(source_url: str, vm_url: str, port: int, **scheduler: str) -> dict[str, Any]:
    return {
        "settings": {"restore_state": True},
        "reader": {
            "datasource_url": source_url,
            "sampling_period": "1s",
            "offset": f"-{DELAY_S}s",
            "queries": {"load": {"expr": "load"}},
        },
        "writer": {"datasource_url": vm_url},
        "schedulers": {
            "live": {
                "class": "periodic",
                "fit_window": f"{FIT_WINDOW_S}s",
                "fit_every": "1h",
                "infer_every": "1s",
                **scheduler,
            }
        },
        "models": {"z": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
        "server": {"addr": "127.0.0.1", "port": port},
    }


def fill(vm: VictoriaMetrics) -> None:
    now = int(time.time())
    vm.import_series(
        (
            {"__name__": "load", "host": host},
            [(s * 1000, s * 7919 % 1000 / 10) for s in range(now - HISTORY_S, now + 1000)],
        )
        for host in HOSTS
    )
    vm.force_flush()


def seconds(vm: VictoriaMetrics) -> list[list[int]]:
    """Return the seconds of each series that have a score, each as often as it was written."""
    return [
        [timestamp // 1000 for timestamp, _ in samples]
        for samples in vm.export("anomaly_score").values()
    ]


def last_second(vm: VictoriaMetrics) -> int:
    return min((points[-1] for points in seconds(vm)), default=0)


def on(folder: Path) -> dict[str, str]:
    return {"VMANOMALY_MODEL_DUMPS_DIR": str(folder / "models")}


@pytest.fixture
def filled(vm: VictoriaMetrics) -> VictoriaMetrics:
    fill(vm)
    return vm


def test_a_restart_continues_without_a_fit(filled: VictoriaMetrics, tmp_path: Path) -> None:
    port = free_port()
    with source(filled) as (database, url):
        sections = config(url, filled.url, port)
        with Vmanomaly(tmp_path, sections, environ=on(tmp_path)) as service:
            service.wait_until(lambda: last_second(filled) > 0, "the first score")
            service.signal(signal.SIGTERM)
            assert service.wait() == 0, service.output
        before = last_second(filled)
        assert len(database.fits) == 1

        with Vmanomaly(tmp_path, sections, environ=on(tmp_path)) as service:
            service.wait_until(lambda: last_second(filled) > before + 2, "more scores")
            _, metrics = request("GET", f"http://127.0.0.1:{port}/metrics")
            service.kill()
        assert len(database.fits) == 1
        assert "model 'z', query 'load': reused, because nothing has changed" in service.output

        with Vmanomaly(tmp_path, sections, environ=on(tmp_path)) as service:
            after = last_second(filled)
            service.wait_until(lambda: last_second(filled) > after + 2, "still more scores")
        assert len(database.fits) == 1
    for points in seconds(filled):
        assert set(points) == set(range(points[0], points[-1] + 1))
    assert b"vmanomaly_state_bytes" in metrics
    assert b"vmanomaly_state_save_duration_seconds_count" in metrics


def test_sigterm_during_a_fit_keeps_the_state_before_it(
    filled: VictoriaMetrics, tmp_path: Path
) -> None:
    with source(filled) as (database, url):
        sections = config(url, filled.url, free_port(), fit_every="4s")
        with Vmanomaly(tmp_path, sections, environ=on(tmp_path)) as service:
            service.wait_until(lambda: last_second(filled) > 0, "the first score")
            database.holds = True
            service.wait_until(database.held.is_set, "the next fit")
            service.signal(signal.SIGTERM)
            assert service.wait() == 0, service.output
        before = last_second(filled)
        database.holds = False
        database.fits.clear()

        with Vmanomaly(tmp_path, sections, environ=on(tmp_path)) as service:
            service.wait_until(lambda: last_second(filled) > before + 2, "more scores")
            # What came before the fit that is due is scored first.
            service.wait_until(lambda: bool(database.fits), "the fit")
        assert "model 'z', query 'load': reused, because nothing has changed" in service.output
    for points in seconds(filled):
        assert set(points) == set(range(points[0], points[-1] + 1))


def test_two_services_and_a_dry_run_on_the_same_folder(
    filled: VictoriaMetrics, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    port = free_port()
    with Vmanomaly(tmp_path, config(filled.url, filled.url, port), environ=on(tmp_path)) as service:
        service.wait_until(lambda: last_second(filled) > 0, "the first score")
        second = Vmanomaly(other, config(filled.url, filled.url, free_port()), environ=on(tmp_path))
        status, output = second.run()
        assert status == 1
        assert f"another vmanomaly keeps its state in {tmp_path / 'models'}" in output
        assert "Traceback" not in output

        sections = config(filled.url, filled.url, port)
        status, output = Vmanomaly(other, sections, "--dryRun", environ=on(tmp_path)).run()
        assert status == 0
        assert "model 'z', query 'load': reused, because nothing has changed; 3 series" in output

        sections["models"]["z"]["z_threshold"] = 3
        other_version = on(tmp_path) | {"VMANOMALY_STATE_VERSION_OVERRIDE": "0.0.1"}
        status, output = Vmanomaly(other, sections, "--dryRun", environ=other_version).run()
        assert status == 0
        assert "refitted, because this has changed: models.z.z_threshold" in output
        assert "version 0.0.1 would do this" in output
        (other / "vmanomaly.log").unlink()
        wrong = on(tmp_path) | {"VMANOMALY_STATE_VERSION_OVERRIDE": "new"}
        status, output = Vmanomaly(other, sections, "--dryRun", environ=wrong).run()
        assert status == 2
        assert "VMANOMALY_STATE_VERSION_OVERRIDE: expected a version such as 1.2.3" in output
        assert answers(f"http://127.0.0.1:{port}/health")
    index = tmp_path / "models" / "vmanomaly.db"
    connection = sqlite3.connect(index)
    assert connection.execute("SELECT count(*) FROM units").fetchone() == (1,)
    connection.close()
