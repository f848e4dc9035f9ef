"""The section of the model `temporal_envelope_multivariate`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from vmanomaly.config.model.base import CONTRIBUTION, STANDARD_OUTPUTS
from vmanomaly.config.model.temporal_envelope import TemporalEnvelopeSection
from vmanomaly.config.values.fields import choice, whole


class TemporalEnvelopeMultivariateSection(TemporalEnvelopeSection):
    """The envelope of every channel, and what the channels do together.

    Attributes
    ----------
    dependency_rank
        Number of common factors of the channels; 0 scores each channel by itself only.
    score_aggregation
        How the scores of the channels become one.
    max_channels
        Groups with more channels are refused.
    recommended_max_channels
        Groups with more channels cause a warning.
    random_state
        Where the search for the factors starts.
    """

    outputs = (*STANDARD_OUTPUTS, CONTRIBUTION)
    multivariate = True

    class_name: str = Field("temporal_envelope_multivariate", alias="class")
    dependency_rank: Annotated[int, whole(0, 1000)] = 8
    score_aggregation: Annotated[str, choice("max", "mean", "l2")] = "l2"
    max_channels: Annotated[int, whole(1)] = 1000
    recommended_max_channels: Annotated[int, whole(1)] = 100
    random_state: Annotated[int, whole(0)] = 42

    @field_validator("recommended_max_channels")
    @classmethod
    def _check_recommended(cls, value: int, info: ValidationInfo) -> int:
        most = info.data.get("max_channels")
        if most is not None and value > most:
            raise ValueError(
                f"must not be above max_channels ({most}), as more are refused; "
                f"set it to {most} or less"
            )
        return value
