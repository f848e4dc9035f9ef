"""The oracle: NumPy's quantiles of the samples of each part of the season, by Python's clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from vmanomaly.detector.incident import incident_score
from vmanomaly.model import Model
from vmanomaly.model.quantile_online import OnlineQuantileModel
from vmanomaly.model.scoring import Policy, score_series
from vmanomaly.series import FloatArray, IntArray, Labels, SeriesBatch

LABELS = (Labels({"job": "api"}),)
BOUNDS = ("yhat_lower", "yhat", "yhat_upper")
ENOUGH = 32
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.fixture(scope="session")
def model(make_model: Callable[..., Model]) -> Callable[..., OnlineQuantileModel]:
    def make(**parameters: Any) -> OnlineQuantileModel:
        made = make_model("quantile_online", **parameters)
        assert isinstance(made, OnlineQuantileModel)
        return made

    return make


def batch(timestamps: IntArray, values: FloatArray | list[float]) -> SeriesBatch:
    return SeriesBatch(LABELS, timestamps, np.array([values], np.float64))


def at(text: str, tz: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp() * 1000)


def walk(
    model: OnlineQuantileModel, timestamps: IntArray, values: FloatArray, n_past: int
) -> dict[str, FloatArray]:
    """Predictions for all but the first points, one at a time."""
    state = model.fit(batch(timestamps[:n_past], values[:n_past]))
    present = batch(timestamps[n_past:], values[n_past:])
    outputs = model.infer(state, present, np.arange(len(values) - n_past)).outputs
    return {name: found[0] for name, found in outputs.items()}


def of_part(
    own: FloatArray, of_all: FloatArray, probabilities: list[float], smoothing: float
) -> FloatArray:
    """The quantiles of a part with the samples `own`, the more those of all the fewer these are."""
    everything = np.quantile(of_all, probabilities, method="hazen")
    if len(own) == 0:
        return np.asarray(everything)
    share = (1.0 - smoothing) * min(len(own) / ENOUGH, 1.0)
    quantiles = np.quantile(own, probabilities, method="hazen")
    return np.asarray(share * quantiles + (1.0 - share) * everything)


number = st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float))


@examples(40)
@given(
    values=st.lists(number, min_size=2, max_size=60),
    quantiles=st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3, unique=True).map(sorted),
    iqr_threshold=st.sampled_from([0.0, 1.5]),
)
def test_without_a_season_it_is_the_quantiles_of_all_samples(
    model: Callable[..., OnlineQuantileModel],
    values: list[float],
    quantiles: list[float],
    iqr_threshold: float,
) -> None:
    outputs = walk(
        model(quantiles=quantiles, iqr_threshold=iqr_threshold),
        np.arange(len(values), dtype=np.int64),
        np.array(values),
        1,
    )
    for n in range(1, len(values)):
        lower, yhat, upper = np.quantile(values[:n], quantiles, method="hazen")
        low, high = np.quantile(values[:n], [0.25, 0.75], method="hazen")
        margin = iqr_threshold * (high - low)
        least = max(1e-9 * abs(yhat), 1e-12)
        tolerance = 1e-11 * max(map(abs, values)) + 1e-15
        assert outputs["yhat"][n - 1] == pytest.approx(yhat, abs=tolerance)
        assert outputs["yhat_lower"][n - 1] == pytest.approx(
            min(lower - margin, yhat - least), abs=tolerance
        )
        assert outputs["yhat_upper"][n - 1] == pytest.approx(
            max(upper + margin, yhat + least), abs=tolerance
        )


@pytest.mark.parametrize(
    ("tz", "start"),
    [
        ("Europe/Berlin", "2025-03-17T00:00"),
        ("Europe/Berlin", "2025-10-13T00:00"),
        ("America/New_York", "2025-03-03T00:00"),
        ("Asia/Kathmandu", "2025-06-02T00:00"),
    ],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.25, 1.0])
def test_hours_of_the_week_in_civil_time(
    model: Callable[..., OnlineQuantileModel], tz: str, start: str, smoothing: float
) -> None:
    """Four weeks, with a change of the clocks in the second or third."""
    quantile = model(
        seasonal_interval="7d",
        min_subseason="1h",
        season_starts_from="2024-01-01",
        quantiles=[0.1, 0.5, 0.9],
        global_smoothing=smoothing,
        compression=1000,
        tz=tz,
    )
    timestamps = at(start, tz) + 5 * MINUTE * np.arange(4 * 7 * 288, dtype=np.int64)
    clock = [datetime.fromtimestamp(t / 1000, UTC).astimezone(ZoneInfo(tz)) for t in timestamps]
    hours = np.array([moment.weekday() * 24 + moment.hour for moment in clock])
    values = hours + np.random.default_rng(0).normal(size=len(hours))
    n_past = 3 * 7 * 288
    state = quantile.fit(batch(timestamps[:n_past], values[:n_past]))
    # One micro-batch: nothing of the last week is learned before it is predicted.
    present = batch(timestamps[n_past:], values[n_past:])
    outputs = quantile.infer(state, present, np.zeros(1, np.int64)).outputs
    for hour in range(168):
        own = values[:n_past][hours[:n_past] == hour]
        expected = of_part(own, values[:n_past], [0.1, 0.5, 0.9], smoothing)
        of_hour = hours[n_past:] == hour
        # An hour that was skipped once has seen 24 samples. The digest of all is not exact.
        tolerance = 1e-9 if smoothing == 0.0 and len(own) >= ENOUGH else 0.3
        for name, value in zip(BOUNDS, expected, strict=True):
            assert outputs[name][0, of_hour] == pytest.approx(value, abs=tolerance)


@pytest.mark.parametrize(
    ("season_starts_from", "at_time", "expected"),
    [
        ("1970-01-01", "2025-01-02T00:00", 0),
        ("1970-01-01", "2025-01-01T00:00", 6),
        ("2024-01-01", "2025-01-06T00:00", 0),
        ("2024-01-01T12:00", "2025-01-06T11:59", 6),
        ("2030-01-07", "2025-01-07T00:00", 1),
    ],
)
def test_where_a_season_starts(
    model: Callable[..., OnlineQuantileModel],
    season_starts_from: str,
    at_time: str,
    expected: int,
) -> None:
    quantile = model(
        seasonal_interval="7d",
        min_subseason="1d",
        season_starts_from=season_starts_from,
        tz="America/New_York",
    )
    moment = np.array([at(at_time, "America/New_York")])
    assert quantile.subseasons(moment).tolist() == [expected]


def test_a_start_with_an_offset_is_an_instant(
    model: Callable[..., OnlineQuantileModel],
) -> None:
    quantile = model(
        seasonal_interval="1d",
        min_subseason="1h",
        season_starts_from="2024-01-01T03:00Z",
        tz="Europe/Berlin",
    )
    moments = np.array([at("2025-01-01T04:00", "Europe/Berlin"), at("2025-07-01T03:00Z")])
    # In summer the clock shows 05:00 at 03:00 UTC.
    assert quantile.subseasons(moments).tolist() == [0, 1]


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_a_part_with_few_samples_falls_back_smoothly_on_all_samples(
    model: Callable[..., OnlineQuantileModel], smoothing: float
) -> None:
    """From the second sample of a series on, until every hour of four has seen enough."""
    probabilities = [0.05, 0.5, 0.95]
    quantile = model(
        seasonal_interval="4h",
        min_subseason="1h",
        quantiles=probabilities,
        global_smoothing=smoothing,
        compression=1000,
    )
    timestamps = 10 * MINUTE * np.arange(650, dtype=np.int64)
    hours = timestamps // HOUR % 4
    values = 10.0 * np.sin(hours) + np.random.default_rng(7).normal(size=len(hours))
    outputs = walk(quantile, timestamps, values, 1)
    for t in range(1, len(values)):
        own = values[:t][hours[:t] == hours[t]]
        expected = of_part(own, values[:t], probabilities, smoothing)
        for name, value in zip(BOUNDS, expected, strict=True):
            assert outputs[name][t - 1] == pytest.approx(value, abs=1e-9)


def test_an_hour_not_seen_before_is_expected_to_be_like_all_others(
    model: Callable[..., OnlineQuantileModel],
) -> None:
    timestamps = HOUR * np.arange(13, dtype=np.int64)
    for smoothing in (0.0, 0.5):
        quantile = model(seasonal_interval="1d", min_subseason="1h", global_smoothing=smoothing)
        outputs = walk(quantile, timestamps, np.arange(13.0), 12)
        assert outputs["yhat"][0] == pytest.approx(5.5)


@pytest.mark.parametrize("swing", [0.0, 10.0])
def test_a_series_that_is_new_does_not_alarm_all_day(
    model: Callable[..., OnlineQuantileModel], swing: float
) -> None:
    """A day of minutes from nothing; with the quantiles 0.01 and 0.99, 29 alarms are expected."""
    n_series, minutes = 20, MINUTE * np.arange(1440, dtype=np.int64)
    noise = np.random.default_rng(0).normal(size=(n_series, 1440))
    values = 50.0 + swing * np.sin(2.0 * np.pi * minutes / DAY) + noise
    labels = tuple(Labels({"pod": str(number)}) for number in range(n_series))
    quantile = model(seasonal_interval="1d", min_subseason="1h")
    state = quantile.fit(SeriesBatch((), minutes[:1], np.empty((0, 1))))
    new = SeriesBatch(labels, minutes, values)
    output = quantile.infer(state, new, np.arange(1440))
    scores = score_series(new, output, Policy(), ["anomaly_score"]).outputs["anomaly_score"]
    assert scores.max() < 5.0
    # Of the range alone; while a swing rises, every point is the highest so far.
    assert (scores > 1.0).sum(axis=1).mean() < (75 if swing == 0.0 else 130)
    if swing == 0.0:
        incident = incident_score(scores, np.zeros(n_series), np.arange(n_series))
        assert (incident > 1.0).sum(axis=1).mean() < 100


def test_a_transform_works_on_a_logarithmic_scale(
    model: Callable[..., OnlineQuantileModel],
) -> None:
    values = np.array([-100.0, -1.0, 0.0, 10.0, 1000.0, 1e6])
    quantile = model(use_transform=True, quantiles=[0.3, 0.55, 0.8])
    outputs = walk(quantile, np.arange(7, dtype=np.int64), np.append(values, 0.0), 6)
    inside = np.sign(values) * np.log1p(np.abs(values))
    found = np.quantile(inside, [0.3, 0.55, 0.8], method="hazen")
    expected = np.sign(found) * np.expm1(np.abs(found))
    for name, value in zip(("yhat_lower", "yhat", "yhat_upper"), expected, strict=True):
        assert outputs[name][0] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("history_strength", [1.0, 4.0])
@pytest.mark.parametrize("decay", [1.0, 0.99, 0.9, 1e-3])
def test_decay_and_history_strength_weigh_every_sample_of_the_series(
    model: Callable[..., OnlineQuantileModel], decay: float, history_strength: float
) -> None:
    """Against weighted ranks, as long as the digests keep every sample."""
    rng = np.random.default_rng(3)
    values = np.cumsum(rng.normal(size=400))
    timestamps = HOUR * np.arange(400, dtype=np.int64)
    quantile = model(
        seasonal_interval="4h",
        min_subseason="1h",
        decay=decay,
        history_strength=history_strength,
        compression=1000,
    )
    outputs = walk(quantile, timestamps, values, 300)
    for t in range(0, 100, 9):
        ages = np.arange(300 + t)[::-1]
        own = np.arange(300 + t) % 4 == t % 4
        seen, weights = values[: 300 + t][own], decay ** ages[own].astype(float)
        weights[np.flatnonzero(own) < 300] *= history_strength
        order = np.argsort(seen)
        rank = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
        expected = np.interp(0.5, rank, seen[order])
        assert outputs["yhat"][t] == pytest.approx(expected, abs=1e-5)


def test_a_week_of_hours_takes_only_what_it_has_seen(
    model: Callable[..., OnlineQuantileModel],
) -> None:
    quantile = model(seasonal_interval="7d", min_subseason="1h")
    rng = np.random.default_rng(4)
    sizes = {}
    for n_days in (0, 1, 2, 7, 90):
        timestamps = 5 * MINUTE * np.arange(288 * n_days, dtype=np.int64)
        state = quantile.fit(batch(timestamps, rng.normal(size=len(timestamps))))
        sizes[n_days] = state.nbytes
    index = 168 * 14 + 12 + 4 * 8
    assert sizes[0] == index
    assert sizes[1] <= 8 * 1024
    assert sizes[2] <= 12 * 1024
    of_all = 116 * 12
    assert sizes[7] <= index + of_all + 168 * 14 * 12
    assert sizes[90] <= index + of_all + 168 * 82 * 12


def test_a_sub_season_that_was_away_for_long_still_knows_what_it_saw(
    model: Callable[..., OnlineQuantileModel],
) -> None:
    quantile = model(seasonal_interval="1d", min_subseason="12h", decay=0.5)
    morning, evening = np.arange(100), 12 * HOUR // MINUTE + np.arange(720)
    days = np.concatenate([morning, evening, evening + DAY // MINUTE])
    values = np.concatenate([np.full(100, 7.0), np.full(1440, 50.0)])
    state = quantile.fit(batch(days.astype(np.int64) * MINUTE, values))
    later = batch(np.array([3 * DAY + HOUR]), [7.0])
    outputs = quantile.infer(state, later, np.zeros(1, np.int64)).outputs
    assert outputs["yhat"].item() == 7.0
