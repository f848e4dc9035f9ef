"""Ray on this machine gives what threads give, and survives a worker that dies."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import eventually
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError, SkippedError, VmanomalyError, WorkerDiedError
from vmanomaly.executor import Executor
from vmanomaly.executor.ray_connection import import_ray
from vmanomaly.model.holtwinters import HoltWinters
from vmanomaly.series import FloatArray, Labels, SeriesBatch

pytestmark = pytest.mark.slow

RAY = Executor("ray", 2)
THREADS = Executor("threads", 2)
HOUR = 3_600_000


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    """Use one Ray for all tests; its workers cannot import this module."""
    ray = import_ray(None)
    module = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(module)
    yield
    ray.cloudpickle.unregister_pickle_by_value(module)
    ray.shutdown()


@pytest.fixture(autouse=True)
def _lenient() -> Iterator[None]:
    """Ray warns of its own affairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def summed(values: FloatArray, number: int) -> tuple[int, float]:
    if number == 4:
        raise ValueError("four")
    if number == 6:
        raise SkippedError("no data")
    return number, float(np.sin(values).sum())


def process_of(_: int) -> int:
    return os.getpid()


def kills(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def stays(number: int, folder: str) -> None:
    """Leave the id of the process in a file, and never return."""
    (Path(folder) / f"{number}.new").write_text(str(os.getpid()))
    (Path(folder) / f"{number}.new").rename(Path(folder) / str(number))
    threading.Event().wait()


class Unloadable:
    """Can be pickled, but not be loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("nothing",)


def test_order_numbers_and_errors_are_those_of_threads() -> None:
    rng = np.random.default_rng(2)
    pieces = [(rng.normal(size=100), number) for number in range(9)]
    found, expected = (each.map(summed, pieces, RunContext()) for each in (RAY, THREADS))
    assert "four" in str(found[4])
    assert isinstance(found[6], SkippedError)
    assert isinstance(expected[6], SkippedError)
    kept = [0, 1, 2, 3, 5, 7, 8]
    assert [found[number] for number in kept] == [expected[number] for number in kept]


def test_the_work_is_done_elsewhere_and_ray_is_on_a_loopback_address() -> None:
    found = RAY.map(process_of, [(number,) for number in range(4)], RunContext())
    assert os.getpid() not in found
    assert [node["NodeManagerAddress"] for node in import_ray(None).nodes()] == ["127.0.0.2"]


def test_a_worker_that_dies_costs_the_piece_that_killed_it(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG, "vmanomaly"):
        found = RAY.map(kills, [(number,) for number in range(5)], RunContext())
        # What Ray says about it is logged, not printed.
        assert eventually(lambda: "Ray: A worker died" in caplog.text, 60)
    assert isinstance(found[2], WorkerDiedError)
    assert [*found[:2], *found[3:]] == [0, 1, 3, 4]
    assert capsys.readouterr() == ("", "")


def test_a_cancelled_call_ends_the_work_in_progress(tmp_path: Path) -> None:
    context = RunContext()
    canceller = threading.Thread(target=_cancel_when_busy, args=(tmp_path, context))
    canceller.start()
    with pytest.raises(CancelledError):
        RAY.map(stays, [(number, str(tmp_path)) for number in range(24)], context)
    canceller.join()
    begun = [int(path.read_text()) for path in tmp_path.glob("[0-9]")]
    assert eventually(lambda: not any(Path("/proc", str(process)).exists() for process in begun))
    assert RAY.map(kills, [(7,)], RunContext()) == [7]
    assert len(list(tmp_path.iterdir())) == len(begun) == 2


def _cancel_when_busy(folder: Path, context: RunContext) -> None:
    eventually(lambda: len(list(folder.glob("[0-9]"))) == 2, 60)
    context.cancel()


def test_work_that_no_node_can_load_is_an_error_that_says_so() -> None:
    with pytest.raises(VmanomalyError, match=r"a node of Ray cannot execute the work.*'nothing'"):
        RAY.map(partial(divmod, Unloadable()), [(1,)], RunContext())


def test_predictions_are_those_made_here() -> None:
    n_fit, n = 72, 96
    rng = np.random.default_rng(5)
    timestamps = 1_750_000_000_000 // HOUR * HOUR + HOUR * np.arange(n, dtype=np.int64)
    values = np.sin(timestamps / HOUR * np.pi / 12) + rng.normal(0.0, 0.1, (3, n))
    labels = tuple(Labels({"host": host}) for host in "abc")
    batch = SeriesBatch(labels, timestamps, values)
    model = HoltWinters(
        z_threshold=2.5,
        frequency=None,
        seasonality=Duration(24 * HOUR),
        args={"initialization_method": "heuristic"},
    )
    past, present = batch.columns(0, n_fit), batch.columns(n_fit, n)
    outputs = []
    # A single worker, since importing the library is what takes long.
    for executor in (Executor("ray", 1), Executor()):

        def run(function: Any, pieces: Any, preferred: str, by: Executor = executor) -> Any:
            return by.map(function, pieces, RunContext(), preferred)

        state = model.fit(past, run)
        outputs.append(model.infer(state, present, np.zeros(1, np.int64), run).outputs)
    for name, expected in outputs[1].items():
        assert np.isfinite(expected).all()
        np.testing.assert_array_equal(outputs[0][name], expected)
