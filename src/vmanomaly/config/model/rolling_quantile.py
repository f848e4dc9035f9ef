"""The section of the model `rolling_quantile`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vmanomaly.config.model.base import OnlineModelSection
from vmanomaly.config.model.values import NotNegative
from vmanomaly.config.values.fields import number, whole


class RollingQuantileSection(OnlineModelSection):
    """Quantiles of the last points.

    Attributes
    ----------
    quantile
        Of the upper bound; the lower bound is that of the remaining share.
    window_steps
        How many points the window holds.
    iqr_threshold
        How many interquartile ranges the bounds are moved outwards.
    """

    class_name: str = Field("rolling_quantile", alias="class")
    quantile: Annotated[float, number("a number from 0.5 to 1", ge=0.5, le=1)] = Field(
        examples=[0.9]
    )
    window_steps: Annotated[int, whole(1, 100_000)] = Field(examples=[60])
    iqr_threshold: NotNegative = 0.0
