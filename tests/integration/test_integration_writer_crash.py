"""`kill -9` at any moment while the database is down costs no score, and no order."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from tests.integration.crashing_writer import HOSTS, N_BATCHES, batch
from tests.integration.nursery import nursery
from tests.integration.servers import VictoriaMetrics, free_port
from tests.loopback import Asked, Handler, Loopback, serve

logger = logging.getLogger(__name__)

N_KILLS = 20


@contextmanager
def listening(target: VictoriaMetrics) -> Iterator[Loopback]:
    """Serve what a database does, and keep what was sent to it in the order in which it came."""

    def respond(handler: Handler, asked: Asked) -> None:
        answer = http.request("POST", target.url + asked.path, body=asked.body)
        handler.reply(answer.status, answer.data)

    with urllib3.PoolManager(retries=False) as http, serve(respond) as loopback:
        yield loopback


def test_killed_at_twenty_moments(vm: VictoriaMetrics, tmp_path: Path) -> None:
    chance = random.Random(20)  # noqa: S311 - reproducible
    nowhere = f"http://127.0.0.1:{free_port()}"
    folder = tmp_path / "queue"
    pause = threading.Event()
    last = -1
    with nursery("tests.integration.crashing_writer", log=tmp_path / "writer.log") as writers:
        for _ in range(N_KILLS):
            process = writers.start(nowhere, folder, last + 1)
            for _ in range(chance.randrange(8)):
                what, last = writers.next_words()
                assert what == "written"
            # Somewhere in the next batch.
            pause.wait(chance.uniform(0, 0.004))
            os.kill(process, signal.SIGKILL)
            last = writers.last("written", last)
        assert 0 < last < N_BATCHES - 1
        n_waiting = len(list(folder.glob("*.segment")))
        assert n_waiting

        with listening(vm) as database:
            writers.start(database.url, folder, last + 1)
            assert writers.last("written", last) == N_BATCHES - 1
            assert writers.exit_status == 0

    expected = {host: points_of(host) for host in HOSTS}
    received = points_in_order(database.requests)
    assert {host: dict(points) for host, points in received.items()} == {
        host: dict(points) for host, points in expected.items()
    }
    n_duplicates = sum(n_repeated(points) for points in received.values())
    stored = {labels["host"]: set(points) for labels, points in vm.export("yhat").items()}
    assert stored == {host: set(points) for host, points in expected.items()}
    logger.info(
        "killed %d times; %d points before, %d after, 0 dropped, %d twice",
        N_KILLS,
        sum(map(len, expected.values())),
        sum(map(len, stored.values())),
        n_duplicates,
    )


def n_repeated(points: list[tuple[int, float]]) -> int:
    """Count points that come again; those that come for the first time have to be in order."""
    seen: dict[int, float] = {}
    newest = 0
    for timestamp, value in points:
        if timestamp in seen:
            assert seen[timestamp] == value
            continue
        assert timestamp > newest
        newest = timestamp
        seen[timestamp] = value
    return len(points) - len(seen)


def points_of(host: str) -> list[tuple[int, float]]:
    """Return all points of a host."""
    return [
        point
        for predictions in map(batch, range(N_BATCHES))
        for point in zip(
            predictions.timestamps.tolist(),
            predictions.outputs["yhat"][HOSTS.index(host)].tolist(),
            strict=True,
        )
    ]


def points_in_order(requests: list[Asked]) -> dict[str, list[tuple[int, float]]]:
    """Return the points of each host in the order in which they were sent."""
    received: dict[str, list[tuple[int, float]]] = {}
    for entry in (json.loads(line) for asked in requests for line in asked.body.splitlines()):
        points = zip(entry["timestamps"], entry["values"], strict=True)
        received.setdefault(entry["metric"]["host"], []).extend(points)
    return received
