"""Detectors, what they have learned and batches can be pickled, and used in another process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
import pytest

from tests.model.cases import CASES, WITH_YHAT, section_of
from tests.model.cases import name_of as name_of_case
from vmanomaly.config.model.temporal_envelope_multivariate import (
    TemporalEnvelopeMultivariateSection,
)
from vmanomaly.config.reader import Query
from vmanomaly.detector import (
    AnyDetector,
    Failure,
    InferResult,
    Learned,
    UnivariateDetector,
    create_detector,
)
from vmanomaly.detector.result import failures_of
from vmanomaly.failures import RemoteError
from vmanomaly.model import (
    ModelOutput,
    SeriesState,
    create_model,
    create_multivariate_model,
)
from vmanomaly.model.grouping import group_channels, select
from vmanomaly.model.scoring import Policy
from vmanomaly.model.zscore_online import OnlineZscoreModel
from vmanomaly.series import IntArray, Labels, SeriesBatch

pytestmark = pytest.mark.slow

OUTPUTS = ["anomaly_score", "incident_score", "yhat", "yhat_lower", "yhat_upper"]
QUERIES = [
    Query.model_validate({"alias": alias, "expr": alias, "step": "1m"}) for alias in ("cpu", "mem")
]
HOSTS = tuple(Labels({"host": name}) for name in "abc")
N_PAST, N_PRESENT = 400, 12


_T = TypeVar("_T")


def pickled(value: _T) -> _T:
    copy: _T = pickle.loads(pickle.dumps(value))  # noqa: S301 - our own
    return copy


def batches(begin: int, end: int, n_queries: int) -> list[SeriesBatch]:
    timestamps = 60_000 * np.arange(begin + 1, end + 1)
    random = np.random.default_rng(0)
    values = random.normal(10.0, 1.0, (n_queries, len(HOSTS), 1000)) + random.normal(size=1000)
    values[0, 0, 7::31] = np.nan
    return [SeriesBatch(HOSTS, timestamps, np.ascontiguousarray(of[:, begin:end])) for of in values]


def univariate(case: str) -> AnyDetector:
    outputs = OUTPUTS if case in WITH_YHAT else OUTPUTS[:2]
    keys = {**CASES[case], "provide_series": outputs}
    section = section_of(case).model_validate({"class": name_of_case(case), **keys})
    return create_detector(create_model(section, QUERIES[0]), section, QUERIES[:1])


def multivariate() -> AnyDetector:
    section = TemporalEnvelopeMultivariateSection.model_validate(
        {
            "class": "temporal_envelope_multivariate",
            "provide_series": OUTPUTS,
            "groupby": ["host"],
            "dependency_rank": 1,
        }
    )
    return create_detector(create_multivariate_model(section, QUERIES), section, QUERIES)


KINDS: dict[str, tuple[Callable[[], AnyDetector], int]] = {
    **{case: (lambda case=case: univariate(case), 1) for case in CASES},  # type: ignore[misc]
    "multivariate": (multivariate, 2),
}


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    """Another process, which shares nothing with this one, its hashes of text neither."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool


def same_parts(one: InferResult, other: InferResult) -> None:
    assert [query for query, _ in one.parts] == [query for query, _ in other.parts]
    for (_, mine), (_, theirs) in zip(one.parts, other.parts, strict=True):
        assert mine.labels == theirs.labels
        np.testing.assert_array_equal(mine.timestamps, theirs.timestamps)
        assert list(mine.outputs) == list(theirs.outputs)
        for name, values in mine.outputs.items():
            np.testing.assert_array_equal(values, theirs.outputs[name], err_msg=name)
    assert (one.left_out, one.n_series, one.n_valid_points) == (
        other.left_out,
        other.n_series,
        other.n_valid_points,
    )


def same_learned(one: Learned, other: Learned) -> None:
    assert one.state.labels == other.state.labels
    assert [label in other.state for label in one.state.labels] == [True] * len(one.state)
    mine, theirs = one.state.arrays(), other.state.arrays()
    assert list(mine) == list(theirs)
    for name, array in mine.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    assert (one.grouping is None) == (other.grouping is None)
    if one.grouping is not None and other.grouping is not None:
        assert one.grouping.channels == other.grouping.channels


