"""What operators rely on, and independent computations of what it learns.

Noise is standard normal throughout, so that sizes are in standard deviations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from vmanomaly.model import Model, SeriesState
from vmanomaly.model.scoring import score
from vmanomaly.series import FloatArray, IntArray, Labels, SeriesBatch

LABELS = (Labels({"job": "api"}),)
MINUTE = 60_000
STEP = 5 * MINUTE
DAY = 86_400_000
DAILY = DAY // STEP
WEEK = 7 * DAILY
START = 1_767_571_200_000
"""Monday 2026-01-05T00:00:00Z."""
WINDOW = 16

MakeModel = Callable[..., Model]
Outputs = Mapping[str, FloatArray]


def times(n_points: int, step: int = STEP) -> IntArray:
    return START + step * np.arange(n_points, dtype=np.int64)


def daily(n_points: int, step: int = STEP, amplitude: float = 10.0) -> FloatArray:
    """100, and a wave of a day on it."""
    return 100.0 + amplitude * np.sin(2 * np.pi * (times(n_points, step) - START) / DAY)


def noise(n_points: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=n_points)


def walk(
    model: Model, values: FloatArray, n_fit: int, step: int = STEP
) -> tuple[Outputs, SeriesState]:
    """Fit on the first samples; outputs and scores of the others, one at a time."""
    timestamps = times(len(values), step)
    state = model.fit(SeriesBatch(LABELS, timestamps[:n_fit], values[None, :n_fit].copy()))
    present = SeriesBatch(LABELS, timestamps[n_fit:], values[None, n_fit:].copy())
    found = model.infer(state, present, np.arange(len(values) - n_fit)).outputs
    outputs = {name: array[0] for name, array in found.items()}
    bounds = outputs["yhat_lower"], outputs["yhat_upper"]
    outputs["score"] = score(values[n_fit:], outputs["yhat"], *bounds)
    return outputs, state


def width(outputs: Outputs) -> float:
    return float(np.median(outputs["yhat_upper"] - outputs["yhat_lower"]))


@pytest.mark.parametrize("step", [MINUTE, STEP, 60 * MINUTE])
@pytest.mark.parametrize("shift", [-40.0, -10.0, -5.0, 5.0, 10.0, 40.0])
def test_a_level_shift_alarms_at_once_and_is_normal_after_the_window(
    make_model: MakeModel, shift: float, step: int
) -> None:
    n_fit = 10 * DAY // step if step < 60 * MINUTE else 28 * DAY // step
    n_points, at = n_fit + 800, n_fit + 100
    values = daily(n_points, step) + noise(n_points)
    values[at:] += shift
    outputs, _ = walk(make_model("temporal_envelope"), values, n_fit, step)
    after = outputs["score"][100:]
    # At five deviations, the noise takes some below the bound.
    assert (after[:2] > 1.0).any()
    assert np.median(after[:WINDOW]) > (1.0 if abs(shift) > 5.0 else 0.75)
    assert (after[2 * WINDOW :] > 1.0).sum() <= 1
    expected = daily(n_points, step)[at:] + shift
    assert abs(outputs["yhat"][100:] - expected)[500:].mean() < 1.0


def test_the_calendar_outlives_a_level_shift(make_model: MakeModel) -> None:
    values = daily(4 * WEEK) + noise(4 * WEEK)
    values[2 * WEEK + 500 :] += 25.0
    outputs, _ = walk(make_model("temporal_envelope"), values, 2 * WEEK)
    expected = daily(4 * WEEK)[2 * WEEK :] + 25.0
    wrong_by = np.abs(outputs["yhat"] - expected)[500 + 3 * DAILY : 500 + 5 * DAILY]
    assert wrong_by.max() < 1.5


def test_the_scale_grows_with_the_level(make_model: MakeModel) -> None:
    values = np.concatenate([100.0 + noise(3000), 1000.0 + 8.0 * noise(600, seed=1)])
    outputs, _ = walk(make_model("temporal_envelope", seasonalities=[]), values, 2900)
    assert (outputs["score"][100 : 100 + WINDOW] > 1.0).all()
    assert (outputs["score"][100 + 2 * WINDOW :] > 1.0).mean() < 0.02


@pytest.mark.parametrize("size", [50.0, -50.0, 1e6])
def test_a_spike_leaves_the_bounds_as_they_were(make_model: MakeModel, size: float) -> None:
    values = daily(3 * WEEK) + noise(3 * WEEK)
    spiked = values.copy()
    spiked[2 * WEEK + 100] += size
    model = make_model("temporal_envelope")
    before, _ = walk(model, values, 2 * WEEK)
    after, _ = walk(model, spiked, 2 * WEEK)
    assert after["score"][100] > 10.0
    for name in ("yhat", "yhat_lower", "yhat_upper"):
        assert np.abs(after[name] - before[name])[102:].max() < 0.03 * width(before)
    # Two in a row would be more than noise: for the next sample, one bound is nearer.
    nearer = [np.abs(after[name] - before[name])[101] for name in ("yhat_lower", "yhat_upper")]
    assert min(nearer) < 0.03 * width(before)
    assert max(nearer) < 0.2 * width(before)


@pytest.mark.parametrize("n_spikes", [1, 2, 3])
def test_few_spikes_in_the_fit_window_do_not_widen_the_bounds(
    make_model: MakeModel, n_spikes: int
) -> None:
    rng = np.random.default_rng(n_spikes)
    values = daily(3 * WEEK) + noise(3 * WEEK)
    spiked = values.copy()
    spiked[rng.choice(2 * WEEK, n_spikes, replace=False)] += rng.uniform(20, 60, n_spikes)
    model = make_model("temporal_envelope")
    clean, _ = walk(model, values, 2 * WEEK)
    found, _ = walk(model, spiked, 2 * WEEK)
    assert width(found) < 1.25 * width(clean)
    assert np.abs(found["yhat"] - clean["yhat"]).max() < 1.5


def test_a_spike_that_the_fit_window_has_every_day_does_not_alarm(make_model: MakeModel) -> None:
    values = noise(3 * WEEK)
    values[100::DAILY] += 30.0
    found, _ = walk(make_model("temporal_envelope", seasonalities=[]), values, 2 * WEEK)
    assert found["score"].max() < 1.0


def test_a_giant_after_spikes_hides_no_spike_of_a_size_between_them(make_model: MakeModel) -> None:
    """It may make the bound half as wide again, not as wide as it is high."""
    values = noise(3 * WEEK)
    spikes = 2 * WEEK + np.array([100, 300])
    values[spikes] += 15.0
    values[2 * WEEK + 500] += 1000.0
    values[2 * WEEK + 900] += 100.0
    found, _ = walk(make_model("temporal_envelope"), values, 2 * WEEK)
    assert found["score"][900] > 2.0


def test_a_value_that_freezes_is_unusual_once_it_lasts_longer_than_ever(
    make_model: MakeModel,
) -> None:
    values = daily(3 * WEEK) + noise(3 * WEEK)
    first = 2 * WEEK + 500
    values[first : first + 100] = values[first - 1]
    found, _ = walk(make_model("temporal_envelope"), values, 2 * WEEK)
    flat = found["flatline_score"]
    normal = np.delete(flat, np.arange(500, 600))
    assert normal.max() < 0.2
    # From 2 * (the second longest run before) + 16 samples on.
    changes = np.abs(np.diff(values[:first]))
    usual = np.median(changes)
    runs, length = [], 0
    for change in changes:
        length = length + 1 if change <= 0.3 * usual else 0
        runs.append(length)
    ends = np.sort([n for n, then in zip(runs, [*runs[1:], 0], strict=True) if then == 0])
    limit = 2 * ends[-2] + 16
    above = np.flatnonzero(flat > 1.0)
    assert above[0] - 500 == pytest.approx(limit, abs=3)
    np.testing.assert_array_equal(above, np.arange(above[0], 600))
    np.testing.assert_allclose(np.diff(np.sqrt(flat[520:600])), 1.0 / limit, rtol=0.2)


def test_a_flatline_that_recurs_is_usual(make_model: MakeModel) -> None:
    values = noise(3 * WEEK)
    for begin in range(100, 3 * WEEK - 100, DAILY):
        values[begin : begin + 80] = values[begin]
    found, _ = walk(make_model("temporal_envelope"), values, 2 * WEEK)
    assert 0.1 < found["flatline_score"].max() < 0.5


@pytest.mark.parametrize("n_changes", [0, 5])
def test_a_series_that_hardly_ever_changes_has_no_flatline(
    make_model: MakeModel, n_changes: int
) -> None:
    values = np.full(3 * WEEK, 7.0)
    for change in np.linspace(50, 2 * WEEK - 1500, n_changes):
        values[int(change) :] += 1.0
    found, _ = walk(make_model("temporal_envelope"), values, 2 * WEEK)
    assert found["flatline_score"].max() == 0.0


@pytest.mark.parametrize("begin", [0.2, 0.4, 0.6, 0.7])
@pytest.mark.parametrize("level", [0.0, 40.0])
def test_an_outage_of_a_week_in_the_fit_window_does_not_hide_the_next(
    make_model: MakeModel, begin: float, level: float
) -> None:
    values = daily(5 * WEEK) + noise(5 * WEEK)
    first = int(begin * 4 * WEEK)
    values[first : first + WEEK] = level
    next_one = 4 * WEEK + 800
    values[next_one : next_one + 200] = level
    outputs, _ = walk(make_model("temporal_envelope"), values, 4 * WEEK)
    assert (outputs["score"][:800] > 1.0).sum() <= 1
    assert (outputs["score"][800 : 800 + WINDOW] > 1.0).all()
    # The way back is no news.
    assert (outputs["score"][1000:] > 1.0).sum() <= 1
    assert np.abs(outputs["yhat"][:800] - daily(5 * WEEK)[4 * WEEK :][:800]).max() < 2.5


@pytest.mark.parametrize("n_recent", [50, 100, 400])
def test_a_window_that_ends_in_a_new_level_starts_from_it(
    make_model: MakeModel, n_recent: int
) -> None:
    values = daily(2 * WEEK + 300) + noise(2 * WEEK + 300)
    values[2 * WEEK - n_recent :] += 30.0
    outputs, _ = walk(make_model("temporal_envelope"), values, 2 * WEEK)
    assert (outputs["score"] > 1.0).sum() <= 1
    expected = daily(2 * WEEK + 300)[2 * WEEK :] + 30.0
    glide = 30.0 * np.exp(-(n_recent - WINDOW) / (8 * WINDOW))
    assert np.abs(outputs["yhat"] - expected)[:10].max() < 2.5 + glide


@pytest.mark.parametrize("n_days", [1, 2, 4, 6])
def test_a_few_days_make_no_weekdays(make_model: MakeModel, n_days: int) -> None:
    """On the days that were not seen, the day of the others is expected; half of it after one."""
    n_fit = n_days * DAILY
    values = daily(WEEK) + noise(WEEK)
    model = make_model("temporal_envelope")
    state = model.fit(SeriesBatch(LABELS, times(n_fit), values[None, :n_fit].copy()))
    later = SeriesBatch(LABELS, times(WEEK)[n_fit:], values[None, n_fit:].copy())
    yhat = model.infer(state, later, np.zeros(1, np.int64)).outputs["yhat"][0]
    wrong_by = np.abs(yhat - daily(WEEK)[n_fit:])
    assert wrong_by.max() < (6.5 if n_days <= 2 else 3.5)
    assert wrong_by.mean() < (3.5 if n_days <= 2 else 1.5)


def test_weekends_are_learned(make_model: MakeModel) -> None:
    weekend = (np.arange(6 * WEEK) // DAILY) % 7 >= 5
    truth = np.where(weekend, 100.0, daily(6 * WEEK, amplitude=15.0))
    values = truth + noise(6 * WEEK)
    outputs, _ = walk(make_model("temporal_envelope"), values, 5 * WEEK)
    without, _ = walk(
        make_model("temporal_envelope", seasonalities=["hod_smooth"]), values, 5 * WEEK
    )
    wrong_by, wrong_without = (
        np.abs(found["yhat"] - truth[5 * WEEK :])[weekend[5 * WEEK :]].mean()
        for found in (outputs, without)
    )
    assert wrong_by < 0.5 * wrong_without


def test_a_profile_is_the_least_squares_solution(make_model: MakeModel) -> None:
    """On clean data with a steady level: the means of the hours, found by NumPy."""
    n_fit = 8 * WEEK
    hours = times(n_fit + DAILY) % DAY // 3_600_000
    shape = np.random.default_rng(4).normal(0, 5, 24)
    values = 50.0 + shape[hours] + 0.1 * noise(n_fit + DAILY)
    design = (hours[:n_fit, None] == np.arange(24)).astype(float)
    solution = np.linalg.lstsq(design, values[:n_fit], rcond=None)[0]
    model = make_model("temporal_envelope", seasonalities=["hod_plateau"], alpha=0.001)
    outputs, _ = walk(model, values, n_fit)
    np.testing.assert_allclose(outputs["yhat"], solution[hours[n_fit:]], atol=0.35)


@pytest.mark.parametrize("quantiles", [(0.25, 0.75), (0.1, 0.8), (0.025, 0.975)])
@pytest.mark.parametrize("kind", ["normal", "skewed", "heavy"])
def test_bounds_without_ranges_are_quantiles_of_the_residuals(
    make_model: MakeModel, quantiles: tuple[float, float], kind: str
) -> None:
    """Against NumPy's quantiles right after the fit, and by their coverage later."""
    rng = np.random.default_rng(3)
    sample = {
        "normal": rng.normal(size=12_000),
        "skewed": rng.exponential(size=12_000),
        "heavy": rng.standard_t(3, 12_000),
    }[kind]
    values = 100.0 + sample
    model = make_model(
        "temporal_envelope", quantiles=list(quantiles), iqr_threshold=0, seasonalities=[]
    )
    outputs, _ = walk(model, values, 6000)
    expected = 100.0 + np.quantile(sample[:6000], quantiles)
    assert outputs["yhat_lower"][0] == pytest.approx(expected[0], abs=0.25)
    assert outputs["yhat_upper"][0] == pytest.approx(expected[1], abs=0.25)
    later = values[6000:]
    assert (later < outputs["yhat_lower"]).mean() == pytest.approx(quantiles[0], abs=0.03)
    assert (later > outputs["yhat_upper"]).mean() == pytest.approx(1 - quantiles[1], abs=0.03)


