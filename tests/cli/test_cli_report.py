from pathlib import Path

import numpy as np
import pytest

from vmanomaly.cli.detect import detect
from vmanomaly.cli.report import report
from vmanomaly.config.writer import DuckdbWriterSection
from vmanomaly.errors import DatasourceError, UsageError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, Origin, Predictions
from vmanomaly.writer.duckdb import DuckdbWriter


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    path = tmp_path / "scores.duckdb"
    section = DuckdbWriterSection.model_validate({"class": "duckdb", "path": str(path)})
    score = np.zeros((1, 100))
    score[0, 40:45] = 3
    outputs = {"anomaly_score": score, "incident_score": score, "y": score + 1}
    writer = DuckdbWriter(section, Metrics())
    timestamps = 60_000 * np.arange(1, 101, dtype=np.int64)
    for model in ("mad", "envelope"):
        origin = Origin(("cpu",), model, "once", "default")
        writer.write(Predictions((Labels({"host": "a"}),), timestamps, outputs), origin)
    writer.close()
    return path


def test_a_file_of_scores_becomes_a_page(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "page.html"
    assert report([str(scores), "--out", str(target)]) == 0
    assert "1 series scored by 2 models" in capsys.readouterr().out
    page = target.read_text()
    assert "Thu 1 Jan 1970 00:41" in page
    assert "models: envelope, mad" in page


def test_since_leaves_out_what_is_older(scores: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert report([str(scores), "--out", str(target), "--since", "10m"]) == 0
    assert "None: nowhere is" in target.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.duckdb"], "no file missing.duckdb; a URL begins with"),
        (["{scores}", "--out", "page.pdf"], "ends in .html"),
        (["{scores}", "--out", "nowhere/page.html"], "the folder nowhere does not exist"),
        (["{scores}", "--since", "soon"], "see vmanomaly report -h"),
        ([], "see vmanomaly report -h"),
    ],
)
def test_a_wrong_argument_has_its_message(
    scores: Path,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        report([each.format(scores=scores) for each in arguments])
    assert not list(tmp_path.glob("*.html"))


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasourceError, match=r"127\.0\.0\.1:9"):
        report(["http://127.0.0.1:9", "--out", str(tmp_path / "page.html"), "--timeout", "2s"])


@pytest.mark.slow
def test_detect_writes_a_page_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = np.arange("2026-01-01", "2026-01-03", dtype="datetime64[m]")
    values = np.random.default_rng(0).normal(0, 1, len(times))
    values[2000:2030] += 30
    table = tmp_path / "load.csv"
    rows = "".join(f"{time}Z,{value:.3f}\n" for time, value in zip(times, values, strict=True))
    table.write_text("time,load\n" + rows)
    target = tmp_path / "load.html"
    assert detect([str(table), "--model", "mad_online", "--report", str(target)]) == 0
    assert "The report is in" in capsys.readouterr().err
    page = target.read_text()
    assert "Fri 2 Jan 2026 09:20" in page
    assert "<code>incident_score &gt; 1</code>" in page
    # No score is that high, so the page has no incident either.
    arguments = ["--threshold", "1e9", "--report", str(target)]
    assert detect([str(table), "--model", "mad_online", *arguments]) == 0
    assert "None: nowhere is <code>incident_score &gt; 1e+09</code>." in target.read_text()
