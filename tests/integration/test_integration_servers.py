"""What the other integration tests rely on, checked against the real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.servers import (
    Nginx,
    Process,
    Prometheus,
    Server,
    VictoriaMetrics,
    request,
)
from vmanomaly.series import Labels

T0 = 1_750_000_000_000
SERIES = {"__name__": "memory", "host": "a"}


def test_a_sample_written_twice_is_exported_twice(vm: VictoriaMetrics) -> None:
    vm.import_series([(SERIES, [(T0, 1.5)])])
    vm.import_series([(SERIES, [(T0, 1.5), (T0 + 60_000, 2.0)])])

    assert vm.export('{__name__="memory"}') == {
        Labels(SERIES): [(T0, 1.5), (T0, 1.5), (T0 + 60_000, 2.0)]
    }


def test_data_survives_a_restart(vm: VictoriaMetrics) -> None:
    vm.import_series([(SERIES, [(T0, 1.5)])])
    vm.stop()
    assert not vm.running
    vm.start()

    assert vm.query_range("memory", T0, T0, 60_000) == [
        {"metric": SERIES, "values": [[T0 // 1000, "1.5"]]}
    ]


def test_prometheus_serves_its_blocks(tmp_path: Path) -> None:
    with Prometheus(tmp_path, [(SERIES, [(T0, 1.5), (T0 + 60_000, 2.0)])]) as prometheus:
        fields = {"query": "memory", "start": "1750000000", "end": "1750000060", "step": "60"}
        status, body = request("POST", f"{prometheus.url}/api/v1/query_range", fields=fields)

    assert status == 200
    assert b'[[1750000000,"1.5"],[1750000060,"2"]]' in body


def test_nginx_answers_as_told(tmp_path: Path) -> None:
    with Nginx(tmp_path, "location / { return 403 no; }") as nginx:
        assert request("GET", f"{nginx.url}/any") == (403, b"no")


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-server is not installed"):
        Process(["no-such-server"], tmp_path / "log").start()


def test_a_failed_start_shows_the_log(tmp_path: Path) -> None:
    server = Server(
        ["victoria-metrics", "-noSuchFlag"], tmp_path / "log", "http://127.0.0.1:1", "/health"
    )
    with pytest.raises(RuntimeError, match="flag provided but not defined: -noSuchFlag"):
        server.start()
