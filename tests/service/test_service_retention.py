"""What is not seen any more is forgotten, and the rest is not touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml

from tests.fakes import FakeClock, FakeReader, FakeWriter, InlineExecutor
from tests.mahalanobis import Mahalanobis
from vmanomaly.config import Config, load_config
from vmanomaly.config.model.isolation_forest import IsolationForestMultivariateSection
from vmanomaly.config.reader import Query
from vmanomaly.detector import create_detector
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler import create_scheduler
from vmanomaly.series import Labels, Origin, SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob
from vmanomaly.service.keeper import Keeper
from vmanomaly.service.plan import create_jobs, create_models
from vmanomaly.service.unit import Unit
from vmanomaly.state import StateStore

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_750_000_000_000 // HOUR * HOUR
CHURN = 1000
EVERY_H = 6
STEADY = tuple(Labels({"job": "steady", "pod": str(n)}) for n in range(50))


def churn(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    """Return fifty series that stay, and a thousand that are new every hour."""
    grid = time_range.grid(int(query.step))
    labels = list(STEADY)
    if stage == "infer":
        hour = time_range.end // HOUR
        new = range(CHURN * EVERY_H)
        labels += [Labels({"job": "batch", "pod": f"{hour}-{n}"}) for n in new]
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
        "schedulers": {
            "s": {"infer_every": f"{EVERY_H}h", "fit_every": "1000d", "fit_window": "1d"}
        },
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
        scheduler = create_scheduler(config.schedulers["s"], jobs, clock, InlineExecutor(), DAY)

        def note(now: int) -> None:
            self.writer.written.clear()
            (unit,) = self.job.units
            store = self.keeper.store
            if store is not None:
                self.n_series.append(store.entries[unit.key].n_series)
                self.n_bytes.append(store.n_bytes)
                assert config.model_folder is not None
                files = (config.model_folder / "states").iterdir()
                assert sum(path.stat().st_size for path in files) == store.n_bytes
            elif unit.state is not None:
                self.n_series.append(len(unit.state))
                self.n_bytes.append(unit.state.nbytes)
            if now > START + 30 * DAY:
                self.keeper.load(self.job)
                scheduler.stop()

        clock.on_tick = note
        scheduler.run(lambda: None)
        self.keeper.close()


@pytest.mark.slow
@pytest.mark.parametrize(("model", "on_disk"), [("mad_online", False), ("zscore_online", True)])
def test_a_month_of_churn_keeps_what_ttl_allows(tmp_path: Path, model: str, on_disk: bool) -> None:
    retention = {"ttl": "6h", "check_interval": "1h"}
    month = Month(config(tmp_path, model, on_disk, retention))
    assert len(month.n_series) == 30 * 24 // EVERY_H + 1
    assert max(month.n_series) == len(STEADY) + (6 + EVERY_H) * CHURN
    # No more after a month than after two days.
    assert max(month.n_bytes[-16:]) <= 1.1 * max(month.n_bytes[:16])
    (unit,) = month.job.units
    assert unit.state is not None
    steady = unit.state.rows(STEADY)
    assert len(unit.state) == month.n_series[-1]
    assert unit.state.n_samples_seen[steady].min() > 30 * 24


@pytest.mark.slow
def test_without_retention_nothing_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.service.test_service_retention.CHURN", 1)
    month = Month(config(tmp_path, "zscore_online", False, None))
    assert month.n_series[-1] > 30 * 24


def test_groups_are_forgotten_with_their_channels(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        """
        reader:
          datasource_url: http://localhost:8428
          sampling_period: 1s
          queries: {cpu: {expr: cpu}, mem: {expr: mem}}
        models: {m: {class: zscore_online, queries: all, schedulers: all}}
        schedulers: {s: {infer_every: 1s, fit_every: 1h, fit_window: 10s}}
        writer: {datasource_url: http://localhost:8428}
        """
    )
    config = load_config([path], {})
    section = IsolationForestMultivariateSection.model_validate(
        {"class": "isolation_forest_multivariate", "queries": ["cpu", "mem"], "schedulers": ["s"]}
        | {"groupby": ["host"]}
    )
    queries = [config.reader.queries[alias] for alias in ("cpu", "mem")]
    unit = Unit(
        create_detector(OnlineMahalanobis(), section, queries),
        Origin(("cpu", "mem"), "m", "s", "default"),
        Metrics(),
    )
    hosts = tuple(Labels({"host": name}) for name in "ab")
    seconds = np.arange(1, 11) * 1000
    values = np.random.default_rng(1).normal(size=(2, 10))
    values[1, 5:] = np.nan
    batches = [SeriesBatch(hosts, seconds, values), SeriesBatch(hosts, seconds, values**2)]
    assert unit.fit(batches) == ()
    assert unit.forget(before=6000) == 1
    content = unit.content
    assert content is not None
    assert content.members.labels == hosts[:1]
    assert content.members.grouping is not None
    assert content.members.grouping.labels == hosts[:1]
    assert len(content.members.grouping.channels) == 2


class OnlineMahalanobis(Mahalanobis):
    online: ClassVar[bool] = True