def test_ranges_widen_the_bounds(make_model: MakeModel) -> None:
    values = 100.0 + noise(6000)
    widths = [
        width(
            walk(
                make_model("temporal_envelope", iqr_threshold=threshold, seasonalities=[]),
                values,
                5000,
            )[0]
        )
        for threshold in (0.0, 1.0, 2.0, 4.0)
    ]
    iqr = np.subtract(*np.quantile(noise(6000), [0.75, 0.25]))
    assert widths[0] == pytest.approx(iqr, rel=0.1)
    assert np.diff(widths) == pytest.approx(np.array([2.0, 2.0, 4.0]) * iqr, rel=0.35)


@pytest.mark.parametrize("kind", ["normal", "heavy", "counts", "autocorrelated", "walk"])
def test_noise_is_calm(make_model: MakeModel, kind: str) -> None:
    """Runs of scores above 1, over twelve weeks after four: one a week, three of heavy tails."""
    rng = np.random.default_rng(6)
    n_points = 16 * WEEK
    if kind in {"autocorrelated", "walk"}:
        keep = 0.9 if kind == "autocorrelated" else 0.999
        values = np.empty(n_points)
        values[0] = 0.0
        for t in range(1, n_points):
            values[t] = keep * values[t - 1] + rng.normal()
    else:
        values = {
            "normal": rng.normal(size=n_points),
            "heavy": rng.standard_t(4, n_points),
            "counts": rng.poisson(3.0, n_points).astype(float),
        }[kind]
    outputs, _ = walk(make_model("temporal_envelope"), values, 4 * WEEK)
    above = outputs["score"] > 1.0
    runs = int((above[1:] & ~above[:-1]).sum() + above[0])
    assert runs <= (36 if kind == "heavy" else 12)


