"""What models of libraries have in common, with a library of two lines."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from vmanomaly.detector import UnivariateDetector
from vmanomaly.errors import ConfigError, SkippedError
from vmanomaly.executor import Executor
from vmanomaly.model.library.arguments import check_arguments
from vmanomaly.model.library.extras import required
from vmanomaly.model.library.model import LibraryModel
from vmanomaly.model.library.state import RaggedColumn, RaggedState
from vmanomaly.model.scoring import Policy
from vmanomaly.model.state import NOT_NEGATIVE, Array, Column
from vmanomaly.series import FloatArray, IntArray, Labels, SeriesBatch

MINUTE = 60_000
NAN = np.nan


@dataclass(frozen=True)
class Repeats(LibraryModel):
    """Expects the samples of the fit again, one after the other."""

    step: int = MINUTE
    columns = (Column("deviation", np.float64, within=NOT_NEGATIVE),)
    ragged = (RaggedColumn("samples", np.float64),)

    def fit_series(self, timestamps: IntArray, values: FloatArray) -> dict[str, Any]:
        if len(values) < 3:
            raise SkippedError("fewer than 3 valid points")
        if values.max() > 1e6:
            raise ValueError(f"too large: {values.max()}")
        return {"deviation": values.std(), "samples": values}

    def infer_series(
        self, learned: Mapping[str, Array], timestamps: IntArray
    ) -> dict[str, FloatArray]:
        samples = learned["samples"]
        if timestamps[0] == 1000 * MINUTE:
            raise ZeroDivisionError("at 1000")
        yhat = samples[timestamps // self.step % len(samples)]
        deviation = learned["deviation"]
        return {"yhat": yhat, "yhat_lower": yhat - deviation, "yhat_upper": yhat + deviation}


def labels(names: str) -> tuple[Labels, ...]:
    return tuple(Labels({"host": name}) for name in names)


def batch(names: str, rows: list[list[float]], start: int = 0) -> SeriesBatch:
    timestamps = MINUTE * (start + np.arange(len(rows[0]), dtype=np.int64))
    return SeriesBatch(labels(names), timestamps, np.array(rows))


PAST = batch(
    "abcde",
    [
        [1.0, 2.0, 3.0, 4.0],
        [5.0, NAN, 5.0, np.inf],
        [1.0, 2.0, NAN, NAN],
        [NAN, NAN, NAN, NAN],
        [1.0, 2.0, 3.0, 1e9],
    ],
)


def test_each_series_is_fitted_skipped_or_failed_by_itself() -> None:
    state = Repeats().fit(PAST)
    assert state.labels == labels("ab")
    assert state.skipped == {
        labels("c")[0]: "fewer than 3 valid points",
        labels("d")[0]: "no valid points",
    }
    assert [str(each) for each in state.errors.values()] == ["too large: 1000000000.0"]
    assert state.last_seen.tolist() == [3 * MINUTE, 3 * MINUTE]
    assert state.n_samples_seen.tolist() == [4, 2]
    assert state["is_constant"].tolist() == [False, True]
    assert state.part("samples", 0).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert state.part("samples", 1).tolist() == []


def test_points_that_are_valid_and_new_are_predicted() -> None:
    model = Repeats()
    state = model.fit(PAST)
    present = batch("ba", [[5.0, 5.0, 6.0], [NAN, 1.0, 2.0]], start=3)
    output = model.infer(state, present, np.zeros(1, np.int64))
    np.testing.assert_array_equal(output.outputs["yhat"], [[NAN, 5.0, 5.0], [NAN, 1.0, 2.0]])
    assert output.eligible.tolist() == [[False, True, True]] * 2
    assert output.trusted.all(axis=1, where=output.eligible).all()
    width = output.outputs["yhat_upper"][0, 1] - output.outputs["yhat_lower"][0, 1]
    assert width == pytest.approx(1e-8)
    assert state.last_seen.tolist() == [5 * MINUTE, 5 * MINUTE]


def test_a_prediction_that_fails_leaves_its_series_as_it_was() -> None:
    model = Repeats()
    state = model.fit(PAST)
    present = batch("ab", [[1.0, 2.0], [5.0, 5.0]], start=1000)
    output = model.infer(state, present, np.zeros(1, np.int64))
    assert list(output.errors) == [labels("a")[0]]
    assert output.eligible.tolist() == [[False, False], [True, True]]
    assert state.last_seen.tolist() == [3 * MINUTE, 1001 * MINUTE]


@pytest.mark.parametrize("executor", [Executor(), Executor("threads", 2)])
def test_a_detector_reports_what_was_skipped_and_what_failed(executor: Executor) -> None:
    detector = UnivariateDetector(Repeats(), Policy(), executor=executor)
    learned, fitted = detector.fit([PAST])
    assert str(fitted.left_out) == (
        '{host="c"}: fewer than 3 valid points; {host="d"}: no valid points'
    )
    assert fitted.left_out.n_skipped == 2
    (failure,) = fitted.failures
    assert failure.labels == labels("e")
    _, inferred = detector.infer(learned, [batch("abc", [[9.0]] * 3, 4)], np.zeros(1, np.int64))
    assert inferred.left_out.unknown == labels("c")
    scores = inferred.parts[0].predictions.outputs["anomaly_score"]
    assert (scores > 1.0).all()


def test_a_model_can_be_pickled_with_its_state() -> None:
    pickled = pickle.dumps((Repeats(), Repeats().fit(PAST)))
    model, state = pickle.loads(pickled)  # noqa: S301 - our own
    assert state.part("samples", 0).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert model == Repeats()


def of_rows(names: str, samples: list[list[float]]) -> RaggedState:
    rows = [{"deviation": float(len(each)), "samples": np.array(each)} for each in samples]
    return RaggedState.of(Repeats.columns, Repeats.ragged, labels(names), rows)


def contents(state: RaggedState) -> dict[str, list[float]]:
    return {
        each["host"]: state.part("samples", row).tolist() for row, each in enumerate(state.labels)
    }


def test_rows_are_appended_and_removed_with_their_parts() -> None:
    state = of_rows("abc", [[1.0], [], [2.0, 3.0]])
    state.append(of_rows("de", [[4.0, 5.0], [6.0]]))
    state.remove(np.array([0, 3]))
    assert contents(state) == {"b": [], "c": [2.0, 3.0], "e": [6.0]}
    assert state["deviation"].tolist() == [0.0, 2.0, 1.0]
    assert state.offsets("samples").tolist() == [0, 0, 2, 3]
    assert state.flat("samples").tolist() == [2.0, 3.0, 6.0]
    state.remove(np.arange(3))
    assert len(state) == 0
    assert state.offsets("samples").tolist() == [0]


def test_a_copy_shares_what_is_ragged_and_nothing_else() -> None:
    state = of_rows("ab", [[1.0], [2.0, 3.0]])
    copy = state.as_of(0)
    assert np.shares_memory(copy.flat("samples"), state.flat("samples"))
    copy["deviation"][0] = 9.0
    copy.remove(np.array([0]))
    assert contents(copy) == {"b": [2.0, 3.0]}
    assert contents(state) == {"a": [1.0], "b": [2.0, 3.0]}
    assert state["deviation"].tolist() == [1.0, 2.0]


def test_what_is_stored_is_restored() -> None:
    model = Repeats()
    state = model.fit(PAST)
    restored = model.restore(state.labels, {k: v.copy() for k, v in state.arrays().items()})
    assert contents(restored) == contents(state)
    assert {k: v.tolist() for k, v in restored.arrays().items()} == {
        k: v.tolist() for k, v in state.arrays().items()
    }


def set_offsets(*offsets: int) -> Callable[[dict[str, Array]], None]:
    return lambda arrays: arrays.update(samples_offsets=np.array(offsets, np.int64))


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (set_offsets(0, 4), "samples: not the elements of 2 rows"),
        (set_offsets(0, 5, 4), "samples: not the elements"),
        (set_offsets(0, -(2**62), 4), "samples: not the elements"),
        (set_offsets(1, 2, 4), "samples: not the elements"),
        (set_offsets(0, 2, 2**62), "samples: not the elements"),
        (lambda a: a.pop("samples"), "samples: not the elements"),
        (lambda a: a.update(samples=a["samples"].astype(np.float32)), "samples: found float32"),
        (lambda a: a.update(samples_offsets=a["samples_offsets"] / 1.0), "not the elements"),
        (lambda a: a["deviation"].fill(-1.0), "deviation: found -1.0"),
        (lambda a: a["constant"].fill(NAN), "constant: found nan"),
    ],
)
def test_a_forged_state_is_refused(
    forge: Callable[[dict[str, Array]], object], problem: str
) -> None:
    model = Repeats()
    state = model.fit(PAST)
    arrays = {name: array.copy() for name, array in state.arrays().items()}
    forge(arrays)
    with pytest.raises(ValueError, match=problem):
        model.restore(state.labels, arrays)


class Library:
    """A constructor of a library."""

    def __init__(self, smoothing: float = 1.0, *, season: int = 7, **more: object) -> None: ...


def test_arguments_are_those_of_the_constructor() -> None:
    check_arguments({"smoothing": 1, "season": 2, "country": "US"}, Library, also=["country"])
    with pytest.raises(ConfigError) as caught:
        check_arguments(
            {"smooothing": 1, "qqq": 2, "season": 3}, Library, refused={"season": "set seasonality"}
        )
    assert caught.value.problems == [
        "args.smooothing: Library does not take it; did you mean smoothing?",
        "args.qqq: Library does not take it; it takes smoothing",
        "args.season: set seasonality",
    ]


def test_an_extra_that_is_missing_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"prophet needs nosuch, .*: pip install 'vmanomaly\[x\]'"
    ):
        required("nosuch.module", "model class prophet", "x")
    assert required("numpy.linalg", "it", "x").__name__ == "numpy.linalg"
