"""The search: never worse than the defaults, repeatable, in time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from vmanomaly.config.model.auto import OptimizationParams
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError, WorkerDiedError
from vmanomaly.executor import Executor
from vmanomaly.series import Labels, SeriesBatch
from vmanomaly.tuning import Evaluation, Outcome, Sample, study, tune
from vmanomaly.tuning.spaces import Dimension, Facts, space_of

pytestmark = pytest.mark.slow

STEP = 60_000
ZSCORE = space_of("zscore_online", Facts(STEP, 300), {})


def params(**keys: Any) -> OptimizationParams:
    return OptimizationParams.model_validate({"anomaly_percentage": 0.01, **keys})


def section_of(chosen: Mapping[str, Any]) -> Any:
    return MODELS["zscore_online"].section.model_validate({"class": "zscore_online", **chosen})


def sample(n: int = 400, seed: int = 0) -> Sample:
    values = np.random.default_rng(seed).normal(10.0, 2.0, (1, n))
    query = Query(alias="q", expr="q", step=Duration(STEP))
    return Sample([query], [SeriesBatch((Labels(),), np.arange(n) * STEP, values)])


def without_time(outcome: Outcome) -> Any:
    return outcome.parameters, outcome.evaluation, outcome.n_trials, outcome.stopped_by


def test_any_number_of_workers_gives_the_same() -> None:
    results = [
        without_time(tune(section_of, sample(), ZSCORE, params(n_trials=40, n_jobs=n_jobs)))
        for n_jobs in (1, 2, 3, 1)
    ]
    assert results[0] == results[1] == results[2] == results[3]


def test_another_seed_tries_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: dict[int, list[Any]] = {1: [], 2: []}
    for seed, places in tried.items():

        def section(chosen: Mapping[str, Any], places: list[Any] = places) -> Any:
            places.append(dict(chosen))
            return section_of(chosen)

        tune(section, sample(), ZSCORE, params(n_trials=9, seed=seed))
    assert tried[1][0] == tried[2][0] == {"z_threshold": 2.5, "decay": 1.0}
    assert tried[1][1:] != tried[2][1:]


@pytest.mark.parametrize("n_trials", [1, 2, 9, 30])
@pytest.mark.parametrize("seed", [0, 7])
def test_it_is_never_worse_than_the_defaults(n_trials: int, seed: int) -> None:
    found = tune(section_of, sample(seed=seed), ZSCORE, params(n_trials=n_trials, seed=seed))
    assert found.evaluation.rank <= found.defaults.rank
    assert found.n_trials == n_trials


def test_a_small_space_is_searched_completely() -> None:
    space = (Dimension("z", tuple({"z_threshold": z} for z in (2.5, 3.0, 1.5)), 0),)
    found = tune(section_of, sample(), space, params(n_trials=500, anomaly_percentage=0.2))
    assert found.stopped_by == "space"
    # The narrowest range that keeps the share within its limit.
    assert found.parameters == {"z_threshold": 1.5}


def test_without_a_space_the_defaults_stay() -> None:
    found = tune(section_of, sample(), (), params())
    assert (found.parameters, found.n_trials, found.stopped_by) == ({}, 1, "space")


def test_too_little_data_gives_the_defaults() -> None:
    found = tune(section_of, sample(n=20), ZSCORE, params())
    assert (found.n_trials, found.stopped_by) == (1, "data")
    assert found.parameters == {"z_threshold": 2.5, "decay": 1.0}


class TestTheBest:
    """Of parameter sets with known quality."""

    @staticmethod
    def best(*qualities: tuple[float, float, int], prefer_small: bool = True) -> int:
        tried: dict[study.Place, Evaluation] = {
            (number,): Evaluation(0.0, violation, loss, size)
            for number, (violation, loss, size) in enumerate(qualities)
        }
        return study._best(tried, (0,), prefer_small)[0]

    def test_keeps_the_limit_before_all_else(self) -> None:
        assert self.best((0.1, 1.0, 10), (0.0, 9.0, 99), (0.0, 8.0, 99)) == 2

    def test_of_equal_quality_the_smallest_state_wins(self) -> None:
        assert self.best((0.0, 9.0, 10), (0.0, 1.0, 99), (0.0, 1.009, 20), (0.0, 1.02, 1)) == 2

    def test_unless_that_is_not_wanted(self) -> None:
        assert self.best((0.0, 9.0, 10), (0.0, 1.0, 99), (0.0, 1.009, 20), prefer_small=False) == 1

    def test_a_small_state_is_no_reason_to_be_worse_than_the_defaults(self) -> None:
        assert self.best((0.0, 1.0, 99), (0.0, 1.005, 10)) == 0

    def test_of_equal_size_the_better_one_wins(self) -> None:
        assert self.best((0.0, 1.009, 10), (0.0, 1.0, 10)) == 1

    def test_what_was_not_judged_is_left_out(self) -> None:
        assert self.best((0.0, 2.0, 10), (float("nan"), float("nan"), 1)) == 0


class Slow:
    """Counts trials, each of which takes a moment."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.n_trials = 0
        self.begun = threading.Event()

    def __call__(self, chosen: Mapping[str, Any]) -> Any:
        self.n_trials += 1
        self.begun.set()
        time.sleep(self.seconds)
        return section_of(chosen)


class KillsWorker(Executor):
    """Says of every piece that a worker died of it."""

    def map(self, function: Any, pieces: Any, *_: Any, **__: Any) -> list[Any]:
        return [WorkerDiedError("died") for _ in pieces]


def test_a_trial_of_which_a_worker_dies_is_a_failed_one() -> None:
    found = tune(section_of, sample(), ZSCORE, params(n_trials=9), executor=KillsWorker())
    assert (found.n_trials, found.stopped_by) == (9, "n_trials")
    assert found.evaluation == found.defaults


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_tight_budget_ends_in_time(n_jobs: int) -> None:
    section = Slow(0.05)
    wanted = params(timeout=0.2, n_trials=5000, n_jobs=n_jobs)
    found = tune(section, sample(), ZSCORE, wanted)
    assert found.stopped_by == "timeout"
    assert 1 <= found.n_trials < 100
    assert found.evaluation.rank <= found.defaults.rank


def test_one_trial_always_finishes() -> None:
    found = tune(Slow(0.05), sample(), ZSCORE, params(timeout=0.01))
    assert (found.n_trials, found.stopped_by) == (1, "timeout")
    assert found.evaluation.is_judged


def test_it_can_be_cancelled() -> None:
    context, section = RunContext(), Slow(0.02)

    def cancel() -> None:
        section.begun.wait()
        context.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(CancelledError):
        tune(section, sample(), ZSCORE, params(n_trials=5000), context)
    canceller.join()
    assert section.n_trials < 100


def test_it_says_how_far_it_is() -> None:
    noted: list[int] = []
    tune(section_of, sample(), ZSCORE, params(n_trials=20), on_trial=noted.append)
    assert noted == [1, 9, 17, 20]


def test_optuna_says_nothing_at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("optuna").propagate = True
    try:
        tune(section_of, sample(), ZSCORE, params(n_trials=4))
    finally:
        logging.getLogger("optuna").propagate = False
    said = [(record.name, record.levelname) for record in caplog.records]
    assert ("vmanomaly.tuning.study", "DEBUG") in said
    assert not [name for name, level in said if level != "DEBUG"]
