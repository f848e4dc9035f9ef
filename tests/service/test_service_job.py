from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import FakeReader, FakeWriter
from vmanomaly.config import Config, load_config
from vmanomaly.config.reader import Query
from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError
from vmanomaly.model import AnyModel, Model, ModelOutput
from vmanomaly.model.online import OnlineModel
from vmanomaly.model.state import Array, SeriesState
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler.run import Run, RunResult
from vmanomaly.series import IntArray, Labels, Origin, SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.plan import create_jobs, create_models

CONFIG = """
reader:
  datasource_url: http://localhost:8428
  sampling_period: 1s
  queries:
    cpu: {expr: cpu}
    mem: {expr: mem}
models:
  good: {class: zscore_online, queries: all, schedulers: all, min_n_samples_seen: 2}
  other: {class: mad_online, queries: [cpu], schedulers: all}
schedulers:
  s: {infer_every: 1s, fit_every: 1h, fit_window: 10s}
writer:
  datasource_url: http://localhost:8428
"""
CPU_0, CPU_1 = Labels({"cpu": "0"}), Labels({"cpu": "1"})
FIT, INFER = TimeRange(0, 10_000), TimeRange(10_000, 13_000)


class BrokenModel(Model):
    outputs = default_outputs = ("anomaly_score",)
    online = False

    def fit(self, batch: SeriesBatch) -> SeriesState:
        raise ZeroDivisionError("division by zero in the model")

    def infer(
        self, state: SeriesState, batch: SeriesBatch, micro_batch_starts: IntArray
    ) -> ModelOutput:
        raise AssertionError("never fitted")

    def restore(self, labels: Iterable[Labels], arrays: Mapping[str, Array]) -> SeriesState:
        raise AssertionError("never stored")


class World:
    """One service's parts, with fakes at both ends."""

    def __init__(
        self,
        config: Config,
        answer: Callable[[Query, TimeRange, str], SeriesBatch],
        models: dict[str, Model] | None = None,
    ) -> None:
        self.metrics = Metrics()
        self.health = Health({})
        self.reader, self.writer = FakeReader(answer), FakeWriter()
        replaced: dict[tuple[str, tuple[str, ...]], AnyModel] = {
            (alias, (query,)): model
            for alias, model in (models or {}).items()
            for query in config.models[alias].queries
        }
        jobs = create_jobs(
            config,
            {**create_models(config), **replaced},
            self.reader,
            self.writer,
            self.health,
            self.metrics,
        )
        self.cpu, self.mem = jobs["s"]

    def counted(self, name: str, stage: str, model_alias: str = "good") -> float | None:
        labels = {
            "stage": stage,
            "query_key": "cpu",
            "model_alias": model_alias,
            "scheduler_alias": "s",
            "preset": "default",
        }
        return self.metrics.registry.get_sample_value(f"vmanomaly_{name}", labels)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return load_config([path], {})


