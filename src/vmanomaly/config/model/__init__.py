"""The section `models`: one module per class."""

from vmanomaly.config.model.base import (
    BEYOND_LEVELS,
    CONTRIBUTION,
    DRIFT,
    DRIFT_SCORE,
    FLATLINE_SCORE,
    INCIDENT_SCORE,
    STANDARD_OUTPUTS,
    ModelSection,
    OnlineModelSection,
)
from vmanomaly.config.model.custom import CustomSection
from vmanomaly.config.model.temporal_envelope import Holidays

__all__ = [
    "BEYOND_LEVELS",
    "CONTRIBUTION",
    "DRIFT",
    "DRIFT_SCORE",
    "FLATLINE_SCORE",
    "INCIDENT_SCORE",
    "STANDARD_OUTPUTS",
    "CustomSection",
    "Holidays",
    "ModelSection",
    "OnlineModelSection",
]
