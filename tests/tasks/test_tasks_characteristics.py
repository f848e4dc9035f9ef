"""What series are like does not depend on their unit."""

from __future__ import annotations

import numpy as np
import pytest

from vmanomaly.context import RunContext
from vmanomaly.series import FloatArray, Labels, SeriesBatch
from vmanomaly.tasks.characteristics import characterize

HOURS = 3_600_000 * np.arange(24 * 14)
NOISE = np.random.default_rng(0).uniform(-1.0, 1.0, len(HOURS))


@pytest.mark.parametrize("unit", [1e307, 1e-300])
@pytest.mark.parametrize(
    "values",
    [
        10.0 + 5.0 * np.sin(HOURS / 86_400_000 * 2 * np.pi) + NOISE,
        HOURS / HOURS[-1] * 15.0 + NOISE,
        np.where(np.arange(len(HOURS)) < 200, -15.0, 15.0) + NOISE,
        np.full(len(HOURS), 17.0),
    ],
    ids=["daily", "trend", "shift", "constant"],
)
def test_a_unit_changes_nothing(values: FloatArray, unit: float) -> None:
    def found(values: FloatArray) -> object:
        batch = SeriesBatch((Labels({}),), HOURS, values[None])
        return characterize(batch, "UTC", 2, RunContext(), verbose=True)

    assert found(unit * values) == found(values)