def test_a_holiday_is_expected_after_it_was_seen(make_model: MakeModel) -> None:
    events = ["01-14", "01-21", "01-28", "02-04", "02-11"]
    special = np.zeros(6 * WEEK, np.bool_)
    for day in (9, 16, 23, 30, 37):
        special[day * DAILY : (day + 1) * DAILY] = True
    truth = daily(6 * WEEK) - np.where(special, 8.0, 0.0)
    values = truth + noise(6 * WEEK)
    n_fit = 36 * DAILY
    on_day = slice(DAILY, 2 * DAILY)
    wrong = {}
    for name, holidays in (("known", {"special_events": events}), ("unknown", {})):
        model = make_model("temporal_envelope", seasonalities=["hod_smooth"], holidays=holidays)
        outputs, _ = walk(model, values, n_fit)
        wrong[name] = np.abs(outputs["yhat"] - truth[n_fit:])[on_day].mean()
    assert wrong["known"] < 0.5 * wrong["unknown"]


@pytest.mark.parametrize("group", [True, False])
def test_state_stays_small(make_model: MakeModel, group: bool) -> None:
    plain: Any = make_model("temporal_envelope")
    assert plain.blank_state().bytes_per_series <= 2600
    many: Any = make_model(
        "temporal_envelope",
        seasonalities=["hod_smooth", "dow_smooth", "month_smooth"],
        holidays={"countries": ["US"], "group": group},
        forecast_at=["1h", "1d"],
    )
    assert many.blank_state().bytes_per_series <= 4096


