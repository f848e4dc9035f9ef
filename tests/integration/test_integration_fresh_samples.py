"""A live run scores every sample, and none before the database shows it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers import (
    Process,
    Samples,
    VictoriaMetrics,
    Vmanomaly,
    answers,
    free_port,
    wait_until,
)
from tests.loopback import Asked, Handler, serve

INTERVAL_S = 2
SCRAPED_S = 6
SCORED_S = 12
# Before 1.85.2 the server itself hides the last 30 s, and no query can change that.
LATENCY_OFFSET_FLAG = "-search.latencyOffset=1s"
JOBS = ("late", "on time")


def expose(handler: Handler, asked: Asked) -> None:
    """Tell a value that no other scrape gets."""
    text = f"clock {time.time():.3f}\n".encode()
    handler.reply(200, text if asked.method == "GET" else b"", mime="text/plain")


def scrape_config(folder: Path, job: str, target: str) -> Path:
    path = folder / f"{job}.yml"
    scrape = {"job_name": job, "scrape_interval": f"{INTERVAL_S}s"}
    targets = [{"targets": [target.removeprefix("http://")]}]
    path.write_text(json.dumps({"scrape_configs": [scrape | {"static_configs": targets}]}))
    return path


def config(url: str, port: int) -> dict[str, Any]:
    """Return a configuration that leaves all that has a default to it."""
    interval = f"{INTERVAL_S}s"
    return {
        "reader": {
            "datasource_url": url,
            "sampling_period": interval,
            "queries": {"clock": {"expr": "clock"}},
        },
        "writer": {"datasource_url": url},
        "schedulers": {"live": {"fit_window": "1m", "fit_every": "1h", "infer_every": interval}},
        "models": {
            "zscore": {
                "class": "zscore_online",
                "queries": "all",
                "schedulers": "all",
                "provide_series": ["y"],
            }
        },
        "server": {"addr": "127.0.0.1", "port": port},
    }


@dataclass(frozen=True)
class Finished:
    """What was written, what the database says later, and what was logged."""

    written: dict[str, Samples]
    stored: dict[str, Samples]
    log: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("fresh")
    port = free_port()
    with serve(expose) as target:
        scraped = scrape_config(folder, "on time", target.url)
        sent = scrape_config(folder, "late", target.url)
        flag = f"-promscrape.config={scraped}"
        with VictoriaMetrics(folder, LATENCY_OFFSET_FLAG, flag) as vm:
            agent = Process(
                [
                    "vmagent",
                    f"-promscrape.config={sent}",
                    f"-remoteWrite.url={vm.url}/api/v1/write",
                    "-remoteWrite.flushInterval=3s",
                    f"-remoteWrite.tmpDataPath={folder / 'vmagent'}",
                    f"-httpListenAddr=127.0.0.1:{free_port()}",
                ],
                folder / "vmagent.log",
            )
            with agent:
                wait_until(lambda: len(vm.export("clock")) == len(JOBS), "samples of both jobs")
                time.sleep(SCRAPED_S)
                with Vmanomaly(folder, config(vm.url, port)) as service:
                    service.wait_until(
                        lambda: answers(f"http://127.0.0.1:{port}/ready"), "readiness"
                    )
                    time.sleep(SCORED_S)
            written = {labels["job"]: points for labels, points in vm.export("y").items()}
            first = min(points[0][0] for points in written.values())
            last = max(points[-1][0] for points in written.values())
            found = vm.query_range("clock", first, last, INTERVAL_S * 1000)
            stored = {
                series["metric"]["job"]: [(t * 1000, float(v)) for t, v in series["values"]]
                for series in found
            }
            yield Finished(written, stored, service.output)


@pytest.mark.parametrize("job", JOBS)
def test_nothing_is_missing_and_every_value_is_that_of_its_time(
    finished: Finished, job: str
) -> None:
    written = finished.written[job]
    first, last = written[0][0], written[-1][0]
    assert written == [(t, y) for t, y in finished.stored[job] if first <= t <= last]
    assert len(written) >= SCORED_S // INTERVAL_S
    assert len({y for _, y in written}) == len(written)


def test_the_log_is_quiet(finished: Finished) -> None:
    assert "WARNING" not in finished.log
    assert "ERROR" not in finished.log
    assert "No unseen data" not in finished.log
