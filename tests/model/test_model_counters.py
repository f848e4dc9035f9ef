"""What is expected of counters: the oracle fits the same model on rates that NumPy computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.model.test_model_temporal_envelope import (
    DAILY,
    LABELS,
    STEP,
    WEEK,
    MakeModel,
    times,
    walk,
)
from vmanomaly.model import SeriesState
from vmanomaly.series import FloatArray, SeriesBatch

SECONDS = STEP / 1000


def growth(n: int, seed: int = 0) -> FloatArray:
    """Requests of each step: about 60, by day up to twice as many as by night."""
    wave = 1.0 + 0.33 * np.sin(2 * np.pi * np.arange(n) / DAILY)
    return np.random.default_rng(seed).poisson(60.0 * wave).astype(np.float64)


def counted(of_steps: FloatArray, *restarts: int) -> FloatArray:
    """A counter of what happens in the steps, which counts from 0 at each restart."""
    total = np.cumsum(of_steps)
    for restart in restarts:
        total[restart:] -= total[restart]
    return total


def fitted(model: MakeModel, values: FloatArray, **parameters: object) -> SeriesState:
    batch = SeriesBatch(LABELS, times(len(values)), values[None].copy())
    return model("temporal_envelope", **parameters).fit(batch)


def is_counter(state: SeriesState) -> bool:
    return bool(state["counter"][0, 0])


RESTARTS = (500, 900, 2100, 2500, 3800)
N_FIT = 2 * WEEK


def test_a_counter_is_expected_to_grow_as_its_rate_does(make_model: MakeModel) -> None:
    n, restarts = N_FIT + 2 * DAILY, (*RESTARTS, N_FIT + 100)
    values = counted(growth(n), *restarts)
    values[N_FIT + 30 : N_FIT + 34] = np.nan
    found, state = walk(make_model("temporal_envelope"), values, N_FIT)
    assert is_counter(state)

    seen = np.flatnonzero(np.isfinite(values))
    before = np.full(n, np.nan)
    before[seen[1:]] = values[seen[:-1]]
    since = np.full(n, SECONDS)
    since[N_FIT + 34] = 5 * SECONDS
    rates = (values - before) / since
    rates[list(restarts)] = np.nan
    expected, _ = walk(make_model("temporal_envelope"), rates, N_FIT)
    usual = np.isfinite(rates[N_FIT:])
    for name in ("yhat", "yhat_lower", "yhat_upper"):
        grown = before[N_FIT:] + since[N_FIT:] * expected[name]
        np.testing.assert_allclose(found[name][usual], grown[usual], rtol=1e-9)


def test_neither_a_restart_nor_a_height_never_seen_is_an_anomaly(make_model: MakeModel) -> None:
    n, restart = N_FIT + WEEK, N_FIT + WEEK - 100
    values = counted(growth(n), *RESTARTS, restart)
    assert values[N_FIT:].max() > 1.5 * values[:N_FIT].max()
    found, _ = walk(make_model("temporal_envelope"), values, N_FIT)
    assert found["score"].max() < 1.5
    assert np.count_nonzero(found["score"] > 1.0) <= 3
    assert found["score"][restart - N_FIT] == 0.0


@pytest.mark.parametrize(("first", "is_expected"), [(0.0, True), (30.0, True), (2000.0, False)])
def test_after_a_restart_up_to_the_usual_growth_is_expected(
    make_model: MakeModel, first: float, is_expected: bool
) -> None:
    values = np.append(counted(growth(N_FIT), *RESTARTS), first)
    found, _ = walk(make_model("temporal_envelope"), values, N_FIT)
    assert (found["score"][0] < 1.0) == is_expected
    # Since when it has been counting is not known.
    assert found["beyond_levels"][0] == 0.0
    assert found["yhat_lower"][0] <= found["yhat"][0] <= found["yhat_upper"][0]
    assert 0.0 <= found["yhat"][0] < 200.0


@pytest.mark.parametrize("factor", [0.0, 3.0])
def test_a_counter_that_stands_still_or_races_is_found_at_once(
    make_model: MakeModel, factor: float
) -> None:
    of_steps = growth(N_FIT + 100)
    of_steps[N_FIT + 50 :] *= factor
    found, _ = walk(make_model("temporal_envelope"), counted(of_steps, *RESTARTS), N_FIT)
    assert found["score"][:50].max() < 1.0
    assert found["score"][50] > 1.0


def test_samples_of_one_micro_batch_are_expected_from_the_ones_before(
    make_model: MakeModel,
) -> None:
    values = counted(growth(N_FIT + 20), *RESTARTS, N_FIT + 7)
    batch = SeriesBatch(LABELS, times(len(values))[N_FIT:], values[None, N_FIT:].copy())
    model = make_model("temporal_envelope")
    found = model.infer(fitted(make_model, values[:N_FIT]), batch, np.array([0])).outputs
    off = np.abs(found["yhat"][0] - batch.values[0])
    assert off.max() < 40.0


def test_samples_before_the_last_one_that_was_learned_are_not_judged(
    make_model: MakeModel,
) -> None:
    values = counted(growth(N_FIT), *RESTARTS)
    state = fitted(make_model, values).as_of(int(times(N_FIT)[-5]))
    last = SeriesBatch(LABELS, times(N_FIT)[-4:], values[None, -4:].copy())
    found = make_model("temporal_envelope").infer(state, last, np.array([0])).outputs
    assert np.isnan(found["yhat"][0]).tolist() == [True, False, False, False]


def jobs(n: int) -> FloatArray:
    """Something that happens now and then, an hour at a time."""
    return np.repeat(np.random.default_rng(1).poisson(0.5, n // 12 + 1), 12)[:n].astype(np.float64)


@pytest.mark.parametrize(
    "values",
    [
        counted(growth(N_FIT), *RESTARTS),
        counted(growth(N_FIT), 900),
        counted(growth(DAILY)),
        counted(np.random.default_rng(2).poisson(0.2, N_FIT).astype(np.float64), 700, 3000),
        counted(jobs(N_FIT), 2000),
    ],
    ids=["restarts", "one restart", "a day without restart", "rare events", "jobs"],
)
def test_what_is_a_counter(make_model: MakeModel, values: FloatArray) -> None:
    assert is_counter(fitted(make_model, values))
    with_gaps = np.where(np.random.default_rng(3).random(len(values)) < 0.1, np.nan, values)
    assert is_counter(fitted(make_model, with_gaps))


def sawtooth(n: int, rise: float) -> FloatArray:
    noise = np.random.default_rng(4).uniform(0.5, 1.5, n)
    return np.cumsum(noise * rise) % 1.0


POINTS = np.arange(N_FIT, dtype=np.float64)
NOISE = np.random.default_rng(5).normal(size=N_FIT)
NOT_COUNTERS: dict[str, Callable[[], FloatArray]] = {
    "noise": lambda: 100.0 + NOISE,
    "a wave without noise": lambda: 100.0 + 10.0 * np.sin(2 * np.pi * POINTS / DAILY),
    "half a day that rises": lambda: counted(growth(DAILY // 2)),
    "a constant": lambda: np.full(N_FIT, 7.0),
    "a step": lambda: np.where(POINTS > 1000, 7.0, 5.0),
    "a trend": lambda: 100.0 + POINTS / DAILY + NOISE,
    "an account": lambda: counted(growth(N_FIT)) - 1e5,
    "a clock": lambda: SECONDS * POINTS,
    "an age": lambda: counted(np.full(N_FIT, SECONDS), *RESTARTS),
    "a buffer": lambda: 1000.0 * sawtooth(N_FIT, 0.004),
    "garbage collected": lambda: 2000.0 + 600.0 * sawtooth(N_FIT, 0.002),
    "today's count": lambda: counted(growth(N_FIT), *range(DAILY, N_FIT, DAILY)),
    "bursts": lambda: np.where(POINTS % 37 < 3, 20.0 + NOISE, 0.0),
    "switched on and off": lambda: (POINTS // 400 % 2).astype(np.float64),
    "a disk cleaned up": lambda: counted(growth(N_FIT), 1700) + np.where(POINTS < 1700, 0, 9e4),
}


@pytest.mark.parametrize("name", NOT_COUNTERS)
def test_what_is_no_counter(make_model: MakeModel, name: str) -> None:
    assert not is_counter(fitted(make_model, NOT_COUNTERS[name]()))


def test_with_forecasts_no_series_is_a_counter(make_model: MakeModel) -> None:
    state = fitted(make_model, counted(growth(N_FIT), *RESTARTS), forecast_at=["1h"])
    assert not is_counter(state)


LARGEST = float(np.finfo(np.float64).max)


@pytest.mark.parametrize("value", [-5.0, np.inf, -np.inf, 1e308, -1e308, LARGEST])
def test_absurd_samples_of_a_counter_are_no_trap(make_model: MakeModel, value: float) -> None:
    values = counted(growth(N_FIT + 50), *RESTARTS)
    values[N_FIT + 10 : N_FIT + 12] = value
    found, _ = walk(make_model("temporal_envelope"), values, N_FIT)
    bounds = (found[name] for name in ("yhat", "yhat_lower", "yhat_upper"))
    assert all(np.isfinite(bound).all() for bound in bounds)
    if np.isfinite(value):
        assert found["score"][10] > 1.0
