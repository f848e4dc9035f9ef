"""The detector of `auto`: one parameter set per series or group, and otherwise the class itself."""

from __future__ import annotations

import logging
import pickle
from typing import Any, ClassVar

import numpy as np
import orjson
import pytest

from vmanomaly.analysis import detect_batch
from vmanomaly.analysis.run import create_detector_of
from vmanomaly.config.loading.model_spec import read_model_spec
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.detector import Learned
from vmanomaly.errors import CancelledError, WorkerDiedError
from vmanomaly.executor import Executor
from vmanomaly.series import FloatArray, Labels, SeriesBatch
from vmanomaly.tuning.detector import AutoDetector
from vmanomaly.tuning.state import TunedState

pytestmark = pytest.mark.slow

STEP = Duration(60_000)
N_FIT = 240


def spec(tuned: str = "zscore_online", **keys: Any) -> dict[str, Any]:
    optimization = {"anomaly_percentage": 0.02, "n_trials": 10, **keys.pop("optimization", {})}
    common = {"class": "auto", "tuned_class_name": tuned, "optimization_params": optimization}
    return {**common, **keys}


def detector_of(**keys: Any) -> AutoDetector:
    found = create_detector_of(read_model_spec(spec(**keys)), STEP, "UTC")
    assert isinstance(found, AutoDetector)
    return found


def plain(alias: str, parameters: Any) -> Any:
    return create_detector_of(read_model_spec({"class": alias, **parameters}), STEP, "UTC")


def batch_of(n_series: int = 4, n: int = 300, **labels: str) -> SeriesBatch:
    """Series that differ so much that they need different parameters."""
    rng = np.random.default_rng(3)
    rows: list[FloatArray] = []
    for row in range(n_series):
        values = rng.standard_t(2.0 + 20 * (row % 2), n) * (1 + row)
        values += row * np.linspace(0, 20, n)
        rows.append(values)
    sets = tuple(Labels({"series": str(row), **labels}) for row in range(n_series))
    return SeriesBatch(sets, np.arange(1, n + 1) * int(STEP), np.array(rows))


def fitted(detector: AutoDetector, batch: SeriesBatch) -> Learned:
    learned, result = detector.fit([batch.columns(0, N_FIT)])
    assert result.failures == ()
    return learned


def scores(result: Any) -> dict[Labels, FloatArray]:
    return {
        labels: part.predictions.outputs["anomaly_score"][row]
        for part in result.parts
        for row, labels in enumerate(part.predictions.labels)
    }


def parameters_by_series(learned: Learned) -> dict[Labels, Any]:
    state = learned.state
    assert isinstance(state, TunedState)
    return {labels: part.parameters for part in state.parts for labels in part.learned.state.labels}


STARTS = np.arange(300 - N_FIT)
FOREST = {
    "optimization": {"n_trials": 2, "n_splits": 1, "frozen_params": {"args": {"n_estimators": 5}}}
}


def test_each_series_is_scored_as_the_class_with_its_parameters_alone() -> None:
    batch, detector = batch_of(), detector_of()
    learned = fitted(detector, batch)
    chosen = parameters_by_series(learned)
    assert len({orjson.dumps(each) for each in chosen.values()}) > 1
    present = batch.columns(N_FIT, 300)
    _, result = detector.infer(learned, [present], STARTS)
    found = scores(result)
    assert set(found) == set(batch.labels)
    for row, labels in enumerate(batch.labels):
        alone = plain("zscore_online", chosen[labels])
        own, _ = alone.fit([batch.keep([row]).columns(0, N_FIT)])
        _, expected = alone.infer(own, [present.keep([row])], STARTS)
        np.testing.assert_array_equal(found[labels], scores(expected)[labels])
    assert result.n_series == 4
    assert result.n_scored_points == 4 * 60


