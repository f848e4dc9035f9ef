"""The section of the model `std`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vmanomaly.config.model.base import STANDARD_OUTPUTS, OnlineModelSection
from vmanomaly.config.model.values import Positive
from vmanomaly.config.values.fields import whole


class StdSection(OnlineModelSection):
    """One-sided seasonal decomposition."""

    outputs = (*STANDARD_OUTPUTS, "trend", "seasonal", "resid")

    class_name: str = Field("std", alias="class")
    period: Annotated[int, whole(2, 100_000)] = Field(examples=[24])
    z_threshold: Positive = 2.5
