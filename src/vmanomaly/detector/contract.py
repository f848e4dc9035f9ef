"""The contract that every detector keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from vmanomaly.context import RunContext
from vmanomaly.detector.detector import Learned, ToFit
from vmanomaly.detector.result import FitResult, InferResult
from vmanomaly.model.grouping import Grouping
from vmanomaly.model.state import Array
from vmanomaly.series import IntArray, Labels, SeriesBatch


class AnyDetector(Protocol):
    """What is asked of a detector; `Detector` says what each of these means."""

    @property
    def multivariate(self) -> bool:
        """Whether it scores groups of series jointly."""
        ...

    @property
    def infer_learns(self) -> bool:
        """Whether `infer` changes what was learned."""
        ...

    @property
    def starts_without_data(self) -> bool:
        """Whether a fit of no series at all is one."""
        ...

    def fit(
        self, batches: Sequence[SeriesBatch], context: RunContext | None = None
    ) -> tuple[Learned, FitResult]:
        """Learn from scratch."""
        ...

    def to_fit(self, batches: Sequence[SeriesBatch]) -> ToFit[Any]:
        """Return what of the batches is to be learned."""
        ...

    def learn(
        self, given: ToFit[Any], context: RunContext | None = None
    ) -> tuple[Learned, FitResult]:
        """Learn from scratch what `to_fit` gave."""
        ...

    def infer(
        self,
        learned: Learned,
        batches: Sequence[SeriesBatch],
        micro_batch_starts: IntArray,
        context: RunContext | None = None,
    ) -> tuple[Learned, InferResult]:
        """Score what the queries returned."""
        ...

    def restore(
        self, labels: Iterable[Labels], grouping: Grouping | None, arrays: Mapping[str, Array]
    ) -> Learned:
        """Rebuild what was learned."""
        ...

    def forget(self, learned: Learned, before: int) -> tuple[Learned, int]:
        """Forget the series or groups not seen since a time."""
        ...
