"""The image, as containers of Compose, of the public chart and of the operator run it.

The arguments are those that the chart and the operator give.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest
import yaml

from tests.integration.image import CHECKOUT, Image
from tests.integration.servers import Process, VictoriaMetrics, answers, free_port, request

logger = logging.getLogger(__name__)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another root folder"),
]

CHART = ["--watch", "/etc/config/config.yml", "--license-file=/etc/vm-license-key/key"]
OPERATOR_CONFIG = "/etc/vmanomaly/config/vmanomaly.env.yaml"
OPERATOR = [
    "--loggerLevel=INFO",
    "--licenseFile=/etc/vm-license-key/key",
    "--license.forceOffline",
    "--watch",
    OPERATOR_CONFIG,
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    image = Image(tmp_path_factory.mktemp("image"))
    image.build()
    return image


@pytest.fixture
def source(vm: VictoriaMetrics) -> VictoriaMetrics:
    """Three hours of two series until now, a point a minute."""
    now = int(time.time()) // 60 * 60_000
    vm.import_series(
        (
            {"__name__": "load", "instance": instance},
            [(now - minute * 60_000, float((minute * 7 + shift) % 11)) for minute in range(180)],
        )
        for shift, instance in enumerate(("a", "b"))
    )
    vm.force_flush()
    return vm


def config(source: VictoriaMetrics, **sections: object) -> str:
    return yaml.safe_dump(
        {
            "preset": "",
            "schedulers": {"s": {"infer_every": "1m", "fit_every": "1d", "fit_window": "2h"}},
            "models": {
                "envelope": {
                    "class": "temporal_envelope",
                    "provide_series": ["anomaly_score", "incident_score", "yhat"],
                },
                "mad": {"class": "mad_online"},
            },
            "reader": {
                "class": "vm",
                "datasource_url": source.url,
                "sampling_period": "1m",
                "queries": {"load": {"expr": "load"}},
            },
            "writer": {"class": "vm", "datasource_url": source.url},
            **sections,
        }
    )


def starts(container: Process, url: str) -> None:
    container.wait_until(lambda: answers(f"{url}/health"), "health")


def test_the_first_scores_of_the_chart_come_without_compiling(
    image: Image, source: VictoriaMetrics, tmp_path: Path
) -> None:
    port = free_port()
    image.write(
        "/etc/config/config.yml",
        config(source, server={"port": port}, settings={"restore_state": True}),
    )
    storage = tmp_path / "storage"
    container = image.container(
        CHART,
        tmp_path / "container.log",
        volumes={storage: "/storage"},
        environ={
            "VMANOMALY_MODEL_DUMPS_DIR": "/storage/models",
            "VMANOMALY_DATA_DUMPS_DIR": "/storage/data",
        },
    )
    begin = time.monotonic()
    with container:
        starts(container, f"http://127.0.0.1:{port}")
        healthy = time.monotonic()
        container.wait_until(lambda: bool(source.export("incident_score")), "first scores")
        scored = time.monotonic()
        message = "Healthy after %.1f s, first scores after %.1f s"
        logger.info(message, healthy - begin, scored - begin)
        status = Path(f"/proc/{container.pid}/status").read_text()
    assert "\nUid:\t1000\t1000\t1000\t1000\n" in status
    assert "\nCapBnd:\t0000000000000000\n" in status
    assert "were compiled in" not in container.output
    assert "cannot be cached" not in container.output
    assert "Traceback" not in container.output
    assert {"models", "data"} <= {path.name for path in storage.iterdir()}


def test_the_container_of_the_operator_answers_on_the_port_of_its_metrics(
    image: Image, source: VictoriaMetrics, tmp_path: Path
) -> None:
    port, metrics_port = free_port(), free_port()
    image.write(
        OPERATOR_CONFIG,
        config(
            source,
            server={"port": str(port), "path_prefix": "/anomaly"},
            monitoring={"pull": {"port": str(metrics_port)}},
            settings={"restore_state": True},
        ),
    )
    container = image.container(
        OPERATOR,
        tmp_path / "container.log",
        volumes={tmp_path / "storage": "/storage"},
        environ={"VMANOMALY_MODEL_DUMPS_DIR": "/storage/model"},
        uid=4711,
    )
    with container:
        starts(container, f"http://127.0.0.1:{metrics_port}/anomaly")
        status, body = request("GET", f"http://127.0.0.1:{metrics_port}/metrics")
    assert status == 200, body
    assert b"vmanomaly_" in body


def test_the_work_folder_has_what_documentation_and_users_expect(image: Image) -> None:
    work = image.root / "vmanomaly"
    assert list((work / "config").glob("*.yaml"))
    assert (work / "dashboard" / "vmanomaly_grafana_dashboard.json").stat().st_size > 0
    assert (work / "src" / "model").is_dir()
    assert not [path for path in work.rglob("*") if path.stat().st_mode & 0o022]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("curl", ["--version"]),
        ("python3", ["-m", "vmanomaly", "--version"]),
        pytest.param(
            "python3",
            ["-m", "config_splitter", "--help"],
            marks=pytest.mark.skipif(
                not (CHECKOUT / "src/config_splitter").exists(), reason="there is none"
            ),
        ),
    ],
)
def test_another_entry_point(
    image: Image, tmp_path: Path, program: str, arguments: list[str]
) -> None:
    with image.container(arguments, tmp_path / "log", entrypoint=program) as container:
        assert container.wait() == 0, container.output