@pytest.mark.parametrize("kind", KINDS)
def test_an_infer_in_another_process_moves_its_state_back(
    kind: str, process: ProcessPoolExecutor
) -> None:
    make, n_queries = KINDS[kind]
    detector = make()
    past = batches(0, N_PAST, n_queries)
    middle, end = N_PAST + N_PRESENT, N_PAST + 2 * N_PRESENT
    first, second = batches(N_PAST, middle, n_queries), batches(middle, end, n_queries)
    starts = np.arange(N_PRESENT)
    here, _ = detector.fit(past)
    there, _ = detector.fit(past)

    here, here_first = detector.infer(here, first, starts)
    there, there_first = process.submit(detector.infer, there, first, starts).result()
    same_parts(here_first, there_first)
    same_learned(here, there)

    here, here_second = detector.infer(here, second, starts)
    there, there_second = detector.infer(there, second, starts)
    same_parts(here_second, there_second)
    same_learned(here, there)
    assert np.isfinite(here_second.parts[0].predictions.outputs["incident_score"]).any()


@pytest.mark.parametrize("kind", ["zscore_online", "multivariate"])
def test_a_fit_in_another_process_gives_the_same(kind: str, process: ProcessPoolExecutor) -> None:
    make, n_queries = KINDS[kind]
    detector = make()
    past = batches(0, N_PAST, n_queries)
    here, _ = detector.fit(past)
    there, fitted = process.submit(detector.fit, past).result()
    same_learned(here, there)
    assert fitted.n_valid_points == sum(batch.n_valid_points for batch in past)


class Failing(OnlineZscoreModel):
    """Fails on every series."""

    def infer(
        self, state: SeriesState, batch: SeriesBatch, micro_batch_starts: IntArray
    ) -> ModelOutput:
        output = super().infer(state, batch, micro_batch_starts)
        return ModelOutput(output.outputs, output.eligible, output.trusted, errors=errors_of(batch))


class NeedsTwoArgumentsError(Exception):
    """Cannot be rebuilt from what it says."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


def errors_of(batch: SeriesBatch) -> dict[Labels, Exception]:
    errors: dict[Labels, Exception] = {}
    for labels in batch.labels:
        try:
            raise NeedsTwoArgumentsError("the model", "not today")
        except NeedsTwoArgumentsError as error:
            errors[labels] = error
    return errors


def test_failures_come_back_with_their_trace(process: ProcessPoolExecutor) -> None:
    model = Failing(z_threshold=2.0, decay=1.0, min_n_samples_seen=2, history_strength=1.0)
    detector = UnivariateDetector(model, Policy())
    learned, _ = detector.fit(batches(0, N_PAST, 1))
    present = batches(N_PAST, N_PAST + N_PRESENT, 1)
    _, result = process.submit(detector.infer, learned, present, np.zeros(1, np.int64)).result()
    (failure,) = result.failures
    assert str(failure) == ('{host="a"} and 2 more: NeedsTwoArgumentsError: the model: not today')
    assert isinstance(failure.error, RemoteError)
    assert 'raise NeedsTwoArgumentsError("the model", "not today")' in str(failure.error.__cause__)
    once_more = pickled(failure)
    assert str(once_more) == str(failure)
    assert str(once_more.error.__cause__) == str(failure.error.__cause__)


def test_what_a_detector_remembers_of_its_last_batches_stays_here() -> None:
    detector = multivariate()
    learned, _ = detector.fit(batches(0, N_PAST, 2))
    unused = pickle.dumps(detector)
    present = batches(N_PAST, N_PAST + N_PRESENT, 2)
    detector.infer(learned, present, np.arange(N_PRESENT))
    assert len(pickle.dumps(detector)) == len(unused)


def test_batches_can_be_pickled() -> None:
    (cpu, mem) = batches(0, 20, 2)
    grouping, _ = group_channels(["cpu", "mem"], [cpu, mem], ["host"])
    grouped = select(grouping, ["cpu", "mem"], [cpu, mem]).take([cpu, mem])
    for batch in (cpu, grouped):
        again = pickled(batch)
        assert type(again) is type(batch)
        assert again.labels == batch.labels
        np.testing.assert_array_equal(again.timestamps, batch.timestamps)
        np.testing.assert_array_equal(again.values, batch.values)
    assert pickled(grouped).channels == grouped.channels


def labels_here(labels: Sequence[Labels]) -> list[bool]:
    known = {Labels({"host": name}) for name in "abc"}
    return [each in known for each in labels]


def test_label_sets_are_found_in_a_process_with_other_hashes(process: ProcessPoolExecutor) -> None:
    assert process.submit(labels_here, HOSTS).result() == [True] * 3


def test_failures_of_one_kind_keep_the_first_exception() -> None:
    batch = batches(0, 2, 1)[0]
    errors = errors_of(batch)
    (failure,) = failures_of(errors)
    assert failure == Failure(errors[HOSTS[0]], HOSTS)
