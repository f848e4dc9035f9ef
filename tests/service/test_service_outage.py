"""The outage of a database that hits many queries is told in few lines."""

from __future__ import annotations

import json
import logging
import re
import threading
from pathlib import Path

import pytest
import yaml

from tests.fakes import FakeWriter, eventually
from tests.loopback import Asked, Handler, serve
from vmanomaly.config import load_config
from vmanomaly.config.values.time import parse_time
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader, range_queries
from vmanomaly.scheduler.run import Run
from vmanomaly.series import TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.plan import create_jobs, create_models

pytestmark = pytest.mark.slow

STEP = 10_000
START = 1_750_000_020_000
N_QUERIES = 7


def respond(is_down: threading.Event, handler: Handler, asked: Asked) -> None:
    if is_down.is_set():
        handler.close_connection = True
        return
    if not asked.path.endswith("/query_range"):
        handler.reply(body=b"")
        return
    start, end = (parse_time(asked.form[name][0], "UTC") for name in ("start", "end"))
    values = [[t // 1000, str(t % 97)] for t in range(start, end + 1, STEP)]
    result = [{"metric": {"host": "a"}, "values": values}]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    handler.reply(body=json.dumps(answer).encode())


@pytest.mark.parametrize("is_down_at_start", [True, False])
def test_an_outage_of_seven_queries_is_told_in_four_lines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_down_at_start: bool,
) -> None:
    monkeypatch.setattr(range_queries, "RETRY_DELAYS_S", (0.0, 0.0))
    is_down = threading.Event()
    with serve(lambda handler, asked: respond(is_down, handler, asked)) as server:
        sections = {
            "reader": {
                "datasource_url": server.url,
                "sampling_period": "10s",
                "queries": {f"q{number}": {"expr": f"q{number}"} for number in range(N_QUERIES)},
            },
            "models": {"z": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
            "schedulers": {"live": {"fit_window": "10m", "fit_every": "1h", "infer_every": "10s"}},
            "writer": {"datasource_url": server.url},
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(sections))
        config = load_config([tmp_path / "config.yaml"], {})
        reader = create_reader(config.reader, Metrics())
        health = Health({"reader": reader.check_health}, probe_every=0.001)
        jobs = create_jobs(config, create_models(config), reader, FakeWriter(), health, Metrics())[
            "live"
        ]
        assert len(jobs) == N_QUERIES

        def run(number: int, fits: bool) -> list[bool]:
            fit = TimeRange(START - 600_000, START) if fits else None
            infer = TimeRange(START + number * STEP, START + (number + 1) * STEP)
            return [job.execute(Run(fit, infer)).inferred for job in jobs]

        if not is_down_at_start:
            assert all(run(0, fits=True))
        is_down.set()
        caplog.set_level(logging.INFO, "vmanomaly")
        for number in range(1, 4):
            assert not any(run(number, fits=is_down_at_start))
        assert len(health.reasons()) == 1
        health.start()
        assert eventually(lambda: health.reasons_of_datasources() == health.reasons())
        is_down.clear()
        assert eventually(lambda: health.reasons() == [])
        assert all(run(4, fits=is_down_at_start))
        health.stop()
        reader.close()
    told = [message for message in caplog.messages if not message.startswith("Fitting on")]
    url = re.escape(server.url) + "/api/v1/query_range"
    expected = [
        rf"Error querying {url} for q0 with query=q0, start=.+",
        rf"Querying {url} still fails \(connection_error\) for 7 queries: q0, .+, q6",
        r"The reader reaches its datasource again after \d+ s and \d+ failures?",
        rf"Querying {url} works again after \d+ s and 21 failures; 7 queries were affected",
    ]
    assert len(told) == len(expected), told
    for message, pattern in zip(told, expected, strict=True):
        assert re.fullmatch(pattern, message), message
