"""What a detector returns: predictions by what they are about, what is left out, what failed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.mahalanobis import Mahalanobis
from tests.model.custom_models import BatchBand
from vmanomaly.config.model import ModelSection
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.context import RunContext
from vmanomaly.detector import (
    InferResult,
    Learned,
    LeftOut,
    MultivariateDetector,
    UnivariateDetector,
    create_detector,
)
from vmanomaly.errors import CancelledError, DeadlineExceededError
from vmanomaly.model import (
    Channel,
    GroupedBatch,
    Model,
    ModelOutput,
    SeriesState,
    create_model,
    create_multivariate_model,
)
from vmanomaly.model.scoring import Policy
from vmanomaly.model.zscore_online import OnlineZscoreModel
from vmanomaly.series import FloatArray, IntArray, Labels, Predictions, SeriesBatch

ZSCORE: dict[str, Any] = {
    "z_threshold": 2.0,
    "decay": 1.0,
    "min_n_samples_seen": 2,
    "history_strength": 1.0,
}
EACH = np.arange(5, dtype=np.int64)
HOSTS = tuple(Labels({"host": name}) for name in "abc")
N_PAST = 100


def series(values: FloatArray, start: int = 0, labels: tuple[Labels, ...] = ()) -> SeriesBatch:
    """Series on consecutive seconds after second `start`."""
    labels = labels or tuple(Labels({"series": str(row)}) for row in range(len(values)))
    timestamps = 1000 * (start + 1 + np.arange(values.shape[1], dtype=np.int64))
    return SeriesBatch(labels, timestamps, np.ascontiguousarray(values))


def telemetry(seed: int, n_series: int, n_points: int) -> FloatArray:
    values: FloatArray = np.random.default_rng(seed).normal(10.0, 1.0, (n_series, n_points))
    return values


def outputs_of(result: InferResult) -> dict[Labels, dict[str, list[float]]]:
    """By series, of the parts that are about series or groups."""
    return {
        labels: {name: values[row].tolist() for name, values in predictions.outputs.items()}
        for query, predictions in result.parts
        if query is None
        for row, labels in enumerate(predictions.labels)
    }


class TestOfSingleSeries:
    values = telemetry(0, 3, N_PAST + 5)
    past, present = series(values[:, :N_PAST]), series(values[:, N_PAST:], N_PAST)

    def test_scores_are_those_of_the_definition(self) -> None:
        detector = UnivariateDetector(OnlineZscoreModel(**ZSCORE), Policy(), ["anomaly_score", "y"])
        learned, fitted = detector.fit([self.past])
        assert (fitted.failures, fitted.left_out) == ((), LeftOut())
        assert fitted.n_valid_points == 3 * N_PAST
        learned, result = detector.infer(learned, [self.present], EACH)
        ((query, predictions),) = result.parts
        assert query is None
        assert predictions.labels == self.present.labels
        for row, y in enumerate(self.values):
            for t in range(5):
                before = y[: N_PAST + t]
                expected = abs(y[N_PAST + t] - before.mean()) / (2.0 * before.std(ddof=1))
                found = predictions.outputs["anomaly_score"][row, t]
                assert found == pytest.approx(expected, rel=1e-9)
        np.testing.assert_array_equal(predictions.outputs["y"], self.present.values)
        assert (result.n_series, result.n_valid_points, result.stopped) == (3, 15, None)
        assert learned.last_seen == self.present.timestamps[-1]

    def test_the_section_says_what_is_wanted_and_the_query_has_its_policy(self) -> None:
        section = MODELS["zscore_online"].section.model_validate(
            {"class": "zscore_online", "provide_series": ["anomaly_score"]}
        )
        query = Query.model_validate(
            {"alias": "cpu", "expr": "cpu", "step": "1s", "detection_direction": "above_expected"}
        )
        detector = create_detector(create_model(section, query), section, [query])
        learned, _ = detector.fit([self.past])
        _, result = detector.infer(learned, [self.present], EACH)
        ((_, predictions),) = result.parts
        assert list(predictions.outputs) == ["anomaly_score"]
        above = self.present.values > self.past.values.mean(axis=1, keepdims=True) + 0.1
        assert (predictions.outputs["anomaly_score"][above] > 0.0).all()
        below = self.present.values < self.past.values.mean(axis=1, keepdims=True) - 0.1
        assert (predictions.outputs["anomaly_score"][below] == 0.0).all()

    def test_a_model_that_is_not_online_leaves_out_what_it_was_not_fitted_on(self) -> None:
        detector = UnivariateDetector(BatchBand(), Policy())
        learned, _ = detector.fit([self.past.keep([0, 2])])
        learned, result = detector.infer(learned, [self.present], EACH)
        assert set(outputs_of(result)) == {self.past.labels[0], self.past.labels[2]}
        assert result.left_out == LeftOut(unknown=(self.past.labels[1],))
        assert str(result.left_out) == "1 series not present at the fit"
        _, nothing = detector.infer(learned, [self.present.keep([1])], EACH)
        assert (nothing.parts, nothing.n_series, nothing.left_out.n_skipped) == ((), 0, 1)

    def test_a_fit_of_no_series_lets_every_series_appear_later(self) -> None:
        detector = UnivariateDetector(OnlineZscoreModel(**ZSCORE), Policy(), ["anomaly_score"])
        assert detector.starts_without_data
        learned, _ = detector.fit([self.past.keep([])])
        assert (len(learned.state), learned.last_seen) == (0, None)
        _, result = detector.infer(learned, [self.present], EACH)
        assert result.n_series == 3
        assert not UnivariateDetector(BatchBand(), Policy()).starts_without_data

    def test_what_was_not_seen_for_long_is_forgotten(self) -> None:
        detector = UnivariateDetector(OnlineZscoreModel(**ZSCORE), Policy())
        learned, _ = detector.fit([self.past])
        learned, _ = detector.infer(learned, [self.present.keep([1])], EACH)
        learned, n_forgotten = detector.forget(learned, before=1000 * N_PAST + 1)
        assert n_forgotten == 2
        assert learned.state.labels == self.past.labels[1:2]
        offline = UnivariateDetector(BatchBand(), Policy())
        learned, _ = offline.fit([self.past])
        assert offline.forget(learned, before=10**9) == (learned, 0)

    def test_what_the_model_raises_is_raised(self) -> None:
        class Broken(OnlineZscoreModel):
            def fit(self, batch: SeriesBatch) -> SeriesState:
                raise ZeroDivisionError("in the model")

        with pytest.raises(ZeroDivisionError, match="in the model"):
            UnivariateDetector(Broken(**ZSCORE), Policy()).fit([self.past])


@dataclass(frozen=True, kw_only=True)
class FailsOnSome(OnlineZscoreModel):
    """Says of every series but the first that it failed, at two places."""

    def infer(
        self, state: SeriesState, batch: SeriesBatch, micro_batch_starts: IntArray
    ) -> ModelOutput:
        output = super().infer(state, batch, micro_batch_starts)
        errors: dict[Labels, Exception] = {}
        for row, labels in enumerate(batch.labels[1:]):
            try:
                if row == 3:
                    raise KeyError("mean")
                raise ValueError(f"row {row}")
            except Exception as error:  # noqa: BLE001
                errors[labels] = error
        return ModelOutput(output.outputs, output.eligible, output.trusted, errors=errors)


def test_failures_of_the_same_kind_are_one() -> None:
    values = telemetry(1, 6, N_PAST)
    detector = UnivariateDetector(FailsOnSome(**ZSCORE), Policy())
    learned, _ = detector.fit([series(values[:, :95])])
    _, result = detector.infer(learned, [series(values[:, 95:], 95)], EACH)
    several, one = result.failures
    names = [[labels["series"] for labels in failure.labels] for failure in (several, one)]
    assert names == [["1", "2", "3", "5"], ["4"]]
    assert str(several) == '{series="1"} and 3 more: ValueError: row 0'
    assert str(one) == "{series=\"4\"}: KeyError: 'mean'"
    assert several.error.__traceback__ is not None


def two_queries(seed: int, n_points: int, start: int = 0) -> list[SeriesBatch]:
    load = telemetry(seed, 3, n_points)
    own = telemetry(seed + 1, 6, n_points)
    return [series(load + own[k : k + 3], start, HOSTS) for k in (0, 3)]


def of_groups(
    provide_series: list[str] | None = None, min_block_size: int = 1
) -> MultivariateDetector:
    policies = {"cpu": Policy(), "mem": Policy(data_range=(0.0, 22.0))}
    return MultivariateDetector(Mahalanobis(), policies, ["host"], provide_series, min_block_size)


class TestOfGroups:
    past, present = two_queries(2, N_PAST), two_queries(5, 5, N_PAST)

    def test_parts_are_labelled_by_what_they_are_about(self) -> None:
        detector = of_groups(["yhat", "anomaly_score", "y"])
        learned, fitted = detector.fit(self.past)
        assert fitted.n_valid_points == 6 * N_PAST
        assert learned.grouping is not None
        assert learned.grouping.labels == HOSTS
        _, result = detector.infer(learned, self.present, EACH)
        parts: dict[str | None, Predictions] = dict(result.parts)
        assert list(parts) == [None, "cpu", "mem"]
        assert list(parts[None].outputs) == ["anomaly_score"]
        for query, batch, past in zip(("cpu", "mem"), self.present, self.past, strict=True):
            outputs = parts[query].outputs
            assert list(outputs) == ["yhat", "y"]
            np.testing.assert_array_equal(outputs["y"], batch.values)
            means = past.values.mean(axis=1, keepdims=True).repeat(5, axis=1)
            np.testing.assert_allclose(outputs["yhat"], means, rtol=1e-12)
        joint = parts[None].outputs["anomaly_score"]
        for g in range(3):
            rows = np.array([batch.values[g] for batch in self.past])
            now = np.array([batch.values[g] for batch in self.present])
            deviation = now - rows.mean(axis=1, keepdims=True)
            inverse = np.linalg.inv(np.cov(rows))
            distances = np.sqrt([d @ inverse @ d for d in deviation.T]) / 3.0
            outside = self.present[1].values[g] > 22.0
            expected = np.where(outside, np.maximum(distances, 1.01), distances)
            np.testing.assert_allclose(joint[g], expected, rtol=1e-9)
        assert (self.present[1].values > 22.0).any()

    def test_groups_that_differ_from_the_fit_and_series_without_a_group_are_left_out(self) -> None:
        detector = of_groups()
        stray = (*HOSTS, Labels({"job": "stray"}))
        values = np.vstack([self.past[0].values, self.past[0].values[:1]])
        learned, fitted = detector.fit([series(values, 0, stray), self.past[1]])
        assert fitted.left_out.ungrouped == (Channel("cpu", stray[3]),)
        assert fitted.left_out.groupby == ("host",)
        assert fitted.left_out.n_skipped == 0
        cpu, mem = self.present
        _, result = detector.infer(learned, [cpu.keep([0, 2]), mem], EACH)
        assert set(outputs_of(result)) == {HOSTS[0], HOSTS[2]}
        (mismatch,) = result.left_out.mismatches
        assert (mismatch.group, mismatch.missing) == (HOSTS[1], (Channel("cpu", HOSTS[1]),))
        assert result.left_out.n_skipped == 1
        assert str(result.left_out) == str(mismatch)
        _, result = detector.infer(learned, [cpu.keep([]), mem], EACH)
        assert (result.n_series, result.left_out.n_skipped) == (0, 3)
        assert str(result.left_out).endswith("; and 2 more groups")

    def test_the_groups_of_the_fit_travel_with_what_is_learned(self) -> None:
        """Two fits of one detector, on different groups, do not mix."""
        detector = of_groups()
        few, _ = detector.fit([batch.keep([0]) for batch in self.past])
        all_three, _ = detector.fit(self.past)
        for learned, n_groups in ((few, 1), (all_three, 3), (few, 1)):
            _, result = detector.infer(learned, self.present, EACH)
            assert result.n_series == n_groups

    def test_a_group_that_cannot_be_fitted_is_a_failure_and_no_group_any_more(self) -> None:
        detector = of_groups()
        gaps = self.past[0].values.copy()
        gaps[1] = np.nan
        learned, fitted = detector.fit([series(gaps, 0, HOSTS), self.past[1]])
        (failure,) = fitted.failures
        assert str(failure) == '{host="b"}: ValueError: 0 complete points are too few'
        assert learned.state.errors == {}
        assert learned.grouping is not None
        assert learned.grouping.labels == (HOSTS[0], HOSTS[2])

    def test_what_was_stored_is_checked_when_it_is_restored(self) -> None:
        detector = of_groups()
        learned, _ = detector.fit(self.past)
        state, grouping = learned.state, learned.grouping
        assert grouping is not None
        again = detector.restore(state.labels, grouping, state.arrays())
        first, second = (detector.infer(each, self.present, EACH)[1] for each in (learned, again))
        assert outputs_of(first) == outputs_of(second)
        for wrong in (None, grouping.keep([0])):
            with pytest.raises(ValueError, match="groups are not those of the state"):
                detector.restore(state.labels, wrong, state.arrays())
        single = UnivariateDetector(BatchBand(), Policy())
        alone, _ = single.fit([self.past[0]])
        with pytest.raises(ValueError, match="one of groups"):
            single.restore(alone.state.labels, grouping, alone.state.arrays())


def section_of(alias: str) -> ModelSection:
    outputs = ["anomaly_score", "incident_score", "yhat", "yhat_lower", "yhat_upper"]
    return MODELS[alias].section.model_validate({"class": alias, "provide_series": outputs})


@pytest.mark.parametrize("alias", ["quantile_online", "temporal_envelope"])
def test_series_in_blocks_give_the_same(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    section = section_of(alias)
    query = Query.model_validate({"alias": "cpu", "expr": "cpu", "step": "1s"})
    values = telemetry(3, 11, 205)

    def found(min_block_size: int) -> tuple[Learned, InferResult]:
        detector = create_detector(create_model(section, query), section, [query], min_block_size)
        learned, _ = detector.fit([series(values[:, :200])])
        return detector.infer(learned, [series(values[:, 200:], 200)], EACH)

    whole, at_once = found(1)
    monkeypatch.setattr(Model, "block_bytes", 1)
    pieces, in_blocks = found(4)
    assert (len(at_once.parts), len(in_blocks.parts)) == (1, 3)
    assert outputs_of(at_once) == outputs_of(in_blocks)
    assert at_once.n_valid_points == in_blocks.n_valid_points == 55
    same_arrays(whole, pieces)


def test_groups_in_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    section = section_of("temporal_envelope_multivariate").model_copy(update={"groupby": ["host"]})
    queries = [
        Query.model_validate({"alias": alias, "expr": alias, "step": "1s"})
        for alias in ("cpu", "mem")
    ]
    past, present = two_queries(4, 200), two_queries(7, 5, 200)
    model = create_multivariate_model(section, queries)

    def found() -> tuple[Learned, InferResult]:
        detector = create_detector(model, section, queries)
        learned, _ = detector.fit(past)
        return detector.infer(learned, present, EACH)

    whole, at_once = found()
    monkeypatch.setattr(type(model), "block_bytes", 1)
    pieces, in_blocks = found()
    assert [query for query, _ in at_once.parts] == [None, "cpu", "mem"]
    assert [query for query, _ in in_blocks.parts] == 3 * [None, "cpu", "mem"]
    assert outputs_of(at_once) == outputs_of(in_blocks)
    assert whole.grouping is not None
    assert pieces.grouping is not None
    assert whole.grouping.channels == pieces.grouping.channels
    same_arrays(whole, pieces)


def test_contributions_name_the_channel() -> None:
    section = section_of("temporal_envelope_multivariate").model_copy(
        update={"groupby": ["host"], "provide_series": ("anomaly_score", "contribution", "y")}
    )
    queries = [
        Query.model_validate({"alias": alias, "expr": alias, "step": "1s"})
        for alias in ("cpu", "mem")
    ]
    labels = [
        [{"__name__": "busy", "host": "a", "mode": mode} for mode in ("user", "system")],
        [{"host": "a"}],
    ]
    past, present = (
        [
            series(telemetry(seed + n, len(each), n_points), start, tuple(map(Labels, each)))
            for n, each in enumerate(labels)
        ]
        for seed, n_points, start in ((0, 100, 0), (2, 5, 100))
    )
    model = create_multivariate_model(section, queries)
    detector = create_detector(model, section, queries)
    learned, _ = detector.fit(past)
    _, result = detector.infer(learned, present, EACH)
    parts = [(query, found.labels, tuple(found.outputs)) for query, found in result.parts]
    assert parts[0] == (None, (Labels({"host": "a"}),), ("anomaly_score",))
    assert [(query, names) for query, _, names in parts[1:]] == [
        ("cpu", ("y",)),
        ("mem", ("y",)),
        ("cpu", ("contribution",)),
        ("mem", ("contribution",)),
    ]
    assert set(parts[3][1]) == {
        Labels({"channel": 'busy{mode="user"}', **labels[0][0]}),
        Labels({"channel": 'busy{mode="system"}', **labels[0][1]}),
    }
    assert parts[4][1] == (Labels({"channel": "mem", "host": "a"}),)
    shares = np.concatenate([found.outputs["contribution"] for _, found in result.parts[3:]])
    np.testing.assert_allclose(shares.sum(axis=0), 100.0)


def same_arrays(one: Learned, other: Learned) -> None:
    assert one.state.labels == other.state.labels
    for name, array in one.state.arrays().items():
        np.testing.assert_array_equal(array, other.state.arrays()[name], err_msg=name)


@pytest.mark.parametrize(("n_bytes", "n_groups"), [(1, 1), (1, 2), (200, 1), (320, 1), (9**9, 1)])
def test_blocks_of_groups_are_the_groups_in_order(n_bytes: int, n_groups: int) -> None:
    sizes = [1, 4, 2, 3]
    labels = tuple(Labels({"group": str(g)}) for g in range(4))
    channels = tuple(Channel("q", Labels({"channel": str(c)})) for c in range(10))
    values = np.arange(50.0).reshape(10, 5)
    batch = GroupedBatch(labels, channels, np.cumsum([0, *sizes]), np.arange(5), values)
    blocks = list(batch.blocks(n_bytes, n_groups))
    assert sum((block.labels for block in blocks), ()) == labels
    assert sum((block.channels for block in blocks), ()) == channels
    np.testing.assert_array_equal(np.vstack([block.values for block in blocks]), values)
    assert [n for block in blocks for n in np.diff(block.offsets)] == sizes
    for block in blocks:
        assert block.offsets[0] == 0
        assert len(block.labels) <= n_groups or block.values.nbytes <= n_bytes
    for block, following in pairwise(blocks):
        n_more = following.offsets[1]
        assert block.values.nbytes + 40 * n_more > n_bytes


class TestStopping:
    values = telemetry(6, 9, N_PAST + 5)
    past, present = series(values[:, :N_PAST]), series(values[:, N_PAST:], N_PAST)

    def detector(self, context: RunContext, after: int) -> UnivariateDetector:
        """In blocks of two series, of which the one of that number cancels the context."""
        calls = []

        class Cancelling(OnlineZscoreModel):
            block_bytes = 0

            def fit(self, batch: SeriesBatch) -> SeriesState:
                self.count()
                return super().fit(batch)

            def infer(
                self, state: SeriesState, batch: SeriesBatch, micro_batch_starts: IntArray
            ) -> ModelOutput:
                self.count()
                return super().infer(state, batch, micro_batch_starts)

            def count(self) -> None:
                calls.append(1)
                if len(calls) == after:
                    context.cancel()

        return UnivariateDetector(Cancelling(**ZSCORE), Policy(), min_block_size=2)

    def test_a_fit_stops_between_two_blocks(self) -> None:
        context = RunContext()
        with pytest.raises(CancelledError):
            self.detector(context, after=2).fit([self.past], context)

    def test_an_infer_gives_what_is_scored_and_leaves_the_others_as_they_were(self) -> None:
        plain = self.detector(RunContext(), after=0)
        learned, _ = plain.fit([self.past])
        _, whole = plain.infer(learned, [self.present], EACH)
        learned, _ = plain.fit([self.past])
        context = RunContext()
        learned, first = self.detector(context, after=3).infer(
            learned, [self.present], EACH, context
        )
        assert isinstance(first.stopped, CancelledError)
        assert (first.n_series, len(first.parts), first.n_valid_points) == (6, 3, 30)
        _, again = plain.infer(learned, [self.present], EACH)
        assert again.stopped is None
        outputs = outputs_of(again)
        for labels, scored in outputs_of(first).items():
            assert all(np.isnan(values).all() for values in outputs[labels].values())
            outputs[labels] = scored
        assert outputs == outputs_of(whole)

    def test_a_deadline_that_has_passed_stops_before_the_first_block(self) -> None:
        detector = self.detector(RunContext(), after=0)
        learned, _ = detector.fit([self.past])
        late = RunContext(deadline_s=0.0)
        _, result = detector.infer(learned, [self.present], EACH, late)
        assert isinstance(result.stopped, DeadlineExceededError)
        assert (result.parts, result.n_series) == ((), 0)
        with pytest.raises(DeadlineExceededError):
            detector.fit([self.past], late)
