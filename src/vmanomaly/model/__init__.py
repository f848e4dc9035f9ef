"""Models: what is normal for a series, and how far a point is from it."""

from vmanomaly.model.base import Model, ModelOutput, warm_up
from vmanomaly.model.registry import create_model
from vmanomaly.model.state import SeriesState

__all__ = ["Model", "ModelOutput", "SeriesState", "create_model", "warm_up"]
