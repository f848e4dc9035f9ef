"""A unit whose model looks at groups of series together, of one or more queries."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Self

from vmanomaly.config.model import ModelSection
from vmanomaly.config.reader import Query
from vmanomaly.model import GroupedBatch, ModelOutput, MultivariateModel, SeriesState
from vmanomaly.model.grouping import Grouping, Selection, group_channels, select
from vmanomaly.model.incident import add_incident_score
from vmanomaly.model.joint import predict_channels, predict_groups
from vmanomaly.model.scoring import needed_outputs
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.series import Labels, Origin, SeriesBatch
from vmanomaly.service.unit import Unit, Written

logger = logging.getLogger(__name__)


class MultivariateUnit(Unit[GroupedBatch]):
    """One model on groups of the series of its queries.

    A group is scored while exactly the series that it was fitted on are there, in any order. The
    others are skipped, counted and logged.

    Parameters
    ----------
    model, section, queries, origin, metrics
        As for `Unit`.
    """

    def __init__(
        self,
        model: MultivariateModel,
        section: ModelSection,
        queries: Sequence[Query],
        origin: Origin,
        metrics: Metrics,
    ) -> None:
        super().__init__(model, section, queries, origin, metrics)
        self._query_keys = [query.alias for query in queries]
        self._groupby = section.groupby
        self._fitted: Grouping | None = None
        self._selection: Selection | None = None
        self._selected_from: list[tuple[Labels, ...]] = []
        if model.applies_policies:
            self._policies = {}

    def unlearned(self) -> Self:
        """Return the same unit without a state."""
        unit = super().unlearned()
        unit._fitted = unit._selection = None
        return unit

    def _to_fit(self, batches: Sequence[SeriesBatch]) -> GroupedBatch:
        """Leave out the series that lack a label of `groupby`."""
        grouping, left_out = group_channels(self._query_keys, batches, self._groupby)
        if left_out:
            logger.warning(
                "Model '%s', query '%s': %d series lack a label of groupby [%s] and are left out, "
                "such as %s",
                self.origin.model_alias,
                self.origin.query_key,
                len(left_out),
                ", ".join(self._groupby),
                left_out[0],
            )
        selection = select(grouping, self._query_keys, batches)
        self._skip_mismatches("fit", selection)
        return selection.take(batches)

    def _learn(self, batch: GroupedBatch) -> SeriesState:
        return self._fit_model(batch)

    def _take(self, state: SeriesState, batch: GroupedBatch) -> None:
        super()._take(state, batch)
        grouping = Grouping(self._groupby, batch.labels, batch.channels, batch.offsets)
        fitted = [g for g, labels in enumerate(batch.labels) if labels in state]
        self._fitted, self._selection = grouping.keep(fitted), None

    @property
    def _grouping(self) -> Grouping | None:
        return self._fitted

    def _regroup(self, grouping: Grouping | None, state: SeriesState) -> None:
        if grouping is None or set(grouping.labels) != set(state.labels):
            raise ValueError("the stored groups are not those of the state")
        self._fitted, self._selection = grouping, None

    def _ungroup(self, gone: Collection[Labels]) -> None:
        assert self._fitted is not None  # noqa: S101 - there is a state
        kept = [g for g, labels in enumerate(self._fitted.labels) if labels not in gone]
        self._fitted, self._selection = self._fitted.keep(kept), None

    def _to_infer(self, state: SeriesState, batches: Sequence[SeriesBatch]) -> GroupedBatch:
        """Leave out the groups whose channels are not those they were fitted on."""
        labels = [batch.labels for batch in batches]
        # Tuples compare by identity first: the same series as last time cost next to nothing.
        if self._selection is None or labels != self._selected_from:
            assert self._fitted is not None  # noqa: S101 - there is a state
            self._selection = select(self._fitted, self._query_keys, batches)
            self._selected_from = labels
        self._skip_mismatches("infer", self._selection)
        return self._selection.take(batches)

    def _skip_mismatches(self, stage: str, selection: Selection) -> None:
        mismatches = selection.mismatches
        reason = str(mismatches[0]) if mismatches else ""
        if len(mismatches) > 1:
            reason += f"; and {len(mismatches) - 1} more groups"
        self._skip_some(stage, reason, len(mismatches))

    def _score(self, state: SeriesState, batch: GroupedBatch, output: ModelOutput) -> list[Written]:
        of_channels = ("y", *output.channels)
        wanted = self._provide_series or tuple(output.outputs)
        single = [name for name in wanted if name in of_channels and name not in output.outputs]
        joint = [name for name in wanted if name not in single]
        predictions = predict_groups(batch, output, self._policies, needed_outputs(joint))
        written = [(add_incident_score(predictions, state, joint), self.origin)]
        if single:
            written += [
                (predictions, replace(self.origin, queries=(query_key,)))
                for query_key, predictions in predict_channels(
                    batch, output, self._policies, single
                ).items()
            ]
        return written
