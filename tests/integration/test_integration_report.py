"""`vmanomaly report` on the scores that a real server holds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.integration.servers import VictoriaMetrics
from vmanomaly.cli.report import report
from vmanomaly.errors import UsageError


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
        assert "2 series scored by 1 model;" in capsys.readouterr().out
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
