"""Custom models in the service: what they need of a configuration, and errors that stay theirs."""

from __future__ import annotations

import logging
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from tests.fakes import FakeReader, FakeWriter
from vmanomaly.config import load_config
from vmanomaly.config.model import CustomSection
from vmanomaly.config.reader import Query
from vmanomaly.errors import ConfigError
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler.run import Run, RunResult
from vmanomaly.series import Labels, SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.plan import create_jobs, create_models, with_custom_classes
from vmanomaly.state import Saved, StateStore

CONFIG = """
reader:
  datasource_url: http://localhost:8428
  sampling_period: 1s
  queries:
    cpu: {expr: cpu, data_range: [0, 100]}
    mem: {expr: mem}
models:
  mine: {class: custom, queries: all, schedulers: all}
schedulers:
  s: {infer_every: 1s, fit_every: 1h, fit_window: 10s}
writer:
  datasource_url: http://localhost:8428
"""
MODEL = """
    from model.model import Model, MultivariateModel

    class CustomModel(Model):
        def fit(self, df):
            self.level = df["y"].mean()

        def infer(self, df):
            if self.level > 1000:
                raise RuntimeError("the level is too high for me")
            return df.assign(anomaly_score=(df["y"] - self.level).abs())
"""
JOINT = """
    from model.model import MultivariateModel

    class CustomModel(MultivariateModel):
        def fit(self, df):
            self.level = df.drop(columns="timestamp").mean()

        def infer(self, df):
            return df.assign(anomaly_score=(df[self.level.index] - self.level).abs().max(axis=1))
"""
HOST_A, HOST_B = Labels({"host": "a"}), Labels({"host": "b"})
FIT, INFER = TimeRange(0, 10_000), TimeRange(10_000, 12_000)


def levels(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    grid = time_range.grid(int(query.step))
    values = np.full((2, len(grid)), 5.0)
    values[1] = 5000.0 if query.alias == "mem" else 7.0
    if stage == "infer":
        values[:, -1] = 200.0
    return SeriesBatch((HOST_A, HOST_B), grid, values)


class World:
    def __init__(self, folder: Path, config: str, model: str) -> None:
        (folder / "custom.py").write_text(dedent(model))
        (folder / "config.yaml").write_text(config)
        environ = {"VMANOMALY_CUSTOM_MODELS_DIR": str(folder)}
        self.config = with_custom_classes(load_config([folder / "config.yaml"], environ))
        self.metrics = Metrics()
        self.writer = FakeWriter()
        self.jobs = create_jobs(
            self.config,
            create_models(self.config),
            FakeReader(levels),
            self.writer,
            Health({}),
            self.metrics,
        )["s"]

    def run(self) -> list[RunResult]:
        return [
            job.execute(Run(FIT, INFER, micro_batch=1000, micro_batch_end=0)) for job in self.jobs
        ]

    def scores(self) -> dict[tuple[str, Labels], list[float]]:
        return {
            (origin.query_key, labels): values.tolist()
            for predictions, origin in self.writer.written
            for labels, values in zip(
                predictions.labels, predictions.outputs["anomaly_score"], strict=True
            )
        }


def test_a_series_that_its_model_fails_on_fails_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, CONFIG, MODEL)
    assert [outcome.failed for outcome in world.run()] == [False, True]
    scores = world.scores()
    assert scores["cpu", HOST_A] == [0.0, 195.0]
    assert scores["mem", HOST_A] == [0.0, 195.0]
    assert np.isnan(scores["mem", HOST_B]).all()
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.getMessage() == (
        "Error during stage 'infer' for model 'mine', query 'mem', {host=\"b\"}"
    )
    assert f'File "{tmp_path}/custom.py", line 10, in infer' in caplog.text
    assert 'raise RuntimeError("the level is too high for me")' in caplog.text
    labels = {"query_key": "mem", "model_alias": "mine", "scheduler_alias": "s"}
    counted = world.metrics.registry.get_sample_value(
        "vmanomaly_model_run_errors_total", {**labels, "stage": "infer", "preset": "default"}
    )
    assert counted == 1


@pytest.mark.parametrize("stage", ["fit", "infer"])
def test_a_model_that_calls_exit_fails_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    leave = "if df['y'].mean() > 1000: raise SystemExit(3)"
    place = f"def {stage}(self, df):"
    world = World(tmp_path, CONFIG, MODEL.replace(place, f"{place}\n            {leave}"))
    assert world.run()[1].reasons == (
        f"model 'mine', query 'mem': {stage} failed: {{host=\"b\"}}: SystemExit: 3",
    )
    assert world.scores()["mem", HOST_A] == [0.0, 195.0]
    assert f"Error during stage '{stage}' for model 'mine', query 'mem', {{host=\"b\"}}" in (
        caplog.messages
    )


