"""Dask on this machine gives what a loop gives, and survives a worker that dies."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import eventually
from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError, WorkerDiedError
from vmanomaly.executor import Executor, dask_backend

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """Use one cluster for all tests, which gives up what kills a worker at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask_backend, "_ALLOWED_FAILURES", 0)
        yield
    client = dask_backend._clients.pop(None)
    client.close()
    client.cluster.close()


@pytest.fixture(autouse=True)
def _lenient() -> Iterator[None]:
    """Dask warns of its own affairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def squared(number: int) -> int:
    if number == 4:
        raise ValueError("four")
    return number * number


def process_of(_: int) -> int:
    threading.Event().wait(0.05)
    return os.getpid()


def waits_for(_: int, folder: str) -> None:
    (Path(folder) / "begun").touch()
    if not eventually((Path(folder) / "end").exists, 60):
        (Path(folder) / "waited for").touch()


def kills(number: int, folder: str) -> int:
    """Kill the worker: with 2 at the first attempt, with 4 at every one."""
    mark = Path(folder) / "died"
    if number == 4 or (number == 2 and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


DASK = Executor("dask", 2)


def test_dask_gives_what_a_loop_gives() -> None:
    results = DASK.map(squared, [(number,) for number in range(9)], RunContext())
    assert "four" in str(results[4])
    del results[4]
    assert results == [number * number for number in range(9) if number != 4]


def test_more_workers_join_those_that_are_there() -> None:
    before = set(DASK.map(process_of, [(number,) for number in range(8)], RunContext()))
    more = Executor("dask", 3).map(process_of, [(number,) for number in range(24)], RunContext())
    assert len(before) == 2
    assert len(set(more)) == 3
    assert before < set(more)


def test_a_stop_waits_for_no_worker(tmp_path: Path) -> None:
    context, mark = RunContext(), tmp_path / "begun"
    canceller = threading.Thread(
        target=lambda: (eventually(mark.exists, 60), context.cancel())  # type: ignore[func-returns-value]
    )
    canceller.start()
    try:
        with pytest.raises(CancelledError):
            DASK.map(waits_for, [(number, str(tmp_path)) for number in range(9)], context)
    finally:
        (tmp_path / "end").touch()
    canceller.join()
    assert not (tmp_path / "waited for").exists()
    assert DASK.map(squared, [(3,)], RunContext()) == [9]


def test_a_worker_that_dies_costs_the_piece_that_always_kills_it(tmp_path: Path) -> None:
    pieces = [(number, str(tmp_path)) for number in range(7)]
    results = DASK.map(kills, pieces, RunContext())
    assert isinstance(results.pop(4), WorkerDiedError)
    assert results == [0, 1, 2, 3, 5, 6]
