"""Labelled groups, and what is counted of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.groups import judge_group, score_group, table
from benchmarks.quality.labelled_groups import LabelledGroup, generate_groups, read_skab
from vmanomaly.config.model.temporal_envelope_multivariate import (
    TemporalEnvelopeMultivariateSection,
)

pytestmark = pytest.mark.slow

DAY = 86_400_000


def group(n_points: int, anomalous: slice, n_fit: int) -> LabelledGroup:
    labels = np.zeros(n_points, np.bool_)
    labels[anomalous] = True
    return LabelledGroup(
        "made",
        "up",
        ("a", "b", "c"),
        1_767_571_200_000 + 300_000 * np.arange(n_points, dtype=np.int64),
        np.random.default_rng(0).normal(size=(3, n_points)),
        labels,
        n_fit,
        300_000,
    )


def test_points_and_alarms_are_counted_after_the_fit() -> None:
    scores = np.zeros(80)
    scores[[0, 5, 18, 40, 41, 50]] = 2.0
    judged = judge_group(group(100, slice(60, 65), 20), scores)
    assert judged.found == (True,)
    assert (judged.hits, judged.false, judged.missed, judged.quiet) == (2, 4, 3, 71)
    # 0 and 5 are one alarm, and 18 is 13 steps later.
    assert judged.false_alarms == 3
    (_, line) = table("t", [judged])
    # 2 · 2 / (2 · 2 + 4 + 3), and 4 of 75.
    assert line.split()[1:] == [
        "1",
        "1",
        "of",
        "1",
        "0.36",
        "5.3",
        f"{3 / (79 * 300e3 / 7 / DAY):.2f}",
    ]


def test_an_incident_of_a_group_is_found() -> None:
    shifted = group(700, slice(500, 600), 400)
    shifted.values[1, 500:600] += 6.0
    section = TemporalEnvelopeMultivariateSection(class_name="temporal_envelope_multivariate")
    judged = judge_group(shifted, score_group(section, shifted)["anomaly_score"])
    assert judged.found == (True,)
    assert judged.hits > 80
    assert judged.false < 30


def test_runs_of_skab_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "valve1").mkdir()
    for number in (10, 2):
        (tmp_path / "valve1" / f"{number}.csv").write_text(
            "datetime;Current;Volume Flow RateRMS;anomaly;changepoint\n"
            f"2020-03-09 10:14:33;1.5;{number};0.0;0.0\n"
            "2020-03-09 10:14:35;1.25;32.5;1.0;0.0\n",
            encoding="utf-8",
        )
    two, ten = read_skab(tmp_path)
    assert (two.name, ten.name) == ("2", "10")
    assert two.channels == ("Current", "Volume Flow RateRMS")
    assert two.values.tolist() == [[1.5, 1.25], [2.0, 32.5]]
    assert np.diff(two.timestamps).tolist() == [2000]
    assert two.timestamps[0] == 1_583_748_873_000
    assert two.anomalous.tolist() == [False, True]


def test_groups_made_up_are_the_same_every_time() -> None:
    first, second = generate_groups(), generate_groups()
    assert len(first) == 140
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        assert one.anomalous.any() == (one.family != "quiet")
        assert not one.anomalous[: one.n_fit].any()
        assert np.isfinite(one.values).all()
