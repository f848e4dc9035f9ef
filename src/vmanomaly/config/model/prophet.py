"""The section of the model `prophet`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from vmanomaly.config.model.base import ModelSection
from vmanomaly.config.model.values import ForecastOffsets, Positive
from vmanomaly.config.section import Section
from vmanomaly.config.values.fields import Flag, PositiveDuration, Text, choice, whole


class Seasonality(Section):
    """A season of Prophet's own; `period` in days."""

    name: Text
    period: Positive
    fourier_order: Annotated[int, whole(1)]
    prior_scale: Positive | None = None
    mode: Annotated[str, choice("additive", "multiplicative")] | None = None
    condition_name: Text | None = None


class TzSeasonality(Section):
    """A season in civil time."""

    name: Annotated[str, choice("minute", "hod", "dow", "month")]
    fourier_order: Annotated[int, whole(1)] | None = None
    prior_scale: Positive | None = None
    mode: Annotated[str, choice("additive", "multiplicative")] | None = None


class Downsampling(Section):
    """How a long history is reduced before the fit."""

    window: PositiveDuration
    agg_method: Annotated[str, choice("mean", "median")] = "mean"
    adjust_boundaries: Flag = True


class ProphetSection(ModelSection):
    """Prophet; its component columns may be asked for by name.

    Attributes
    ----------
    seasonalities
        Seasons in addition to those that Prophet finds.
    tz_aware
        Whether seasons follow civil time.
    tz_seasonalities
        Seasons in civil time: minute, hod, dow, month.
    tz_use_cyclical_encoding
        Whether these are sines and cosines instead of one column a value.
    forecast_at
        How far ahead to forecast, such as 1h and 1d; each gives yhat_1h and its bounds.
    compression
        How a long history is made smaller before the fit.
    """

    outputs = None
    takes_args = True
    forecasts = True

    class_name: str = Field("prophet", alias="class")
    seasonalities: tuple[Seasonality, ...] = ()
    tz_aware: Flag = False
    tz_seasonalities: tuple[TzSeasonality, ...] = ()
    tz_use_cyclical_encoding: Flag = False
    forecast_at: ForecastOffsets = ()
    compression: Downsampling | None = None

    @field_validator("tz_seasonalities", mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        return [{"name": item} if isinstance(item, str) else item for item in value]
