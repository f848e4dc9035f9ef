"""What a unit adds to its detector when a run is stopped or fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest

from vmanomaly.context import RunContext
from vmanomaly.detector import UnivariateDetector
from vmanomaly.model import ModelOutput, SeriesState
from vmanomaly.model.scoring import Policy
from vmanomaly.model.zscore_online import OnlineZscoreModel
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import IntArray, Labels, Origin, SeriesBatch
from vmanomaly.service.unit import Unit

STARTS = np.zeros(1, np.int64)


class World:
    """A unit of a model in blocks of two series, which is cancelled or raises in a block."""

    def __init__(
        self,
        fails_in: int = 0,
        cancels_in: int = 0,
        error: BaseException | None = None,
        provide_series: Sequence[str] = ("anomaly_score",),
    ) -> None:
        self.error = error or ZeroDivisionError("division by zero")
        self.context = context = RunContext()
        self.n_blocks = 0
        world = self

        class Model(OnlineZscoreModel):
            block_bytes = 0

            def fit(self, batch: SeriesBatch) -> SeriesState:
                world.count(fails_in, cancels_in, context)
                return super().fit(batch)

            def infer(
                self, state: SeriesState, batch: SeriesBatch, micro_batch_starts: IntArray
            ) -> ModelOutput:
                world.count(fails_in, cancels_in, context)
                return super().infer(state, batch, micro_batch_starts)

        model = Model(z_threshold=2.0, decay=1.0, min_n_samples_seen=2, history_strength=1.0)
        detector = UnivariateDetector(model, Policy(), provide_series, min_block_size=2)
        self.metrics = Metrics()
        self.unit = Unit(detector, Origin(("cpu",), "m", "s"), self.metrics)

    def count(self, fails_in: int, cancels_in: int, context: RunContext) -> None:
        self.n_blocks += 1
        if self.n_blocks == cancels_in:
            context.cancel()
        if self.n_blocks == fails_in:
            raise self.error

    def counted(self, name: str, stage: str) -> float | None:
        labels = {
            "stage": stage,
            "query_key": "cpu",
            "model_alias": "m",
            "scheduler_alias": "s",
            "preset": "default",
        }
        return self.metrics.registry.get_sample_value(f"vmanomaly_{name}", labels)


def six_series(start: int, n_points: int) -> list[SeriesBatch]:
    labels = tuple(Labels({"cpu": str(number)}) for number in range(6))
    timestamps = 1000 * (start + 1 + np.arange(n_points))
    values = np.random.default_rng(start).normal(size=(6, n_points))
    return [SeriesBatch(labels, timestamps, values)]


def test_a_fit_that_is_stopped_is_as_if_there_had_been_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(cancels_in=2)
    assert world.unit.fit(six_series(0, 10), world.context) == ("cancelled",)
    assert world.n_blocks == 2
    assert world.unit.unfitted
    assert (world.unit.state, world.unit.changed) == (None, False)
    assert world.counted("model_runs_skipped_total", "fit") == 1
    assert world.counted("model_run_errors_total", "fit") == 0
    assert caplog.messages == ["Skipping run for stage 'fit' for model 'm', query 'cpu': cancelled"]


def test_a_refit_that_is_stopped_leaves_the_old_state_at_work() -> None:
    world = World(cancels_in=5)
    assert world.unit.fit(six_series(0, 10)) == ()
    before = world.unit.learned
    assert world.unit.fit(six_series(5, 10), world.context) == ("cancelled",)
    assert world.unit.learned is before
    assert not world.unit.unfitted


def test_an_infer_that_is_stopped_gives_what_it_has_scored() -> None:
    world = World(cancels_in=5)
    world.unit.fit(six_series(0, 10))
    world.unit.changed = False
    scored = world.unit.infer(six_series(10, 3), STARTS, world.context)
    assert scored.errors == ("cancelled",)
    ((first, origin), (second, _)) = scored.written
    assert origin == world.unit.origin
    assert [labels["cpu"] for labels in first.labels + second.labels] == ["0", "1", "2", "3"]
    assert world.unit.changed
    assert world.counted("model_datapoints_accepted_total", "infer") == 12
    assert world.counted("model_datapoints_produced_total", "infer") == 12
    assert world.counted("model_runs_skipped_total", "infer") == 1
    (rest,) = six_series(10, 3)
    again = world.unit.infer([rest], STARTS)
    scores = np.vstack([predictions.outputs["anomaly_score"] for predictions, _ in again.written])
    assert np.isnan(scores[:4]).all()
    assert np.isfinite(scores[4:]).all()


def test_a_point_is_produced_once_whatever_it_has_of_outputs() -> None:
    world = World(provide_series=["anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper"])
    world.unit.fit(six_series(0, 10))
    (batch,) = six_series(10, 3)
    batch.values[0, 0] = np.inf
    batch.values[1, 1] = np.nan
    world.unit.infer([batch], STARTS)
    assert world.counted("model_datapoints_accepted_total", "infer") == 17
    assert world.counted("model_datapoints_produced_total", "infer") == 16
    world.unit.infer([batch], STARTS)
    assert world.counted("model_datapoints_produced_total", "infer") == 16


def test_what_a_model_raises_is_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    world = World(fails_in=4)
    assert world.unit.fit(six_series(0, 10)) == ()
    scored = world.unit.infer(six_series(10, 3), STARTS)
    assert scored.written == []
    assert scored.errors == ("ZeroDivisionError: division by zero",)
    assert world.counted("model_run_errors_total", "infer") == 1
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert error.exc_info is not None


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("3")])
def test_a_model_that_wants_the_process_to_end_fails_alone(error: BaseException) -> None:
    world = World(fails_in=4, error=error)
    world.unit.fit(six_series(0, 10))
    scored = world.unit.infer(six_series(10, 3), STARTS)
    assert (scored.written, scored.errors) == ([], (f"{type(error).__name__}: 3",))
    assert world.counted("model_run_errors_total", "infer") == 1
    world = World(fails_in=1, error=error)
    assert world.unit.fit(six_series(0, 10)) == (f"{type(error).__name__}: 3",)
    assert world.counted("model_run_errors_total", "fit") == 1


def test_a_unit_that_waits_for_its_fit_says_so() -> None:
    world = World()
    scored = world.unit.infer(six_series(0, 3), STARTS)
    assert (scored.written, scored.errors) == ([], ("the model has not been fitted",))
    assert world.unit.infer([six_series(0, 3)[0].keep([])], STARTS).errors == ()


@pytest.mark.parametrize("long_fit_s", [0.0, 3600.0])
def test_the_end_of_a_long_fit_is_logged(
    long_fit_s: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vmanomaly.service.unit._LONG_FIT_S", long_fit_s)
    caplog.set_level(logging.INFO)
    World().unit.fit(six_series(0, 20))
    assert any(line.startswith("Fitted after") for line in caplog.messages) == (long_fit_s == 0)
