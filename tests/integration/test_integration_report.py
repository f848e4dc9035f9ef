"""`vmanomaly report` on the scores that a real server holds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.servers import Prometheus, Samples, VictoriaMetrics
from tests.loopback import serve
from vmanomaly.cli.report import report
from vmanomaly.errors import DatasourceError, UsageError

MINUTE_S, HOUR_S = 60, 3600


def test_the_scores_of_a_database_become_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    end = int(time.time()) // 60 * 60 - 300
    times = [end - 60 * minute for minute in range(180, -1, -1)]
    with VictoriaMetrics(tmp_path) as server:
        for host in ("a", "b"):
            labels = {
                "host": host,
                "for": "cpu",
                "model_alias": "envelope",
                "scheduler_alias": "live",
                "preset": "default",
            }
            spike = host == "a"
            for name, base, high in (
                ("anomaly_score", 0.2, 2.5),
                ("incident_score", 0.1, 3.0),
                ("y", 10.0, 50.0),
                ("yhat", 10.0, 10.0),
            ):
                values = [high if spike and 90 <= at < 100 else base for at in range(181)]
                samples = [(1000 * at, value) for at, value in zip(times, values, strict=True)]
                server.import_series([({"__name__": name, **labels}, samples)])
        server.force_flush()
        target = tmp_path / "page.html"
        arguments = [server.url, "--out", str(target), "--since", "6h"]
        assert report(arguments) == 0
        assert "2 series scored by 1 model, a point every 1m as stored;" in capsys.readouterr().out
        page = target.read_text()
        assert page.count("<section") == 2
        assert page.count('<a href="#') == 1
        started = time.strftime("%H:%M", time.gmtime(times[90]))
        assert f"{started}</a>" in page
        assert 'class="labels">{host=&quot;a&quot;}' in page

        assert report([*arguments, "--match", 'host="b"']) == 0
        assert target.read_text().count("<section") == 1
        with pytest.raises(UsageError, match="no anomaly scores in 6h"):
            report([*arguments, "--prefix", "my_"])
        with pytest.raises(UsageError, match="too many for a report"):
            report([*arguments[:3], "--since", "1000d", "--step", "1s"])


@pytest.fixture(scope="module", params=["VictoriaMetrics", "Prometheus"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """Scores of several steps, and the newest whole hour."""
    folder = tmp_path_factory.mktemp(request.param)
    end = int(time.time()) // HOUR_S * HOUR_S
    gappy = [
        at for at in range(end - 7 * 24 * HOUR_S, end + 1, 5 * MINUTE_S) if at % 7 not in (1, 2)
    ]
    assert sum(after - before > 5 * MINUTE_S for before, after in pairwise(gappy)) > 200
    times = {
        "fast": range(end - HOUR_S, end + 1, 15),
        "five": range(end - 2 * 24 * HOUR_S, end + 1, 5 * MINUTE_S),
        "gappy": gappy,
        "hourly": range(end - 6 * 24 * HOUR_S, end + 1, HOUR_S),
        "past": range(end - 100 * HOUR_S, end - 90 * HOUR_S, 2 * MINUTE_S),
        "alone": [end - 30 * HOUR_S],
        "quick": range(end - 6 * HOUR_S, end, MINUTE_S),
    }
    series = [
        ({"__name__": f"{name}_{output}", "host": "a", "for": "cpu"}, _scored(at))
        for name, at in times.items()
        for output in ("anomaly_score", "y")
    ]
    if request.param == "Prometheus":
        with Prometheus(folder, series) as prometheus:
            yield prometheus.url, end
        return
    with VictoriaMetrics(folder) as server:
        server.import_series(series)
        server.force_flush()
        yield server.url, end


def _scored(times: Iterable[int]) -> Samples:
    """Score a single point as anomalous: the third from the end, or the only one."""
    samples = [(1000 * at, 0.5) for at in times]
    third = max(len(samples) - 3, 0)
    samples[third] = (samples[third][0], 4.0)
    return samples


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("fast", "45s (scores are stored every 15s)"),
        ("five", "5m as stored"),
        ("gappy", "5m as stored"),
        ("hourly", "1h as stored"),
        ("past", "2m as stored"),
        ("alone", "1m as stored"),
    ],
)
def test_the_step_is_that_of_the_scores(
    database: tuple[str, int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    name: str,
    step: str,
) -> None:
    url, _ = database
    target = tmp_path / "page.html"
    assert report([url, "--out", str(target), "--prefix", f"{name}_"]) == 0
    assert f"1 series scored by 1 model, a point every {step};" in capsys.readouterr().out
    # One point is anomalous, and appears once: no point is repeated or passed over.
    page = target.read_text()
    assert page.count('<a href="#') == 1
    assert "4.0" in page
    assert "No data" not in caplog.text  # of the outputs that were not written


def test_a_longer_step_shows_the_highest_scores(
    database: tuple[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = database
    target = tmp_path / "page.html"
    assert report([url, "--out", str(target), "--prefix", "quick_", "--step", "1h"]) == 0
    assert "1 model, a point every 1h; open" in capsys.readouterr().out
    assert target.read_text().count('<a href="#') == 1


def test_a_server_of_another_kind_is_named(tmp_path: Path) -> None:
    with (
        serve(lambda handler, asked: handler.reply(body=b"{}")) as server,
        pytest.raises(DatasourceError, match="is no answer of the Prometheus API"),
    ):
        report([server.url, "--out", str(tmp_path / "page.html")])
