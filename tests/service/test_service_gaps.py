"""Intervals without logs: what a query with `fill: 0` makes of them, up to the scores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import FakeWriter
from tests.victorialogs import victorialogs
from vmanomaly.config import load_config
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader
from vmanomaly.scheduler.run import Run
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.service.gaps import on_common_grid, with_zeros
from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob
from vmanomaly.service.plan import create_jobs, create_models

STEP_S = 60
START_S = 1_750_000_020
N_FIT, N_INFER = 60, 3
A, B, C = (Labels({"job": name}) for name in "abc")

CONFIG = """
reader:
  class: vlogs
  datasource_url: {url}
  sampling_period: 1m
  queries:
    logs: {{expr: '* | stats by (level) count() as n', {fill}}}
models:
  model: {model}
schedulers:
  s: {{infer_every: 1m, fit_every: 1d, fit_window: 1h}}
writer:
  datasource_url: http://localhost:8428
"""
UNIVARIATE = "{class: zscore_online, provide_series: [y, anomaly_score], min_n_samples_seen: 2}"
JOINT = """{class: temporal_envelope_multivariate, groupby: [result_name],
          provide_series: [anomaly_score]}"""


@pytest.fixture
def logs_url() -> Iterator[str]:
    """Serve logs of two levels in the fit window, none of one level then, and then none at all."""
    with victorialogs() as (logs, server):
        rng = np.random.default_rng(3)
        for bucket in range(N_FIT + N_INFER - 1):
            time = datetime.fromtimestamp(START_S + bucket * STEP_S, UTC).isoformat()
            time = time.removesuffix("+00:00") + "Z"
            levels = {"info": int(rng.integers(40, 60)), "error": int(rng.integers(0, 9))}
            if bucket >= N_FIT:
                levels["error"] = 0
            for level, n in levels.items():
                logs.add(*[{"_time": time, "level": level}] * n)
        yield server.url


def job_on(url: str, folder: Path, fill: str, model: str) -> tuple[QueryJob, FakeWriter]:
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(url=url, fill=fill, model=model))
    config = load_config([path], {})
    metrics, writer = Metrics(), FakeWriter()
    reader = create_reader(config.reader, metrics)
    jobs = create_jobs(config, create_models(config), reader, writer, Health({}), metrics)
    (job,) = jobs["s"]
    return job, writer


def the_run() -> Run:
    """Return a fit up to the first bucket without errors, and an infer of it and those after it."""
    end = (START_S + N_FIT * STEP_S) * 1000
    fit = TimeRange(START_S * 1000, end)
    infer = TimeRange(end, end + N_INFER * STEP_S * 1000)
    return Run(fit, infer, micro_batch=STEP_S * 1000, micro_batch_end=end)


def test_logs_that_stop_are_scored_as_zero(logs_url: str, tmp_path: Path) -> None:
    job, writer = job_on(logs_url, tmp_path, "fill: 0", UNIVARIATE)
    assert not job.execute(the_run()).failed
    (predictions, _) = writer.written[0]
    seconds = [START_S + (N_FIT + i) * STEP_S for i in range(N_INFER)]
    assert predictions.timestamps.tolist() == [second * 1000 for second in seconds]
    y = dict(zip(predictions.labels, predictions.outputs["y"], strict=True))
    of_level = {labels["level"]: row for labels, row in y.items()}
    np.testing.assert_array_equal(of_level["error"], [0, 0, 0])
    assert (of_level["info"][:2] >= 40).all()
    assert of_level["info"][2] == 0
    scores = dict(zip(predictions.labels, predictions.outputs["anomaly_score"], strict=True))
    (of_info,) = (row for labels, row in scores.items() if labels["level"] == "info")
    assert (of_info > 1).tolist() == [False, False, True]


def test_without_fill_an_interval_without_logs_is_not_scored(logs_url: str, tmp_path: Path) -> None:
    job, writer = job_on(logs_url, tmp_path, "", UNIVARIATE)
    job.execute(the_run())
    (predictions, _) = writer.written[0]
    assert {labels["level"] for labels in predictions.labels} == {"info"}
    assert np.isnan(predictions.outputs["y"]).tolist() == [[False, False, True]]


def test_channels_of_a_group_without_logs_are_zero(logs_url: str, tmp_path: Path) -> None:
    job, writer = job_on(logs_url, tmp_path, "fill: 0", JOINT)
    assert not job.execute(the_run()).failed
    (predictions, _) = writer.written[0]
    assert np.isfinite(predictions.outputs["anomaly_score"]).all()
    assert predictions.timestamps.size == N_INFER


def test_runs_one_by_one_give_what_one_run_gives(logs_url: str, tmp_path: Path) -> None:
    whole, written = job_on(logs_url, tmp_path, "fill: 0", UNIVARIATE)
    whole.execute(the_run())
    (expected, _) = written.written[0]
    job, writer = job_on(logs_url, tmp_path, "fill: 0", UNIVARIATE)
    run = the_run()
    job.execute(Run(run.fit, None))
    for i in range(N_INFER):
        end = START_S * 1000 + (N_FIT + i + 1) * STEP_S * 1000
        infer = TimeRange(end - STEP_S * 1000, end)
        assert not job.execute(
            Run(None, infer, micro_batch=STEP_S * 1000, micro_batch_end=end)
        ).failed
    for output in ("y", "anomaly_score"):
        for i, (predictions, _) in enumerate(writer.written):
            found = dict(zip(predictions.labels, predictions.outputs[output], strict=True))
            for labels, row in zip(expected.labels, expected.outputs[output], strict=True):
                np.testing.assert_array_equal(found[labels], row[i : i + 1])
    assert len(writer.written) == N_INFER


def test_only_series_that_are_known_get_zeros() -> None:
    nan = np.nan
    grid = np.array([1000, 2000, 3000])
    batch = SeriesBatch((A, B), grid, np.array([[nan, 1, nan], [nan, 2, 3]]))
    filled = with_zeros(batch, {A: None, C: None})
    assert filled.labels == (A, B, C)
    np.testing.assert_array_equal(filled.values, [[0, 1, 0], [nan, 2, 3], [0, 0, 0]])
    nothing = SeriesBatch((), grid, np.empty((0, 3)))
    np.testing.assert_array_equal(with_zeros(nothing, {A: None}).values, [[0, 0, 0]])
    assert with_zeros(nothing, {}).labels == ()


def test_batches_end_where_the_shortest_does() -> None:
    grid = np.array([1000, 2000, 3000])
    long = SeriesBatch((A,), grid, np.array([[1.0, 2.0, 3.0]]))
    short = SeriesBatch((), grid[:2], np.empty((0, 2)))
    cut, same = on_common_grid([long, short])
    assert cut.timestamps.tolist() == [1000, 2000]
    assert cut.values.tolist() == [[1.0, 2.0]]
    assert cut.values.flags.c_contiguous
    assert same is short
    assert on_common_grid([long]) == [long]
