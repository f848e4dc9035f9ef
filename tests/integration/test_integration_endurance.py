"""A short siege of the service finds no fault, and its comparison finds every difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.endurance.kills import Events, run
from tests.integration.scored_history import Points, first_difference
from vmanomaly.series import Labels

CPU, MEMORY = (
    Labels({"__name__": "yhat", "for": name, "model_alias": "std"}) for name in ("cpu", "memory")
)


def test_a_short_siege(tmp_path: Path) -> None:
    events = Events()
    said = run(6, 5, tmp_path, events, lambda *_: None)
    assert said.startswith("kills: all equal. ")
    assert sum(n for kind, n in events.counts.items() if kind.startswith("SIG")) == 6


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({CPU: {(1000, 1.0)}, MEMORY: {(1000, 5.0)}}, "expected [2.0], found []"),
        ({CPU: {(1000, 1.0), (2000, 2.0)}}, 'for="memory"'),
        ({CPU: {(1000, 1.0), (2000, 2.5)}, MEMORY: {(1000, 5.0)}}, "expected [2.0], found [2.5]"),
        (
            {CPU: {(1000, 1.0), (2000, 2.0), (2000, 3.0)}, MEMORY: {(1000, 5.0)}},
            "expected [2.0], found [2.0, 3.0]; 1 points up to 1970-01-01T00:00:02 differ",
        ),
    ],
)
def test_a_difference_is_told(found: Points, told: str) -> None:
    expected = {CPU: {(1000, 1.0), (2000, 2.0)}, MEMORY: {(1000, 5.0)}}
    assert told in first_difference(expected, found)
    assert not first_difference(expected, expected)
