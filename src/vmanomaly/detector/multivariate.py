"""A detector that scores groups of series jointly, of one or more queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vmanomaly.config.model import CONTRIBUTION
from vmanomaly.detector.detector import Detector, Learned, ToFit
from vmanomaly.detector.incident import add_incident_score
from vmanomaly.detector.result import LeftOut, Part
from vmanomaly.executor import Executor
from vmanomaly.model.base import ModelOutput, MultivariateModel
from vmanomaly.model.grouping import GroupedBatch, Grouping, Selection, group_channels, select
from vmanomaly.model.joint import score_channels, score_contributions, score_groups
from vmanomaly.model.scoring import Policy, needed_outputs
from vmanomaly.model.state import SeriesState
from vmanomaly.series import Labels, SeriesBatch


class _Selected(NamedTuple):
    """The last selection, and what it was made from."""

    grouping: Grouping
    labels: list[tuple[Labels, ...]]
    selection: Selection


class MultivariateDetector(Detector[GroupedBatch]):
    """A model of groups of series, on the series of some queries.

    A group is scored while exactly the series that it was fitted on are present, in any order. So
    the channels of the groups are part of what is learned.

    Parameters
    ----------
    model, provide_series, min_block_size
        As for `Detector`.
    policies
        Of the model and each query, by the aliases of the queries, in the order of their batches.
    groupby
        Label names; one group for each combination of their values; without any, one group of
        all series.
    executor
        As for `Detector`.
    """

    def __init__(
        self,
        model: MultivariateModel,
        policies: Mapping[str, Policy],
        groupby: Sequence[str] = (),
        provide_series: Sequence[str] | None = None,
        min_block_size: int = 1,
        executor: Executor | None = None,
    ) -> None:
        super().__init__(model, provide_series, min_block_size, executor)
        self._queries = tuple(policies)
        self._policies = {} if model.applies_policies else dict(policies)
        self._groupby = tuple(groupby)
        self._selected: _Selected | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_selected": None}

    def to_fit(self, batches: Sequence[SeriesBatch]) -> ToFit[GroupedBatch]:
        """Put the series into groups; those that lack a label of `groupby` are left out."""
        grouping, ungrouped = group_channels(self._queries, batches, self._groupby)
        selection = select(grouping, self._queries, batches)
        left_out = LeftOut((), selection.mismatches, tuple(ungrouped), self._groupby)
        return ToFit(selection.take(batches), left_out)

    def _to_infer(
        self, learned: Learned, batches: Sequence[SeriesBatch]
    ) -> tuple[GroupedBatch, LeftOut]:
        """Leave out the groups whose channels are not those they were fitted on."""
        selection = self._select(learned, batches)
        return selection.take(batches), LeftOut(mismatches=selection.mismatches)

    def _select(self, learned: Learned, batches: Sequence[SeriesBatch]) -> Selection:
        labels = [batch.labels for batch in batches]
        grouping, last = learned.grouping, self._selected
        assert grouping is not None  # noqa: S101 - it is from `learn` or checked by `restore`
        # Tuples compare by identity first: the same series as last time cost almost nothing.
        if last is not None and last.grouping is grouping and last.labels == labels:
            return last.selection
        selection = select(grouping, self._queries, batches)
        self._selected = _Selected(grouping, labels, selection)
        return selection

    def _blocks(self, batch: GroupedBatch) -> Iterator[GroupedBatch]:
        return batch.blocks(self.model.block_bytes, self._min_block_size)

    def _score(self, state: SeriesState, batch: GroupedBatch, output: ModelOutput) -> list[Part]:
        of_channels = ("y", *output.channels)
        wanted = self._provide_series or tuple(output.outputs)
        single = [name for name in wanted if name in of_channels and name not in output.outputs]
        joint = [name for name in wanted if name not in single]
        contributions = CONTRIBUTION in single
        if contributions:
            single.remove(CONTRIBUTION)
        predictions = score_groups(batch, output, self._policies, needed_outputs(joint))
        parts = [Part(None, add_incident_score(predictions, state, joint))]
        if single:
            by_query = score_channels(batch, output, self._policies, single)
            parts += [Part(query, predictions) for query, predictions in by_query.items()]
        if contributions:
            by_query = score_contributions(batch, output)
            parts += [Part(query, predictions) for query, predictions in by_query.items()]
        return parts

    def _n_scored_points(self, batch: GroupedBatch, output: ModelOutput) -> int:
        per_group = np.count_nonzero(output.eligible & batch.complete, axis=1)
        return int(per_group @ np.diff(batch.offsets))

    def _grouping_of(self, batch: GroupedBatch, state: SeriesState) -> Grouping:
        grouping = Grouping(self._groupby, batch.labels, batch.channels, batch.offsets)
        return grouping.keep([g for g, labels in enumerate(batch.labels) if labels in state])

    def _check_grouping(self, grouping: Grouping | None, state: SeriesState) -> None:
        if grouping is None or set(grouping.labels) != set(state.labels):
            raise ValueError("the stored groups are not those of the state")
        grouping.check()
        queries = {channel.query_key for channel in grouping.channels}
        if grouping.groupby != self._groupby or not queries <= set(self._queries):
            raise ValueError("the stored groups are those of other queries or labels")
        sizes = state.group_sizes
        if sizes is not None and not np.array_equal(
            sizes[state.rows(grouping.labels)], np.diff(grouping.offsets)
        ):
            raise ValueError("the stored groups have other channels than those of the state")
