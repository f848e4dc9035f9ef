from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import FakeReader, FakeWriter
from tests.mahalanobis import Mahalanobis
from tests.service.test_service_job import CONFIG
from vmanomaly.config import Config, load_config
from vmanomaly.config.model.temporal_envelope_multivariate import (
    TemporalEnvelopeMultivariateSection,
)
from vmanomaly.config.reader import Query
from vmanomaly.detector import MultivariateDetector
from vmanomaly.errors import DatasourceError
from vmanomaly.model import MultivariateModel
from vmanomaly.model.scoring import Policy
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler.run import Run, RunResult
from vmanomaly.series import FloatArray, Labels, Origin, SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob
from vmanomaly.service.plan import create_jobs, create_models
from vmanomaly.state import Saved, StateStore

FIT, INFER = TimeRange(0, 60_000), TimeRange(60_000, 70_000)
JOINT = Origin(("cpu", "mem"), "joint", "s", "default")
Answer = Callable[[Query, TimeRange, str], SeriesBatch]


def observed(alias: str, host: str, grid: Any) -> FloatArray:
    """Noise in which the channels of a host have a part in common; known at every time."""
    names = ("cpu", "mem", "a", "b")
    rows = [np.random.default_rng(names.index(name)).normal(size=100_000) for name in (host, alias)]
    seconds = grid // 1000
    values: FloatArray = rows[0][seconds] + 0.3 * rows[1][seconds]
    return values


