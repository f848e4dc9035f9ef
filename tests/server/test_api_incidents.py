"""The routes that tell of incidents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest

from tests.server.api_client import Client, serving
from vmanomaly.config.writer import DuckdbWriterSection
from vmanomaly.context import RunContext
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scores import Scorer, StoredScores
from vmanomaly.series import Labels, Origin, Predictions, TimeRange
from vmanomaly.writer.duckdb import DuckdbWriter

MINUTE = 60_000
N = 180
START = 1_750_000_020_000
TIMES = START + MINUTE * np.arange(1, N + 1, dtype=np.int64)
END_S = int(TIMES[-1]) / 1000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scores") / "scores.duckdb"
    section = DuckdbWriterSection.model_validate({"class": "duckdb", "path": str(path)})
    scores = np.full((3, N), 0.5)
    scores[0, 30:40] = 3.0
    scores[1, 32:36] = 5.0
    scores[2, 170:] = 1e300
    writer = DuckdbWriter(section, Metrics())
    writer.write(
        Predictions(
            tuple(Labels({"host": host}) for host in "abc"),
            TIMES,
            {
                "anomaly_score": scores,
                "y": -scores - np.arange(N) % 2,
                "yhat": scores * 0,
                "yhat_lower": scores * 0 - 1,
                "yhat_upper": scores * 0 + 1,
                "flatline_score": scores / 2,
                "drift_score": scores / 4,
                "drift": -scores,
            },
        ),
        Origin(("cpu",), "mad", "once", "default"),
    )
    writer.close()
    return path


@pytest.fixture
def client(path: Path) -> Iterator[Client]:
    with serving({"writer": {"class": "duckdb", "path": str(path)}}) as client:
        yield client


def test_incidents_come_with_a_timeline(client: Client) -> None:
    data = client.ok("GET", "/api/v1/incidents")["data"]
    # A day, from multiple to multiple of a step that gives 720 points.
    assert data["step"] == 120
    assert data["end"] == -(-END_S // 120) * 120
    assert data["start"] == (END_S - 86_400) // 120 * 120
    assert (data["threshold"], data["n_scored"], data["n_incidents"]) == (1.0, 3, 2)
    now, before = data["incidents"]
    assert (now["ongoing"], before["ongoing"]) == (True, False)
    assert now["labels"] == {"host": "c"}
    assert now["peak"] == 1e300
    assert (before["n_series"], before["queries"]) == (2, ["cpu"])
    assert [each["labels"]["host"] for each in before["series"]] == ["a", "b"]
    series = before["series"][1]
    assert (series["model_alias"], series["scheduler_alias"]) == ("mad", "once")
    timeline = data["timeline"]
    assert max(timeline["n_series"]) == 2
    assert len(timeline["timestamps"]) == len(timeline["n_series"]) == 721


def test_a_window_and_a_filter_narrow_it(client: Client) -> None:
    start = START / 1000
    arguments = urlencode({"start": start, "end": start + 3600, "step": "1m", "label": "host=b"})
    data = client.ok("GET", f"/api/v1/incidents?{arguments}")["data"]
    (incident,) = data["incidents"]
    assert incident["labels"] == {"host": "b"}
    assert incident["start"] == start + 33 * 60
    assert len(data["timeline"]["timestamps"]) == 60
    for wanted, n_found in (
        ("threshold=4", 2),
        ("limit=1", 1),
        ("since=30m", 1),
        ("model_alias=other", 0),
        ("query=cpu&preset=default&scheduler_alias=once", 2),
    ):
        data = client.ok("GET", f"/api/v1/incidents?{wanted}")["data"]
        assert len(data["incidents"]) == n_found, wanted


def test_the_outputs_of_a_series_can_be_plotted(client: Client) -> None:
    arguments = {
        "query": "cpu",
        "model_alias": "mad",
        "scheduler_alias": "once",
        "preset": "default",
        "labels": json.dumps({"host": "a"}),
        "start": START / 1000,
        "end": END_S,
        "step": "1m",
    }
    data = client.ok("GET", f"/api/v1/incidents/outputs?{urlencode(arguments)}")["data"]
    assert data["timestamps"] == (TIMES / 1000).tolist()
    assert set(data["outputs"]) == {
        *("anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper"),
        *("flatline_score", "drift_score", "drift"),
    }
    assert [data["outputs"][name][30] for name in ("flatline_score", "drift_score", "drift")] == [
        *(1.5, 0.75, -3.0)
    ]
    assert data["outputs"]["anomaly_score"][29:31] == [0.5, 3.0]
    start, end = TIMES[30] / 1000, TIMES[39] / 1000
    for incident, deviation in (((start, end), "lower level"), ((start, start), "dip")):
        asked = {
            **arguments,
            **dict(zip(("incident_start", "incident_end"), incident, strict=True)),
        }
        data = client.ok("GET", f"/api/v1/incidents/outputs?{urlencode(asked)}")["data"]
        assert data["deviation"] == deviation
    arguments["labels"] = '{"host": "z"}'
    data = client.ok("GET", f"/api/v1/incidents/outputs?{urlencode(arguments)}")["data"]
    assert data == {"timestamps": [], "outputs": {}, "deviation": None}
    arguments["labels"] = "[1]"
    error = client.error(422, "GET", f"/api/v1/incidents/outputs?{urlencode(arguments)}")
    assert "labels: expected a JSON object" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("label=host", "label: expected name=value"),
        ("start=2&end=1", "end: is not after start"),
        ("start=0&end=1700000000&step=1s", "step: gives more than 7,200 points a series"),
        ("threshold=inf", "threshold: expected a finite number"),
        ("limit=0", "limit: Input should be greater than or equal to 1"),
    ],
)
def test_wrong_arguments_are_named(client: Client, arguments: str, message: str) -> None:
    assert message in client.error(422, "GET", f"/api/v1/incidents?{arguments}")


def test_a_query_may_be_called_like_an_output(tmp_path: Path) -> None:
    path = tmp_path / "scores.duckdb"
    names = {"__name__": "$QUERY_KEY_$VAR", "for": "$QUERY_KEY"}
    section = DuckdbWriterSection.model_validate(
        {"class": "duckdb", "path": str(path), "metric_format": names}
    )
    writer = DuckdbWriter(section, Metrics())
    outputs = {"anomaly_score": np.full((1, N), 3.0), "y": np.full((1, N), 7.0)}
    writer.write(
        Predictions((Labels({"host": "a"}),), TIMES, outputs),
        Origin(("drift",), "mad", "once", "default"),
    )
    writer.close()
    scorer = Scorer("drift", "mad", "once", "default", Labels({"host": "a"}))
    window = TimeRange(START, int(TIMES[-1]))
    found = StoredScores(path, names).outputs(scorer, window, MINUTE, RunContext())
    assert found is not None
    assert {name: values[0] for name, values in found.outputs.items()} == {
        "anomaly_score": 3.0,
        "y": 7.0,
    }


def test_nothing_written_yet_is_no_error(tmp_path: Path) -> None:
    with serving({"writer": {"class": "duckdb", "path": str(tmp_path / "none.duckdb")}}) as client:
        data = client.ok("GET", "/api/v1/incidents")["data"]
        assert (data["n_scored"], data["incidents"]) == (0, [])


def test_a_writer_that_keeps_nothing_needs_a_datasource() -> None:
    query = {"cpu": {"expr": "SELECT now() AS timestamp, 1.0 AS value"}}
    reader = {"class": "duckdb", "path": ":memory:", "sampling_period": "1m", "queries": query}
    with serving({"writer": {"class": "noop"}, "reader": reader}) as client:
        assert "keeps no scores" in client.error(422, "GET", "/api/v1/incidents")


def test_the_status_comes_over_http(client: Client) -> None:
    data = client.ok("GET", "/api/v1/status")["data"]
    assert data["writer"]["class_name"] == "duckdb"
    assert [each["alias"] for each in data["schedulers"]] == ["live"]
