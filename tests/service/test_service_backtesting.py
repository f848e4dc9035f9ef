"""`backtesting` with `exact` gives what `periodic` gave, number by number."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest
import yaml

from tests.fakes import FakeClock, FakeReader, FakeWriter, InlineExecutor
from vmanomaly.config import Config, load_config
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler import Scheduler, create_scheduler
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.plan import create_jobs, create_models

STEP = 60_000
N_POINTS = 640
START = 1_750_000_020_000
END = START + N_POINTS * STEP
FROM = START + 160 * STEP
REQUIRED: dict[str, dict[str, Any]] = {
    "rolling_quantile": {"quantile": 0.9, "window_steps": 20},
    "std": {"period": 30},
}
ONLINE = [
    alias for alias in MODELS.available if resolve_name(MODELS[alias].implementation or "").online
]
Point = tuple[Labels, str, str, int]


def telemetry() -> SeriesBatch:
    """Seasons and noise at several scales; gaps, infinities, series that come and that go."""
    rng = np.random.default_rng(7)
    timestamps = START + STEP * np.arange(1, N_POINTS + 1)
    season = np.sin(2 * np.pi * timestamps / 3_600_000)
    scale = np.array([[0.01], [1], [5], [1000], [3], [1]])
    values = scale * (season + rng.normal(0, 0.3, (6, N_POINTS))) + 10 * scale
    values[rng.random(values.shape) < 0.05] = np.nan
    values[rng.random(values.shape) < 0.005] = np.inf
    values[1, 300:] = np.nan
    values[2, :333] = np.nan
    values[3, 200:400] = np.nan
    values[4] = 42.0
    labels = tuple(Labels({"host": name}) for name in "abcdef")
    return SeriesBatch(labels, timestamps, values)


DATA = telemetry()


def answer(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    """Return what a server would: only series that have a sample in the range."""
    window = TimeRange(time_range.start + int(query.offset), time_range.end + int(query.offset))
    columns = (window.start < DATA.timestamps) & (window.end >= DATA.timestamps)
    values = DATA.values[:, columns]
    rows = np.flatnonzero(~np.isnan(values).all(axis=1))
    labels = tuple(DATA.labels[row] for row in rows)
    return SeriesBatch(labels, DATA.timestamps[columns], np.ascontiguousarray(values[rows]))


def config(folder: Path, model: str, scheduler: dict[str, Any], offset: str = "0s") -> Config:
    path = folder / "config.yaml"
    outputs = [*resolve_name(MODELS[model].implementation or "").outputs, "incident_score"]
    sections = {
        "reader": {
            "datasource_url": "http://localhost:8428",
            "sampling_period": "1m",
            "offset": offset,
            "queries": {
                "load": {"expr": "load", "data_range": [-1e9, 1e9], "min_dev_from_expected": 0.01}
            },
        },
        "models": {
            "m": {
                "class": model,
                "queries": "all",
                "schedulers": "all",
                "provide_series": outputs,
                **REQUIRED.get(model, {}),
            }
        },
        "schedulers": {"s": scheduler},
        "writer": {"datasource_url": "http://localhost:8428"},
    }
    path.write_text(yaml.safe_dump(sections))
    return load_config([path], {})


def scores(config: Config, clock: FakeClock, executor: Executor) -> dict[Point, float]:
    """Run the only scheduler to its end; return what was written, each point once."""
    writer = FakeWriter()
    jobs = create_jobs(
        config,
        create_models(config),
        FakeReader(answer),
        writer,
        Health({}),
        Metrics(),
    )["s"]
    section = config.schedulers["s"]
    scheduler: Scheduler = create_scheduler(section, jobs, clock, executor, 24 * 3_600_000)
    clock.on_tick = lambda now: scheduler.stop() if now > END else None
    assert scheduler.run(lambda: None) is False
    written: dict[Point, float] = {}
    for predictions, destination in writer.written:
        for output, values in predictions.outputs.items():
            for row, column in np.argwhere(~np.isnan(values)):
                timestamp = int(predictions.timestamps[column])
                point = (predictions.labels[row], output, destination.query_key, timestamp)
                assert point not in written
                written[point] = float(values[row, column])
    return written


def backtest(folder: Path, model: str, **keys: Any) -> dict[Point, float]:
    scheduler = {
        "class": "backtesting",
        "from_s": FROM / 1000,
        "to_s": END / 1000,
        "fit_window": "2h",
        "fit_every": "80m",
        "inference_only": True,
        **keys,
    }
    offset = scheduler.pop("offset", "0s")
    with ThreadPoolExecutor(4) as executor:
        return scores(config(folder, model, scheduler, offset), FakeClock(0), executor)


def follow_live(
    folder: Path, model: str, infer_every_m: int, offset: str = "0s"
) -> dict[Point, float]:
    scheduler = {
        "class": "periodic",
        "fit_window": "2h",
        "fit_every": "80m",
        "infer_every": f"{infer_every_m}m",
    }
    clock = FakeClock(FROM + infer_every_m * STEP)
    return scores(config(folder, model, scheduler, offset), clock, InlineExecutor())


@pytest.mark.parametrize("model", ONLINE)
@pytest.mark.parametrize("infer_every_m", [1, 8])
def test_exact_backtesting_gives_the_numbers_of_periodic(
    tmp_path: Path, model: str, infer_every_m: int
) -> None:
    live = follow_live(tmp_path, model, infer_every_m)
    past = backtest(tmp_path, model, exact=True, infer_every=f"{infer_every_m}m")
    assert past == live
    n_finite = int(np.isfinite(DATA.values[:, DATA.timestamps > FROM]).sum())
    assert sum(output == "anomaly_score" for _, output, _, _ in past) >= n_finite - 6


@pytest.mark.parametrize("model", ONLINE)
def test_exact_goes_step_by_step_where_infer_every_is_left_out(tmp_path: Path, model: str) -> None:
    assert backtest(tmp_path, model, exact=True) == follow_live(tmp_path, model, 1)


def test_an_offset_moves_both_alike(tmp_path: Path) -> None:
    keys = {"exact": True, "infer_every": "8m", "offset": "-3m"}
    past = backtest(tmp_path, "zscore_online", **keys)
    assert past == follow_live(tmp_path, "zscore_online", 8, "-3m")


@pytest.mark.parametrize("model", ONLINE)
@pytest.mark.parametrize("exact", [False, True])
def test_pieces_side_by_side_give_the_same(tmp_path: Path, model: str, exact: bool) -> None:
    keys = {"exact": exact, "fit_every": "55m"}
    one, three = (backtest(tmp_path, model, n_jobs=n, **keys) for n in (1, 3))
    assert one == three
    assert len(one) > 0


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("fit_every", ["7m", "61m", "1000d"])
def test_every_timestamp_comes_once_whatever_the_pieces(
    tmp_path: Path, fit_every: str, exact: bool
) -> None:
    found = backtest(tmp_path, "zscore_online", exact=exact, fit_every=fit_every, n_jobs=2)
    finite = np.isfinite(DATA.values) & (DATA.timestamps > FROM)
    assert {(labels, at) for labels, output, _, at in found if output == "y"} == {
        (DATA.labels[row], int(DATA.timestamps[column])) for row, column in np.argwhere(finite)
    }