def test_the_parameters_do_not_depend_on_the_other_series_or_on_workers() -> None:
    batch = batch_of()
    together = parameters_by_series(fitted(detector_of(), batch))
    parallel = parameters_by_series(fitted(detector_of(optimization={"n_jobs": 2}), batch))
    assert together == parallel
    for row, labels in enumerate(batch.labels):
        alone = parameters_by_series(fitted(detector_of(), batch.keep([row])))
        assert alone[labels] == together[labels]


@pytest.mark.slow
@pytest.mark.parametrize("n_series", [1, 3])
def test_other_processes_find_the_same(n_series: int) -> None:
    """A single series has its trials there, several have their searches."""
    batch, workers = batch_of(n_series), {"n_trials": 17, "n_jobs": 2}
    here = parameters_by_series(fitted(detector_of(optimization={"n_trials": 17}), batch))
    detector = detector_of(optimization=workers)
    detector._executor = Executor("processes")
    assert parameters_by_series(fitted(detector, batch)) == here


class KillsWorker(Executor):
    """Says of one piece that a worker died of it."""

    def map(self, *args: Any, **keys: Any) -> list[Any]:
        results = super().map(*args, **keys)
        results[1] = WorkerDiedError("died")
        return results


def test_a_worker_that_dies_costs_the_series_that_it_tuned() -> None:
    batch, detector = batch_of(), detector_of()
    detector._executor = KillsWorker()
    learned, result = detector.fit([batch.columns(0, N_FIT)])
    assert [failure.labels for failure in result.failures] == [(batch.labels[1],)]
    expected = parameters_by_series(fitted(detector_of(), batch))
    del expected[batch.labels[1]]
    assert parameters_by_series(learned) == expected


def test_series_with_equal_parameters_share_a_part() -> None:
    one = batch_of(1)
    labels = tuple(Labels({"copy": str(i)}) for i in range(9))
    copies = SeriesBatch(labels, one.timestamps, np.repeat(one.values, 9, axis=0))
    learned = fitted(detector_of(optimization={"n_trials": 10}), copies)
    assert isinstance(learned.state, TunedState)
    assert sorted(len(part.learned.state) for part in learned.state.parts)[-1] == 9
    assert len(learned.state.parts) <= 2


@pytest.mark.parametrize(
    ("tuned", "keys"),
    [("zscore_online", {}), ("rolling_quantile", {}), ("isolation_forest", FOREST)],
)
def test_a_restored_state_continues_the_same(tuned: str, keys: dict[str, Any]) -> None:
    batch, detector = batch_of(), detector_of(tuned=tuned, **keys)
    learned = fitted(detector, batch)
    middle = batch.columns(N_FIT, 270)
    learned, _ = detector.infer(learned, [middle], np.arange(30))
    arrays = {name: array.copy() for name, array in learned.state.arrays().items()}
    other = detector_of(tuned=tuned, **keys)
    restored = other.restore(learned.state.labels, learned.grouping, arrays)
    assert restored.state.labels == learned.state.labels
    assert restored.last_seen == learned.last_seen
    last = batch.columns(270, 300)
    _, expected = detector.infer(learned, [last], np.arange(30))
    _, found = other.infer(restored, [last], np.arange(30))
    for labels, values in scores(expected).items():
        np.testing.assert_array_equal(scores(found)[labels], values)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{}",
        b"[[{}, 3]]",
        b"[[{}, -1], [{}, 5]]",
        b'[[{"z_threshold": 2.0, "decay": 1.0}, true], [{}, 3]]',
        b'[[{"nonsense": 2.0}, 4]]',
        b'[[{"z_threshold": -2.0}, 4]]',
        b'[["z_threshold", 4]]',
    ],
)
def test_forged_parameters_are_refused(stored: bytes) -> None:
    detector = detector_of()
    learned = fitted(detector, batch_of())
    arrays = {**learned.state.arrays(), "parameter_sets": np.frombuffer(stored, np.uint8)}
    with pytest.raises(ValueError, match="parameter"):
        detector.restore(learned.state.labels, None, arrays)


