"""Dask on this machine gives what a loop gives, and survives a worker that dies."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmanomaly.context import RunContext
from vmanomaly.errors import WorkerDiedError
from vmanomaly.executor import Executor

pytestmark = pytest.mark.slow


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


def test_a_worker_that_dies_costs_the_piece_that_always_kills_it(tmp_path: Path) -> None:
    pieces = [(number, str(tmp_path)) for number in range(7)]
    results = DASK.map(kills, pieces, RunContext())
    assert isinstance(results.pop(4), WorkerDiedError)
    assert results == [0, 1, 2, 3, 5, 6]
