import logging
from io import StringIO
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from vmanomaly.config import load_config
from vmanomaly.config.reader import DuckdbReaderSection
from vmanomaly.demo.command import findings_table, main, run_demo
from vmanomaly.demo.evaluate import evaluate
from vmanomaly.demo.folder import CONFIG, REPORT, SCORES, TELEMETRY, prepare
from vmanomaly.demo.page import UNITS
from vmanomaly.demo.store import store
from vmanomaly.demo.telemetry import generate
from vmanomaly.errors import ConfigError, UsageError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader.duckdb import DuckdbReader
from vmanomaly.report import ScoredSeries
from vmanomaly.report.stored import read_stored
from vmanomaly.series import TimeRange

pytestmark = pytest.mark.slow

ERROR_BURST_DAY = ("2026-06-10T12:00:00Z", "2026-06-11T00:00:00Z")


def shortened(folder: Path) -> None:
    """Leave one query, one model and half a day in a demo's config file."""
    prepare(folder)
    content = yaml.safe_load((folder / CONFIG).read_text())
    queries = content["reader"]["queries"]
    content["reader"]["queries"] = {"errors": queries["errors"]}
    content["models"] = {"mad": content["models"]["mad_online"]}
    content["schedulers"]["once"]["infer_start_iso"] = ERROR_BURST_DAY[0]
    content["schedulers"]["once"]["infer_end_iso"] = ERROR_BURST_DAY[1]
    (folder / CONFIG).write_text(yaml.safe_dump(content))


def quiet_console() -> tuple[Console, StringIO]:
    output = StringIO()
    return Console(file=output, width=100), output


def test_the_config_file_is_valid_and_raises_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(tmp_path)
    with caplog.at_level(logging.WARNING):
        config = load_config([tmp_path / CONFIG], {})
    assert caplog.records == []
    assert config.reader.queries.keys() == UNITS.keys()
    assert list(config.models) == ["temporal_envelope", "mad_online"]
    assert config.server is not None
    assert (config.server.addr, config.server.port) == ("127.0.0.1", 0)


def test_every_query_finds_its_series_with_the_labels_of_the_truth(tmp_path: Path) -> None:
    prepare(tmp_path)
    telemetry = generate()
    store(telemetry, tmp_path / TELEMETRY)
    section = load_config([tmp_path / CONFIG], {}).reader
    assert isinstance(section, DuckdbReaderSection)
    reader = DuckdbReader(section.model_copy(update={"path": str(tmp_path / TELEMETRY)}), Metrics())
    end = int(telemetry.batch.timestamps[-1])
    day = TimeRange(end - 86_400_000, end)
    seen = set()
    for query in section.queries.values():
        batch = reader.read(query, day, "once", stage="infer")
        assert batch.n_valid_points > 0.97 * batch.values.size > 0
        assert set(batch.labels) <= set(telemetry.batch.labels)
        seen |= set(batch.labels)
    assert seen == set(telemetry.batch.labels)


def test_the_demo_shows_what_an_edited_config_finds(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shortened(folder)
    edited = (folder / CONFIG).read_text()
    console, output = quiet_console()
    assert run_demo(folder, console) == 0
    text = output.getvalue()
    assert "Keeping" in text
    assert "mad: found 1 of 12; 1 false alarm on 2 series" in text
    assert "vmanomaly my-config.yaml" in text
    assert (folder / CONFIG).read_text() == edited
    assert "Error burst" in (folder / REPORT).read_text()


def test_the_scores_come_back_as_they_were_written_and_a_second_run_replaces_them(
    tmp_path: Path,
) -> None:
    shortened(tmp_path)
    first_run = run_and_read(tmp_path)
    second_run = run_and_read(tmp_path)
    assert [item.query for item in first_run] == ["errors"] * 2
    assert {item.series["service"] for item in first_run} == {"frontend", "checkout"}
    for first, second in zip(first_run, second_run, strict=True):
        assert set(first.series) == {"metric", "service", "instance"}
        assert 650 < len(first.timestamps) <= 721
        assert (first.timestamps == second.timestamps).all()
        assert (first.outputs["y"] == second.outputs["y"]).all()


def run_and_read(folder: Path) -> list[ScoredSeries]:
    assert run_demo(folder, quiet_console()[0]) == 0
    return read_stored(folder / SCORES)


def test_the_table_tells_found_from_missed(tmp_path: Path) -> None:
    shortened(tmp_path)
    scored = run_and_read(tmp_path)
    incidents = generate().incidents
    console, output = quiet_console()
    console.print(findings_table(incidents, evaluate(scored, incidents)))
    rows = [line for line in output.getvalue().splitlines() if line.startswith("│")]
    lines = {line.split("│")[1].strip(): line for line in rows}
    assert "after 3m" in lines["Error burst"]
    assert "missed" in lines["Memory leak"]


def test_a_writer_elsewhere_leaves_nothing_to_show(tmp_path: Path) -> None:
    shortened(tmp_path)
    content = yaml.safe_load((tmp_path / CONFIG).read_text())
    content["writer"]["path"] = str(tmp_path / "mine.duckdb")
    (tmp_path / CONFIG).write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match="delete it for a fresh one"):
        run_demo(tmp_path, quiet_console()[0])


def test_a_config_broken_by_editing_is_a_config_error(tmp_path: Path) -> None:
    shortened(tmp_path)
    (tmp_path / CONFIG).write_text("models: {a: {class: zscore_onlin}}\n")
    with pytest.raises(ConfigError):
        run_demo(tmp_path, quiet_console()[0])


def test_an_unknown_argument_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="vmanomaly demo -h"):
        main(["--folder", "x"])
