"""Incidents in scores that were written: in a DuckDB file, VictoriaMetrics and Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.integration.servers import Prometheus, Server, VictoriaMetrics
from vmanomaly.config.reader import VmReaderSection
from vmanomaly.config.writer import DuckdbWriterSection
from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scores import Above, QueriedScores, ScoreFilter, Scorer, ScoreSource, StoredScores
from vmanomaly.scores import queried as queried_module
from vmanomaly.series import Labels, Origin, Predictions, TimeRange
from vmanomaly.writer.duckdb import DuckdbWriter
from vmanomaly.writer.format import written_labels

STEP = 60_000
N = 600
START = 1_750_000_020_000 // STEP * STEP
TIMES = START + STEP * np.arange(1, N + 1, dtype=np.int64)
WINDOW = TimeRange(START, int(TIMES[-1]))
FORMATS: tuple[Mapping[str, str], ...] = (
    {"__name__": "$VAR", "for": "$QUERY_KEY"},
    {"__name__": "vm.$VAR", "for": "$QUERY_KEY", "part": "of $VAR"},
)
CONTEXT = RunContext()


def predictions() -> list[tuple[Predictions, Origin]]:
    random = np.random.default_rng(1)
    hosts = tuple(Labels({"host": host, "job": "node"}) for host in "abc")
    # Rounded, since VictoriaMetrics keeps about twelve digits.
    anomaly = random.uniform(0, 1, (3, N)).round(3)
    anomaly[0, 300:320] = np.linspace(1.5, 4, 20).round(3)
    incident = (anomaly * 0.5).round(3)
    incident[0, 305:330] = 2.0
    incident[:, ::7] = np.nan
    other = random.uniform(0, 1, (3, N)).round(3)
    other[1, 310:312] = 9.0
    y = random.normal(size=(3, N)).round(3)
    band = {"y": y, "yhat": y * 0, "yhat_lower": y * 0 - 1, "yhat_upper": y * 0 + 1}
    return [
        (
            Predictions(
                hosts, TIMES, {"anomaly_score": anomaly, "incident_score": incident} | band
            ),
            Origin(("cpu",), "envelope", "live", "default"),
        ),
        (
            Predictions(hosts, TIMES, {"anomaly_score": other} | band),
            Origin(("memory",), "mad", "live", "default"),
        ),
    ]


@pytest.fixture(scope="module", params=range(len(FORMATS)), ids=["usual", "renamed"])
def sources(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[ScoreSource]]:
    metric_format = FORMATS[request.param]
    folder = tmp_path_factory.mktemp("scores")
    section = DuckdbWriterSection.model_validate(
        {"class": "duckdb", "path": str(folder / "scores.duckdb"), "metric_format": metric_format}
    )
    writer = DuckdbWriter(section, Metrics())
    everything: list[tuple[dict[str, str], list[tuple[int, float]]]] = []
    for written, origin in predictions():
        writer.write(written, origin)
        for output, values in written.outputs.items():
            for series, row in zip(written.labels, values, strict=True):
                labels = dict(written_labels(series, metric_format, origin, output))
                points = zip(TIMES.tolist(), row.tolist(), strict=True)
                everything.append((labels, [each for each in points if each[1] == each[1]]))
    writer.close()
    with VictoriaMetrics(folder) as vm:
        vm.import_series(everything)
        vm.force_flush()
        servers: list[Server] = [vm]
        with ExitStack() as held:
            if metric_format["__name__"] == "$VAR":  # else a name that Prometheus refuses
                servers.append(held.enter_context(Prometheus(folder, everything)))
            yield [
                StoredScores(Path(section.path), metric_format),
                *(QueriedScores(reader_of(server), metric_format) for server in servers),
            ]


def reader_of(server: Server) -> VmReaderSection:
    return VmReaderSection.model_validate(
        {"class": "vm", "datasource_url": server.url, "sampling_period": "1m", "queries": {}}
    )


def by_scorer(above: Above) -> dict[Scorer, np.ndarray]:
    return dict(zip(above.scorers, above.scores, strict=True))


@pytest.mark.parametrize("step", [STEP, 5 * STEP])
def test_all_give_the_highest_scores_above_the_threshold(
    sources: list[ScoreSource], step: int
) -> None:
    window = TimeRange(START // step * step, -(-WINDOW.end // step) * step)
    (envelope, _), (mad, _) = predictions()
    for source in sources:
        above = source.above(window, step, 1.0, ScoreFilter(), CONTEXT)
        assert (above.n_scored, dict(above.universal)) == (6, {"job": "node"})
        found = by_scorer(above)
        assert {(who.query, who.model, who.series["host"]) for who in found} == {
            ("cpu", "envelope", "a"),
            ("memory", "mad", "b"),
        }
        for who, scores in found.items():
            written, name = (
                (envelope, "incident_score") if who.query == "cpu" else (mad, "anomaly_score")
            )
            row = written.outputs[name]["abc".index(who.series["host"])]
            for end, score in zip(above.timestamps, scores, strict=True):
                within = row[(end - step < TIMES) & (end >= TIMES)]
                within = within[within > 1.0]
                assert score == within.max() if within.size else np.isnan(score)


def test_all_filter(sources: list[ScoreSource]) -> None:
    for source in sources:
        for wanted, n_found in (
            (ScoreFilter(query="cpu"), 1),
            (ScoreFilter(model="mad", scheduler="live", preset="default"), 1),
            (ScoreFilter(series={"host": "a"}), 1),
            (ScoreFilter(series={"host": 'c"'}), 0),
            (ScoreFilter(query="disk"), 0),
        ):
            above = source.above(WINDOW, STEP, 1.0, wanted, CONTEXT)
            assert len(above.scorers) == n_found
            assert above.scores.shape == (n_found, N)


def test_all_give_the_outputs_of_a_series(sources: list[ScoreSource]) -> None:
    (envelope, _), _ = predictions()
    scorer = Scorer("cpu", "envelope", "live", "default", Labels({"host": "a", "job": "node"}))
    for source in sources:
        found = source.outputs(scorer, WINDOW, STEP, CONTEXT)
        assert found is not None
        np.testing.assert_array_equal(found.timestamps, TIMES)
        assert found.outputs.keys() == envelope.outputs.keys()
        for name, values in envelope.outputs.items():
            np.testing.assert_array_equal(found.outputs[name], values[0])
        nobody = Scorer("cpu", "envelope", "live", "default", Labels({"host": "z"}))
        assert source.outputs(nobody, WINDOW, STEP, CONTEXT) is None


def test_too_many_are_refused(sources: list[ScoreSource], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queried_module, "MOST_SERIES", 1)
    monkeypatch.setattr("vmanomaly.scores.stored.MOST_SERIES", 1)
    for source in sources:
        with pytest.raises(DatasourceError, match="too many to show; choose a shorter range"):
            source.above(WINDOW, STEP, 1.0, ScoreFilter(), CONTEXT)
