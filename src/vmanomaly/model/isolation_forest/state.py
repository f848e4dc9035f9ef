"""The state of isolation forests: a row per series or group, with its trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vmanomaly.model.isolation_forest.forest import Forest
from vmanomaly.model.isolation_forest.trees import Trees
from vmanomaly.model.library.state import RaggedColumn, RaggedState
from vmanomaly.model.state import FINITE, Array, Column, Range
from vmanomaly.series import IntArray

_MOST_SAMPLES = 1 << 24
"""Per tree: float32 counts them exactly."""


def _bounds_problem(arrays: Mapping[str, Array]) -> str | None:
    if not np.array_equal(arrays["low_offsets"], arrays["high_offsets"]):
        return "not as many values as in low"
    return "a value is below that in low" if (arrays["high"] < arrays["low"]).any() else None


COLUMNS = (
    Column("threshold", np.float64, within=Range(-1.0, 0.0)),
    Column("reach", np.float64, within=Range(0.0, 1.0)),
    Column("samples_per_tree", np.int64, within=Range(0, _MOST_SAMPLES)),
)

RAGGED = (
    RaggedColumn("low", np.float64, within=FINITE),
    RaggedColumn("high", np.float64, within=FINITE, rule=_bounds_problem),
    RaggedColumn("tree_starts", np.int64),
    RaggedColumn("feature", np.int32),
    RaggedColumn("value", np.float32),
    RaggedColumn("right", np.int32),
)


class ForestState(RaggedState):
    """A row per series or group, with its forest."""

    @property
    def group_sizes(self) -> IntArray:
        """The channels of every row, int64."""
        return np.diff(self.offsets("low"))

    def forest(self, row: int) -> Forest:
        """Return the forest of a row, as views."""
        names = ("tree_starts", "feature", "value", "right")
        return Forest(
            self.part("low", row),
            self.part("high", row),
            float(self["threshold"][row]),
            float(self["reach"][row]),
            int(self["samples_per_tree"][row]),
            Trees(*(self.part(name, row) for name in names)),
        )

    def check(self, n_calendar: int) -> None:
        """Check that every forest can be walked to its leaves.

        Parameters
        ----------
        n_calendar
            The features in addition to the channels.

        Raises
        ------
        ValueError
            One cannot.
        """
        for row in range(len(self)):
            forest = self.forest(row)
            if not len(forest.low):
                raise ValueError("column low: a row without a channel")
            try:
                forest.trees.check(len(forest.low) + n_calendar, forest.samples_per_tree)
            except ValueError as error:
                raise ValueError(f"column {error}") from None
            if forest.reach > 0.0 and not len(forest.trees.feature):
                raise ValueError("column reach: a forest without trees has none")


def as_row(forest: Forest) -> dict[str, Any]:
    """Return what `ForestState.forest` returns, by column."""
    row = forest._asdict() | forest.trees._asdict()
    row["tree_starts"] = row.pop("starts")
    del row["trees"]
    return row
