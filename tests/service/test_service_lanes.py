"""No scheduler waits for the models of another one."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.fakes import FakeReader, FakeWriter, SteppedClock, eventually
from tests.model.custom_models import BatchBand
from vmanomaly.config import load_config
from vmanomaly.config.reader import Query
from vmanomaly.context import RunContext
from vmanomaly.model import AnyModel
from vmanomaly.model.state import SeriesState
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.lane import MAX_THREADS, Lane
from vmanomaly.service.schedulers import Schedulers
from vmanomaly.service.stuck import LIMITS_S
from vmanomaly.service.work import create_work

STEP = 60_000
START = 1_750_000_020_000
QUERIES = [f"q{number}" for number in range(4)]


@dataclass(frozen=True, kw_only=True)
class HangingBand(BatchBand):
    """Hangs in its fit until it is let go."""

    go_on: threading.Event = field(default_factory=threading.Event)

    def fit(self, batch: SeriesBatch) -> SeriesState:
        assert self.go_on.wait(60)
        return super().fit(batch)


def answer(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    grid = time_range.grid(STEP)
    return SeriesBatch((Labels({"host": "a"}),), grid, (grid % 7000)[None].astype(np.float64))


class World:
    """Two schedulers on the same queries; the models of one of them hang in their fit."""

    def __init__(self, folder: Path) -> None:
        scheduler = {"fit_window": "10m", "fit_every": "1h", "infer_every": "1m"}
        sections = {
            "reader": {
                "datasource_url": "http://localhost:8428",
                "sampling_period": "1m",
                "queries": {alias: {"expr": alias} for alias in QUERIES},
            },
            "models": {
                alias: {"class": "zscore_online", "queries": "all", "schedulers": [alias]}
                for alias in ("good", "hangs")
            },
            "schedulers": {"hangs": scheduler, "good": scheduler},
            "writer": {"datasource_url": "http://localhost:8428"},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(sections))
        config = load_config([folder / "config.yaml"], {})
        self.go_on = threading.Event()
        models: dict[tuple[str, tuple[str, ...]], AnyModel] = {
            (alias, (query,)): HangingBand(go_on=self.go_on) if alias == "hangs" else BatchBand()
            for alias in ("good", "hangs")
            for query in QUERIES
        }
        metrics, self.health, self.writer = Metrics(), Health({}), FakeWriter()
        self.clock = SteppedClock(START)
        keeper = Keeper(config, None, self.clock, metrics)
        work = create_work(config, models, keeper, self.writer, self.health, metrics)
        work.reader.close()
        for job in (job for jobs in work.jobs.values() for job in jobs):
            job._reads._reader = FakeReader(answer)
        self.schedulers = Schedulers(self.clock, self.health, metrics, RunContext())
        self.schedulers.start(work, ["hangs", "good"])

    def n_written(self, scheduler: str) -> int:
        return sum(origin.scheduler_alias == scheduler for _, origin in list(self.writer.written))

    def end(self) -> None:
        self.schedulers.stop()
        self.go_on.set()
        self.schedulers.wait()
        assert self.schedulers.join(time.monotonic() + 60)
        self.schedulers.stop_reading()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("vmanomaly.service.lane.available_cpus", lambda: 1.0)
    return World(tmp_path)


def test_a_scheduler_does_not_wait_for_the_fits_of_another_one(world: World) -> None:
    for n in range(1, 4):
        wanted = n * len(QUERIES)
        assert eventually(lambda wanted=wanted: world.n_written("good") == wanted)  # type: ignore[misc]
        world.clock.advance(STEP)
    assert world.n_written("hangs") == 0
    world.go_on.set()
    assert eventually(lambda: world.n_written("hangs") >= len(QUERIES))
    world.end()


def test_fits_that_hang_are_told_of_and_give_their_places_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS_S, "fit", 0.0)
    world = World(tmp_path)

    def reasons() -> list[str]:
        return [
            f"scheduler 'hangs', query '{query}': model 'hangs' has been stuck in its fit for 0 s"
            for query in QUERIES
        ]

    # All four, of which only two would hold data at a time.
    assert eventually(lambda: set(reasons()) <= set(world.health.reasons_to_restart()))
    world.go_on.set()
    assert eventually(lambda: world.n_written("hangs") == len(QUERIES))
    assert eventually(lambda: world.health.reasons() == [])
    world.end()


def test_a_lane_has_as_many_threads_as_it_needs_and_no_more() -> None:
    lane, go_on = Lane(10_000, "test"), threading.Event()
    futures = [lane.submit(go_on.wait, 60) for _ in range(MAX_THREADS + 1)]
    assert sum(future.running() for future in futures) == MAX_THREADS
    assert not lane.drain(0.0)
    go_on.set()
    assert lane.drain()
    lane.close()