def test_forecasts_follow_season_and_trend(make_model: MakeModel) -> None:
    n_points = 4 * WEEK
    truth = daily(n_points) + 0.002 * np.arange(n_points)
    model = make_model("temporal_envelope", forecast_at=["1h", "1d"])
    outputs, _ = walk(model, truth, 3 * WEEK)
    for offset, ahead in (("1h", DAILY // 24), ("1d", DAILY)):
        made = outputs[f"yhat_{offset}"][:-ahead]
        assert np.abs(made - truth[3 * WEEK + ahead :]).max() < 0.8
    assert set(model.default_outputs) >= {"yhat_1h", "yhat_lower_1h", "yhat_upper_1h"}


@pytest.mark.parametrize("kind", ["white", "autocorrelated", "wandering"])
@pytest.mark.parametrize(("lower", "upper"), [(0.25, 0.75), (0.025, 0.975)])
def test_forecasts_have_honest_bounds(
    make_model: MakeModel, kind: str, lower: float, upper: float
) -> None:
    """The share of samples of a held-back month that lie in the bands."""
    n_points = 12 * WEEK
    keep = {"white": 0.0, "autocorrelated": 0.95, "wandering": 0.998}[kind]
    steps = noise(n_points)
    values = daily(n_points)
    deviation = 0.0
    for t in range(n_points):
        deviation = keep * deviation + steps[t]
        values[t] += deviation
    model = make_model(
        "temporal_envelope", forecast_at=["1h"], quantiles=[lower, upper], iqr_threshold=0
    )
    outputs, _ = walk(model, values, 8 * WEEK)
    ahead = DAILY // 24
    truth = values[8 * WEEK + ahead :]
    inside = (truth >= outputs["yhat_lower_1h"][:-ahead]) & (
        truth <= outputs["yhat_upper_1h"][:-ahead]
    )
    assert inside.mean() == pytest.approx(upper - lower, abs=0.08 if upper < 0.9 else 0.04)


def test_the_last_residuals_carry_into_a_forecast(make_model: MakeModel) -> None:
    """Of what wanders slowly, the last sample says more of the next hour than the level."""
    n_points = 8 * WEEK
    values = np.zeros(n_points)
    steps = noise(n_points)
    for t in range(1, n_points):
        values[t] = 0.99 * values[t - 1] + steps[t]
    model = make_model("temporal_envelope", forecast_at=["1h"], seasonalities=[])
    outputs, _ = walk(model, values, 4 * WEEK)
    ahead = DAILY // 24
    truth = values[4 * WEEK + ahead :]
    by_model = np.abs(outputs["yhat_1h"][:-ahead] - truth).mean()
    by_level = np.abs(outputs["yhat"][:-ahead] - truth).mean()
    # An hour ahead, 0.99^12 of the last deviation is left: the best there is.
    best = np.abs(0.99**ahead * values[4 * WEEK :][:-ahead] - truth).mean()
    assert by_model < 0.8 * by_level
    assert by_model < 1.2 * best


def test_decay_forgets_levels_faster(make_model: MakeModel) -> None:
    values = np.concatenate([np.full(500, 10.0), np.full(300, 12.0)]) + 0.5 * noise(800)
    wrong_by = {}
    for decay in (1.0, 0.9):
        outputs, _ = walk(
            make_model("temporal_envelope", decay=decay, seasonalities=[]), values, 500
        )
        wrong_by[decay] = np.abs(outputs["yhat"][30:60] - 12.0).mean()
    assert wrong_by[0.9] < 0.5 * wrong_by[1.0]
