"""How far the level drifts: the oracle follows level and base by their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from tests.model.test_model_counters import RESTARTS, counted, growth
from tests.model.test_model_temporal_envelope import (
    DAILY,
    LABELS,
    MINUTE,
    WEEK,
    MakeModel,
    times,
    walk,
)
from vmanomaly.model.state import records
from vmanomaly.model.temporal_envelope.columns import ENVELOPE
from vmanomaly.series import FloatArray, SeriesBatch

DAY_OF_MINUTES = 1440
N_FIT = 5 * DAY_OF_MINUTES


def garbage(n: int, seed: int = 0) -> FloatArray:
    """Memory that fills by 350 in about two hours, and is collected then."""
    steps = np.exp(np.random.default_rng(seed).normal(0.0, 0.3, n))
    return 900.0 + 350.0 * (np.cumsum(steps / 130.0) % 1.0)


def leaking(n: int, begin: int, hours: float, amount: float) -> FloatArray:
    leak = np.clip((np.arange(n) - begin) / (60 * hours), 0.0, 1.0) * amount
    return garbage(n) + leak


def test_the_drift_is_from_the_base_to_the_level(make_model: MakeModel) -> None:
    noise = np.random.default_rng(0).uniform(-1.0, 1.0, N_FIT + DAY_OF_MINUTES)
    values = 50.0 + noise + 0.0003 * np.maximum(np.arange(len(noise)) - N_FIT, 0)
    model = make_model("temporal_envelope", seasonalities=[])
    batch = SeriesBatch(LABELS, times(N_FIT, MINUTE), values[None, :N_FIT].copy())
    x = records(model.fit(batch)["envelope"], ENVELOPE)[0]
    level, slope, base = float(x["level"]), float(x["slope"]), float(x["base"])
    expected = []
    for y in values[N_FIT:]:
        expected.append(level + slope - base)
        residual, above_base = y - level - slope, y - slope - base
        level += slope + 0.005 * residual
        slope += 0.25 * 0.005**2 * residual
        base += above_base / DAY_OF_MINUTES
    found, _ = walk(model, values, N_FIT, MINUTE)
    np.testing.assert_allclose(found["drift"], expected, atol=1e-6)


def test_a_leak_that_the_level_follows_is_found(make_model: MakeModel) -> None:
    values = leaking(N_FIT + 900, N_FIT + 120, 12, 900.0)
    found, _ = walk(make_model("temporal_envelope"), values, N_FIT, MINUTE)
    assert found["score"][:600].max() < 1.0
    assert found["drift_score"][:180].max() < 0.2
    assert 300 < int(np.argmax(found["drift_score"] > 1.0)) < 800
    assert (np.diff(found["drift_score"][300:800]) > -0.05).all()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_drift_in_the_other_direction_is_one_too(make_model: MakeModel, sign: float) -> None:
    values = sign * leaking(N_FIT + 900, N_FIT + 120, 12, 900.0)
    found, _ = walk(make_model("temporal_envelope"), values, N_FIT, MINUTE)
    assert found["drift_score"][800] > 1.0
    assert np.sign(found["drift"][800]) == sign


def test_a_drift_that_recurs_is_usual(make_model: MakeModel) -> None:
    n = N_FIT + 3 * DAY_OF_MINUTES
    values = garbage(n) + 900.0 * np.abs(np.arange(n) / 1000.0 % 2.0 - 1.0)
    found, _ = walk(make_model("temporal_envelope"), values, N_FIT, MINUTE)
    assert 0.01 < found["drift_score"].max() < 0.5


def test_after_a_level_shift_the_base_has_to_settle(make_model: MakeModel) -> None:
    values = garbage(N_FIT + 4 * DAY_OF_MINUTES)
    values[N_FIT + 100 :] += 2000.0
    found, _ = walk(make_model("temporal_envelope"), values, N_FIT, MINUTE)
    unknown = found["drift"][130 : 100 + 2 * DAY_OF_MINUTES]
    assert (unknown == 0.0).all()
    assert (found["drift"][100 + 2 * DAY_OF_MINUTES + 30 :] != 0.0).all()
    assert found["drift_score"].max() < 1.0


def test_the_drift_of_a_counter_is_what_is_added_more_with_a_sample(
    make_model: MakeModel,
) -> None:
    n, n_fit = 2 * WEEK + 2 * DAILY, 2 * WEEK
    of_steps = growth(n)
    restarts = (*RESTARTS, n_fit + 300)
    found, _ = walk(make_model("temporal_envelope"), counted(of_steps, *restarts), n_fit)
    of_rates, _ = walk(make_model("temporal_envelope"), of_steps, n_fit)
    np.testing.assert_allclose(found["drift"], of_rates["drift"], atol=0.2)
    assert np.abs(found["drift"]).max() > 0.2
    # Nothing is known of the rate where it restarts, but the drift is what it was.
    assert found["drift_score"][300] == pytest.approx(found["drift_score"][299], rel=0.1)
