"""The web UI on the scores of the demo."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest
import urllib3

from tests.config_helpers import MINIMAL, changed, load
from vmanomaly.config import Config
from vmanomaly.config.server import ServerSection
from vmanomaly.demo.serve import serve


@pytest.fixture
def config(tmp_path: Path) -> Config:
    writer = {"class": "duckdb", "path": str(tmp_path / "scores.duckdb")}
    return load(changed({"writer": writer, "server.port": 0}, MINIMAL))


def ask(address: str, asked: list[int]) -> None:
    base = address.partition("/vmui/")[0]
    asked.append(urllib3.request("GET", f"{base}/api/v1/incidents", timeout=60).status)
    os.kill(os.getpid(), signal.SIGTERM)


def test_it_serves_until_it_is_interrupted(config: Config) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    asked: list[int] = []

    def tell(address: str) -> None:
        threading.Thread(target=ask, args=(address, asked)).start()

    serve(config, tell)
    assert asked == [200]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_it_takes_another_port_where_the_usual_one_is_taken(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses: list[str] = []

    def tell(address: str) -> None:
        addresses.append(address)
        threading.Thread(target=ask, args=(address, [])).start()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(ServerSection.model_fields["port"], "default", port)
        serve(config, tell)
    assert addresses
    assert f":{port}/" not in addresses[0]
