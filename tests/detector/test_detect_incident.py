"""The incident score: what it adds up to, when it opens and closes, and what does not matter."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.examples import examples
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.detector import AnyDetector, create_detector
from vmanomaly.detector.incident import MEMORY, add_incident_score, incident_score
from vmanomaly.model import create_model
from vmanomaly.model.scoring import needed_outputs
from vmanomaly.model.state import SeriesState
from vmanomaly.series import FloatArray, Labels, Predictions, SeriesBatch

NAN = math.nan
LARGEST = float(np.finfo(np.float64).max)
ANY_SCORE = st.one_of(
    st.floats(0, 2), st.floats(0, 20), st.sampled_from([0.0, 1.0, 1.01, 1e300, LARGEST, NAN])
)
any_scores = arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(0, 60)), elements=ANY_SCORE
)
quick = examples(40)


def follow(*scores: float, evidence: float = 0.0) -> FloatArray:
    """Return the incident scores of one series."""
    column, rows = np.array([evidence]), np.array([0])
    found: FloatArray = incident_score(np.array([scores]), column, rows)[0]
    return found


def walk(scores: list[float], evidence: float) -> tuple[list[float], float]:
    """The rule as it is written down."""
    result = []
    for score in scores:
        if math.isnan(score):
            result.append(NAN)
            continue
        evidence = min(15 / 16 * evidence + min(score, 2.5) ** 3 / 16, 1.6)
        result.append(min(evidence / 0.4, min(score, 100.0) / 0.8))
    return result, evidence


@quick
@given(scores=any_scores, evidence=st.floats(0, 1.6))
def test_the_kernel_gives_what_a_walk_gives(scores: FloatArray, evidence: float) -> None:
    column = np.full(len(scores), evidence)
    found = incident_score(scores, column, np.arange(len(scores)))
    for row, expected in enumerate(walk(list(of_series), evidence) for of_series in scores):
        np.testing.assert_allclose(found[row], expected[0], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(column[row], expected[1], rtol=1e-12, atol=1e-15)


@quick
@given(scores=any_scores, cuts=st.sets(st.integers(0, 60)))
def test_calls_may_be_split_anywhere(scores: FloatArray, cuts: set[int]) -> None:
    rows = np.arange(len(scores))
    whole, pieces = np.zeros(len(scores)), np.zeros(len(scores))
    expected = incident_score(scores, whole, rows)
    edges = sorted({0, scores.shape[1], *(cut for cut in cuts if cut < scores.shape[1])})
    for begin, end in itertools.pairwise(edges):
        piece = np.ascontiguousarray(scores[:, begin:end])
        np.testing.assert_array_equal(incident_score(piece, pieces, rows), expected[:, begin:end])
    np.testing.assert_array_equal(pieces, whole)


@quick
@given(scores=any_scores)
def test_each_series_has_its_own_row(scores: FloatArray) -> None:
    n_series = len(scores)
    rows = np.array([7, 2, 5, 0])[:n_series]
    evidence = np.full(9, 0.5)
    found = incident_score(scores, evidence, rows)
    for s, row in enumerate(rows):
        alone = np.full(1, 0.5)
        np.testing.assert_array_equal(
            incident_score(scores[s : s + 1], alone, np.array([0]))[0], found[s]
        )
        assert alone[0] == evidence[row]
    untouched = [row for row in range(9) if row not in rows]
    assert (evidence[untouched] == 0.5).all()


@quick
@given(scores=any_scores, change=st.integers(0, 59))
def test_a_score_changes_nothing_before_it(scores: FloatArray, change: int) -> None:
    other = scores.copy()
    other[:, change:] = 2.5
    one, two = (
        incident_score(each, np.zeros(len(each)), np.arange(len(each))) for each in (scores, other)
    )
    np.testing.assert_array_equal(one[:, :change], two[:, :change])


@quick
@given(scores=any_scores)
def test_it_is_bounded_and_there_exactly_where_a_point_is_scored(scores: FloatArray) -> None:
    evidence = np.zeros(len(scores))
    found = incident_score(scores, evidence, np.arange(len(scores)))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(scores))
    assert ((found >= 0) & (found <= 4) | np.isnan(found)).all()
    assert ((evidence >= 0) & (evidence <= 1.6)).all()


@quick
@given(scores=st.lists(st.floats(0, 20), max_size=40), gap=st.integers(1, 5))
def test_a_gap_changes_nothing(scores: list[float], gap: int) -> None:
    with_gaps = [value for score in scores for value in (score, *[NAN] * gap)]
    found = follow(*with_gaps)
    np.testing.assert_array_equal(found[:: gap + 1], follow(*scores))


@pytest.mark.parametrize(
    ("score", "n_points"),
    [(0.81, 22), (0.85, 17), (0.9, 13), (1.01, 8), (1.2, 5), (1.5, 2), (2.0, 1)],
)
def test_deviations_that_last_add_up(score: float, n_points: int) -> None:
    found = follow(*[score] * 100)
    assert np.flatnonzero(found > 1)[0] + 1 == n_points
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("score", [0.0, 0.3, 0.5, 0.73, 0.8])
def test_what_stays_well_inside_the_bounds_is_no_incident(score: float) -> None:
    assert follow(*[score] * 100_000).max() <= 1


def test_noise_opens_incidents_far_less_often_than_it_exceeds_the_bounds() -> None:
    noise = np.abs(np.random.default_rng(0).normal(size=200_000)) / 2.5
    found = follow(*noise)
    opened = np.count_nonzero((found[1:] > 1) & (found[:-1] <= 1))
    assert np.count_nonzero(noise > 1) > 2000
    assert opened < 60


@pytest.mark.parametrize("size", [1.5, 3.0, 10.0, 1e300, LARGEST])
@pytest.mark.parametrize("otherwise", [0.0, 0.2, 0.3])
def test_a_lone_spike_of_any_size_decays(size: float, otherwise: float) -> None:
    found = follow(*[otherwise] * 100, size, *[otherwise] * 100)
    assert (found[:100] <= 1).all()
    assert (found[101:] <= otherwise / 0.8).all()
    assert found[-1] == pytest.approx(min(otherwise**3 / 0.4, otherwise / 0.8), abs=0.01)
    assert (found[100] > 1) == (size >= 3.0)


@pytest.mark.parametrize("size", [1.2, 3.0, 1e300])
def test_an_incident_closes_when_behaviour_is_normal_again(size: float) -> None:
    found = follow(*[size] * 5000, *[0.3] * 100)
    assert (found[4000:5000] > 1).all()
    assert (found[5000:] <= 1).all()


def test_an_incident_continues_where_scores_come_back_while_there_is_evidence() -> None:
    after = follow(*[3.0] * 50, *[0.3] * 10, 0.9)
    assert (after[50:60] <= 1).all()
    assert after[60] == pytest.approx(0.9 / 0.8)
    assert follow(*[0.3] * 10, 0.9)[-1] < 0.2


@pytest.mark.parametrize("name", ["flatline_score", "drift_score"])
def test_other_evidence_counts_too_and_is_written_only_if_asked_for(name: str) -> None:
    assert needed_outputs(["incident_score"], (name,)) == ("anomaly_score", name)
    state = SeriesState([])
    whole = predictions(anomaly_score=[0.1, NAN, 0.1], **{name: [2.0, NAN, 2.0]})
    found = add_incident_score(whole, state, ["incident_score"])
    assert list(found.outputs) == ["incident_score"]
    np.testing.assert_array_equal(found.outputs["incident_score"][0], follow(2.0, NAN, 2.0))


def test_a_sample_back_at_the_level_before_is_no_more_evidence_than_it_is_beyond_both() -> None:
    assert needed_outputs(["incident_score"], ("flatline_score", "beyond_levels")) == (
        "anomaly_score",
        "flatline_score",
        "beyond_levels",
    )
    whole = predictions(
        anomaly_score=[2.0, 0.9, 0.9, 2.0],
        flatline_score=[0.0, 0.0, 2.0, 0.0],
        beyond_levels=[1e308, 0.1, 0.1, 1e308],
    )
    found = add_incident_score(whole, SeriesState([]), ["incident_score"])
    np.testing.assert_array_equal(found.outputs["incident_score"][0], follow(2.0, 0.1, 2.0, 2.0))


def test_scores_below_0_count_as_0_and_infinite_ones_as_large() -> None:
    np.testing.assert_array_equal(follow(-5.0, math.inf), follow(0.0, 2.5))


def predictions(**outputs: list[float]) -> Predictions:
    (length,) = {len(values) for values in outputs.values()}
    return Predictions(
        (Labels({"series": "a"}),),
        np.arange(length),
        {name: np.array([values]) for name, values in outputs.items()},
    )


def test_outputs_come_in_the_order_asked_for_and_no_others() -> None:
    assert needed_outputs(["yhat", "anomaly_score"]) == ("yhat", "anomaly_score")
    assert needed_outputs(["incident_score"]) == ("anomaly_score",)
    state = SeriesState([])
    whole = predictions(yhat=[1.0, 2.0], anomaly_score=[3.0, NAN])
    found = add_incident_score(whole, state, ["incident_score", "yhat"])
    assert list(found.outputs) == ["incident_score", "yhat"]
    np.testing.assert_array_equal(found.outputs["incident_score"], [[2.44140625, NAN]])
    assert state["incident"].tolist() == [0.9765625]


def test_a_state_is_not_touched_unless_the_score_is_asked_for() -> None:
    state = SeriesState([])
    whole = predictions(anomaly_score=[3.0])
    assert add_incident_score(whole, state, ["anomaly_score"]) is whole
    assert len(state) == 0


def detector_of(section: dict[str, Any]) -> AnyDetector:
    keys = {"provide_series": ["anomaly_score", "incident_score"], **section}
    found = MODELS[keys["class"]].section.model_validate(keys)
    query = Query.model_validate({"alias": "q", "expr": "q", "step": "5m"})
    return create_detector(create_model(found, query), found, [query])


def noise_with_incident(n_points: int) -> SeriesBatch:
    """Noise; the second of the series is in an incident in its last 12 points."""
    values = np.random.default_rng(7).normal(10.0, 1.0, (2, n_points))
    values[1, -12:] += 8.0
    labels = (Labels({"series": "well"}), Labels({"series": "ill"}))
    return SeriesBatch(labels, 300_000 * np.arange(n_points), values)


@pytest.mark.parametrize(
    "section",
    [
        {"class": "zscore_online"},
        {"class": "zscore_online", "history_strength": 4},
        {"class": "temporal_envelope"},
    ],
    ids=str,
)
def test_a_fit_finds_the_incident_that_lasts(section: dict[str, Any]) -> None:
    """As much as a model has that was fitted before it, and has watched it."""
    detector = detector_of(section)
    batch = noise_with_incident(1000)
    watching, _ = detector.fit([batch.columns(0, 900)])
    detector.infer(watching, [batch.columns(900, 1000)], np.arange(100))
    fitted, _ = detector.fit([batch])
    expected, found = watching.state["incident"], fitted.state["incident"]
    assert expected[0] < 0.4 < expected[1]
    assert found[0] < 0.4
    assert found[1] == pytest.approx(expected[1], rel=0.1)


@pytest.mark.parametrize("alias", ["zscore_online", "temporal_envelope"])
def test_the_model_is_fitted_once(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    detector: Any = detector_of({"class": alias})
    fitted: list[int] = []
    fit: Any = type(detector.model).fit

    def counted(model: Any, batch: SeriesBatch) -> SeriesState:
        fitted.append(len(batch.timestamps))
        state: SeriesState = fit(model, batch)
        return state

    monkeypatch.setattr(type(detector.model), "fit", counted)
    detector.fit([noise_with_incident(300)])
    assert fitted == [300 - MEMORY if alias == "zscore_online" else 300]


@pytest.mark.parametrize("alias", ["zscore_online", "temporal_envelope"])
def test_evidence_changes_nothing_that_is_learned(alias: str) -> None:
    batch = noise_with_incident(300)
    gathering, plain = (
        detector_of({"class": alias, "provide_series": wanted}).fit([batch])[0].state
        for wanted in (["incident_score"], ["anomaly_score"])
    )
    for name, array in plain.arrays().items():
        if name != "incident":
            np.testing.assert_array_equal(array, gathering[name], err_msg=name)
    assert gathering["incident"][1] > 0.0
    assert not plain["incident"].any()
