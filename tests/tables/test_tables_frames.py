"""The same data as frames of several libraries, and the answers in the same library."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import vmanomaly as va
from vmanomaly.errors import ConfigError, TableError, UsageError
from vmanomaly.series import Labels
from vmanomaly.tables import guess_layout, to_batch
from vmanomaly.tables.frames import from_frame

HOURS = pd.date_range("2026-01-01", periods=336, freq="h", tz="UTC")
LOAD = 10 + np.sin(np.arange(336) * 2 * np.pi / 24)
LOAD[300] = 30
WEEK = timedelta(days=7)


def long() -> pd.DataFrame:
    frames = [
        pd.DataFrame({"time": HOURS, "host": host, "load": LOAD * factor})
        for host, factor in (("a", 1.0), ("b", 2.0))
    ]
    return pd.concat(frames, ignore_index=True)


FORMS: dict[str, Any] = {
    "long": long(),
    "polars": pl.from_dict(
        {
            "time": [each.to_pydatetime() for each in long()["time"]],
            "host": long()["host"].tolist(),
            "load": long()["load"].tolist(),
        }
    ),
    "mapping": {name: long()[name].to_numpy() for name in ("host", "load")}
    | {"time": long()["time"].dt.tz_localize(None).to_numpy()},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_series(form: str) -> None:
    table = from_frame(FORMS[form])
    batch = to_batch(table, guess_layout(table)).batch
    assert batch.labels == (Labels({"host": "a"}), Labels({"host": "b"}))
    assert batch.timestamps[0] == 1_767_225_600_000
    np.testing.assert_allclose(batch.values, [LOAD, 2 * LOAD])


def test_wide_frames_and_series_with_an_index_of_times() -> None:
    wide = pd.DataFrame({"a": LOAD, "b": 2 * LOAD}, index=HOURS)
    found = va.detect(wide, model="mad_online", fit="7d")
    assert found.labels == (Labels({"series": "a"}), Labels({"series": "b"}))
    single = pd.Series(LOAD, index=HOURS, name="load")
    assert len(va.detect(single, model="mad_online", fit="7d").labels) == 1


@pytest.mark.parametrize("form", ["long", "polars"])
def test_the_answer_is_of_the_same_library(form: str) -> None:
    found = va.detect(FORMS[form], model="mad_online", fit="7d")
    frame = found.frame
    assert type(frame) is type(FORMS[form])
    assert list(frame.columns)[:2] == ["timestamp", "host"]
    assert len(frame) == 2 * (336 - 168)
    peaks = {incident.series["host"]: incident.peak_at for incident in found.incidents}
    assert peaks == dict.fromkeys("ab", 1_767_225_600_000 + 300 * 3_600_000)


def test_times_of_another_zone_are_converted() -> None:
    here = HOURS.tz_convert("Asia/Tokyo")
    table = from_frame(pd.DataFrame({"time": here, "v": LOAD}))
    batch = to_batch(table, guess_layout(table), "Europe/Berlin").batch
    assert batch.timestamps[0] == 1_767_225_600_000


def test_known_windows_are_compared_with_what_is_found() -> None:
    found = va.detect((HOURS.tz_localize(None).to_numpy(), LOAD), model="mad_online", fit="7d")
    right = found.evaluate([("2026-01-13T10:00", "2026-01-13T14:00")])
    assert (right.recall, right.precision, right.f1) == (1.0, 1.0, 1.0)
    wrong = found.evaluate([("2026-01-10", "2026-01-11")])
    assert (wrong.n_found, wrong.n_right) == (0, 0)


def test_scores_of_a_stream_are_those_of_the_whole() -> None:
    detector = va.Detector("zscore_online")
    times = HOURS.tz_localize(None).to_numpy()
    detector.fit((times[:168], LOAD[:168]))
    pieces = [
        detector.score((times[start : start + 12], LOAD[start : start + 12]))
        for start in range(168, 336, 12)
    ]
    streamed = np.concatenate([piece.outputs["anomaly_score"][0] for piece in pieces])
    whole = va.detect((times, LOAD), model="zscore_online", fit="7d")
    np.testing.assert_array_equal(streamed, whole.outputs["anomaly_score"][0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (42, "expected a frame of pandas or polars"),
        ({"a": [1, 2], "b": [1]}, "differ in length"),
        (pd.DataFrame({"v": [1.0, 2.0]}), "no column of times"),
    ],
)
def test_what_cannot_be_used_is_named(data: Any, message: str) -> None:
    with pytest.raises(TableError, match=message):
        va.detect(data)


def test_wrong_arguments_are_named() -> None:
    times = HOURS.tz_localize(None).to_numpy()
    with pytest.raises(UsageError, match="fit: expected a duration"):
        va.detect((times, LOAD), fit="soon")
    with pytest.raises(ConfigError, match="z_treshold: unknown key"):
        va.detect((times, LOAD), model="zscore_online", z_treshold=3)
    with pytest.raises(UsageError, match="nothing is left to score"):
        va.detect((times, LOAD), fit="30d")
    with pytest.raises(UsageError, match="fit the detector first"):
        va.Detector().score((times, LOAD))
    with pytest.raises(ConfigError, match=r"args.n_estimator: .*; did you mean n_estimators"):
        va.Detector("isolation_forest", args={"n_estimator": 5})


def test_names_that_are_no_text() -> None:
    numbered = pd.DataFrame({0: HOURS, 1: LOAD})
    assert list(from_frame(numbered).columns) == ["0", "1"]
    on_two_levels = pd.concat({"a": pd.DataFrame({"load": LOAD}, index=HOURS)}, axis="columns")
    assert list(from_frame(on_two_levels).columns) == ["index", "a load"]
    stacked = pd.concat({"a": pd.DataFrame({"load": LOAD}, index=HOURS)}, names=["host", "time"])
    assert list(from_frame(stacked).columns) == ["host", "time", "load"]


def test_dates_of_a_spreadsheet() -> None:
    frame = pd.DataFrame({"Datum": HOURS.strftime("%d.%m.%Y %H:%M"), "load": LOAD})
    table = from_frame(frame)
    batch = to_batch(table, guess_layout(table)).batch
    assert batch.timestamps[[0, -1]].tolist() == [1_767_225_600_000, 1_768_431_600_000]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns of the same name"),
        (pl.LazyFrame({"a": [1]}), "got LazyFrame; collect"),
        (pd.DataFrame({"time": HOURS, "load": LOAD}).head(0), "the frame holds no rows"),
        (np.ones(3), "a pair of arrays (times, values)"),
    ],
)
def test_what_is_no_frame(frame: Any, message: str) -> None:
    with pytest.raises(TableError) as raised:
        va.detect(frame)
    assert message in str(raised.value)


def test_durations_may_be_timedeltas() -> None:
    found = va.detect((HOURS.tz_localize(None).to_numpy(), LOAD), "mad_online", fit=WEEK)
    assert len(found.timestamps) == 168
    with pytest.raises(
        UsageError, match=r"fit: expected a duration such as .* or a timedelta, got"
    ):
        va.detect((HOURS, LOAD), fit=7)  # type: ignore[arg-type]


def test_wrong_arguments_of_a_detection_are_named() -> None:
    found = va.detect((HOURS.tz_localize(None).to_numpy(), LOAD), "mad_online", fit="7d")
    with pytest.raises(UsageError, match="series: expected labels such as"):
        found.plot(0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="windows: expected pairs of times, such as"):
        found.evaluate(["x"])
    with pytest.raises(UsageError, match="there are 2 points, which is too little"):
        va.detect((HOURS[:2].tz_localize(None).to_numpy(), LOAD[:2]), "mad_online")
