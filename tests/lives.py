"""A service that lives several times: processes in a row, on the same folder and clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fakes import FakeClock, FakeReader, FakeWriter, InlineExecutor
from tests.history import END, FROM, STEP, Point, answer, config, points_of
from vmanomaly.config import Config
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler import create_scheduler
from vmanomaly.series import Origin, Predictions
from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.plan import create_jobs, create_models
from vmanomaly.state import StateStore

LIVE = {"class": "periodic", "fit_window": "2h", "fit_every": "80m", "infer_every": "4m"}
DAY_MS = 86_400_000


class Killed(BaseException):
    """The end of a process, which nothing catches."""


class MortalWriter(FakeWriter):
    """Dies after so many writes, before or after the one is done."""

    def __init__(self) -> None:
        super().__init__()
        self.n_left: int | None = None

    def write(self, predictions: Predictions, origin: Origin) -> None:
        if self.n_left == 0:
            raise Killed
        super().write(predictions, origin)
        if self.n_left is not None:
            self.n_left -= 1


class Life:
    """The processes of a service, one after the other, on the same folder and clock."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = FakeClock(FROM + 4 * STEP)
        self.reader, self.writer = FakeReader(answer), MortalWriter()
        self.metrics = Metrics()

    def run(self, until: int, *, cleanly: bool = False) -> None:
        """Run a process up to a time, and stop it cleanly or not, or until it dies."""
        keeper, jobs = self.start()
        keeper.restore(jobs)
        if self.follow(jobs, until) and cleanly:
            for job in jobs:
                job.checkpoint()
        keeper.close()

    def start(self) -> tuple[Keeper, list[QueryJob]]:
        """Return the parts of a process that has restored nothing yet."""
        folder = self.config.model_folder
        store = None if folder is None else StateStore(folder)
        keeper = Keeper(self.config, store, self.clock, self.metrics)
        return keeper, self.jobs(keeper)

    def jobs(self, keeper: Keeper) -> list[QueryJob]:
        """Return new jobs of the configuration."""
        return create_jobs(
            self.config,
            create_models(self.config),
            self.reader,
            self.writer,
            Health({}),
            self.metrics,
            keeper,
        )["s"]

    def follow(self, jobs: list[QueryJob], until: int) -> bool:
        """Let the scheduler run up to a time. Return whether the process did not die before."""
        section = self.config.schedulers["s"]
        scheduler = create_scheduler(section, jobs, self.clock, InlineExecutor(), DAY_MS)
        self.clock.on_tick = lambda now: scheduler.stop() if now > until else None
        try:
            assert scheduler.run(lambda: None) == ()
        except Killed:
            self.writer.n_left = None
            return False
        return True

    def fits(self) -> list[str]:
        """Return the queries that were read for a fit, and forget what was read."""
        asked = [query for query, _, stage in self.reader.asked if stage == "fit"]
        self.reader.asked.clear()
        return asked


def kept(folder: Path, model: str, checkpoint_interval: str | None = None, **keys: Any) -> Config:
    """Return a configuration that keeps its state."""
    settings = {"restore_state": True, "checkpoint_interval": checkpoint_interval}
    return config(folder, model, LIVE | keys, settings=settings, environ=on(folder))


def on(folder: Path) -> dict[str, str]:
    return {"VMANOMALY_MODEL_DUMPS_DIR": str(folder / "models")}


def files(folder: Path) -> list[Path]:
    return sorted((folder / "models" / "states").iterdir())


def uninterrupted(folder: Path, model: str, **keys: Any) -> dict[Point, float]:
    life = Life(config(folder, model, LIVE | keys))
    life.run(END)
    return points_of(life.writer)
