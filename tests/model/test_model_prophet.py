"""Prophet against the predictions of the library itself."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vmanomaly.config.model.prophet import ProphetSection
from vmanomaly.config.reader import Query
from vmanomaly.detector import create_detector
from vmanomaly.errors import ConfigError
from vmanomaly.executor import Executor
from vmanomaly.model import Model, create_model
from vmanomaly.model.prophet.civil import regressors_of
from vmanomaly.model.prophet.library import prophet as library
from vmanomaly.model.prophet.model import ProphetModel
from vmanomaly.model.state import Array
from vmanomaly.series import FloatArray, IntArray, Labels, SeriesBatch

HOUR = 3_600_000
N_PAST = 24 * 15
# A Monday.
START = 1_750_032_000_000


def section_of(**keys: Any) -> ProphetSection:
    return ProphetSection.model_validate({"class": "prophet", **keys})


def query_of(**keys: Any) -> Query:
    return Query.model_validate({"alias": "q", "expr": "q", "step": "1h", **keys})


def model_of(query: dict[str, Any] | None = None, **keys: Any) -> Model:
    return create_model(section_of(**keys), query_of(**(query or {})))


def hours(n: int, first: int = 0) -> IntArray:
    return START + HOUR * np.arange(first, first + n, dtype=np.int64)


def samples(timestamps: IntArray, seed: int = 0) -> FloatArray:
    phase = 2 * np.pi * timestamps / (24 * HOUR)
    noise = np.random.default_rng(seed).normal(0.0, 0.3, len(timestamps))
    return 20.0 + 4.0 * np.sin(phase) + (timestamps - START) / (100 * HOUR) + noise


def batch(first: int, n: int, names: str = "a") -> SeriesBatch:
    timestamps = hours(n, first)
    values = np.stack([samples(timestamps, seed) for seed, _ in enumerate(names)])
    return SeriesBatch(tuple(Labels({"host": name}) for name in names), timestamps, values)


def outputs_of(model: Model, past: SeriesBatch, present: SeriesBatch) -> dict[str, FloatArray]:
    state = model.fit(past)
    assert not state.errors
    output = model.infer(state, present, np.zeros(1, np.int64))
    assert not output.errors
    return output.outputs


def expected_of(
    prepare: Callable[[Any], object] = lambda prophet: None,
    present: IntArray | None = None,
    **args: Any,
) -> pd.DataFrame:
    """Return what the library predicts by itself."""
    times = hours(12, N_PAST) if present is None else present
    limits = {"floor": 0.0, "cap": 40.0} if args.get("growth") == "logistic" else {}
    past = pd.DataFrame({"ds": pd.to_datetime(hours(N_PAST), unit="ms"), **limits})
    future = pd.DataFrame({"ds": pd.to_datetime(times, unit="ms"), **limits})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prophet = library().Prophet(**args)
        prepare(prophet)
        prophet.fit(past.assign(y=samples(hours(N_PAST))), seed=42)
        np.random.seed(42)
        found: pd.DataFrame = prophet.predict(future)
    return found


PAST, PRESENT = batch(0, N_PAST), batch(N_PAST, 12)


@pytest.mark.slow
def test_predictions_are_those_of_the_library() -> None:
    expected = expected_of()
    wanted = [name for name in expected.columns if name != "ds"]
    found = outputs_of(model_of(provide_series=wanted), PAST, PRESENT)
    assert {"trend_lower", "daily", "daily_upper", "weekly", "additive_terms"} <= set(found)
    for name in wanted:
        np.testing.assert_allclose(found[name][0], expected[name], rtol=1e-12, err_msg=name)


def test_predictions_of_one_point_are_those_of_the_library() -> None:
    """How far trends change at a time depends on the mean distance of the points of the fit."""
    expected = expected_of(present=hours(1, N_PAST))
    found = outputs_of(model_of(), PAST, batch(N_PAST, 1))
    for name in ("yhat", "yhat_lower", "yhat_upper"):
        np.testing.assert_allclose(found[name][0], expected[name], rtol=1e-12, err_msg=name)


@pytest.mark.slow
def test_seasonalities_and_holidays_are_those_of_the_library() -> None:
    days = [{"holiday": "Big day", "ds": "2025-06-20", "lower_window": 0, "upper_window": 1}]
    frame = pd.DataFrame(days).assign(ds=lambda found: pd.to_datetime(found["ds"]))

    half = {"name": "half", "period": 0.5, "fourier_order": 2, "mode": "multiplicative"}
    # Both spellings of a holiday are taken.
    columns = {
        "yhat": "yhat",
        "yhat_upper": "yhat_upper",
        "holidays": "holidays",
        "Big day": "Big day",
        "half_lower": "half_lower",
        "New Year's Day": "New Year's Day",
        "Juneteenth_National_Independence_Day": "Juneteenth National Independence Day",
    }

    def prepare(prophet: Any) -> None:
        prophet.add_country_holidays("US")
        prophet.add_seasonality("half", 0.5, 2, None, "multiplicative")

    expected = expected_of(prepare, holidays=frame, weekly_seasonality=False)
    model = model_of(
        args={"country_holidays": "US", "holidays": days, "weekly_seasonality": False},
        seasonalities=[half],
        provide_series=[*columns],
    )
    found = outputs_of(model, PAST, PRESENT)
    for spelled, column in columns.items():
        name = spelled.replace(" ", "_").replace("'", "_")
        np.testing.assert_allclose(found[name][0], expected[column], rtol=1e-12, err_msg=name)


@pytest.mark.slow
def test_everything_is_the_same_in_processes_and_through_a_stored_state() -> None:
    past, present = batch(0, N_PAST, "abc"), batch(N_PAST, 6, "abc")
    section, query = section_of(forecast_at=["1h"]), query_of()
    here, there = (
        create_detector(create_model(section, query), section, [query], executor=executor)
        for executor in (Executor(), Executor("processes", 2))
    )
    one, _ = here.fit([past])
    other, _ = there.fit([past])
    arrays = {name: array.copy() for name, array in other.state.arrays().items()}
    for name, array in one.state.arrays().items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)
    restored = here.restore(other.state.labels, None, arrays)
    found = [
        detector.infer(learned, [present], np.zeros(1, np.int64))[1].parts[0].predictions.outputs
        for detector, learned in ((here, one), (there, other), (here, restored))
    ]
    assert "yhat_lower_1h" in found[0]
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name], err_msg=name)
        np.testing.assert_array_equal(values, found[2][name], err_msg=name)


def test_forecasts_are_the_predictions_of_that_time() -> None:
    found = outputs_of(model_of(forecast_at=["2h", "1d"]), PAST, PRESENT)
    for offset, distance in (("2h", 2), ("1d", 24)):
        there = outputs_of(model_of(), PAST, batch(N_PAST + distance, 12))["yhat"]
        np.testing.assert_allclose(found[f"yhat_{offset}"], there, rtol=1e-12)
        assert (found[f"yhat_lower_{offset}"] < found[f"yhat_{offset}"]).all()
        assert (found[f"yhat_{offset}"] < found[f"yhat_upper_{offset}"]).all()


def test_provide_series_chooses_forecasts_by_the_predictions_in_it() -> None:
    section = section_of(forecast_at=["1h"], provide_series=["anomaly_score", "yhat", "yhat_upper"])
    assert section.provide_series == (
        "anomaly_score",
        "yhat",
        "yhat_upper",
        "yhat_1h",
        "yhat_upper_1h",
    )
    with pytest.raises(ValueError, match="provide_series names no prediction to forecast"):
        section_of(forecast_at=["1h"], provide_series=["anomaly_score"])


def test_compression_fits_aggregates_and_gives_the_bounds_their_spread_back() -> None:
    timestamps = START + 300_000 * np.arange(12 * N_PAST, dtype=np.int64)
    past = SeriesBatch(PAST.labels, timestamps, samples(timestamps)[None])
    widths = {}
    for adjusted in (True, False):
        compression = {"window": "1h", "adjust_boundaries": adjusted}
        found = outputs_of(model_of(compression=compression), past, PRESENT)
        widths[adjusted] = (found["yhat_upper"] - found["yhat_lower"]).mean()
        assert np.abs(found["yhat"] - PRESENT.values).mean() < 0.5
    # Bounds hold 80 % of normal noise, 1.2816 standard deviations on either side.
    between, within = 0.3**2 / 12, past.values.reshape(-1, 12).var(axis=1).mean()
    assert widths[True] == pytest.approx(2 * 1.2816 * np.sqrt(between + within), rel=0.05)
    assert widths[False] == pytest.approx(2 * 1.2816 * np.sqrt(between), rel=0.35)


def test_logistic_growth_lies_in_the_data_range() -> None:
    model = model_of({"data_range": [0, 40]}, args={"growth": "logistic"})
    expected = expected_of(growth="logistic")["yhat"]
    np.testing.assert_allclose(outputs_of(model, PAST, PRESENT)["yhat"][0], expected, rtol=1e-12)


class TestCivilTime:
    """Seasons that follow the clock."""

    def test_hours_of_a_day_in_utc_are_the_daily_season(self) -> None:
        expected = expected_of(daily_seasonality=4, weekly_seasonality=False)
        model = model_of(
            args={"weekly_seasonality": False},
            tz_aware=True,
            tz_seasonalities=[{"name": "hod", "fourier_order": 4}],
            provide_series=["yhat", "hod", "daily"],
        )
        found = outputs_of(model, PAST, PRESENT)
        # The optimum is the same; on which way it is reached depends on the order of columns.
        np.testing.assert_allclose(found["yhat"][0], expected["yhat"], rtol=1e-3)
        np.testing.assert_allclose(found["hod"][0], expected["daily"], atol=0.02)
        assert np.isnan(found["daily"]).all()

    def test_a_curve_of_each_weekday(self) -> None:
        """Weekends are flat, and other days are not: no sum of a day and a week is like that."""
        timestamps = hours(24 * 28)
        weekday = (timestamps // (24 * HOUR) + 3) % 7
        values = 10.0 + np.where(weekday < 5, 5.0 * np.sin(2 * np.pi * timestamps / (24 * HOUR)), 0)
        noise = np.random.default_rng(2).normal(0.0, 0.05, len(timestamps))
        past = SeriesBatch(PAST.labels, timestamps, (values + noise)[None])
        sunday = SeriesBatch(PAST.labels, hours(24, 24 * 34), np.zeros((1, 24)))
        model = model_of(tz_aware=True, tz_seasonalities=["dow"])
        assert np.abs(outputs_of(model, past, sunday)["yhat"] - 10.0).max() < 0.3

    def test_the_clock_of_the_zone_counts(self) -> None:
        """After the clocks went back, what happens at 9 is an hour later in UTC."""
        first = 1_760_918_400_000
        timestamps = first + HOUR * np.arange(24 * 10, dtype=np.int64)
        civil = timestamps + np.where(timestamps < 1_761_440_400_000, 2 * HOUR, HOUR)
        values = 10.0 + 3.0 * np.cos(2 * np.pi * civil / (24 * HOUR))
        past, present = np.split(np.arange(240), [216])
        found = outputs_of(
            model_of({"tz": "Europe/Berlin"}, tz_aware=True, tz_seasonalities=["hod"]),
            SeriesBatch(PAST.labels, timestamps[past], values[None, past]),
            SeriesBatch(PAST.labels, timestamps[present], values[None, present]),
        )
        np.testing.assert_allclose(found["yhat"][0], values[present], atol=0.05)

    @pytest.mark.parametrize(
        ("name", "n_plain"), [("minute", 8), ("hod", 8), ("dow", 49), ("month", 8)]
    )
    def test_a_cycle_may_be_one_sine_and_cosine(self, name: str, n_plain: int) -> None:
        (season,) = section_of(tz_aware=True, tz_seasonalities=[name]).tz_seasonalities
        times = hours(24 * 400)
        plain = regressors_of([season], times, "UTC", cyclical=False)
        assert len(plain) == n_plain
        cyclical = regressors_of([season], times, "UTC", cyclical=True)
        assert list(cyclical) == [f"{name}__sin1", f"{name}__cos1"]
        radius = np.hypot(*cyclical.values())
        np.testing.assert_allclose(radius, 1.0)


def holiday(name: str, **windows: int) -> dict[str, Any]:
    return {"holiday": name, "ds": "2025-01-01", **windows}


def wave(name: str) -> dict[str, Any]:
    return {"name": name, "period": 2, "fourier_order": 1000}


def test_what_libraries_take_is_still_taken() -> None:
    days = [holiday("a", lower_window=-2, upper_window=1), holiday("a"), holiday("b")]
    orders = {"yearly_seasonality": "10", "weekly_seasonality": True, "daily_seasonality": 4}
    model_of(args={"holidays": days, "interval_width": 0.99, "n_changepoints": 100, **orders})
    model_of(seasonalities=[wave(f"{n}") for n in range(10)])


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"args": {"grwth": "flat"}}, "args.grwth: Prophet does not take it; did you mean growth?"),
        ({"args": {"growth": "cubic"}}, "args: Prophet does not take them: .*growth"),
        ({"args": {"growth": "logistic"}}, "needs a data_range"),
        ({"args": {"country_holidays": "Atlantis"}}, "args: Prophet does not take them"),
        ({"args": {"holidays": [{"ds": "2025-01-01"}]}}, "args: Prophet does not take them"),
        ({"args": {"uncertainty_samples": 0}}, "no bounds without samples"),
        ({"args": {"uncertainty_samples": 10**9}}, "args.uncertainty_samples: .* 0 to 10,000, got"),
        ({"args": {"n_changepoints": "25"}}, "args.n_changepoints: expected a whole number from 0"),
        ({"args": {"mcmc_samples": -1}}, "args.mcmc_samples: expected a whole number from 0"),
        ({"args": {"interval_width": 95}}, "args.interval_width: expected a number from 0 to 1"),
        ({"args": {"daily_seasonality": 10**9}}, "args.daily_seasonality: expected auto, true"),
        ({"args": {"weekly_seasonality": "often"}}, "args.weekly_seasonality: .*, got 'often'"),
        (
            {"args": {"holidays": [holiday("a"), holiday("b", lower_window=-(10**9))]}},
            r"args.holidays\[1\].lower_window: expected a whole number from -366 to 366",
        ),
        (
            {"args": {"holidays": [holiday(f"{n}", upper_window=366) for n in range(60)]}},
            "args.holidays: seasons and holidays have 22,020 terms together, more than 20,000",
        ),
        (
            {"seasonalities": [wave(f"{n}") for n in range(11)]},
            "seasonalities: seasons and holidays have 22,000 terms",
        ),
        (
            {"provide_series": ["anomaly_score", "dayly"]},
            "does not produce dayly; did you mean daily?",
        ),
        (
            {"seasonalities": [{"name": "trend", "period": 1, "fourier_order": 1}]},
            "args: Prophet does not take them: .*reserved",
        ),
    ],
)
def test_mistakes_are_found_before_data_is_read(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        model_of(**keys)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"tz_seasonalities": ["hod"]}, "set tz_aware: true"),
        ({"tz_aware": True, "tz_seasonalities": ["hod", "hod"]}, "hod occurs more than once"),
        ({"tz_use_cyclical_encoding": True}, "unless there are tz_seasonalities"),
        (
            {"tz_aware": True, "tz_seasonalities": ["hour"]},
            "expected one of minute, hod, dow, month",
        ),
        ({"compression": {"agg_method": "mean"}}, "window"),
        ({"seasonalities": [{"name": "hourly", "fourier_order": 2}]}, "period"),
    ],
)
def test_keys_that_do_not_go_together(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        section_of(**keys)


def test_an_output_that_the_fit_does_not_have_is_missing_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = model_of(provide_series=["yhat", "yearly_lower"])
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            found = outputs_of(model, PAST, PRESENT)
    assert np.isnan(found["yearly_lower"]).all()
    ours = [each for each in caplog.records if each.name.startswith("vmanomaly")]
    assert [each.getMessage()[:44] for each in ours if each.levelno >= logging.INFO] == [
        "provide_series asks for yearly_lower, which "
    ]
    assert any("cmdstanpy" in each.getMessage() for each in ours)


def test_nothing_is_left_of_a_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cmdstanpy

    # Stan makes one folder for all that a process does, and removes it at its end.
    of_process = Path(cmdstanpy._TMPDIR)
    before = set(of_process.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = model_of()
    outputs_of(model, PAST, PRESENT)
    monkeypatch.setattr(cmdstanpy.CmdStanModel, "optimize", lambda *_, **__: 1 / 0)
    assert isinstance(next(iter(model.fit(PAST).errors.values())), ZeroDivisionError)
    assert set(of_process.iterdir()) == before
    assert not list(tmp_path.iterdir())


def test_the_generator_of_numpy_is_left_as_it_was() -> None:
    np.random.seed(7)
    expected = np.random.random(3).tolist()
    np.random.seed(7)
    outputs_of(model_of(), PAST, PRESENT)
    assert np.random.random(3).tolist() == expected


def test_a_constant_series_has_a_trend_and_no_components() -> None:
    constant = SeriesBatch(PAST.labels, PAST.timestamps, np.full((1, N_PAST), 5.0))
    model = model_of(provide_series=["yhat", "trend", "daily", "yhat_1h"], forecast_at=["1h"])
    found = outputs_of(model, constant, PRESENT)
    assert {name: values[0, 0] for name, values in found.items()} == {
        "yhat": 5.0,
        "yhat_lower": pytest.approx(5.0, abs=1e-7),
        "yhat_upper": pytest.approx(5.0, abs=1e-7),
        "trend": 5.0,
        "daily": 0.0,
        "yhat_1h": 5.0,
    }


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda document: b"",
    "no JSON": lambda document: document[:-1],
    "a list": lambda document: b"[]",
    "millions of waves": lambda document: document.replace(
        b'"fourier_order": 4', b'"fourier_order": 400000000'
    ),
    "no time scale": lambda document: document.replace(b'"t_scale": 1', b'"t_scale": -1'),
    "not finite": lambda document: document.replace(b'"sigma_obs": [[', b'"sigma_obs": [[NaN, '),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_document_is_refused(fitted: tuple[ProphetModel, Any], forgery: str) -> None:
    model, state = fitted
    arrays: dict[str, Array] = {name: array.copy() for name, array in state.arrays().items()}
    forged = FORGERIES[forgery](arrays["document"].tobytes())
    assert forged != arrays["document"].tobytes()
    arrays["document"] = np.frombuffer(forged, np.uint8)
    arrays["document_offsets"] = np.array([0, len(forged)], np.int64)
    with pytest.raises(ValueError, match="column document"):
        model.restore(state.labels, arrays)


@pytest.fixture(scope="module")
def fitted() -> tuple[Model, Any]:
    model = model_of()
    return model, model.fit(PAST)
