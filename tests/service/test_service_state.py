"""A service that is interrupted and restored gives what an uninterrupted one gives."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeClock, FakeReader, FakeWriter, InlineExecutor
from tests.history import END, FROM, ONLINE, STEP, Point, answer, config, points_of
from vmanomaly.config import Config
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler import create_scheduler
from vmanomaly.series import Predictions
from vmanomaly.service.health import Health
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.plan import create_jobs, create_models
from vmanomaly.state import StateStore
from vmanomaly.writer.format import Destination

LIVE = {"class": "periodic", "fit_window": "2h", "fit_every": "80m", "infer_every": "4m"}
DAY_MS = 86_400_000


class Killed(BaseException):
    """The end of a process, which nothing catches."""


class MortalWriter(FakeWriter):
    """Dies after so many writes, before or after the one is done."""

    def __init__(self) -> None:
        super().__init__()
        self.n_left: int | None = None

    def write(self, predictions: Predictions, destination: Destination) -> None:
        if self.n_left == 0:
            raise Killed
        super().write(predictions, destination)
        if self.n_left is not None:
            self.n_left -= 1


class Life:
    """The processes of a service, one after the other, on the same folder and clock."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = FakeClock(FROM + 4 * STEP)
        self.reader, self.writer = FakeReader(answer), MortalWriter()
        self.metrics = Metrics()

    def run(self, until: int) -> None:
        """Run a process up to a time, or until it dies."""
        folder = self.config.model_folder
        store = None if folder is None else StateStore(folder)
        keeper = Keeper(self.config, store, self.clock, self.metrics)
        jobs = create_jobs(
            self.config,
            create_models(self.config),
            self.reader,
            self.writer,
            Health({}),
            self.metrics,
            keeper,
        )["s"]
        keeper.restore(jobs)
        section = self.config.schedulers["s"]
        scheduler = create_scheduler(section, jobs, self.clock, InlineExecutor(), DAY_MS)
        self.clock.on_tick = lambda now: scheduler.stop() if now > until else None
        try:
            assert scheduler.run(lambda: None) is False
        except Killed:
            self.writer.n_left = None
        finally:
            keeper.close()


def kept(folder: Path, model: str, **keys: Any) -> Config:
    """Return a configuration that keeps its state."""
    return config(
        folder,
        model,
        LIVE | keys,
        settings={"restore_state": True},
        environ={"VMANOMALY_MODEL_DUMPS_DIR": str(folder / "models")},
    )


def uninterrupted(folder: Path, model: str, **keys: Any) -> dict[Point, float]:
    life = Life(config(folder, model, LIVE | keys))
    life.run(END)
    return points_of(life.writer)


@pytest.mark.parametrize("model", ONLINE)
def test_interrupted_at_any_point_the_numbers_are_the_same(tmp_path: Path, model: str) -> None:
    expected = uninterrupted(tmp_path, model)
    chance = random.Random(model)  # noqa: S311 - reproducible
    life = Life(kept(tmp_path, model))
    n_lives = 0
    while life.clock.now() < END:
        n_lives += 1
        if chance.random() < 0.5:
            life.writer.n_left = chance.randrange(12)
        life.run(min(END, life.clock.now() + chance.randrange(1, 60) * STEP))
        life.clock.time += chance.randrange(30) * STEP if life.clock.now() < END else 0
    life.run(life.clock.now())
    assert n_lives > 5
    found = points_of(life.writer, repeated=True)
    assert {point: value for point, value in found.items() if point[3] <= END} == expected
