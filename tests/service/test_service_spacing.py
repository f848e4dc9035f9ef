"""Series whose points are further apart than the step."""

from __future__ import annotations

import numpy as np
import pytest

from vmanomaly.series import Labels, SeriesBatch
from vmanomaly.service.spacing import apparent_spacing


def batch(*columns: range | list[int], n: int = 200) -> SeriesBatch:
    values = np.full((len(columns), n), np.nan)
    for row, valid in zip(values, columns, strict=True):
        row[list(valid)] = 1.0
    labels = tuple(Labels({"n": str(n)}) for n in range(len(columns)))
    return SeriesBatch(labels, np.arange(n) * 60_000, values)


@pytest.mark.parametrize(
    ("columns", "spacing"),
    [
        ([range(0, 200, 5)], 5),
        ([range(3, 200, 2)], 2),
        ([range(0, 200, 5), range(2, 200, 5), range(200)], 5),
        ([range(0, 200, 5), range(200)], None),
        ([range(0, 200, 5), range(0, 200, 4)], None),
        ([range(200)], None),
        ([[]], None),
        ([range(0, 40, 5)], None),
        ([], None),
        ([[n for n in range(0, 200, 5) if n not in (20, 100, 150)]], 5),
        ([[n for n in range(200) if n % 10 in (0, 3, 4)]], None),
    ],
)
def test_apparent_spacing(columns: list[range | list[int]], spacing: int | None) -> None:
    assert apparent_spacing(batch(*columns)) == spacing
