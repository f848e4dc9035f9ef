"""The model `auto` under schedulers, and on disk: the numbers are the same whatever happens."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeClock
from tests.history import END, FROM, STEP, config, n_scorable, points_of
from tests.lives import LIVE, Life, kept
from tests.service.test_service_backtesting import scores
from vmanomaly.config import Config
from vmanomaly.config.loading.model_spec import read_model_spec

pytestmark = pytest.mark.slow

TUNED = ["mad_online", "temporal_envelope_multivariate"]
UNTIL = FROM + 160 * STEP


def tuning(base: Config) -> Config:
    """Return a configuration whose model is tuned, in very few trials."""
    inside = base.models["m"]
    params = {"anomaly_percentage": 0.02, "n_trials": 3, "n_splits": 1}
    spec = {
        "class": "auto",
        "tuned_class_name": inside.class_name,
        "optimization_params": params,
        "provide_series": list(inside.provide_series or ()),
    }
    attached = {"queries": inside.queries, "schedulers": inside.schedulers}
    section = read_model_spec(spec).model_copy(update=attached)
    return replace(base, models={"m": section})


def backtest(folder: Path, tuned: str, **keys: Any) -> Config:
    window = {"from_s": FROM / 1000, "to_s": UNTIL / 1000, "fit_window": "2h", "fit_every": "80m"}
    scheduler = {"class": "backtesting", "inference_only": True, "exact": True, **window, **keys}
    return tuning(config(folder, tuned, scheduler))


@pytest.mark.parametrize("tuned", TUNED)
def test_a_backtest_over_several_fits_gives_what_live_runs_gave_and_so_does_a_restart(
    tmp_path: Path, tuned: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    life = Life(tuning(config(tmp_path, tuned, LIVE)))
    life.run(UNTIL)
    live = {point: value for point, value in points_of(life.writer).items() if point[3] <= UNTIL}
    assert sum("Tuned" in line for line in caplog.messages) >= 2
    assert any(output == "anomaly_score" for _, output, _, _ in live)

    interrupted = Life(tuning(kept(tmp_path, tuned, checkpoint_interval="0s")))
    for minutes in (37, 90, 131, 160):
        interrupted.run(FROM + minutes * STEP)
    found = points_of(interrupted.writer, repeated=True)
    assert {point: value for point, value in found.items() if point[3] <= UNTIL} == live
    # What was learned was used again: no more fits than without interruptions.
    assert interrupted.fits() == life.fits()

    with ThreadPoolExecutor(2) as executor:
        past = scores(backtest(tmp_path, tuned, infer_every="4m"), FakeClock(0), executor)
    assert past == live


def test_every_point_is_scored_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as executor:
        past = scores(backtest(tmp_path, "zscore_online"), FakeClock(0), executor)
    n_scores = sum(output == "anomaly_score" for _, output, _, _ in past)
    expected = n_scorable("zscore_online", FROM) - n_scorable("zscore_online", UNTIL)
    assert END > UNTIL
    assert expected - 6 <= n_scores <= expected
