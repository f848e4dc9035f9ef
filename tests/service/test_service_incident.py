"""The incident score from reader to writer: where it is written, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.fakes import FakeReader, FakeWriter
from tests.model.cases import BUILT_IN, CASES, OFFLINE, SEVERAL_PASSES, name_of, section_of
from tests.service.test_service_job import CONFIG, CPU_0, CPU_1, empty
from tests.service.test_service_multivariate import World as JointWorld
from tests.service.test_service_multivariate import distance, group, observed, two_hosts
from vmanomaly.config import Config, load_config
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.detector.incident import MEMORY
from vmanomaly.errors import ConfigError
from vmanomaly.model import Model, SeriesState, create_model
from vmanomaly.model.scoring import Policy, score_series
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.scheduler.run import Run
from vmanomaly.series import FloatArray, Predictions, SeriesBatch, TimeRange
from vmanomaly.service.health import Health
from vmanomaly.service.job import QueryJob
from vmanomaly.service.plan import create_jobs, create_models
from vmanomaly.writer.format import added_labels

pytestmark = pytest.mark.slow

UNIVARIATE = [case for case in CASES if not MODELS[name_of(case)].section.multivariate]
NOT_IN_YAML = {"class_folder", "provide_series"}
SECOND = 1000
FIT, INFER = TimeRange(0, 400 * SECOND), TimeRange(400 * SECOND, 460 * SECOND)


def telemetry(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
    """Noise with gaps; the second series is in an incident from second 380 on."""
    seconds = time_range.grid(int(query.step)) // SECOND
    values = np.random.default_rng(0).normal(10.0, 1.0, (2, 1000))
    values[0, np.arange(5, 1000, 41)] = np.nan
    values[1, 380:] += 4.0
    return SeriesBatch((CPU_0, CPU_1), seconds * SECOND, np.ascontiguousarray(values[:, seconds]))


def configured(folder: Path, class_name: str, *provide_series: str, **keys: Any) -> Config:
    document = yaml.safe_load(CONFIG)
    model = {"class": class_name, "queries": ["cpu"], "schedulers": "all", **keys}
    if provide_series:
        model["provide_series"] = list(provide_series)
    document["models"] = {"good": model}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_config([path], {})


def job_of(config: Config) -> tuple[QueryJob, FakeWriter]:
    writer = FakeWriter()
    models = create_models(config)
    (job,) = create_jobs(config, models, FakeReader(telemetry), writer, Health({}), Metrics())["s"]
    return job, writer


def written_by(config: Config, *runs: Run) -> list[Predictions]:
    job, writer = job_of(config)
    for run in runs:
        assert not job.execute(run).failed
    return [predictions for predictions, _ in writer.written]


def walk(scores: FloatArray, evidence: float) -> tuple[list[float], float]:
    result = []
    for score in scores:
        if np.isfinite(score):
            evidence = min(evidence + (min(score, 2.5) ** 3 - evidence) / 16, 1.6)
            result.append(min(evidence / 0.4, score / 0.8))
        else:
            result.append(np.nan)
    return result, evidence


def scores_of(config: Config, fit: TimeRange, infer: TimeRange) -> FloatArray:
    """Return the anomaly scores of a model of its own, fitted on what came before."""
    model = model_of(config)
    return _scores(config, model, model.fit(telemetry_of(config, fit)), infer, each_point=True)


def scores_after(config: Config, fit: TimeRange, last: TimeRange) -> FloatArray:
    """Return the scores of points of a fit window, by what is known after the fit."""
    model = model_of(config)
    fitted = model.fit(telemetry_of(config, fit))
    copy = model.restore(fitted.labels, fitted.arrays())
    copy.last_seen[:] = last.start
    return _scores(config, model, copy, last, each_point=False)


def model_of(config: Config) -> Model:
    return create_model(config.models["good"], config.reader.queries["cpu"])


def telemetry_of(config: Config, time_range: TimeRange) -> SeriesBatch:
    return telemetry(config.reader.queries["cpu"], time_range, "")


def _scores(
    config: Config, model: Model, state: SeriesState, scored: TimeRange, *, each_point: bool
) -> FloatArray:
    batch = telemetry_of(config, scored)
    starts = np.arange(len(batch.timestamps) if each_point else 1)
    output = model.infer(state, batch, starts)
    policy = Policy.of(config.models["good"], config.reader.queries["cpu"])
    applied = None if model.applies_policies else policy
    wanted = [
        "anomaly_score",
        *(name for name in model.outputs if name in ("flatline_score", "drift_score")),
    ]
    scores = score_series(batch, output, applied, wanted).outputs.values()
    largest: FloatArray = np.fmax.reduce(list(scores))
    return largest


REPLAYED: list[tuple[str, dict[str, float]]] = [
    (case, {}) for case in BUILT_IN if case not in (*SEVERAL_PASSES, *OFFLINE)
]
NOT_REPLAYED = [
    # The bounds of prophet depend on which points are predicted together.
    *((case, {}) for case in UNIVARIATE if (case, {}) not in REPLAYED and case != "prophet"),
    *(
        (case, {"history_strength": 4.0})
        for case in UNIVARIATE
        if "history_strength" in section_of(case).model_fields
    ),
]


@pytest.mark.parametrize(("case", "more"), [*REPLAYED, *NOT_REPLAYED])
def test_every_model_gathers_evidence_from_its_scores(
    tmp_path: Path, case: str, more: dict[str, float]
) -> None:
    """Of the last points of the fit window too, by what was known before them or after the fit."""
    of_case = {"class": name_of(case), **CASES[case]}
    keys = {key: of_case[key] for key in of_case if key not in NOT_IN_YAML}
    # Forecasts are of what is written.
    outputs = ["incident_score", "yhat" if "forecast_at" in keys else "y"]
    config = configured(tmp_path, keys.pop("class"), *outputs, **keys, **more)
    (predictions,) = written_by(config, Run(FIT, INFER, micro_batch=SECOND))
    assert list(predictions.outputs) == outputs
    middle = FIT.end - MEMORY * SECOND
    if (case, more) in REPLAYED:
        last = scores_of(config, TimeRange(FIT.start, middle), TimeRange(middle, FIT.end))
    else:
        last = scores_after(config, FIT, TimeRange(middle, FIT.end))
    new = scores_of(config, FIT, INFER)
    for s in range(2):
        expected, _ = walk(new[s], walk(last[s], 0.0)[1])
        np.testing.assert_allclose(predictions.outputs["incident_score"][s], expected, rtol=1e-9)


@pytest.mark.parametrize("case", UNIVARIATE)
def test_gathering_evidence_changes_nothing_else(tmp_path: Path, case: str) -> None:
    of_case = {"class": name_of(case), **CASES[case]}
    keys = {key: of_case[key] for key in of_case if key not in NOT_IN_YAML}
    class_name = keys.pop("class")
    outputs = ["anomaly_score", "y"]
    if section_of(case).gives_yhat:
        outputs += ["yhat", "yhat_lower", "yhat_upper"]
    without, gathering = (
        written_by(configured(tmp_path, class_name, *wanted, **keys), Run(FIT, INFER, SECOND))[0]
        for wanted in (outputs, [*outputs, "incident_score"])
    )
    for name in outputs:
        np.testing.assert_array_equal(without.outputs[name], gathering.outputs[name])


def test_it_is_written_under_the_name_that_the_writer_gives_outputs(tmp_path: Path) -> None:
    config = configured(tmp_path, "zscore_online", "anomaly_score", "incident_score")
    job, writer = job_of(config)
    job.execute(Run(FIT, INFER, micro_batch=SECOND))
    ((predictions, destination),) = writer.written
    names = [
        added_labels(config.writer.metric_format, destination, output)["__name__"]
        for output in predictions.outputs
    ]
    assert names == ["anomaly_score", "incident_score"]


def test_it_is_not_written_and_costs_nothing_unless_asked_for(tmp_path: Path) -> None:
    config = configured(tmp_path, "zscore_online")
    job, writer = job_of(config)
    job.execute(Run(FIT, INFER, micro_batch=SECOND))
    ((predictions, _),) = writer.written
    assert "incident_score" not in predictions.outputs
    (unit,) = job.units
    assert unit.state is not None
    assert not unit.state["incident"].any()


def test_micro_batches_of_one_state_do_not_matter_to_how_evidence_is_gathered(
    tmp_path: Path,
) -> None:
    config = configured(tmp_path, "zscore_online", "incident_score")
    (whole,) = written_by(config, Run(FIT, INFER, micro_batch=SECOND))
    cuts = [400, 401, 417, 430, 460]
    pieces = written_by(
        config,
        Run(FIT, None),
        *(
            Run(None, TimeRange(begin * SECOND, end * SECOND), micro_batch=SECOND)
            for begin, end in pairwise(cuts)
        ),
    )
    np.testing.assert_array_equal(
        np.hstack([piece.outputs["incident_score"] for piece in pieces]),
        whole.outputs["incident_score"],
    )


def test_an_incident_continues_after_a_fit_as_before_it(tmp_path: Path) -> None:
    config = configured(tmp_path, "mad_online", "incident_score")
    first, second = written_by(
        config,
        Run(TimeRange(0, 370 * SECOND), TimeRange(370 * SECOND, 400 * SECOND), SECOND),
        Run(FIT, INFER, SECOND),
    )
    before, after = first.outputs["incident_score"], second.outputs["incident_score"]
    assert np.nanmax(before[0]) < 1 < before[1, -1]
    assert np.nanmax(after[0, :3]) < 1 < np.nanmax(after[1, :3])


def test_a_short_fit_window_starts_without_evidence(tmp_path: Path) -> None:
    config = configured(tmp_path, "zscore_online", "incident_score")
    fit = TimeRange(FIT.end - MEMORY * SECOND, FIT.end)
    (predictions,) = written_by(config, Run(fit, INFER, micro_batch=SECOND))
    for s, scores in enumerate(scores_of(config, fit, INFER)):
        expected, _ = walk(scores, 0.0)
        np.testing.assert_allclose(predictions.outputs["incident_score"][s], expected, rtol=1e-9)


def test_a_series_that_was_not_there_at_the_fit_starts_without_evidence(tmp_path: Path) -> None:
    config = configured(tmp_path, "zscore_online", "incident_score", "anomaly_score")
    job, writer = job_of(config)
    reader = job._reads._reader
    assert isinstance(reader, FakeReader)
    reader.answer = empty
    job.execute(Run(FIT, None))
    reader.answer = telemetry
    job.execute(Run(None, INFER, micro_batch=SECOND))
    ((predictions, _),) = writer.written
    outputs = predictions.outputs
    assert (outputs["anomaly_score"][1, :16] == 0.0).all()
    for s in range(2):
        expected, _ = walk(outputs["anomaly_score"][s], 0.0)
        np.testing.assert_allclose(outputs["incident_score"][s], expected, rtol=1e-9)


JOINT_FIT, JOINT_INFER = TimeRange(0, 200_000), TimeRange(200_000, 210_000)


def joint(folder: Path, provide_series: Sequence[str], **keys: Any) -> JointWorld:
    return JointWorld(folder, provide_series=list(provide_series), **keys)


def test_a_group_gathers_evidence_from_its_joint_score(tmp_path: Path) -> None:
    world = joint(tmp_path, ["incident_score", "yhat", "anomaly_score"])
    world.set_policy(Policy(data_range=(-1.0, 1.0)), "cpu", "mem")
    world.run(JOINT_FIT, JOINT_INFER)
    (outputs, *channels) = (predictions.outputs for predictions, _ in world.writer.written)
    assert list(outputs) == ["incident_score", "anomaly_score"]
    assert [list(each) for each in channels] == [["yhat"], ["yhat"]]
    last = TimeRange(JOINT_FIT.end - MEMORY * SECOND, JOINT_FIT.end)
    for g, host in enumerate("ab"):
        values = [observed(alias, host, last.grid(SECOND)) for alias in ("cpu", "mem")]
        outside = (np.abs(values) > 1.0).any(axis=0)
        scores = distance(host, JOINT_FIT, last)
        scores = np.where(outside, np.maximum(scores, 1.01), scores)
        expected, _ = walk(outputs["anomaly_score"][g], walk(scores, 0.0)[1])
        np.testing.assert_allclose(outputs["incident_score"][g], expected, rtol=1e-9)


def test_a_group_that_cannot_be_fitted_does_not_keep_the_others_from_their_evidence(
    tmp_path: Path,
) -> None:
    def without_b(query: Query, time_range: TimeRange, stage: str) -> SeriesBatch:
        batch = two_hosts(query, time_range, stage)
        values = batch.values.copy()
        values[1] = np.nan
        return SeriesBatch(batch.labels, batch.timestamps, values)

    world = joint(tmp_path, ["incident_score"])
    world.reader.answer = without_b
    assert world.run(JOINT_FIT, None).failed
    (unit,) = world.joint.units
    assert unit.state is not None
    assert unit.state.labels == (group("a"),)
    assert unit.state["incident"][0] > 0.0


def test_the_output_is_refused_where_it_is_misspelt(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"it produces .*yhat_upper, incident_score"):
        configured(tmp_path, "zscore_online", "incidents_score")
