"""`backtesting` with `exact` gives what `periodic` gave, number by number."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import FakeClock, FakeReader, FakeWriter, InlineExecutor
from tests.history import (
    DATA,
    END,
    FROM,
    ONLINE,
    STEP,
    Point,
    answer,
    config,
    n_scorable,
    points_of,
)
from vmanomaly.config import Config
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler import Scheduler, create_scheduler
from vmanomaly.service.health import Health
from vmanomaly.service.plan import create_jobs, create_models

pytestmark = pytest.mark.slow


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
    assert scheduler.run(lambda: None) == ()
    return points_of(writer)


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
    n_scores = sum(output == "anomaly_score" for _, output, _, _ in past)
    assert n_scores >= n_scorable(model, FROM) - 6


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
