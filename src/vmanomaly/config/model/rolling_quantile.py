"""The section of the model `rolling_quantile`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vmanomaly.config.model.base import OnlineModelSection
from vmanomaly.config.model.values import NotNegative
from vmanomaly.config.values.fields import number, whole


class RollingQuantileSection(OnlineModelSection):
    """Quantiles of the last points."""

    class_name: str = Field("rolling_quantile", alias="class")
    quantile: Annotated[float, number("a number from 0.5 to 1", lambda x: 0.5 <= x <= 1)] = Field(
        examples=[0.9]
    )
    window_steps: Annotated[int, whole(1, 100_000)] = Field(examples=[60])
    iqr_threshold: NotNegative = 0.0
