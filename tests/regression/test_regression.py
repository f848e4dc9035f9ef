"""That a changed bit is found and named, and that every model is run."""

from __future__ import annotations

import math
from pathlib import Path

import duckdb
import pytest
import yaml

from benchmarks.regression.__main__ import main
from benchmarks.regression.data import write_nab, write_skab
from benchmarks.regression.models import sections
from benchmarks.regression.record import RUNS, keep
from vmanomaly.config import load_config
from vmanomaly.config.registry import MODELS

pytestmark = pytest.mark.slow

Row = tuple[str, str, str, str, float]

YAMLS = Path(__file__).parents[2] / "benchmarks" / "regression"
ROWS: list[Row] = [
    ("std", "yhat", '{"host":"a"}', "2026-01-01 00:00:00", 0.1),
    ("std", "yhat", '{"host":"a"}', "2026-01-01 00:01:00", 0.3),
    ("std", "yhat", '{"host":"a"}', "2026-01-01 00:02:00", 1e300),
    ("std", "yhat", '{"host":"b"}', "2026-01-01 00:00:00", 0.0),
    ("std", "y", '{"host":"a"}', "2026-01-01 00:00:00", 5.0),
]
OTHER: Row = ("custom", "y", '{"host":"a"}', "2026-01-01 00:00:00", 0.5)


def write_record(folder: Path, rows: list[Row]) -> None:
    """Write the scores as those of the first run; the others wrote what never changes."""
    folder.mkdir()
    for run in RUNS:
        scores = folder / f"{run}.duckdb"
        with duckdb.connect(str(scores)) as connection:
            connection.execute(
                "CREATE TABLE scores (model_alias VARCHAR, metric VARCHAR, labels JSON, "
                "timestamp TIMESTAMP, value DOUBLE)"
            )
            connection.executemany(
                "INSERT INTO scores VALUES (?, ?, ?, ?, ?)", rows if run == RUNS[0] else [OTHER]
            )
        keep(scores, folder / f"{run}.parquet")


def compare(
    tmp_path: Path, after: list[Row], monkeypatch: pytest.MonkeyPatch, before: list[Row] = ROWS
) -> int:
    write_record(tmp_path / "before", before)
    write_record(tmp_path / "after", after)
    monkeypatch.setattr(
        "sys.argv", ["regression", "compare", str(tmp_path / "before"), str(tmp_path / "after")]
    )
    return main()


def with_value(index: int, value: float) -> list[Row]:
    rows = list(ROWS)
    rows[index] = (*rows[index][:4], value)
    return rows


def test_the_same_values_in_another_order_are_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(tmp_path, ROWS[::-1], monkeypatch) == 0
    assert "Equal to the bit: 6 values of 4 series" in capsys.readouterr().out


def test_a_changed_last_bit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(tmp_path, with_value(1, math.nextafter(0.3, 1.0)), monkeypatch) == 1
    printed = capsys.readouterr().out
    assert "std yhat: 1 value of 1 series, largest relative difference 1.9e-16" in printed
    assert (
        "2026-01-01T00:01:00Z: 0.3 before, 0.30000000000000004 after, "
        'in {"host":"a"}; 1 value' in printed
    )
    assert "1 of 4 series and 1 of 6 values differ" in printed


def test_the_sign_of_zero_is_a_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(tmp_path, with_value(3, -0.0), monkeypatch) == 1
    assert '0.0 before, -0.0 after, in {"host":"b"}' in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["before", "after"])
def test_a_missing_series_is_named(
    missing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fewer = ROWS[:-1]
    rows = {"before": ROWS, "after": ROWS} | {missing: fewer}
    assert compare(tmp_path, rows["after"], monkeypatch, rows["before"]) == 1
    values = {"before": "5.0", "after": "5.0"} | {missing: "no value"}
    assert (
        f"2026-01-01T00:00:00Z: {values['before']} before, {values['after']} after, "
        'in {"host":"a"}; 1 value' in capsys.readouterr().out
    )


def test_a_missing_point_is_named_and_the_first_is_the_earliest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    after = with_value(2, -1e300)
    del after[1]
    assert compare(tmp_path, after, monkeypatch) == 1
    printed = capsys.readouterr().out
    assert "std yhat: 2 values of 1 series, largest relative difference 2\n" in printed
    assert "2026-01-01T00:01:00Z: 0.3 before, no value after" in printed


def test_two_values_at_one_timestamp_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="two values at one timestamp"):
        compare(tmp_path, [*ROWS, ROWS[0]], monkeypatch)


def test_what_is_missing_is_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["regression", "compare", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match=r"There is no .*none/nab.parquet; make it"):
        main()
    monkeypatch.setattr(
        "sys.argv",
        ["regression", "record", str(tmp_path / "into"), "--nab", str(tmp_path / "nowhere")],
    )
    with pytest.raises(SystemExit, match=r"There is no .*nowhere/data; set NAB"):
        main()
    assert not (tmp_path / "into").exists()


def test_every_model_is_run_with_two_sets_of_parameters(tmp_path: Path) -> None:
    classes = [alias for alias in MODELS.aliases if alias != "auto"]
    run_with: dict[str, set[str]] = {alias: set() for alias in classes}
    for run in RUNS:
        raw = yaml.safe_load((YAMLS / f"{run}.yaml").read_text(encoding="utf-8"))
        models = sections(raw["reader"]["queries"], raw["schedulers"], run == "skab")
        (tmp_path / f"{run}.yaml").write_text(yaml.safe_dump(raw | {"models": models}))
        config = load_config([tmp_path / f"{run}.yaml"], {})
        for model in config.models.values():
            assert model.queries
            assert model.provide_series is not None
            assert "incident_score" in model.provide_series
            kept = str(model.anomaly_score_outside_data_range)
            run_with.setdefault(model.class_name, set()).add(kept)
    assert all(len(run_with[alias]) == 2 for alias in classes)


def test_series_of_nab_are_moved_to_one_day_and_keep_the_time_of_day(tmp_path: Path) -> None:
    for name, rows in {
        "early": "2013-10-09 16:25:00,1.5\n2013-10-10 00:00:00,2\n2013-10-10 00:00:00,1\n",
        "late": "2014-04-01 00:00:00,3\n",
    }.items():
        path = tmp_path / "data" / "real" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"timestamp,value\n{rows}")
    write_nab(tmp_path, tmp_path / "nab.parquet")
    assert parquet(tmp_path / "nab.parquet") == [
        ("2016-03-21 16:25:00", 1.5, "real", "early"),
        ("2016-03-22 00:00:00", 2.0, "real", "early"),
        ("2016-03-21 00:00:00", 3.0, "real", "late"),
    ]


def test_sensors_of_skab_become_series(tmp_path: Path) -> None:
    (tmp_path / "valve1").mkdir()
    (tmp_path / "valve1" / "0.csv").write_text(
        "datetime;Current;Thermocouple;Pressure;anomaly;changepoint\n"
        "2020-03-09 10:14:33;1.5;26;0.25;1.0;0.0\n"
    )
    write_skab(tmp_path, tmp_path / "skab.parquet")
    assert parquet(tmp_path / "skab.parquet") == [
        ("2020-03-09 10:14:33", 1.5, "Current", "electrical"),
        ("2020-03-09 10:14:33", 0.25, "Pressure", "mechanical"),
        ("2020-03-09 10:14:33", 26.0, "Thermocouple", "thermal"),
    ]


def parquet(path: Path) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(
            "SELECT * REPLACE (CAST(timestamp AS VARCHAR) AS timestamp) FROM read_parquet(?)",
            [str(path)],
        ).fetchall()
