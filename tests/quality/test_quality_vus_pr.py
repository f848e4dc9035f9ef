"""VUS-PR against numbers of the packages `vus` 0.0.6 and `TSB-AD` 1.5, which agree."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.vus_pr import vus_pr


@pytest.mark.parametrize(
    ("seed", "n_points", "segments", "longest", "expected"),
    [
        (1, 600, [(100, 130), (300, 301), (420, 470)], 20, 0.41764266213768925),
        (2, 900, [(0, 10), (400, 420), (430, 450), (880, 899)], 60, 0.3172253984460081),
        (3, 1500, [(700, 700)], 125, 0.05214723800137867),
        (4, 400, [(50, 80)], 0, 0.24926533019443936),
    ],
)
def test_as_the_packages_have_it(
    seed: int, n_points: int, segments: list[tuple[int, int]], longest: int, expected: float
) -> None:
    rng = np.random.default_rng(seed)
    scores = np.round(rng.gamma(1.5, 1.0, n_points), 3)
    labels = np.zeros(n_points, np.bool_)
    for first, last in segments:
        labels[first : last + 1] = True
        scores[first : last + 1] += np.round(rng.gamma(2, 0.7, last - first + 1), 3)
    assert vus_pr(labels, scores, longest) == pytest.approx(expected, abs=1e-12)


def test_only_the_order_of_scores_counts() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros(500, np.bool_)
    labels[200:240] = True
    scores = rng.normal(size=500) + labels
    assert vus_pr(labels, scores, 30) == vus_pr(labels, np.exp(scores), 30)


def test_nothing_labelled_has_no_volume() -> None:
    assert np.isnan(vus_pr(np.zeros(300, np.bool_), np.zeros(300), 10))
