"""A query that gets no answer holds up nothing but itself, and is made up for later."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from tests.fakes import FakeWriter, SteppedClock
from tests.integration.servers import wait_until
from tests.loopback import Asked, Handler, serve
from vmanomaly.config import load_config
from vmanomaly.config.values.time import parse_time
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader
from vmanomaly.scheduler import create_scheduler
from vmanomaly.service.health import Health
from vmanomaly.service.plan import create_jobs, create_models

STEP = 10_000
START = 1_750_000_020_000


def respond(hanging: threading.Event, handler: Handler, asked: Asked) -> None:
    if not asked.path.endswith("/query_range"):
        handler.reply(body=b"")
        return
    form = {name: values[0] for name, values in asked.form.items()}
    if form["query"] == "slow" and hanging.is_set():
        handler.hang()
        return
    start, end = (parse_time(form[name], "UTC") for name in ("start", "end"))
    values = [[t // 1000, str(t % 97)] for t in range(start, end + 1, STEP)]
    result = [{"metric": {"host": "a"}, "values": values}]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    handler.reply(body=json.dumps(answer).encode())


def scored(writer: FakeWriter, query: str) -> list[int]:
    """Return the timestamps that have a score, in the order in which they were written."""
    return [
        timestamp
        for predictions, origin in list(writer.written)
        if origin.query_key == query
        for timestamp in predictions.timestamps.tolist()
    ]


def wait_for(writer: FakeWriter, query: str, n_scores: int) -> None:
    wait_until(lambda: len(scored(writer, query)) == n_scores, f"{n_scores} scores of {query}")


def test_the_others_go_on_and_nothing_is_left_out(tmp_path: Path) -> None:
    hanging = threading.Event()
    with serve(lambda handler, asked: respond(hanging, handler, asked)) as server:
        sections = {
            "reader": {
                "datasource_url": server.url,
                "sampling_period": "10s",
                "timeout": "2s",
                "queries": {"well": {"expr": "well"}, "slow": {"expr": "slow"}},
            },
            "models": {"z": {"class": "zscore_online", "queries": "all", "schedulers": "all"}},
            "schedulers": {"live": {"fit_window": "10m", "fit_every": "1h", "infer_every": "10s"}},
            "writer": {"datasource_url": server.url},
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(sections))
        config = load_config([tmp_path / "config.yaml"], {})
        metrics, writer, clock = Metrics(), FakeWriter(), SteppedClock(START)
        reader = create_reader(config.reader, metrics)
        jobs = create_jobs(config, create_models(config), reader, writer, Health({}), metrics)[
            "live"
        ]
        with ThreadPoolExecutor(4) as executor:
            scheduler = create_scheduler(
                config.schedulers["live"], jobs, clock, executor, longest_catch_up=600_000
            )
            thread = threading.Thread(target=scheduler.run, args=(lambda: None,))
            thread.start()
            try:
                wait_for(writer, "well", 1)
                wait_for(writer, "slow", 1)
                hanging.set()
                for n in range(1, 4):
                    clock.advance(STEP)
                    wait_for(writer, "well", n + 1)
                assert scored(writer, "slow") == [START]
                hanging.clear()
                clock.advance(STEP)
                wait_for(writer, "slow", 5)
            finally:
                scheduler.stop()
                thread.join()
        reader.close()
    assert scored(writer, "slow") == [START + STEP * n for n in range(5)]
    n_timeouts = sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "vmanomaly_reader_responses_total"
        and sample.labels["query_key"] == "slow"
        and sample.labels["code"] == "timeout"
    )
    assert n_timeouts >= 1
