"""Models: what is normal for a series, and how far a point is from it."""

from vmanomaly.model.base import AnyModel, Model, ModelOutput, MultivariateModel, warm_up
from vmanomaly.model.grouping import Channel, GroupedBatch
from vmanomaly.model.registry import create_model, create_multivariate_model
from vmanomaly.model.state import Column, SeriesState

__all__ = [
    "AnyModel",
    "Channel",
    "Column",
    "GroupedBatch",
    "Model",
    "ModelOutput",
    "MultivariateModel",
    "SeriesState",
    "create_model",
    "create_multivariate_model",
    "warm_up",
]
