"""A stretch of history in a real database, and what services wrote about it."""

from __future__ import annotations

import numpy as np

from tests.integration.servers import Samples, VictoriaMetrics
from vmanomaly.series import Labels, SeriesBatch


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


def scores(vm: VictoriaMetrics, prefix: str) -> tuple[dict[Labels, set[tuple[int, float]]], int]:
    """Return the points of every series under a prefix, and how many are there twice."""
    found: dict[Labels, Samples] = vm.export(f'{{__name__=~"{prefix}_.*"}}')
    points = {
        Labels({**labels, "__name__": labels["__name__"].removeprefix(f"{prefix}_")}): set(samples)
        for labels, samples in found.items()
    }
    return points, sum(map(len, found.values())) - sum(map(len, points.values()))