def two_hosts(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    grid = time_range.grid(int(query.step))
    labels = tuple(Labels({"host": host, "job": "node"}) for host in "ab")
    values = np.array([observed(query.alias, host, grid) for host in "ab"])
    return SeriesBatch(labels, grid, values)


class World:
    """The jobs of a service with the model `joint` on both queries, with fakes at both ends.

    `model` takes the place of the envelope that the section describes.
    """

    def __init__(
        self,
        folder: Path,
        answer: Answer = two_hosts,
        model: MultivariateModel | None = Mahalanobis(),  # noqa: B008 - it has no state
        **keys: Any,
    ) -> None:
        (folder / "config.yaml").write_text(CONFIG)
        config = load_config([folder / "config.yaml"], {})
        section = TemporalEnvelopeMultivariateSection.model_validate(
            {
                "class": "temporal_envelope_multivariate",
                "queries": ("mem", "cpu"),
                "schedulers": ("s",),
                "groupby": ["host"],
                **keys,
            }
        )
        self.config: Config = dataclasses.replace(
            config, models={**config.models, "joint": section}
        )
        self.metrics = Metrics()
        self.health = Health({})
        self.reader, self.writer = FakeReader(answer), FakeWriter()
        models = create_models(self.config)
        if model is not None:
            models["joint", ("cpu", "mem")] = model
        self.jobs: list[QueryJob] = create_jobs(
            self.config,
            models,
            self.reader,
            self.writer,
            self.health,
            self.metrics,
        )["s"]
        self.joint = self.jobs[-1]

    def run(self, fit: TimeRange | None = FIT, infer: TimeRange | None = INFER) -> RunResult:
        return self.joint.execute(Run(fit, infer, micro_batch=1000))

    def counted(self, name: str, stage: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            f"vmanomaly_{name}",
            {
                "stage": stage,
                "query_key": "cpu,mem",
                "model_alias": "joint",
                "scheduler_alias": "s",
                "preset": "default",
            },
        )

    def set_policy(self, policy: Policy, *queries: str) -> None:
        detector = self.joint.units[0]._detector
        assert isinstance(detector, MultivariateDetector)
        detector._policies |= dict.fromkeys(queries, policy)

    def scores(self) -> dict[Labels, FloatArray]:
        """Return the joint scores of the last write."""
        predictions, origin = self.writer.written[-1]
        assert origin == JOINT
        return dict(zip(predictions.labels, predictions.outputs["anomaly_score"], strict=True))


def distance(host: str, fit: TimeRange = FIT, infer: TimeRange = INFER) -> FloatArray:
    """Compute the scores of a host from the definition of the Mahalanobis distance."""
    past, present = (
        np.array([observed(alias, host, time_range.grid(1000)) for alias in ("cpu", "mem")])
        for time_range in (fit, infer)
    )
    inverse = np.linalg.inv(np.cov(past))
    deviations = (present - past.mean(axis=1, keepdims=True)).T
    return np.array([np.sqrt(d @ inverse @ d) for d in deviations]) / 3.0


def group(host: str) -> Labels:
    return Labels({"host": host, "job": "node"})


def test_groups_across_queries_are_scored_together(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.joint.name == "scheduler 's', query 'cpu,mem'"
    assert world.run() == RunResult(fitted=True, inferred=True)
    ((predictions, origin),) = world.writer.written
    assert origin == JOINT
    assert list(predictions.outputs) == ["anomaly_score"]
    scores = world.scores()
    assert set(scores) == {group("a"), group("b")}
    for host in "ab":
        np.testing.assert_allclose(scores[group(host)], distance(host), rtol=1e-9)
    assert world.counted("model_datapoints_accepted_total", "fit") == 240
    assert world.counted("model_datapoints_produced_total", "infer") == 40


def test_all_jobs_of_a_scheduler_read_a_query_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert len(world.jobs) == 3
    for job in world.jobs:
        job.execute(Run(FIT, INFER, micro_batch=1000))
    assert sorted((alias, stage) for alias, _, stage in world.reader.asked) == [
        ("cpu", "fit"),
        ("cpu", "infer"),
        ("mem", "fit"),
        ("mem", "infer"),
    ]


def test_the_order_of_channels_does_not_matter(tmp_path: Path) -> None:
    def turned(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_hosts(query, time_range, stage)
        if stage == "fit":
            return batch
        return SeriesBatch(batch.labels[::-1], batch.timestamps, batch.values[::-1])

    world = World(tmp_path, turned)
    world.run()
    for host in "ab":
        np.testing.assert_allclose(world.scores()[group(host)], distance(host), rtol=1e-9)


def test_a_group_with_a_missing_channel_is_skipped_logged_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def one_less(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_hosts(query, time_range, stage)
        if stage == "fit" or query.alias == "cpu":
            return batch
        return SeriesBatch(batch.labels[1:], batch.timestamps, batch.values[1:])

    world = World(tmp_path, one_less)
    assert world.run() == RunResult(fitted=True, inferred=True)
    assert set(world.scores()) == {group("b")}
    np.testing.assert_allclose(world.scores()[group("b")], distance("b"), rtol=1e-9)
    for _ in range(2):
        world.run(fit=None, infer=TimeRange(70_000, 71_000))
    assert world.counted("model_runs_skipped_total", "infer") == 3
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        (
            "Skipping run for stage 'infer' for model 'joint', query 'cpu,mem': channels of the "
            'group {host="a"}: 1 missing, such as mem{host="a", job="node"}'
        )
    ]
    world.reader.answer = two_hosts
    world.run(fit=None, infer=TimeRange(71_000, 72_000))
    assert set(world.scores()) == {group("a"), group("b")}


def test_new_groups_and_groups_with_more_channels_wait_for_the_next_fit(tmp_path: Path) -> None:
    def one_more(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_hosts(query, time_range, stage)
        if query.alias == "mem" or time_range.end < 70_000:
            return batch
        new = (Labels({"host": "a", "job": "node", "swap": "1"}), Labels({"host": "c"}))
        return SeriesBatch(
            batch.labels + new, batch.timestamps, np.vstack([batch.values, batch.values**2])
        )

    world = World(tmp_path, one_more)
    world.run()
    assert set(world.scores()) == {group("b")}
    assert world.counted("model_runs_skipped_total", "infer") == 2
    world.run(fit=TimeRange(10_000, 70_000), infer=TimeRange(70_000, 71_000))
    assert set(world.scores()) == {Labels({"host": host, "job": "node"}) for host in "ab"} | {
        Labels({"host": "c"})
    }


def test_a_run_without_any_whole_group_is_not_well(tmp_path: Path) -> None:
    world = World(tmp_path, groupby=[])
    world.run()
    assert set(world.scores()) == {Labels({"job": "node"})}

    def one_host(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_hosts(query, time_range, stage)
        return SeriesBatch(batch.labels[:1], batch.timestamps, batch.values[:1])

    world.reader.answer = one_host
    outcome = world.run(fit=None, infer=TimeRange(70_000, 71_000))
    assert (outcome.fitted, outcome.inferred) == (True, True)
    (reason,) = outcome.reasons
    assert reason.startswith("model 'joint', query 'cpu,mem': infer failed: channels of the group")
    assert len(world.writer.written) == 1


def test_series_without_the_label_are_left_out_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def stray(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_hosts(query, time_range, stage)
        labels = (*batch.labels, Labels({"job": "stray"}))
        return SeriesBatch(labels, batch.timestamps, np.vstack([batch.values, batch.values[0]]))

    world = World(tmp_path, stray)
    world.run()
    np.testing.assert_allclose(world.scores()[group("a")], distance("a"), rtol=1e-9)
    assert (
        "Model 'joint', query 'cpu,mem': left out 2 series without a label of groupby [host], "
        'such as cpu{job="stray"}'
    ) in caplog.messages


def test_a_group_that_cannot_be_fitted_fails_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def gaps(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_hosts(query, time_range, stage)
        if stage == "fit":
            batch.values[0] = np.nan
        return batch

    world = World(tmp_path, gaps)
    problem = f"{group('a')}: ValueError: 0 complete points are too few"
    assert world.run().reasons == (f"model 'joint', query 'cpu,mem': fit failed: {problem}",)
    assert set(world.scores()) == {group("b")}
    assert world.counted("model_run_errors_total", "fit") == 1
    assert world.counted("model_runs_skipped_total", "infer") == 1
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert error.getMessage() == (
        "Error during stage 'fit' for model 'joint', query 'cpu,mem', {host=\"a\", job=\"node\"}"
    )
    assert "0 complete points are too few" in caplog.text


def test_a_point_that_lacks_a_sample_is_not_scored(tmp_path: Path) -> None:
    def gap(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_hosts(query, time_range, stage)
        if stage == "infer" and query.alias == "mem":
            batch.values[0, 3] = np.nan
        return batch

    world = World(tmp_path, gap)
    world.run()
    assert np.flatnonzero(np.isnan(world.scores()[group("a")])).tolist() == [3]
    assert np.isfinite(world.scores()[group("b")]).all()


def test_points_are_never_scored_twice(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    world.run(fit=None, infer=TimeRange(65_000, 75_000))
    scores = world.scores()[group("a")]
    assert np.isnan(scores).tolist() == [True] * 5 + [False] * 5


def test_channels_have_outputs_of_their_own_when_asked(tmp_path: Path) -> None:
    asked = ["anomaly_score", "y", "yhat", "yhat_upper"]
    world = World(tmp_path, provide_series=asked, scale=[1.0, 2.0])
    world.run()
    (joint, to_joint), *channels = world.writer.written
    assert to_joint == JOINT
    assert list(joint.outputs) == ["anomaly_score"]
    assert [origin.query_key for _, origin in channels] == ["cpu", "mem"]
    for predictions, origin in channels:
        assert list(predictions.outputs) == ["y", "yhat", "yhat_upper"]
        assert set(predictions.labels) == {group("a"), group("b")}
        for row, labels in enumerate(predictions.labels):
            past = observed(origin.query_key, labels["host"], FIT.grid(1000))
            present = observed(origin.query_key, labels["host"], INFER.grid(1000))
            np.testing.assert_array_equal(predictions.outputs["y"][row], present)
            np.testing.assert_allclose(predictions.outputs["yhat"][row], past.mean(), rtol=1e-9)
            np.testing.assert_allclose(
                predictions.outputs["yhat_upper"][row],
                past.mean() + 2 * 3 * past.std(ddof=1),
                rtol=1e-9,
            )


def test_a_channel_outside_its_data_range_scores_its_group(tmp_path: Path) -> None:
    world = World(tmp_path, anomaly_score_outside_data_range=7.0)
    policy = Policy(data_range=(-0.5, 0.5), anomaly_score_outside_data_range=7.0)
    world.set_policy(policy, "mem")
    world.run()
    for host in "ab":
        mem = observed("mem", host, INFER.grid(1000))
        plain = distance(host)
        expected = np.where(np.abs(mem) > 0.5, np.maximum(plain, 7.0), plain)
        np.testing.assert_allclose(world.scores()[group(host)], expected, rtol=1e-9)


def test_one_query_that_fails_stops_the_joint_job_only(tmp_path: Path) -> None:
    def no_mem(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        if query.alias == "mem":
            raise DatasourceError("refused", "connection_error")
        return two_hosts(query, time_range, stage)

    world = World(tmp_path, no_mem)
    cpu, mem, joint = (job.execute(Run(FIT, INFER, micro_batch=1000)) for job in world.jobs)
    assert cpu == RunResult(fitted=True, inferred=True)
    assert mem == joint == RunResult(False, False, ("refused",))
    assert world.counted("model_runs_skipped_total", "fit") == 1
    world.reader.answer = two_hosts
    assert not world.run(infer=TimeRange(60_000, 80_000)).failed
    assert world.scores()[group("a")].shape == (20,)


def test_queries_on_different_timestamps_are_an_error_of_the_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def shifted(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_hosts(query, time_range, stage)
        shift = 1 if query.alias == "mem" else 0
        return SeriesBatch(batch.labels, batch.timestamps + shift, batch.values)

    world = World(tmp_path, shifted)
    problem = "the queries of a multivariate model differ in their timestamps"
    assert world.run(infer=None) == RunResult(
        True, True, (f"model 'joint', query 'cpu,mem': fit failed: ValueError: {problem}",)
    )
    assert world.counted("model_run_errors_total", "fit") == 1
    assert problem in caplog.text


def test_a_job_that_has_learned_nothing_leaves_the_other_as_it_is(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(infer=None)
    fresh = world.joint.unlearned()
    outcome = fresh.execute(Run(None, INFER, micro_batch=1000))
    assert outcome == RunResult(fitted=True, inferred=False)
    assert not world.run(fit=None).failed
    fresh.execute(Run(TimeRange(0, 30_000), TimeRange(30_000, 31_000), micro_batch=1000))
    assert set(world.scores()) == {group("a"), group("b")}


@pytest.mark.parametrize("model", [Mahalanobis(), None])
def test_groups_are_scored_by_what_was_stored(
    tmp_path: Path, model: MultivariateModel | None
) -> None:
    world, restored = (World(tmp_path, model=model) for _ in range(2))
    world.run()
    (learned,), (unit,) = world.joint.units, restored.joint.units
    content = learned.content
    assert content is not None
    store = StateStore(tmp_path / "models")
    store.save(learned.key.job, {}, {learned.key: Saved({}, "joint", "0.1.0", content)}, now=0)
    store.close()
    again = StateStore(tmp_path / "models")
    unit.restore(again.read(unit.key))
    again.close()
    assert not restored.joint.unfitted
    later = TimeRange(70_000, 80_000)
    assert restored.run(fit=None, infer=later) == world.run(fit=None, infer=later)
    assert restored.scores().keys() == {group("a"), group("b")}
    for host in "ab":
        np.testing.assert_array_equal(restored.scores()[group(host)], world.scores()[group(host)])


def test_groups_that_are_not_those_of_the_state_are_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    (unit,) = world.joint.units
    content = unit.content
    assert content is not None
    assert content.members.grouping is not None
    for grouping in (None, content.members.grouping.keep([0])):
        members = dataclasses.replace(content.members, grouping=grouping)
        with pytest.raises(ValueError, match="groups are not those of the state"):
            unit.restore(dataclasses.replace(content, members=members))
    world.jobs[0].execute(Run(FIT, INFER, micro_batch=1000))
    single = world.jobs[0].units[0]
    assert single.content is not None
    members = dataclasses.replace(single.content.members, grouping=content.members.grouping)
    with pytest.raises(ValueError, match="one of groups"):
        single.restore(dataclasses.replace(single.content, members=members))


LONG_FIT, LONG_INFER = TimeRange(0, 600_000), TimeRange(600_000, 660_000)


def broken_relation(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    """From second 630 on, `mem` of host `a` moves against `cpu`, neither further than usual."""
    batch = two_hosts(query, time_range, stage)
    if query.alias == "mem":
        batch.values[0, batch.timestamps > 630_000] *= -1.0
    return batch


def test_the_envelope_of_a_group_sees_that_the_relation_of_its_channels_breaks(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, broken_relation, model=None, score_aggregation="max")
    assert world.run(LONG_FIT, LONG_INFER) == RunResult(fitted=True, inferred=True)
    assert [list(predictions.outputs) for predictions, _ in world.writer.written] == [
        ["anomaly_score"]
    ]
    broken, well = world.scores()[group("a")], world.scores()[group("b")]
    assert (broken[:30] > 1.0).sum() <= 1
    assert (broken[30:] > 1.0).sum() >= 5
    assert (well > 1.0).sum() <= 1
    alone = World(tmp_path, broken_relation, model=None, dependency_rank=0)
    alone.run(LONG_FIT, LONG_INFER)
    assert (alone.scores()[group("a")] < 1.0).all()


def test_the_envelope_does_not_depend_on_the_order_of_channels(tmp_path: Path) -> None:
    def turned(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = broken_relation(query, time_range, stage)
        return SeriesBatch(batch.labels[::-1], batch.timestamps, batch.values[::-1])

    worlds = [World(tmp_path, answer, model=None) for answer in (broken_relation, turned)]
    for world in worlds:
        world.run(LONG_FIT, LONG_INFER)
    for host in "ab":
        one, other = (world.scores()[group(host)] for world in worlds)
        np.testing.assert_array_equal(one, other)


def test_the_envelope_gives_outputs_of_channels_when_asked(tmp_path: Path) -> None:
    asked = ["anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper"]
    world = World(tmp_path, model=None, provide_series=asked)
    world.run(LONG_FIT, LONG_INFER)
    (_, to_joint), *channels = world.writer.written
    assert to_joint == JOINT
    assert [origin.query_key for _, origin in channels] == ["cpu", "mem"]
    for predictions, _ in channels:
        outputs = predictions.outputs
        assert list(outputs) == asked[1:]
        assert (outputs["yhat_lower"] < outputs["yhat"]).all()
        assert (outputs["yhat"] < outputs["yhat_upper"]).all()