def test_errors_of_a_fit_in_blocks_are_all_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = MODEL.replace('self.level = df["y"].mean()', 'raise ValueError("no")')
    step = "sampling_period: 1s"
    config = CONFIG.replace(step, f"{step}\n  series_processing_batch_size: 1")
    world = World(tmp_path, config, model)
    world.run()
    fitted = [m for m in caplog.messages if "stage 'fit'" in m and m.startswith("Error")]
    assert [message.endswith('{host="a"} and 1 more') for message in fitted] == [True, True]


def test_groups_across_queries(tmp_path: Path) -> None:
    config = CONFIG.replace("class: custom", "class: custom, groupby: [host]")
    world = World(tmp_path, config, JOINT)
    assert [job.name for job in world.jobs] == ["scheduler 's', query 'cpu,mem'"]
    assert world.run() == [RunResult(fitted=True, inferred=True)]
    assert world.scores() == {
        ("cpu,mem", HOST_A): [0.0, 195.0],
        ("cpu,mem", HOST_B): [0.0, 4800.0],
    }


def test_only_the_class_says_whether_a_model_is_multivariate(tmp_path: Path) -> None:
    config = CONFIG.replace("class: custom", "class: custom, groupby: [host], width: 2")
    text = JOINT + "\n        def __init__(self, width, **kwargs): super().__init__(**kwargs)\n"
    section = World(tmp_path, config, text).config.models["mine"]
    assert section.multivariate
    assert isinstance(section, CustomSection)
    assert section.own_keys == {"width": 2}
    assert section.queries == ("cpu", "mem")


def test_a_channel_outside_the_range_of_its_query_scores_its_group(tmp_path: Path) -> None:
    config = CONFIG.replace("class: custom", "class: custom, groupby: [host]")
    quiet = JOINT.replace("(df[self.level.index] - self.level).abs().max(axis=1)", "0.0")
    world = World(tmp_path, config, quiet)
    world.run()
    assert world.scores()["cpu,mem", HOST_A] == [0.0, 1.01]


def test_every_problem_of_custom_models_at_once(tmp_path: Path) -> None:
    config = CONFIG
    for old, new in (
        ("models:\n", "models:\n  lost: {class: my_lost.Model, queries: all, schedulers: all}\n"),
        ("mem: {expr: mem}", "mem: {expr: mem, step: 2s}"),
        ("writer:\n", "writer:\n  metric_format: {__name__: $QUERY_KEY_$VAR, for: $QUERY_KEY}\n"),
    ):
        config = config.replace(old, new)
    with pytest.raises(ConfigError) as caught:
        World(tmp_path, config, JOINT)
    lost, step, name = caught.value.problems
    assert lost.startswith("models.lost: there is no module my_lost; it must be installed, or lie")
    assert step == (
        "models.mine.queries: the queries of a multivariate model must have the same step: "
        "cpu has 1s, mem has 2s"
    )
    assert name.startswith("writer.metric_format.__name__: gives 'cpu,mem_anomaly_score'")


def test_a_model_that_cannot_be_warmed_up_is_run_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmanomaly.service import Service
    from vmanomaly.service.work import warm_up

    (tmp_path / "custom.py").write_text(
        dedent(
            """
            from tests.model.custom_models import BatchBand

            class CustomModel(BatchBand):
                has_kernels = True

                def fit(self, batch):
                    raise ValueError("too little")
            """
        )
    )
    (tmp_path / "config.yaml").write_text(CONFIG)
    environ = {"VMANOMALY_CUSTOM_MODELS_DIR": str(tmp_path)}
    service = Service(load_config([tmp_path / "config.yaml"], environ))
    warm_up(service._work)
    service._close()
    assert caplog.messages.count("Model 'mine' could not be warmed up") == 1


def test_what_a_custom_model_has_learned_is_stored(tmp_path: Path) -> None:
    world, restored = World(tmp_path, CONFIG, MODEL), World(tmp_path, CONFIG, MODEL)
    world.run()
    for job, other in zip(world.jobs, restored.jobs, strict=True):
        (unit,), (new,) = job.units, other.units
        content = unit.content
        assert content is not None
        store = StateStore(tmp_path / "models")
        store.save(unit.key.job, {}, {unit.key: Saved({}, "custom", "0.1.0", content)}, now=0)
        store.close()
        again = StateStore(tmp_path / "models")
        new.restore(again.read(unit.key))
        again.close()
        for each in (job, other):
            each.execute(Run(None, TimeRange(12_000, 14_000), micro_batch=1000, micro_batch_end=0))
    assert np.nanmin(world.scores()["cpu", HOST_A]) == 0.0
    np.testing.assert_equal(restored.scores(), world.scores())
