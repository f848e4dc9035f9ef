"""The section of the model `temporal_envelope`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from vmanomaly.config.model.base import (
    DRIFT,
    DRIFT_SCORE,
    FLATLINE_SCORE,
    STANDARD_OUTPUTS,
    OnlineModelSection,
)
from vmanomaly.config.model.values import FORECAST, ForecastOffsets, NotNegative, Positive
from vmanomaly.config.secrets import shown_name
from vmanomaly.config.section import Section
from vmanomaly.config.values.fields import (
    Flag,
    TwoQuantiles,
    as_text,
    choices,
    filled_text,
    number,
    texts,
    whole,
)
from vmanomaly.config.values.scalar import environment_text
from vmanomaly.config.values.time import parse_iso

_DAY = re.compile(r"(\d{4}-)?\d{2}-\d{2}")


def _special_event(value: object) -> str:
    text = as_text(value)
    if not _DAY.fullmatch(text):
        raise ValueError("expected a day as MM-DD, or YYYY-MM-DD for one year only")
    # 2000 is a leap year: 02-29 is a day.
    parse_iso(text if len(text) > 5 else f"2000-{text}")
    return text


def _country(value: object) -> str:
    # The library of holidays is slow to import, and few configurations name a country.
    country_code: Callable[[str], str] = resolve_name(
        "vmanomaly.config.values.countries:country_code"
    )
    return country_code(filled_text(value))


class Holidays(Section):
    """Days with patterns of their own.

    Attributes
    ----------
    countries
        Codes or names of the countries whose public holidays count.
    special_events
        More days: `MM-DD` every year, `YYYY-MM-DD` once.
    group
        Whether all of them share one learned effect.
    """

    countries: Annotated[tuple[str, ...], texts(_country)] = ()
    special_events: Annotated[tuple[str, ...], texts(_special_event)] = ()
    group: Flag = True


class TemporalEnvelopeSection(OnlineModelSection):
    """Trend, calendar patterns, holidays, level shifts and forecasts.

    Attributes
    ----------
    quantiles
        Of the deviations from the prediction: where the range begins and ends.
    iqr_threshold
        How many interquartile ranges it reaches beyond.
    alpha
        How fast level and trend follow: 1 / alpha points are remembered.
    loss_reactivity
        How much one deviation can teach: it counts up to half as many standard deviations.
    changepoint_window
        Points after which a shift of the level is taken up.
    seasonalities
        Calendar patterns: hour of day, day of week, part of the week, month; smooth, with sharp
        peaks, or with plateaus.
    holidays
        Days that behave in their own way.
    forecast_at
        How far ahead to forecast, such as 1h and 1d; each gives yhat_1h and its bounds.
    """

    outputs: ClassVar[tuple[str, ...]] = (*STANDARD_OUTPUTS, FLATLINE_SCORE, DRIFT_SCORE, DRIFT)
    forecasts = True

    class_name: str = Field("temporal_envelope", alias="class")
    quantiles: TwoQuantiles = (0.25, 0.75)
    iqr_threshold: NotNegative = 2.0
    alpha: Annotated[float, number("a number above 0 and up to 1", gt=0, le=1)] = 0.005
    loss_reactivity: Positive = 5.0
    changepoint_window: Annotated[int, whole(1)] = 16
    seasonalities: Annotated[
        tuple[str, ...],
        choices(
            "hod_smooth",
            "hod_spiky",
            "hod_plateau",
            "dow_smooth",
            "dow_spiky",
            "dow_plateau",
            "weekpart_plateau",
            "month_smooth",
            "month_plateau",
        ),
    ] = ("hod_smooth", "dow_smooth")
    holidays: Holidays = Field(default_factory=Holidays)
    forecast_at: ForecastOffsets = Field((), validate_default=True)

    @field_validator("seasonalities")
    @classmethod
    def _check_unique(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        repeated = [name for name in dict.fromkeys(value) if value.count(name) > 1]
        if repeated:
            raise ValueError(f"{', '.join(repeated)} occurs more than once; remove the others")
        return value

    @field_validator("args")
    @classmethod
    def _check_args(cls, value: dict[str, Any]) -> dict[str, Any]:
        if value:
            raise ValueError(
                "must be empty: there is no library model inside; write keys of the model next to "
                "class"
            )
        return value

    @field_validator("forecast_at")
    @classmethod
    def _check_forecasts(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        named = info.data.get("provide_series") or ()
        forecasts = (FORECAST.fullmatch(name) for name in named if name not in STANDARD_OUTPUTS)
        missing = {
            match[1] if environment_text(match.string) is None else shown_name(match.string)
            for match in forecasts
            if match and match[1] not in value
        }
        if missing:
            raise ValueError(
                f"provide_series names forecasts for {', '.join(sorted(missing))}; list them here"
            )
        if value and named and not any(name.startswith("yhat") for name in named):
            raise ValueError("needs yhat in provide_series, or a bound; add yhat there")
        return value