def test_missing_columns_are_refused() -> None:
    detector = detector_of()
    learned = fitted(detector, batch_of())
    arrays = {name: each for name, each in learned.state.arrays().items() if "mean" not in name}
    with pytest.raises(ValueError, match="mean"):
        detector.restore(learned.state.labels, None, arrays)


def test_a_new_series_has_the_defaults_until_the_next_fit() -> None:
    batch, detector = batch_of(), detector_of()
    learned = fitted(detector, batch.keep([0, 1, 2]))
    learned, result = detector.infer(learned, [batch.columns(N_FIT, 300)], STARTS)
    newcomer = batch.labels[3]
    assert parameters_by_series(learned)[newcomer] == {"z_threshold": 2.5, "decay": 1.0}
    alone = plain("zscore_online", {})
    blank = alone.fit([SeriesBatch((), batch.timestamps[:1], np.empty((0, 1)))])[0]
    _, expected = alone.infer(blank, [batch.keep([3]).columns(N_FIT, 300)], STARTS)
    np.testing.assert_array_equal(scores(result)[newcomer], scores(expected)[newcomer])
    assert newcomer in learned.state
    assert len(learned.state) == len(learned.state.labels) == 4


def test_it_starts_without_data() -> None:
    detector = detector_of()
    empty = SeriesBatch((), np.array([1]), np.empty((0, 1)))
    learned, _ = detector.fit([empty])
    assert learned.last_seen is None
    learned, result = detector.infer(learned, [batch_of()], np.arange(300))
    assert result.n_series == 4
    assert len(learned.state.n_samples_seen) == 4


def test_series_that_are_gone_are_forgotten() -> None:
    batch, detector = batch_of(), detector_of()
    learned = fitted(detector, batch)
    learned, _ = detector.infer(learned, [batch.keep([1, 3]).columns(N_FIT, 300)], STARTS)
    assert detector.forget(learned, 0) == (learned, 0)
    learned, n_forgotten = detector.forget(learned, int(batch.timestamps[N_FIT]))
    assert n_forgotten == 2
    assert {*learned.state.labels} == {batch.labels[1], batch.labels[3]}
    assert batch.labels[0] not in learned.state


def test_it_can_be_pickled() -> None:
    batch, detector = batch_of(), detector_of()
    learned = fitted(detector, batch)
    present = batch.columns(N_FIT, 300)
    copy, learned_copy = pickle.loads(pickle.dumps((detector, learned)))  # noqa: S301 - ours
    _, expected = detector.infer(learned, [present], STARTS)
    _, found = copy.infer(learned_copy, [present], STARTS)
    for labels, values in scores(expected).items():
        np.testing.assert_array_equal(scores(found)[labels], values)


def test_frozen_parameters_are_never_changed() -> None:
    frozen = {"z_threshold": 3.25}
    for keys in ({"frozen_params": frozen}, {"optimization": {"frozen_params": frozen}}):
        detector: Any = detector_of(**keys)
        learned = fitted(detector, batch_of())
        assert {*map(frozenset, parameters_by_series(learned).values())} == {frozenset({"decay"})}
        part = learned.state.parts[0]  # type: ignore[attr-defined]
        inside: Any = detector._detector(orjson.dumps(part.parameters))
        assert inside.model.z_threshold == 3.25


def test_policies_are_tuned_if_they_are_named() -> None:
    business = {"optimized_business_params": ["detection_direction"], "anomaly_percentage": 0.0}
    learned = fitted(detector_of(optimization=business), batch_of())
    chosen = parameters_by_series(learned).values()
    assert all("detection_direction" in each for each in chosen)
    assert {each["detection_direction"] for each in chosen} != {"both"}


