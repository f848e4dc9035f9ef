"""The section of the model `prophet`."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, PlainValidator, ValidationInfo, field_validator, model_validator

from vmanomaly.config.effect import RESTARTS
from vmanomaly.config.model.base import ModelSection
from vmanomaly.config.model.values import ForecastOffsets, Positive
from vmanomaly.config.section import Section
from vmanomaly.config.values.fields import (
    Flag,
    PositiveDuration,
    Text,
    as_texts,
    choice,
    whole,
)

_MOST_TERMS = 1000


class Seasonality(Section):
    """A season of Prophet's own; `period` in days."""

    name: Text
    period: Positive
    fourier_order: Annotated[int, whole(1, _MOST_TERMS)]
    prior_scale: Positive | None = None
    mode: Annotated[str, choice("additive", "multiplicative")] | None = None


class TzSeasonality(Section):
    """A season in civil time."""

    name: Annotated[str, choice("minute", "hod", "dow", "month")]
    fourier_order: Annotated[int, whole(1, _MOST_TERMS)] | None = None
    prior_scale: Positive | None = None
    mode: Annotated[str, choice("additive", "multiplicative")] | None = None


class Downsampling(Section):
    """How a long history is reduced before the fit."""

    window: PositiveDuration
    agg_method: Annotated[str, choice("mean", "median")] = "mean"
    adjust_boundaries: Flag = True


def _columns(value: object) -> tuple[str, ...]:
    """Read outputs, each spelled as a column of Prophet or as a metric."""
    named = dict.fromkeys(re.sub(r"\W", "_", name, flags=re.ASCII) for name in as_texts(value))
    named.pop("timestamp", None)
    if not named:
        raise ValueError("expected at least one output, such as [anomaly_score]")
    return tuple(f"_{name}" if name[:1].isdigit() else name for name in named)


AnyOutputs = Annotated[tuple[str, ...], PlainValidator(_columns, json_schema_input_type=list[str])]


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
        Whether each of these is one sine and one cosine of its cycle.
    forecast_at
        How far ahead to forecast, such as 1h and 1d; each gives yhat_1h and its bounds.
    compression
        How a long history is made smaller before the fit.
    """

    outputs = None
    takes_args = True
    forecasts = True

    class_name: str = Field("prophet", alias="class")
    provide_series: Annotated[AnyOutputs | None, RESTARTS] = None
    seasonalities: tuple[Seasonality, ...] = ()
    tz_aware: Flag = False
    tz_seasonalities: tuple[TzSeasonality, ...] = ()
    tz_use_cyclical_encoding: Flag = False
    forecast_at: ForecastOffsets = ()
    compression: Downsampling | None = None

    @field_validator("forecast_at")
    @classmethod
    def _check_forecasts(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        named = info.data.get("provide_series")
        if value and named is not None and not any(name.startswith("yhat") for name in named):
            raise ValueError(
                "provide_series names no prediction to forecast; add yhat, yhat_lower or yhat_upper"
            )
        return value

    @field_validator("tz_seasonalities")
    @classmethod
    def _check_tz(
        cls, value: tuple[TzSeasonality, ...], info: ValidationInfo
    ) -> tuple[TzSeasonality, ...]:
        if value and not info.data.get("tz_aware", True):
            raise ValueError("without effect unless tz_aware is true; set tz_aware: true")
        names = [each.name for each in value]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"{', '.join(repeated)} occurs more than once; remove the others")
        return value

    @field_validator("tz_use_cyclical_encoding")
    @classmethod
    def _check_cyclical(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not info.data.get("tz_seasonalities", True):
            raise ValueError("without effect unless there are tz_seasonalities; add some")
        return value

    @model_validator(mode="after")
    def _with_forecasts(self) -> Self:
        """Add to `provide_series` the forecasts of the predictions in it."""
        if self.provide_series is None or not self.forecast_at:
            return self
        named = [
            f"{name}_{offset}"
            for offset in self.forecast_at
            for name in ("yhat", "yhat_lower", "yhat_upper")
            if name in self.provide_series
        ]
        wanted = tuple(dict.fromkeys((*self.provide_series, *named)))
        # The section is frozen.
        object.__setattr__(self, "provide_series", wanted)
        return self

    @field_validator("tz_seasonalities", mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        return [{"name": item} if isinstance(item, str) else item for item in value]
