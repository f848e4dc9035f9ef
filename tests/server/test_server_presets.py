"""Dashboards and rules, served from the package."""

from __future__ import annotations

import http.client
import json
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import urllib3

from tests.server.test_server_app import error_of, request
from vmanomaly.config import presets
from vmanomaly.server.app import create_app
from vmanomaly.server.listener import Listener
from vmanomaly.server.routes.presets import presets_router

FILES = {
    "common/self_monitoring.json": '{"title": "self"}',
    "common/alerts-vmanomaly.yml": "groups: []\n",
    "default/preset.yaml": "preset: default\n",
    "default/dashboard.json": '{"title": "default"}',
    "node-exporter/preset.yaml": "preset: node-exporter\n",
    "node-exporter/dashboard.json": '{"title": "nodes"}',
    "node-exporter/vmanomaly_alerts.yml": "groups: [1]\n",
    "node-exporter/notes.md": "not to be served",
    "secret.json": "{}",
}


class Serving:
    def __init__(self) -> None:
        self.preset = "node-exporter"
        app = create_app([presets_router(lambda: self.preset)], ["/p"])
        self.listener = Listener("server", "127.0.0.1", 0, app, {})

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        return request(self.listener.port, f"/p/presets/{path}")

    def listed(self) -> object:
        return json.loads(self.get("").data)


@pytest.fixture(params=["folder", "archive"])
def serving(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Serving]:
    """Serve files of a package in a folder, and of one that was not unpacked."""
    folder: Path | zipfile.Path = tmp_path
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    if request.param == "archive":
        archive = tmp_path / "package.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for name, text in FILES.items():
                file.writestr(name, text)
        folder = zipfile.Path(archive)
    monkeypatch.setattr(presets, "_folder", lambda: folder)
    serving = Serving()
    serving.listener.start()
    yield serving
    serving.listener.stop()


def test_the_list(serving: Serving) -> None:
    assert serving.listed() == {
        "preset": "node-exporter",
        "files": [
            "alerts-vmanomaly.yml",
            "dashboard.json",
            "self_monitoring.json",
            "vmanomaly_alerts.yml",
        ],
    }


@pytest.mark.parametrize(
    ("name", "source", "media_type"),
    [
        ("dashboard.json", "node-exporter/dashboard.json", "application/json"),
        ("vmanomaly_alerts.yml", "node-exporter/vmanomaly_alerts.yml", "application/yaml"),
        ("self_monitoring.json", "common/self_monitoring.json", "application/json"),
    ],
)
def test_a_file(serving: Serving, name: str, source: str, media_type: str) -> None:
    answer = serving.get(name)
    assert (answer.status, answer.data.decode()) == (200, FILES[source])
    assert answer.headers["Content-Type"] == media_type


def test_the_preset_may_change(serving: Serving) -> None:
    serving.preset = "default"
    assert serving.get("dashboard.json").data.decode() == FILES["default/dashboard.json"]
    assert serving.get("vmanomaly_alerts.yml").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "nothing.json",
        "preset.yaml",
        "notes.md",
        "..",
        "../secret.json",
        "..%2fsecret.json",
        "%2e%2e/secret.json",
        "..%5csecret.json",
        "node-exporter/dashboard.json",
        "node-exporter%2fdashboard.json",
        "../default/dashboard.json",
        "%2fetc%2fpasswd",
        "dashboard.json%00",
        "DASHBOARD.JSON",
        "dashboard.json/",
    ],
)
def test_nothing_else_is_served(serving: Serving, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", serving.listener.port)
    with closing(connection):
        # As it is written: a client would resolve the dots.
        connection.putrequest("GET", f"/p/presets/{path}")
        connection.endheaders()
        with connection.getresponse() as answer:
            assert answer.status == 404


def test_an_unknown_file_names_the_list(serving: Serving) -> None:
    message = "the preset node-exporter has no such file; /presets/ lists them"
    assert error_of(serving.get("nothing.json")) == message


@pytest.mark.parametrize("name", presets.preset_names())
def test_what_the_package_has_can_be_served(name: str) -> None:
    files = presets.preset_files(name)
    assert "preset.yaml" not in {file.name for file in files}
    for file in files:
        assert file.read_bytes()