def two_series(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    grid = time_range.grid(int(query.step))
    return SeriesBatch((CPU_0, CPU_1), grid, np.array([grid % 3000, grid % 7000]) / 1000.0)


def empty(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    grid = time_range.grid(int(query.step))
    return SeriesBatch((), grid, np.empty((0, len(grid))))


def run(fit: TimeRange | None = FIT, infer: TimeRange | None = INFER) -> Run:
    return Run(fit, infer, micro_batch=1000, micro_batch_end=10_000)


def test_a_query_is_read_once_for_all_its_models(config: Config) -> None:
    world = World(config, two_series)
    assert world.cpu.execute(run()) == RunResult(fitted=True, inferred=True)
    assert world.reader.asked == [("cpu", FIT, "fit"), ("cpu", INFER, "infer")]
    assert [origin.model_alias for _, origin in world.writer.written] == ["good", "other"]


def test_what_is_written_is_the_mean_of_what_came_before(config: Config) -> None:
    world = World(config, two_series)
    world.cpu.execute(run())
    predictions, origin = world.writer.written[0]
    assert origin == Origin(("cpu",), "good", "s", "default")
    assert list(predictions.outputs) == ["anomaly_score", "yhat", "yhat_lower", "yhat_upper"]
    np.testing.assert_array_equal(predictions.timestamps, [11_000, 12_000, 13_000])
    seen = (np.arange(1, 14) * 1000 % 3000) / 1000.0
    means = [seen[:n].mean() for n in (10, 11, 12)]
    np.testing.assert_allclose(predictions.outputs["yhat"][0], means, rtol=1e-14)


def test_runs_are_counted(config: Config) -> None:
    world = World(config, two_series)
    world.cpu.execute(run())
    assert world.counted("model_runs_total", "fit") == 1
    assert world.counted("model_runs_total", "infer") == 1
    assert world.counted("model_datapoints_accepted_total", "fit") == 20
    assert world.counted("model_datapoints_accepted_total", "infer") == 6
    assert world.counted("model_datapoints_produced_total", "infer") == 6


def test_a_model_that_raises_fails_alone(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    world = World(config, two_series, {"good": BrokenModel()})
    problem = "ZeroDivisionError: division by zero in the model"
    assert world.cpu.execute(run()) == RunResult(
        fitted=True,
        inferred=True,
        reasons=(
            f"model 'good', query 'cpu': fit failed: {problem}",
            "model 'good', query 'cpu': infer failed: the model has not been fitted",
        ),
    )
    assert [origin.model_alias for _, origin in world.writer.written] == ["other"]
    assert world.counted("model_run_errors_total", "fit") == 1
    assert world.counted("model_runs_skipped_total", "infer") == 1
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert error.getMessage() == "Error during stage 'fit' for model 'good', query 'cpu'"
    assert error.exc_info is not None


def test_a_query_that_fails_is_told_and_its_interval_is_not_covered(config: Config) -> None:
    def refuse(*_: Any) -> SeriesBatch:
        raise DatasourceError("connection refused", "connection_error")

    world = World(config, refuse)
    assert world.cpu.execute(run()) == RunResult(False, False, ("connection refused",))
    assert world.health.reasons() == ["reader: query cpu: connection refused"]
    assert world.counted("model_runs_skipped_total", "fit") == 1

    world.reader.answer = two_series
    assert not world.cpu.execute(run()).failed
    assert world.health.reasons() == []


def test_a_refit_that_fails_leaves_the_old_state_at_work(config: Config) -> None:
    world = World(config, two_series)
    world.cpu.execute(run())

    def no_fit(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        if stage == "fit":
            raise DatasourceError("timed out", "timeout")
        return two_series(query, time_range, stage)

    world.reader.answer = no_fit
    later = TimeRange(13_000, 14_000)
    outcome = world.cpu.execute(run(TimeRange(3000, 13_000), later))
    assert outcome == RunResult(False, True, ("timed out",))
    assert len(world.writer.written) == 4


def test_an_empty_fit_window_starts_online_models_cold(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    def new_series(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        return (empty if stage == "fit" else two_series)(query, time_range, stage)

    world = World(config, new_series)
    assert world.cpu.execute(run()) == RunResult(fitted=True, inferred=True)
    scores = world.writer.written[0][0].outputs["anomaly_score"]
    np.testing.assert_array_equal(scores[:, :2], 0.0)
    assert "Skipping run for stage 'fit' for model 'good'" in caplog.text


def test_an_empty_infer_range_counts_as_covered(config: Config) -> None:
    world = World(config, two_series)
    world.cpu.execute(run(infer=None))
    world.reader.answer = empty
    assert world.cpu.execute(run(fit=None)) == RunResult(fitted=True, inferred=True)
    assert world.writer.written == []
    assert world.counted("model_runs_skipped_total", "infer") == 1


def test_skips_are_logged_when_they_begin_and_then_only_counted(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(config, two_series)
    world.cpu.execute(run(infer=None))
    world.reader.answer = empty
    for _ in range(3):
        world.cpu.execute(run(fit=None))
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2  # one a model
    assert world.counted("model_runs_skipped_total", "infer") == 3


def test_points_are_never_scored_twice(config: Config) -> None:
    world = World(config, two_series)
    world.cpu.execute(run())
    world.cpu.execute(run(fit=None, infer=TimeRange(11_000, 15_000)))
    again = world.writer.written[2][0]
    np.testing.assert_array_equal(again.timestamps, [12_000, 13_000, 14_000, 15_000])
    for values in again.outputs.values():
        assert np.isnan(values[:, :2]).all()
        assert np.isfinite(values[:, 2:]).all()


def test_series_that_vanish_and_come_keep_their_own_state(config: Config) -> None:
    world = World(config, two_series)
    world.cpu.execute(run())

    def only_the_second(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_series(query, time_range, stage)
        return SeriesBatch((CPU_1,), batch.timestamps, batch.values[1:].copy())

    world.reader.answer = only_the_second
    world.cpu.execute(run(fit=None, infer=TimeRange(13_000, 15_000)))

    def both_again(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_series(query, time_range, stage)
        batch.values[0, batch.timestamps <= 15_000] = np.nan
        return batch

    world.reader.answer = both_again
    world.cpu.execute(run(fit=None, infer=TimeRange(15_000, 16_000)))
    yhat = world.writer.written[-2][0].outputs["yhat"][:, -1]
    first = (np.array([*range(1, 14)]) * 1000 % 3000) / 1000.0
    second = (np.arange(1, 16) * 1000 % 7000) / 1000.0
    np.testing.assert_allclose(yhat, [first.mean(), second.mean()], rtol=1e-14)


def test_a_step_longer_than_the_interval_is_read_when_it_ends(config: Config) -> None:
    world = World(config, empty)
    world.cpu.execute(run(infer=None))
    outcome = world.cpu.execute(Run(None, TimeRange(10_100, 10_200), 100, 0))
    assert outcome == RunResult(fitted=True, inferred=True)
    assert world.counted("model_runs_skipped_total", "infer") == 0


@pytest.mark.parametrize(
    "source", ["datasource_url: http://localhost:8428", "class: duckdb\n  path: telemetry.duckdb"]
)
def test_infer_can_begin_where_data_was_last_seen(tmp_path: Path, source: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        CONFIG.replace("datasource_url: http://localhost:8428", source, 1).replace(
            "  sampling_period: 1s",
            "  sampling_period: 1s\n  query_from_last_seen_timestamp: true\n"
            "  query_last_seen_max_lookback: 30s",
        )
    )
    world = World(load_config([path], {}), two_series)
    world.cpu.execute(run())
    world.cpu.execute(run(fit=None, infer=TimeRange(20_000, 21_000)))
    assert world.reader.asked[-1] == ("cpu", TimeRange(13_000, 21_000), "infer")
    world.cpu.execute(run(fit=None, infer=TimeRange(90_000, 91_000)))
    assert world.reader.asked[-1] == ("cpu", TimeRange(61_000, 91_000), "infer")


def scores_of(world: World) -> dict[tuple[str, Labels, int], float]:
    """Return the scores by model, series and time; each was written once."""
    scores: dict[tuple[str, Labels, int], float] = {}
    for predictions, origin in world.writer.written:
        for labels, values in zip(
            predictions.labels, predictions.outputs["anomaly_score"], strict=True
        ):
            for timestamp, score in zip(predictions.timestamps.tolist(), values, strict=True):
                if not np.isnan(score):
                    key = (origin.model_alias, labels, timestamp)
                    assert key not in scores
                    scores[key] = score
    return scores


@pytest.mark.parametrize(
    "keys",
    [
        "",
        "  query_from_last_seen_timestamp: true\n",
        "  query_from_last_seen_timestamp: true\n  query_last_seen_max_lookback: 10s\n",
    ],
)
def test_what_comes_late_is_scored_once_as_on_time(tmp_path: Path, keys: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("models:", f"{keys}models:", 1))
    now = 0

    def visible(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_series(query, time_range, stage)
        for values, steady in zip(batch.values, (2000, 4000), strict=True):
            delay = steady + batch.timestamps // 1000 * 1700 % 2000
            newest = batch.timestamps[batch.timestamps + delay <= now]
            # What is visible is visible in order.
            values[batch.timestamps > (newest.max() if newest.size else 0)] = np.nan
        return batch

    def walk(answer: Callable[[Query, TimeRange, str], SeriesBatch]) -> World:
        nonlocal now
        world, now = World(load_config([path], {}), answer), 16_000
        world.cpu.execute(run(infer=None))
        for now in range(11_000, 31_000, 1000):
            world.cpu.execute(run(fit=None, infer=TimeRange(now - 1000, now)))
        return world

    late, on_time = walk(visible), scores_of(walk(two_series))
    found = scores_of(late)
    assert {key: on_time[key] for key in found} == found
    for labels, until in ((CPU_0, 26_000), (CPU_1, 24_000)):
        for timestamp in range(11_000, until, 1000):
            assert ("good", labels, timestamp) in found


def test_a_series_that_is_gone_does_not_hold_the_others_back(config: Config) -> None:
    world = World(config, two_series)
    world.cpu.execute(run())

    def only_the_second(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_series(query, time_range, stage)
        return SeriesBatch((CPU_1,), batch.timestamps, batch.values[1:].copy())

    world.reader.answer = only_the_second
    for now in range(14_000, 31_000, 1000):
        world.cpu.execute(run(fit=None, infer=TimeRange(now - 1000, now)))
    starts = [time_range.start for _, time_range, _ in world.reader.asked[2:]]
    # One infer_every and the eval_delay of 5s.
    assert starts == [13_000] * 7 + list(range(20_000, 30_000, 1000))


def test_a_fit_in_blocks_learns_the_same(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def many(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        grid = time_range.grid(int(query.step))
        labels = tuple(Labels({"cpu": str(i)}) for i in range(37))
        return SeriesBatch(labels, grid, np.sin(np.arange(37.0 * len(grid))).reshape(37, -1))

    whole, blocks = World(config, many), World(config, many)
    whole.cpu.execute(run(infer=None))
    monkeypatch.setattr("vmanomaly.model.base.BaseModel.block_bytes", 1)
    blocks.cpu.execute(run(infer=None))
    for one, other in zip(whole.cpu.units, blocks.cpu.units, strict=True):
        assert one.state is not None
        assert other.state is not None
        assert one.state.labels == other.state.labels
        for name, array in one.state.arrays().items():
            np.testing.assert_array_equal(array, other.state[name])


def test_an_infer_in_blocks_writes_the_same(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def growing(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        grid = time_range.grid(int(query.step))
        n_series = 31 if stage == "fit" else 37
        labels = tuple(Labels({"cpu": str(i)}) for i in range(n_series))
        return SeriesBatch(labels, grid, np.sin(np.outer(np.arange(1, n_series + 1), grid)))

    def scores(world: World) -> dict[tuple[Origin, Labels], dict[str, list[float]]]:
        return {
            (origin, labels): {
                name: values[row].tolist() for name, values in predictions.outputs.items()
            }
            for predictions, origin in world.writer.written
            for row, labels in enumerate(predictions.labels)
        }

    whole, blocks = World(config, growing), World(config, growing)
    whole.cpu.execute(run())
    monkeypatch.setattr("vmanomaly.model.base.BaseModel.block_bytes", 1)
    assert blocks.cpu.execute(run()) == RunResult(fitted=True, inferred=True)
    assert len(blocks.writer.written) == 5 * len(whole.writer.written)
    assert len(scores(whole)) == 37 * whole.cpu.n_units
    assert repr(scores(blocks)) == repr(scores(whole))
    for stage in ("fit", "infer"):
        assert blocks.counted("model_runs_total", stage) == 1


def test_a_bug_in_the_reader_goes_no_further(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        if stage == "infer":
            raise ZeroDivisionError
        return two_series(query, time_range, stage)

    world = World(config, broken)
    assert world.cpu.execute(run()) == RunResult(
        fitted=True,
        inferred=False,
        reasons=("scheduler 's', query 'cpu': infer failed: ZeroDivisionError",),
    )
    assert world.counted("model_run_errors_total", "infer") == 1
    assert "Error during stage 'infer' for model 'good', query 'cpu'" in caplog.messages
    world.reader.answer = two_series
    assert world.cpu.execute(run(fit=None)) == RunResult(fitted=True, inferred=True)


def test_an_unlearned_job_does_not_touch_what_the_first_one_learned(config: Config) -> None:
    world = World(config, two_series)
    world.cpu.execute(run())
    other = world.cpu.unlearned()
    assert other.execute(run(fit=None)) == RunResult(fitted=True, inferred=False)
    assert other.execute(run()) == RunResult(fitted=True, inferred=True)
    again = world.cpu.execute(run(fit=None, infer=TimeRange(13_000, 14_000)))
    assert again == RunResult(fitted=True, inferred=True)
    predictions, _ = world.writer.written[-2]
    seen = (np.arange(1, 14) * 1000 % 3000) / 1000.0
    np.testing.assert_allclose(predictions.outputs["yhat"][0], [seen.mean()], rtol=1e-14)


@pytest.mark.parametrize("fails", [True, False])
def test_every_step_is_told_of_whatever_comes_of_it(config: Config, fails: bool) -> None:
    def refuse(*_: Any) -> SeriesBatch:
        raise DatasourceError("connection refused", "connection_error")

    names: list[str] = []
    world = World(config, refuse if fails else two_series)
    context = RunContext(on_progress=lambda done, expected, name: names.append(name))
    assert world.cpu.execute(run(), context).failed is fails
    assert names == [
        "fit good on cpu",
        "fit other on cpu",
        "infer good on cpu",
        "infer other on cpu",
    ]
    assert world.cpu.n_steps(run()) == len(names)
    assert world.cpu.n_steps(run(fit=None)) == 2


@pytest.mark.parametrize(("stage", "fitted"), [("fit", False), ("infer", True)])
def test_a_run_that_is_cancelled_ends_without_noise(
    stage: str, fitted: bool, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    context = RunContext()

    def cancel(query: Query, time_range: TimeRange, asked_for: str) -> SeriesBatch:
        if asked_for == stage:
            context.cancel()
            context.check()
        return two_series(query, time_range, asked_for)

    world = World(config, cancel)
    result = world.cpu.execute(run(), context)
    assert result == RunResult(fitted, False, ("scheduler 's', query 'cpu': cancelled",))
    assert world.writer.written == []
    assert world.health.reasons() == []
    assert [each.message for each in caplog.records if each.levelno > logging.INFO] == []


def test_a_run_that_is_cancelled_while_it_computes_ends_after_the_block(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def many(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        grid = time_range.grid(int(query.step))
        labels = tuple(Labels({"cpu": str(i)}) for i in range(20))
        return SeriesBatch(labels, grid, np.outer(np.arange(20), grid).astype(np.float64))

    context, n_blocks = RunContext(), 0
    infer = OnlineModel.infer

    def cancelled_meanwhile(*arguments: Any) -> ModelOutput:
        nonlocal n_blocks
        n_blocks += 1
        context.cancel()
        return infer(*arguments)

    world = World(config, many)
    world.cpu.execute(run(infer=None))
    monkeypatch.setattr("vmanomaly.model.base.BaseModel.block_bytes", 1)
    monkeypatch.setattr(OnlineModel, "infer", cancelled_meanwhile)
    result = world.cpu.execute(run(fit=None), context)
    assert result.reasons == tuple(
        f"model '{model}', query 'cpu': infer failed: cancelled" for model in ("good", "other")
    )
    assert n_blocks == 1
    assert sum(len(predictions.labels) for predictions, _ in world.writer.written) < 20
