import math
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from vmanomaly.demo.evaluate import evaluate
from vmanomaly.demo.incidents import Incident
from vmanomaly.report import Alarm, ScoredSeries, alarms_of
from vmanomaly.series import FloatArray, Labels

MINUTE = 60_000
CPU = Labels({"metric": "cpu", "host": "a"})
NAN = math.nan


def scored(
    score: Sequence[float] | FloatArray,
    *,
    model: str = "mad",
    query: str = "cpu",
    series: Labels = CPU,
    minutes: Iterable[int] | None = None,
) -> ScoredSeries:
    minutes = range(len(score)) if minutes is None else minutes
    return ScoredSeries(
        query,
        model,
        series,
        np.array(list(minutes), dtype=np.int64) * MINUTE,
        {"incident_score": np.array(score, dtype=np.float64)},
    )


def incident(start: int, end: int, series: Labels = CPU) -> Incident:
    return Incident("Spike", "spike", "A story.", series, start * MINUTE, end * MINUTE)


def spans(item: ScoredSeries) -> list[tuple[int, int]]:
    return [(alarm.start // MINUTE, alarm.end // MINUTE) for alarm in alarms_of(item)]


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ([], []),
        ([0, 0, 0], []),
        ([0, 9], [(1, 1)]),
        ([0, 1, 1, 1, 1], []),  # the bound itself is not above it
        ([0, 2, 2, 0, 2, 2, 0], [(1, 5)]),
        ([2, *[0] * 10, 2], [(0, 11)]),  # less than twelve points apart is one
        ([2, *[0] * 11, 2], [(0, 0), (12, 12)]),
        ([0, 2, NAN, 2, 0], [(1, 3)]),  # a missing point changes nothing
    ],
)
def test_alarms_are_the_incidents(score: list[float], expected: list[tuple[int, int]]) -> None:
    assert spans(scored(score)) == expected


def test_a_gap_in_time_is_like_missing_points() -> None:
    assert spans(scored([0, 2, 0, 2], minutes=[0, 1, 2, 40])) == [(1, 1), (40, 40)]


def test_an_alarm_finds_the_incident_it_fires_in() -> None:
    score = [0] * 10 + [3, 5, 4, 3] + [0] * 20
    (result,) = evaluate([scored(score)], [incident(9, 15)])
    (finding,) = result.findings
    assert result.found == 1
    assert finding.alarm == Alarm("cpu", "mad", CPU, 10 * MINUTE, 13 * MINUTE, 5.0)
    assert finding.delay == MINUTE
    assert finding.max_score == 5
    assert result.false_alarms == ()
    assert result.median_delay == MINUTE


def test_an_alarm_from_before_the_incident_is_false_and_finds_nothing() -> None:
    score = [3] * 20 + [0] * 20
    (result,) = evaluate([scored(score)], [incident(10, 30)])
    assert result.found == 0
    assert len(result.false_alarms) == 1
    assert result.findings[0].max_score == 3
    assert math.isnan(result.median_delay)


def test_an_echo_within_an_hour_is_neither_find_nor_false_and_later_it_is_false() -> None:
    score = np.zeros(200)
    score[50:55] = 2.0
    score[101:105] = 2.0
    (result,) = evaluate([scored(score)], [incident(10, 40)])
    assert result.found == 0
    assert [alarm.start for alarm in result.false_alarms] == [101 * MINUTE]


def test_an_alarm_on_another_series_does_not_find_it() -> None:
    other = Labels({"metric": "cpu", "host": "b"})
    quiet, loud = scored([0] * 30), scored([0] * 10 + [3] * 5 + [0] * 15, series=other)
    (result,) = evaluate([quiet, loud], [incident(9, 20)])
    assert result.found == 0
    assert len(result.false_alarms) == 1
    assert result.findings[0].max_score == 0


def test_the_earliest_alarm_of_any_query_counts() -> None:
    late = scored([0] * 15 + [9] * 5 + [0] * 10, query="late")
    early = scored([0] * 10 + [2] * 5 + [0] * 15, query="early")
    (result,) = evaluate([late, early], [incident(8, 25)])
    alarm = result.findings[0].alarm
    assert alarm is not None
    assert alarm.query == "early"
    assert result.findings[0].max_score == 9


def test_models_are_judged_apart_and_in_their_order() -> None:
    score = [0] * 10 + [3] * 5 + [0] * 1426
    mad, zscore = scored(score), scored(np.zeros(1441), model="zscore")
    results = evaluate([mad, zscore], [])
    assert [result.model for result in results] == ["mad", "zscore"]
    assert [len(result.false_alarms) for result in results] == [1, 0]
    assert results[0].series_days == 1.0
    assert results[0].false_alarms_per_series_day == 1.0
    assert results[1].false_alarms_per_series_day == 0.0


def test_false_alarms_are_spread_over_series_and_days() -> None:
    score = np.zeros(2 * 1440 + 1)
    score[100:110] = 2.0
    items = [scored(score), scored(np.zeros(2 * 1440 + 1), series=Labels({"host": "b"}))]
    (result,) = evaluate(items, [])
    assert result.series_days == 4.0
    assert result.false_alarms_per_series_day == 0.25


def test_an_incident_on_a_series_that_was_not_scored_is_missed() -> None:
    (result,) = evaluate([scored([0] * 5)], [incident(1, 2, Labels({"metric": "disk"}))])
    assert result.found == 0
    assert math.isnan(result.findings[0].max_score)
