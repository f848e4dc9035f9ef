"""Clusters on this machine give what a loop gives, and survive a worker that dies."""

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
    """Their packages warn of their own affairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def squared(number: int) -> int:
    if number == 4:
        raise ValueError("four")
    return number * number


def kills_once(number: int, folder: str) -> int:
    """Kill the worker at the first attempt of a piece."""
    mark = Path(folder) / "died"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("kind", ["dask"])
def test_a_cluster_gives_what_a_loop_gives(kind: str, tmp_path: Path) -> None:
    executor = Executor(kind, 2)
    results = executor.map(squared, [(number,) for number in range(9)], RunContext())
    assert "four" in str(results[4])
    del results[4]
    assert results == [number * number for number in range(9) if number != 4]
    pieces = [(number, str(tmp_path)) for number in range(6)]
    assert executor.map(kills_once, pieces, RunContext()) == list(range(6))
    assert not any(isinstance(each, WorkerDiedError) for each in results)
