"""Labelled series, alarms, and a whole run."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.quality.alarms import Alarms, alarms_of, event_f1
from benchmarks.quality.families import FAMILIES, N_SERIES
from benchmarks.quality.generate import generate
from benchmarks.quality.labelled import LabelledSeries, Window
from benchmarks.quality.nab import read_nab
from benchmarks.quality.page import render
from benchmarks.quality.run import run
from benchmarks.quality.table import judge, kinds, table
from tests.fakes import FakeClock, FakeReader, FakeWriter, InlineExecutor
from vmanomaly.config import load_config
from vmanomaly.config.model.zscore_online import ZscoreOnlineSection
from vmanomaly.config.reader import Query
from vmanomaly.model.scoring import score
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler import create_scheduler
from vmanomaly.series import SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.plan import create_jobs, create_models

pytestmark = pytest.mark.slow

HOUR = 3_600_000
ZSCORE = ZscoreOnlineSection(class_name="zscore_online")


def noise_with_a_shift() -> LabelledSeries:
    values = np.random.default_rng(0).normal(size=200)
    values[150:160] += 30.0
    timestamps = HOUR * np.arange(200, dtype=np.int64)
    windows = (Window(150 * HOUR, 159 * HOUR, "shift"), Window(190 * HOUR, 191 * HOUR, "nothing"))
    return LabelledSeries("made", "up", "shift", timestamps, values, windows, 100)


def test_an_alarm_is_a_run_and_what_of_it_lies_outside_the_windows_is_false() -> None:
    timestamps = HOUR * np.arange(80, dtype=np.int64)
    series = LabelledSeries(
        "s", "f", "n", timestamps, np.zeros(80), (Window(40 * HOUR, 42 * HOUR, "dip"),), 0
    )
    scores = np.zeros(80)
    scores[[3, 4, 6, 17, 29, 39, 41, 42, 43, 60, 71, 79]] = 2.0
    scores[5] = np.nan
    alarms = alarms_of(series, timestamps, scores)
    assert alarms.delays == (HOUR,)
    # 3 to 17 are less than 12 steps apart, 29 is not; 39 and 43 are outside the window.
    assert [(begin // HOUR, end // HOUR) for begin, end in alarms.false_alarms] == [
        (3, 17),
        (29, 43),
        (60, 79),
    ]
    assert alarms.days == 79 / 24
    assert alarms_of(series, timestamps, scores, 2.0) == Alarms((None,), (), 79 / 24)


def test_the_f1_of_events_is_the_harmonic_mean_of_precision_and_recall() -> None:
    alarms = [Alarms((5, None, 0), ((1, 2),), 7.0), Alarms((), ((1, 2), (3, 4), (5, 6)), 14.0)]
    precision, recall = 2 / 6, 2 / 3
    assert event_f1(alarms) == pytest.approx(2 * precision * recall / (precision + recall))
    assert [item.false_per_week for item in alarms] == [1.0, 1.5]
    assert np.isnan(event_f1([Alarms((), ((1, 2),), 1.0)]))


def test_a_run_scores_every_point_after_the_fit_window_before_it_is_learned() -> None:
    series = noise_with_a_shift()
    result = run(ZSCORE, series)
    np.testing.assert_array_equal(result.timestamps, series.timestamps[100:])
    known = series.values[:100]
    for t in (100, 101, 150):
        known = series.values[:t]
        mean, half = known.mean(), 2.5 * known.std(ddof=1)
        expected = score(
            series.values[t : t + 1],
            np.array([mean]),
            np.array([mean - half]),
            np.array([mean + half]),
        )
        np.testing.assert_allclose(result.outputs["anomaly_score"][t - 100], expected[0], rtol=1e-9)


@pytest.mark.parametrize("class_name", ["zscore_online", "quantile_online"])
def test_a_run_gives_what_an_exact_backtest_writes(tmp_path: Path, class_name: str) -> None:
    series = noise_with_a_shift()
    document = {
        "reader": {
            "datasource_url": "http://localhost:8428",
            "sampling_period": "1h",
            "queries": {"shift": {"expr": "shift"}},
        },
        "models": {
            "m": {
                "class": class_name,
                "queries": "all",
                "schedulers": "all",
                "provide_series": ["anomaly_score", "incident_score", "yhat"],
            }
        },
        "schedulers": {
            "s": {
                "class": "backtesting",
                "exact": True,
                "from_s": 99 * HOUR // 1000,
                "to_s": 199 * HOUR // 1000,
                "fit_window": "100h",
                "fit_every": "100h",
                "inference_only": True,
            }
        },
        "writer": {"datasource_url": "http://localhost:8428"},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    config = load_config([path], {})

    def answer(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        after, until = time_range.start // HOUR + 1, time_range.end // HOUR + 1
        return series.batch(max(after, 0), until)

    writer = FakeWriter()
    models = create_models(config)
    jobs = create_jobs(config, models, FakeReader(answer), writer, Health({}), Metrics())["s"]
    scheduler = create_scheduler(config.schedulers["s"], jobs, FakeClock(0), InlineExecutor(), 0)
    assert scheduler.run(lambda: None) == ()
    ((predictions, _),) = writer.written
    result = run(config.models["m"], series)
    np.testing.assert_array_equal(result.timestamps, predictions.timestamps)
    for name, values in predictions.outputs.items():
        np.testing.assert_array_equal(result.outputs[name], values[0])


def test_the_table_and_the_page_tell_of_what_was_found_and_missed() -> None:
    judged = [judge(run(ZSCORE, noise_with_a_shift()), "anomaly_score")]
    lines = list(table("title", judged))
    assert "1 of 2" in lines[1]
    assert [line.split()[:4] for line in kinds(judged)] == [
        ["nothing", "0", "of", "1,"],
        ["shift", "1", "of", "1,"],
    ]
    page = render("z-score", judged, "anomaly_score")
    assert "nothing (missed)" in page
    assert "1 of 2 windows missed" in page


def test_generated_series_are_the_same_for_a_seed_and_have_their_incidents_after_the_fit() -> None:
    series = generate(1)
    again = generate(1)
    assert {item.family for item in series} >= {"flat", "seasonal", "weekly", "trending", "quiet"}
    for one, two in zip(series, again, strict=True):
        np.testing.assert_array_equal(one.values, two.values)
        assert np.isfinite(one.values).all() or "sparse" in (one.family, one.name.split("-")[0])
        assert not np.isinf(one.values).any()
        assert (one.family == "quiet") == (not one.windows)
        assert all(window.start >= one.timestamps[one.n_fit] for window in one.windows)
        assert all(window.end <= one.timestamps[-1] for window in one.windows)
    assert len({item.name for item in series if item.family == "quiet"}) == sum(
        item.family == "quiet" for item in series
    )


def test_every_incident_of_the_special_families_changes_a_series_and_each_has_quiet_ones() -> None:
    series = generate(0)
    for family, (_, incidents) in FAMILIES.items():
        members = [item for item in series if item.family == family]
        quiet = [item for item in series if item.name.startswith(f"{family}-")]
        assert len(members) == len(quiet) == N_SERIES
        assert {window.kind for item in members for window in item.windows} == set(incidents)
        for item in members:
            windows = item.windows
            assert all(one.end < two.start for one, two in pairwise(windows))


def test_nab_is_read_as_it_lies_in_its_repository(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "data" / "real").mkdir(parents=True)
    (tmp_path / "labels" / "combined_windows.json").write_text(
        json.dumps(
            {
                "real/cpu.csv": [["2014-02-14 00:05:00.000000", "2014-02-14 00:10:00.000000"]],
                "real/elsewhere.csv": [],
            }
        )
    )
    (tmp_path / "data" / "real" / "cpu.csv").write_text(
        "timestamp,value\n2014-02-14 00:00:00,1\n2014-02-14 00:05:00,2.5\n"
        "2014-02-14 00:05:00,7\n2014-02-14 00:10:00,3\n"
    )
    (series,) = read_nab(tmp_path)
    assert (series.source, series.family, series.name) == ("nab", "real", "cpu")
    assert series.values.tolist() == [1.0, 2.5, 3.0]
    assert np.diff(series.timestamps).tolist() == [300_000, 300_000]
    (window,) = series.windows
    assert (window.start, window.end) == (int(series.timestamps[1]), int(series.timestamps[2]))
