"""Computations of libraries are stopped in their middle."""

from __future__ import annotations

import numpy as np
import pytest

from vmanomaly.checkpoint import checkpoint, stopped_by
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError
from vmanomaly.executor import Executor
from vmanomaly.model.holtwinters import HoltWinters


def test_an_executor_stops_what_it_executes_here_in_its_middle() -> None:
    context = RunContext()
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        checkpoint()
        context.cancel()
        checkpoint()
        raise AssertionError("not stopped")

    with pytest.raises(CancelledError):
        Executor().map(work, [(1,), (2,)], context)
    assert begun == [1]
    checkpoint()


def test_holt_winters_stops_between_two_iterations() -> None:
    timestamps = np.arange(200, dtype=np.int64) * 60_000
    random = np.random.default_rng(1)
    values = np.sin(timestamps / 60_000 / 12 * 2 * np.pi) + random.normal(0, 0.3, 200)
    model = HoltWinters(
        args={}, frequency=Duration(60_000), seasonality=Duration(720_000), z_threshold=2.5
    )
    expected = model.fit_series(timestamps, values)
    n_checks = 0

    def check() -> None:
        nonlocal n_checks
        n_checks += 1
        if n_checks == n_allowed:
            raise CancelledError("cancelled")

    n_allowed = 2
    with stopped_by(check), pytest.raises(CancelledError):
        model.fit_series(timestamps, values)
    assert n_checks == 2
    # To be asked changes no number.
    n_allowed = 10**9
    with stopped_by(check):
        found = model.fit_series(timestamps, values)
    assert n_checks > 5
    np.testing.assert_equal(found, expected)
