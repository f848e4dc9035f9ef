"""From a model and its section of the configuration to a detector."""

from __future__ import annotations

from collections.abc import Sequence
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from vmanomaly.config.registry import MODELS
from vmanomaly.detector.contract import AnyDetector
from vmanomaly.detector.multivariate import MultivariateDetector
from vmanomaly.detector.univariate import UnivariateDetector
from vmanomaly.executor import Executor
from vmanomaly.model.base import AnyModel, MultivariateModel
from vmanomaly.model.scoring import Policy

if TYPE_CHECKING:
    from vmanomaly.config.model import ModelSection
    from vmanomaly.config.reader import Query


def create_detector(
    model: AnyModel,
    section: ModelSection,
    queries: Sequence[Query],
    min_block_size: int = 1,
    executor: Executor | None = None,
) -> AnyDetector:
    """Return the detector that a section of the configuration describes.

    Parameters
    ----------
    model
        The model of the section.
    section
        Says which outputs are wanted, the groups, and the policies.
    queries
        Those that the detector scores jointly; one for a model of single series.
    min_block_size, executor
        As for `Detector`.
    """
    entry = MODELS.get(section.class_name)
    if entry is not None and entry.detector is not None:
        make = resolve_name(entry.detector)
        made: AnyDetector = make(model, section, queries, min_block_size, executor)
        return made
    policies = {query.alias: Policy.of(section, query) for query in queries}
    wanted = section.provide_series
    if isinstance(model, MultivariateModel):
        return MultivariateDetector(
            model, policies, section.groupby, wanted, min_block_size, executor
        )
    (policy,) = policies.values()
    return UnivariateDetector(model, policy, wanted, min_block_size, executor)