def test_it_says_what_it_chose(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fitted(detector_of(), batch_of(2))
    first, second = (r.getMessage() for r in caplog.records if r.levelno == logging.INFO)
    assert first.startswith("Tuned zscore_online of query 'data', series {series=\"0\"}: z_thresh")
    assert "loss" in first
    assert 'series="1"' in second


def test_it_can_be_cancelled() -> None:
    context = RunContext(on_progress=lambda done, total, name: context.cancel())
    with pytest.raises(CancelledError):
        detector_of().fit([batch_of()], context)


def test_a_backtest_over_several_fits_scores_every_point_once() -> None:
    batch = batch_of(2, n=600)
    minutes = Duration(60_000 * 150)
    found = detect_batch(
        batch,
        STEP,
        "auto",
        fit=minutes,
        fit_every=minutes,
        settings=spec(optimization={"n_trials": 4}),
    )
    assert found.outputs["anomaly_score"].shape == (2, 450)
    assert not np.isnan(found.outputs["anomaly_score"]).any()
    assert {"yhat", "yhat_lower", "incident_score"} <= set(found.outputs)


class TestGroups:
    """Of a class that scores groups."""

    KEYS: ClassVar[dict[str, Any]] = {
        "tuned": "temporal_envelope_multivariate",
        "groupby": ["host"],
        "optimization": {"n_trials": 3, "n_splits": 1, "frozen_params": {"seasonalities": []}},
    }

    @staticmethod
    def batch() -> SeriesBatch:
        parts = [batch_of(2, host=host) for host in ("a", "b")]
        labels = tuple(labels for part in parts for labels in part.labels)
        values = np.concatenate([parts[0].values, parts[1].values[:, ::-1] * 3])
        return SeriesBatch(labels, parts[0].timestamps, values)

    def test_each_is_tuned_and_scored_alone(self) -> None:
        batch, detector = self.batch(), detector_of(**self.KEYS)
        assert detector.multivariate
        learned = fitted(detector, batch)
        arrays = {name: array.copy() for name, array in learned.state.arrays().items()}
        restored = detector_of(**self.KEYS).restore(learned.state.labels, learned.grouping, arrays)
        present = batch.columns(N_FIT, 300)
        chosen = parameters_by_series(learned)
        frozen = {"seasonalities": [], "groupby": ["host"]}
        for state in (learned, restored):
            _, result = detector.infer(state, [present], STARTS)
            found = scores(result)
            assert set(found) == {Labels({"host": "a"}), Labels({"host": "b"})}
            for labels, values in found.items():
                rows = [r for r, each in enumerate(batch.labels) if each["host"] == labels["host"]]
                alone = plain("temporal_envelope_multivariate", {**chosen[labels], **frozen})
                own, _ = alone.fit([batch.keep(rows).columns(0, N_FIT)])
                _, expected = alone.infer(own, [present.keep(rows)], STARTS)
                np.testing.assert_array_equal(values, scores(expected)[labels])

    def test_unknown_and_incomplete_groups_are_mismatches(self) -> None:
        batch, detector = self.batch(), detector_of(**self.KEYS)
        learned = fitted(detector, batch)
        present = batch.columns(N_FIT, 300)
        stranger = SeriesBatch(
            (*present.labels[:3], Labels({"series": "0", "host": "c"})),
            present.timestamps,
            present.values,
        )
        _, result = detector.infer(learned, [stranger], STARTS)
        assert set(scores(result)) == {Labels({"host": "a"})}
        hosts = sorted(mismatch.group["host"] for mismatch in result.left_out.mismatches)
        assert hosts == ["b", "c"]


def test_a_season_longer_than_the_data_leaves_the_defaults() -> None:
    # Of a season of a day, four hours teach nothing, so no point is predicted.
    detector = detector_of(tuned="std")
    chosen = parameters_by_series(fitted(detector, batch_of(1)))
    assert [*chosen.values()] == [{"z_threshold": 2.5, "decay": 1.0}]
