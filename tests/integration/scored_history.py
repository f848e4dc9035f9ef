"""A stretch of history in a real database, and what services wrote about it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np

from tests.integration.servers import Samples, VictoriaMetrics
from vmanomaly.series import Labels, SeriesBatch

Points: TypeAlias = dict[Labels, set[tuple[int, float]]]
"""The points of each series: timestamps in Unix milliseconds, with their values."""


def fill(vm: VictoriaMetrics, data: SeriesBatch) -> None:
    """Write the finite values of some series, as those of the metric `load`."""
    vm.import_series(
        (
            {"__name__": "load", **labels},
            [
                (int(at), float(value))
                for at, value in zip(data.timestamps, values, strict=True)
                if np.isfinite(value)
            ],
        )
        for labels, values in zip(data.labels, data.values, strict=True)
    )
    vm.force_flush()


def scores(vm: VictoriaMetrics, prefix: str) -> tuple[Points, int]:
    """Return the points of every series under a prefix, and how many are there twice."""
    found: dict[Labels, Samples] = vm.export(f'{{__name__=~"{prefix}_.*"}}')
    points = {
        Labels({**labels, "__name__": labels["__name__"].removeprefix(f"{prefix}_")}): set(samples)
        for labels, samples in found.items()
    }
    return points, sum(map(len, found.values())) - sum(map(len, points.values()))


def first_difference(expected: Points, found: Points) -> str:
    """Return the earliest point that is not the same in both, in words; nothing if there is none.

    >>> cpu = Labels({"for": "cpu"})
    >>> told = first_difference({cpu: {(0, 1.0), (1000, 2.0)}}, {cpu: {(0, 1.0)}})
    >>> told.partition(";")[0]
    '1970-01-01T00:00:01 of {for="cpu"}: expected [2.0], found []'
    >>> first_difference({cpu: {(0, 1.0)}}, {cpu: {(0, 1.0)}})
    ''
    """
    differing = [
        (timestamp, str(labels), labels)
        for labels in expected.keys() | found.keys()
        for timestamp, _ in expected.get(labels, set()) ^ found.get(labels, set())
    ]
    if not differing:
        return ""
    timestamp, name, labels = min(differing)
    values = (
        sorted(value for at, value in side.get(labels, ()) if at == timestamp)
        for side in (expected, found)
    )
    points = {(at, text): each for at, text, each in differing}
    models = dict(Counter(each.get("model_alias", "none") for each in points.values()))
    return "{} of {}: expected {}, found {}; {} points up to {} differ, by model {}".format(
        told(timestamp), name, *values, len(points), told(max(points)[0]), models
    )


def told(at: int) -> str:
    """Return a time in words."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
