"""A detector that scores every series by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vmanomaly.detector.detector import Detector, Learned, ToFit
from vmanomaly.detector.incident import add_incident_score
from vmanomaly.detector.result import LeftOut, Part
from vmanomaly.executor import Executor
from vmanomaly.model.base import Model, ModelOutput
from vmanomaly.model.grouping import Grouping
from vmanomaly.model.scoring import Policy, needed_outputs, score_series
from vmanomaly.model.state import SeriesState
from vmanomaly.series import SeriesBatch


class UnivariateDetector(Detector[SeriesBatch]):
    """A model of single series, on the series of one query.

    Parameters
    ----------
    model, provide_series, min_block_size, executor
        As for `Detector`.
    policy
        Of the model and the query.

    Examples
    --------
    >>> import numpy as np
    >>> from vmanomaly.model.zscore_online import OnlineZscoreModel
    >>> from vmanomaly.series import Labels
    >>> model = OnlineZscoreModel(
    ...     z_threshold=2.0, decay=1.0, min_n_samples_seen=3, history_strength=1.0
    ... )
    >>> detector = UnivariateDetector(model, Policy(), ["anomaly_score"])
    >>> labels = (Labels({"job": "api"}),)
    >>> past = SeriesBatch(labels, np.array([1, 2, 3]), np.array([[1.0, 2.0, 3.0]]))
    >>> learned, _ = detector.fit([past])
    >>> present = SeriesBatch(labels, np.array([4]), np.array([[9.0]]))
    >>> learned, result = detector.infer(learned, [present], np.array([0]))
    >>> result.parts[0].predictions.outputs
    {'anomaly_score': array([[3.5]])}
    """

    def __init__(
        self,
        model: Model,
        policy: Policy,
        provide_series: Sequence[str] | None = None,
        min_block_size: int = 1,
        executor: Executor | None = None,
    ) -> None:
        super().__init__(model, provide_series, min_block_size, executor)
        self._policy = None if model.applies_policies else policy

    def to_fit(self, batches: Sequence[SeriesBatch]) -> ToFit[SeriesBatch]:
        """Return the batch of the query."""
        (batch,) = batches
        return ToFit(batch, LeftOut())

    def _to_infer(
        self, learned: Learned, batches: Sequence[SeriesBatch]
    ) -> tuple[SeriesBatch, LeftOut]:
        """Leave out, for a model that is not online, the series that it was not fitted on."""
        (batch,) = batches
        if self.model.online:
            return batch, LeftOut()
        unknown = tuple(labels for labels in batch.labels if labels not in learned.state)
        if not unknown:
            return batch, LeftOut()
        known = [row for row, labels in enumerate(batch.labels) if labels in learned.state]
        return batch.keep(known), LeftOut(unknown=unknown)

    def _blocks(self, batch: SeriesBatch) -> Iterator[SeriesBatch]:
        return batch.blocks(self.model.block_bytes, self._min_block_size)

    def _score(self, state: SeriesState, batch: SeriesBatch, output: ModelOutput) -> list[Part]:
        wanted = self._provide_series
        needed = None if wanted is None else needed_outputs(wanted, output.outputs)
        predictions = score_series(batch, output, self._policy, needed)
        return [Part(None, add_incident_score(predictions, state, wanted or ()))]

    def _n_scored_points(self, batch: SeriesBatch, output: ModelOutput) -> int:
        return int(np.count_nonzero(output.eligible & np.isfinite(batch.values)))

    def _grouping_of(self, batch: SeriesBatch, state: SeriesState) -> None:
        return None

    def _check_grouping(self, grouping: Grouping | None, state: SeriesState) -> None:
        if grouping is not None:
            raise ValueError("the stored state is one of groups")
