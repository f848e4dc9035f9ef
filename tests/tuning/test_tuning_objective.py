"""How good a parameter set is, against independent computations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.config.values.duration import Duration
from vmanomaly.context import RunContext
from vmanomaly.errors import CancelledError, DeadlineExceededError
from vmanomaly.model.grouping import group_channels, select
from vmanomaly.series import FloatArray, Labels, SeriesBatch
from vmanomaly.tuning.objective import evaluate
from vmanomaly.tuning.sample import Sample, spreads
from vmanomaly.tuning.splits import Fold, split

STEP = 60_000


def section_of(alias: str, **keys: Any) -> Any:
    return MODELS[alias].section.model_validate({"class": alias, **keys})


def query(**policies: Any) -> Query:
    return Query(alias="q", expr="q", step=Duration(STEP), **policies)


def batch_of(*rows: FloatArray) -> SeriesBatch:
    labels = tuple(Labels({"row": str(row)}) for row in range(len(rows)))
    return SeriesBatch(labels, np.arange(len(rows[0])) * STEP, np.array(rows))


def noise(n: int = 400, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(10.0, 2.0, n)


def judge(
    batch: SeriesBatch, section: Any, folds: tuple[Fold, ...], limit: float, **more: Any
) -> Any:
    asked = more.pop("query", query())
    sample = Sample([asked], [batch])
    return evaluate(section, sample, folds, limit, more.pop("exact", False), RunContext(), **more)


def by_hand(values: FloatArray, folds: tuple[Fold, ...], z: float, limit: float) -> list[float]:
    """What `zscore_online` without decay is worth, by NumPy; one micro-batch per fold."""
    center = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - center))
    shares, violations, losses = [], [], []
    for fold in folds:
        learned, judged = values[fold.start : fold.first], values[fold.first : fold.last]
        mean, sigma = learned.mean(), learned.std(ddof=1)
        errors = np.sort(np.abs(judged - mean))
        share = np.mean(errors > z * sigma)
        kept = len(judged) - int(limit * len(judged))
        shares.append(share)
        violations.append(max(0.0, share - limit))
        losses.append((errors[:kept].mean() + 2 * z * sigma) / spread)
    return [float(np.mean(shares)), float(np.mean(violations)), float(np.mean(losses))]


@pytest.mark.parametrize("limit", [0.0, 0.05, 0.2])
def test_it_is_what_numpy_says(limit: float) -> None:
    values = noise()
    folds = split(len(values), 3, "regular", 3.0)
    found = judge(batch_of(values), section_of("zscore_online", z_threshold=1.5), folds, limit)
    expected = by_hand(values, folds, 1.5, limit)
    assert [found.share, found.violation, found.loss] == pytest.approx(expected, rel=1e-9)
    assert found.share > 0.05
    assert found.state_bytes == 56


def test_of_several_series_it_is_the_mean_violation_and_the_median_loss() -> None:
    rows = [noise(seed=seed) * scale for seed, scale in enumerate([1.0, 5.0, 0.1, 3.0])]
    folds = split(400, 2, "regular", 1.0)
    found = judge(batch_of(*rows), section_of("zscore_online", z_threshold=2.0), folds, 0.01)
    share, violation, loss = np.array([by_hand(row, folds, 2.0, 0.01) for row in rows]).T
    assert found.share == pytest.approx(share.mean(), rel=1e-9)
    assert found.violation == pytest.approx(violation.mean(), rel=1e-9)
    assert found.loss == pytest.approx(np.median(loss), rel=1e-9)


def test_points_without_a_value_do_not_count() -> None:
    values = noise()
    gaps = values.copy()
    gaps[[310, 320, 399]] = math.nan
    folds = (Fold(0, 400, 300, 400),)
    found = judge(batch_of(gaps), section_of("zscore_online", z_threshold=1.0), folds, 0.0)
    there = gaps[300:][~np.isnan(gaps[300:])]
    deviations = np.abs(there - gaps[:300].mean()) / gaps[:300].std()
    assert found.share == pytest.approx(np.mean(deviations > 1.0))


def test_points_of_the_warm_up_do_not_count() -> None:
    values = noise(40)
    section = section_of("zscore_online", min_n_samples_seen=30)
    early, late = Fold(0, 40, 20, 40), Fold(0, 40, 35, 40)
    assert not judge(batch_of(values), section, (early,), 0.0).is_judged
    assert judge(batch_of(values), section, (late,), 0.0).is_judged


def test_policies_of_the_query_apply() -> None:
    folds = split(400, 3, "regular", 3.0)
    section = section_of("zscore_online", z_threshold=1.0)
    both = judge(batch_of(noise()), section, folds, 0.0)
    above, below = (
        judge(batch_of(noise()), section, folds, 0.0, query=query(detection_direction=side))
        for side in ("above_expected", "below_expected")
    )
    assert above.share + below.share == pytest.approx(both.share)
    assert min(above.share, below.share) > 0


def test_exact_learns_each_point_before_the_next() -> None:
    level = np.concatenate([np.zeros(100), np.full(100, 50.0)]) + noise(200)
    section = section_of("zscore_online", decay=0.9)
    folds = (Fold(0, 200, 100, 200),)
    at_once = judge(batch_of(level), section, folds, 0.0)
    causal = judge(batch_of(level), section, folds, 0.0, exact=True)
    assert at_once.share == 1.0
    assert causal.share < 0.2


def test_a_leaky_fold_judges_points_before_those_that_are_learned() -> None:
    folds = split(400, 2, "leaky", 3.0)
    values = noise()
    found = judge(batch_of(values), section_of("zscore_online", z_threshold=2.0), folds, 0.0)
    shares = []
    for judged, learned in ((values[:200], values[200:]), (values[200:], values[:200])):
        shares.append(np.mean(np.abs(judged - learned.mean()) > 2.0 * learned.std()))
    assert found.share == pytest.approx(np.mean(shares))


def test_groups_are_judged_as_groups() -> None:
    batch = batch_of(noise(seed=1), noise(seed=2), noise(seed=3))
    grouping, _ = group_channels(["q"], [batch], [])
    grouped = select(grouping, ["q"], [batch]).take([batch])
    section = section_of("temporal_envelope_multivariate", seasonalities=[])
    folds = (Fold(0, 400, 300, 400),)
    found = evaluate(section, Sample([query()], [grouped]), folds, 0.0, False, RunContext())
    assert found.is_judged
    assert 0 < found.loss < 20
    assert found.share < 0.2


def test_a_model_that_fails_is_the_worst() -> None:
    folds = (Fold(0, 400, 300, 400),)
    sample = Sample([query()], [batch_of(noise())])
    section = section_of("rolling_quantile", quantile=0.9, window_steps=10)
    broken = section.model_copy(update={"window_steps": -1})
    found = evaluate(broken, sample, folds, 0.0, False, RunContext())
    assert found.loss == found.violation == math.inf
    assert "Error" in found.error


def test_it_stops() -> None:
    folds = split(400, 3, "regular", 3.0)
    sample = Sample([query()], [batch_of(noise())])
    section = section_of("zscore_online")
    context = RunContext()
    context.cancel()
    for partly in (False, True):
        with pytest.raises(CancelledError):
            evaluate(section, sample, folds, 0.0, False, context, partly=partly)
    late = RunContext(deadline_s=0.0)
    with pytest.raises(DeadlineExceededError):
        evaluate(section, sample, folds, 0.0, False, late)
    assert not evaluate(section, sample, folds, 0.0, False, late, partly=True).is_judged


class TestSpread:
    def test_of_noise_is_its_standard_deviation(self) -> None:
        assert spreads(noise(20_000)[None])[0] == pytest.approx(2.0, rel=0.02)

    def test_outliers_do_not_matter(self) -> None:
        values = noise(1000)
        values[:10] = 1e9
        assert spreads(values[None])[0] == pytest.approx(2.0, rel=0.1)

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([0.0] * 9, 1.0),
            ([math.nan] * 3, 1.0),
            ([7.0] * 9, 7.0),
            ([0.0] * 80 + [10.0] * 20, 10 / 3.29),
            ([0.0] * 99 + [10.0], pytest.approx(np.std([0.0] * 99 + [10.0]))),
        ],
    )
    def test_of_what_hardly_varies(self, values: list[float], expected: float) -> None:
        assert spreads(np.array([values]))[0] == pytest.approx(expected)
