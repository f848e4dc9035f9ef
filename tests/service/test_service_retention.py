"""What is not seen any more is forgotten, and the rest is not touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.fakes import FakeClock, FakeReader, FakeWriter, InlineExecutor
from vmanomaly.config import Config, load_config
from vmanomaly.config.reader import Query
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler import create_scheduler
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.plan import create_jobs, create_models
from vmanomaly.state import StateStore

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_750_000_000_000 // HOUR * HOUR
CHURN = 1000
STEADY = tuple(Labels({"job": "steady", "pod": str(n)}) for n in range(50))


def churn(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    """Return fifty series that stay, and a thousand that are new every hour."""
    grid = time_range.grid(int(query.step))
    labels = list(STEADY)
    if stage == "infer":
        hour = time_range.end // HOUR
        labels += [Labels({"job": "batch", "pod": f"{hour}-{n}"}) for n in range(CHURN)]
    values = np.random.default_rng(int(time_range.end % 9973)).normal(size=(len(labels), len(grid)))
    return SeriesBatch(tuple(labels), grid, values)


def config(folder: Path, model: str, on_disk: bool, retention: dict[str, Any] | None) -> Config:
    sections = {
        "settings": {"restore_state": on_disk, "retention": retention},
        "reader": {
            "datasource_url": "http://localhost:8428",
            "sampling_period": "1h",
            "queries": {"q": {"expr": "q"}},
        },
        "models": {"m": {"class": model, "queries": "all", "schedulers": "all"}},
        "schedulers": {"s": {"infer_every": "1h", "fit_every": "1000d", "fit_window": "1d"}},
        "writer": {"datasource_url": "http://localhost:8428"},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(sections))
    environ = {"VMANOMALY_MODEL_DUMPS_DIR": str(folder / "models")} if on_disk else {}
    return load_config([path], environ)


class Month:
    """Thirty days of a service on a fake clock, and the size of what it keeps, hour by hour."""

    def __init__(self, config: Config) -> None:
        self.keeper = Keeper(
            config,
            None if config.model_folder is None else StateStore(config.model_folder),
            clock := FakeClock(START),
            Metrics(),
        )
        self.writer = FakeWriter()
        jobs: list[QueryJob] = create_jobs(
            config,
            create_models(config),
            FakeReader(churn),
            self.writer,
            Health({}),
            Metrics(),
            self.keeper,
        )["s"]
        self.job = jobs[0]
        self.n_series: list[int] = []
        self.n_bytes: list[int] = []
        self.on_disk: list[int] = []
        scheduler = create_scheduler(config.schedulers["s"], jobs, clock, InlineExecutor(), DAY)

        def note(now: int) -> None:
            self.writer.written.clear()
            self.keeper.load(self.job)
            (unit,) = self.job.units
            assert unit.state is not None
            self.n_series.append(len(unit.state))
            self.n_bytes.append(unit.state.nbytes)
            if config.model_folder is not None:
                files = (config.model_folder / "states").iterdir()
                self.on_disk.append(sum(path.stat().st_size for path in files))
            if now > START + 30 * DAY:
                scheduler.stop()

        clock.on_tick = note
        scheduler.run(lambda: None)
        self.keeper.close()


@pytest.mark.parametrize("model", ["zscore_online", "mad_online"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_month_of_churn_keeps_what_ttl_allows(tmp_path: Path, model: str, on_disk: bool) -> None:
    retention = {"ttl": "6h", "check_interval": "1h"}
    month = Month(config(tmp_path, model, on_disk, retention))
    assert len(month.n_series) > 30 * 24
    assert max(month.n_series) <= len(STEADY) + 8 * CHURN
    assert min(month.n_series[12:]) >= len(STEADY) + 6 * CHURN
    # No more after a month than after a day.
    assert max(month.n_bytes[-24:]) <= 1.1 * max(month.n_bytes[:24])
    if on_disk:
        assert max(month.on_disk[-24:]) <= 1.1 * max(month.on_disk[:24])
    (unit,) = month.job.units
    assert unit.state is not None
    assert set(STEADY) <= set(unit.state.labels)
    steady = unit.state.rows(STEADY)
    assert unit.state.n_samples_seen[steady].min() > 30 * 24


def test_without_retention_nothing_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.service.test_service_retention.CHURN", 1)
    month = Month(config(tmp_path, "zscore_online", False, None))
    assert month.n_series[-1] > 30 * 24
