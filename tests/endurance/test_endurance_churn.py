"""A short soak is flat, and what grows is found."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.endurance.churn import LEAST, Outcome, Soak, run, verdict
from benchmarks.endurance.churning_source import ChurningSource
from benchmarks.endurance.flatness import Trend, fit_trend

FLAT = Outcome({name: Trend(1e9, 0.0, 0.0) for name in LEAST}, {}, 100, 10, 0.5)


@pytest.mark.slow
def test_a_short_soak(tmp_path: Path) -> None:
    soak = Soak(n_series=200, period_s=1, minutes=0.15)
    outcome = run(soak, tmp_path, lambda *_: None)
    assert outcome.is_well, verdict(soak, outcome)
    assert outcome.n_points > 4 * soak.n_series
    assert verdict(soak, outcome).startswith("churn: flat. 200 series, ")


def test_what_grows_is_found() -> None:
    rng = np.random.default_rng(1)
    seconds = np.arange(0.0, 3600.0, 5.0)
    noise = 300e6 + rng.normal(0, 1e6, len(seconds))
    noise[rng.integers(0, len(seconds), 20)] += 200e6
    assert fit_trend(seconds.tolist(), noise.tolist()).is_flat(0.05, 0.0)
    leak = fit_trend(seconds.tolist(), (noise + 20e6 * seconds / 3600).tolist())
    assert leak.per_hour == pytest.approx(20e6, rel=0.1)
    leaking = dataclasses.replace(FLAT, trends={**FLAT.trends, "memory": leak})
    assert leaking.growing == ["memory"]
    assert not leaking.is_well
    assert verdict(Soak(), leaking).startswith("churn: MEMORY GROWS. ")


def test_what_fails_is_told() -> None:
    assert FLAT.is_well
    failing = dataclasses.replace(FLAT, faults={"lost points": 3})
    assert not failing.is_well
    assert verdict(Soak(), failing).startswith("churn: 3 LOST POINTS. ")


def test_a_tenth_of_the_series_is_replaced_in_every_period() -> None:
    source = ChurningSource(n_series=100, period_s=60)

    def pods(start: int, end: int) -> dict[str, list[int]]:
        answer = json.loads(b"".join(source.answer(start, end, 20)))
        return {
            series["metric"]["pod"]: [seconds for seconds, _ in series["values"]]
            for series in answer["data"]["result"]
        }

    alive = [set(pods(at, at)) for at in range(6000, 6660, 60)]
    assert {len(each) for each in alive} == {100}
    assert [len(alive[0] - each) for each in alive] == [*range(0, 100, 10), 100]
    spanning = pods(6000, 6060)
    assert len(spanning) == 110
    for pod, seconds in spanning.items():
        assert seconds == [at for at in range(6000, 6061, 20) if pod in pods(at, at)]
