from pathlib import Path

import duckdb
import numpy as np
import pytest

from vmanomaly.demo.incidents import PLANTED
from vmanomaly.demo.store import store
from vmanomaly.demo.telemetry import DAY, POINTS, START, STEP, Telemetry, generate
from vmanomaly.series import FloatArray

pytestmark = pytest.mark.slow


def row_of(telemetry: Telemetry, metric: str, service: str) -> FloatArray:
    batch = telemetry.batch
    rows: list[FloatArray] = [
        values
        for labels, values in zip(batch.labels, batch.values, strict=True)
        if (labels["metric"], labels["service"]) == (metric, service)
    ]
    return rows[0]


def column(timestamp: int) -> int:
    return (timestamp - START) // STEP


def test_same_seed_same_telemetry_and_another_seed_another() -> None:
    first, second, other = generate(), generate(), generate(seed=7)
    np.testing.assert_array_equal(first.batch.values, second.batch.values)
    assert not np.array_equal(first.batch.values, other.batch.values, equal_nan=True)


def test_two_weeks_at_one_minute_on_distinct_series() -> None:
    batch = generate().batch
    assert batch.values.shape == (20, 20_160)
    assert len(set(batch.labels)) == 20
    assert np.datetime64(int(batch.timestamps[0]), "ms") == np.datetime64("2026-06-01T00:00")
    assert set(np.diff(batch.timestamps)) == {60_000}


def test_values_are_finite_and_never_negative_with_a_few_gaps() -> None:
    values = generate().batch.values
    missing = np.isnan(values).mean(axis=1)
    assert (missing > 0).all()
    assert (missing < 0.01).all()
    assert np.nanmin(values) >= 0
    assert not np.isinf(values).any()


def test_traffic_has_a_daily_and_a_weekly_shape() -> None:
    requests = row_of(generate(), "http_requests_per_second", "frontend").reshape(14, DAY)
    by_hour = np.nanmean(requests[:5].reshape(5, 24, 60), axis=(0, 2))
    assert by_hour.argmax() in range(12, 17)
    assert by_hour.max() > 2.5 * by_hour.min()
    saturday, thursday = np.nanmean(requests[5]), np.nanmean(requests[3])
    assert 0.7 < saturday / thursday < 0.9


def test_every_incident_is_in_the_second_week_and_on_a_series_that_exists() -> None:
    telemetry = generate()
    week_two = START + 7 * DAY * STEP
    for incident in telemetry.incidents:
        assert week_two <= incident.start < incident.end < START + POINTS * STEP
        assert incident.series in telemetry.batch.labels
    starts = [incident.start for incident in telemetry.incidents]
    assert starts == sorted(starts)
    assert len({incident.name for incident in telemetry.incidents}) == len(PLANTED)


def test_the_incidents_leave_their_traces() -> None:
    telemetry = generate()
    by_name = {incident.name: incident for incident in telemetry.incidents}

    def during(name: str) -> tuple[FloatArray, int, int]:
        incident = by_name[name]
        values = row_of(telemetry, incident.series["metric"], incident.series["service"])
        return values, column(incident.start), column(incident.end)

    values, first, stop = during("Traffic drop")
    before = np.nanmedian(values[first - 30 : first])
    assert 0.6 < np.nanmedian(values[first:stop]) / before < 0.75

    values, first, _ = during("Deploy")
    ratio = np.nanmedian(values[first + DAY : first + 2 * DAY]) / np.nanmedian(
        values[first - DAY : first]
    )
    assert 1.2 < ratio < 1.45

    values, first, stop = during("Stuck queue")
    assert np.nanmax(values[first:stop]) > 800


def test_the_frozen_exporter_repeats_one_value() -> None:
    telemetry = generate()
    incident = next(i for i in telemetry.incidents if i.name == "Frozen exporter")
    values = telemetry.batch.values[telemetry.batch.labels.index(incident.series)]
    frozen = values[column(incident.start) : column(incident.end)]
    assert len(np.unique(frozen[~np.isnan(frozen)])) == 1


def test_the_database_holds_every_sample_and_the_truth(tmp_path: Path) -> None:
    telemetry = generate()
    path = tmp_path / "telemetry.duckdb"
    path.write_bytes(b"an older file")
    store(telemetry, path)
    with duckdb.connect(str(path), read_only=True) as connection:
        counts = connection.execute("SELECT count(*) FROM telemetry").fetchall()
        assert counts == [(telemetry.batch.n_valid_points,)]
        labels = telemetry.batch.labels[3]
        rows = connection.execute(
            "SELECT epoch_ms(timestamp), value FROM telemetry "
            "WHERE metric = $metric AND service = $service AND instance = $instance "
            "ORDER BY timestamp",
            dict(labels),
        ).fetchnumpy()
        present = ~np.isnan(telemetry.batch.values[3])
        np.testing.assert_array_equal(
            rows['epoch_ms("timestamp")'], telemetry.batch.timestamps[present]
        )
        np.testing.assert_array_equal(rows["value"], telemetry.batch.values[3][present])
        truth = connection.execute(
            "SELECT name, epoch_ms(start_time), epoch_ms(end_time), service FROM incidents "
            "ORDER BY start_time"
        ).fetchall()
    assert truth == [
        (incident.name, incident.start, incident.end, incident.series["service"])
        for incident in telemetry.incidents
    ]
