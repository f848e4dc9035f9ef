"""The sections of the models, and what each model can produce."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, ClassVar

from pydantic import (
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import (
    OUTPUT_NAME,
    DataRange,
    Deviation,
    Direction,
    Flag,
    FreeMapping,
    PositiveDuration,
    Scale,
    Text,
    ThreeQuantiles,
    TwoQuantiles,
    as_number,
    as_text,
    as_texts,
    choice,
    filled_text,
    number,
    one_of,
    texts,
    whole,
)
from vmanomaly.config.values.time import parse_iso

STANDARD_OUTPUTS = ("anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper")
INCIDENT_SCORE = "incident_score"
"""Of every model: it is made of the anomaly score."""

_FORECAST = re.compile(r"yhat_(?:(?:lower|upper)_)?(?!lower$|upper$)([0-9A-Za-z]+)")
_OFFSET = re.compile(r"[0-9A-Za-z]+")
_MAX_SUBSEASONS = 7 * 24 * 60
_DAY = re.compile(r"(\d{4}-)?\d{2}-\d{2}")


def _output(value: object) -> str:
    name = as_text(value)
    if not OUTPUT_NAME.fullmatch(name):
        raise ValueError("expected the name of an output such as anomaly_score")
    return name


def _outputs(value: object) -> tuple[str, ...]:
    named = dict.fromkeys(as_texts(value, _output))
    named.pop("timestamp", None)
    if not named:
        raise ValueError("expected at least one output, such as [anomaly_score]")
    return tuple(named)


def _forecast_offset(value: object) -> str:
    text = filled_text(value)
    if not _OFFSET.fullmatch(text) or Duration.parse(text) <= 0:
        raise ValueError("expected a duration above 0 without a fraction, such as 1h or 1d")
    return text


def _season_start(value: object) -> str:
    text = as_text(value)
    parse_iso(text)
    return text


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


def _contamination(value: object) -> str | float:
    if value == "auto":
        return "auto"
    share = as_number(value)
    if not 0 < share <= 0.5:
        raise ValueError("expected auto, or a number above 0 and up to 0.5")
    return share


Positive = Annotated[float, number("a number above 0", lambda x: x > 0)]
NotNegative = Annotated[float, number("a number of 0 or more", lambda x: x >= 0)]
Share = Annotated[float, number("a number from 0 to 1", lambda x: 0 <= x <= 1)]
HistoryStrength = Annotated[float, number("a number of 1 or more", lambda x: x >= 1)]
Compression = Annotated[int, whole(10, 1000)]
ForecastOffsets = Annotated[tuple[str, ...], texts(_forecast_offset)]
CyclicFeatures = Annotated[tuple[str, ...], texts(one_of("minute", "hod", "dow", "month"))]
Outputs = Annotated[tuple[str, ...], PlainValidator(_outputs)]


class ModelSection(Section):
    """What every model takes.

    Attributes
    ----------
    outputs
        What the class can produce, beside forecasts and the incident score; None where only a
        run can tell.
    multivariate
        Whether one model looks at all series of its queries together.
    queries, schedulers
        Aliases of what the model runs on.
    provide_series
        Outputs to write; None for the model's own choice.
    scale
        Factors on the lower and the upper width of the expected range.
    clip_predictions
        Whether to clip predictions to the query's `data_range`.
    anomaly_score_outside_data_range
        Score of a value outside the query's `data_range`.
    data_range, detection_direction, min_dev_from_expected, min_rel_dev_from_expected
        Deprecated. Used where the query says nothing.
    groupby
        One multivariate model for every combination of the values of these labels.
    args
        Passed to the model of the library inside.
    """

    outputs: ClassVar[tuple[str, ...] | None] = STANDARD_OUTPUTS
    multivariate: ClassVar[bool] = False

    class_name: str = Field(alias="class")
    queries: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    provide_series: Outputs | None = None
    scale: Scale = (1.0, 1.0)
    clip_predictions: Flag = False
    anomaly_score_outside_data_range: NotNegative = 1.01
    data_range: DataRange | None = None
    detection_direction: Direction | None = None
    min_dev_from_expected: Deviation | None = None
    min_rel_dev_from_expected: Deviation | None = None
    groupby: Annotated[tuple[str, ...], texts()] = ()
    args: FreeMapping = Field(default_factory=dict)

    @property
    def query_groups(self) -> tuple[tuple[str, ...], ...]:
        """The aliases of what one model looks at: all queries together, or each for itself."""
        queries = tuple(sorted(self.queries))
        return (queries,) if self.multivariate else tuple((query,) for query in queries)

    @field_validator("provide_series")
    @classmethod
    def _check_producible(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if cls.outputs is None:
            return value
        forecasts = "forecast_at" in cls.model_fields
        outputs = (*cls.outputs, INCIDENT_SCORE)
        wrong = [
            name
            for name in value
            if name not in outputs and not (forecasts and _FORECAST.fullmatch(name))
        ]
        if wrong:
            raise ValueError(
                f"this model does not produce {', '.join(wrong)}; it produces {', '.join(outputs)}"
            )
        return value


class OnlineModelSection(ModelSection):
    """What every online model takes beside.

    Attributes
    ----------
    decay
        Weight of the past, per point; 1 forgets nothing.
    min_n_samples_seen
        The score is 0 until that many points were seen.
    """

    decay: Annotated[float, number("a number above 0 and up to 1", lambda x: 0 < x <= 1)] = 1.0
    min_n_samples_seen: Annotated[int, whole(0)] = 16


class ZscoreOnlineSection(OnlineModelSection):
    """Mean and standard deviation."""

    class_name: str = Field("zscore_online", alias="class")
    z_threshold: Positive = 2.5
    history_strength: HistoryStrength = 1.0


class MadOnlineSection(OnlineModelSection):
    """Median and median absolute deviation."""

    class_name: str = Field("mad_online", alias="class")
    threshold: Positive = 2.5
    compression: Compression = 100
    history_strength: HistoryStrength = 1.0


class QuantileOnlineSection(OnlineModelSection):
    """Quantiles of every part of a season."""

    class_name: str = Field("quantile_online", alias="class")
    quantiles: ThreeQuantiles = (0.01, 0.5, 0.99)
    iqr_threshold: NotNegative = 0.0
    seasonal_interval: PositiveDuration | None = None
    min_subseason: PositiveDuration | None = None
    season_starts_from: Annotated[str, PlainValidator(_season_start)] = "1970-01-01"
    use_transform: Flag = False
    global_smoothing: Share = 0.0
    compression: Compression = 100
    history_strength: HistoryStrength = 1.0

    @field_validator("min_subseason")
    @classmethod
    def _check_divides(cls, value: Duration, info: ValidationInfo) -> Duration:
        if "seasonal_interval" not in info.data:
            return value
        season = info.data["seasonal_interval"]
        if season is None:
            raise ValueError("nothing to divide; set seasonal_interval too")
        if season % value:
            raise ValueError(f"expected a duration that divides seasonal_interval ({season})")
        if season // value > _MAX_SUBSEASONS:
            raise ValueError(
                f"expected at most {_MAX_SUBSEASONS:,} parts of a season, which are the minutes of "
                f"a week; {season} has {season // value:,}"
            )
        return value


class RollingQuantileSection(OnlineModelSection):
    """Quantiles of the last points."""

    class_name: str = Field("rolling_quantile", alias="class")
    quantile: Annotated[float, number("a number from 0.5 to 1", lambda x: 0.5 <= x <= 1)]
    window_steps: Annotated[int, whole(1, 100_000)]
    iqr_threshold: NotNegative = 0.0


class StdSection(OnlineModelSection):
    """One-sided seasonal decomposition."""

    outputs = (*STANDARD_OUTPUTS, "trend", "seasonal", "resid")

    class_name: str = Field("std", alias="class")
    period: Annotated[int, whole(2, 100_000)]
    z_threshold: Positive = 2.5


class Holidays(Section):
    """Days that behave in their own way.

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
    """Trend, calendar patterns, holidays, level shifts and forecasts."""

    class_name: str = Field("temporal_envelope", alias="class")
    quantiles: TwoQuantiles = (0.25, 0.75)
    iqr_threshold: NotNegative = 2.0
    alpha: Annotated[float, number("a number above 0 and up to 1", lambda x: 0 < x <= 1)] = 0.005
    loss_reactivity: Positive = 5.0
    changepoint_window: Annotated[int, whole(1)] = 16
    seasonalities: Annotated[
        tuple[str, ...],
        texts(
            one_of(
                "hod_smooth",
                "hod_spiky",
                "hod_plateau",
                "dow_smooth",
                "dow_spiky",
                "dow_plateau",
                "weekpart_plateau",
                "month_smooth",
                "month_plateau",
            )
        ),
    ] = ("hod_smooth", "dow_smooth")
    holidays: Holidays = Field(default_factory=Holidays)
    forecast_at: ForecastOffsets = Field((), validate_default=True)

    @field_validator("forecast_at")
    @classmethod
    def _check_forecasts(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        named = info.data.get("provide_series") or ()
        forecasts = (_FORECAST.fullmatch(name) for name in named if name not in STANDARD_OUTPUTS)
        missing = {match[1] for match in forecasts if match and match[1] not in value}
        if missing:
            raise ValueError(
                f"provide_series names forecasts for {', '.join(sorted(missing))}; list them here"
            )
        return value


class TemporalEnvelopeMultivariateSection(TemporalEnvelopeSection):
    """The same for every channel, and what the channels do together."""

    multivariate = True

    class_name: str = Field("temporal_envelope_multivariate", alias="class")
    dependency_rank: Annotated[int, whole(0)] = 8
    score_aggregation: Annotated[str, choice("max", "mean", "l2")] = "l2"
    max_channels: Annotated[int, whole(1)] = 1000
    recommended_max_channels: Annotated[int, whole(1)] = 100
    random_state: Annotated[int, whole(0)] = 42


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
    """How a long history is made smaller before the fit."""

    window: PositiveDuration
    agg_method: Annotated[str, choice("mean", "median")] = "mean"
    adjust_boundaries: Flag = True


class ProphetSection(ModelSection):
    """Prophet; its component columns may be asked for by name."""

    outputs = None

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


class HoltWintersSection(ModelSection):
    """Holt-Winters exponential smoothing of statsmodels."""

    class_name: str = Field("holtwinters", alias="class")
    frequency: PositiveDuration | None = None
    seasonality: PositiveDuration | None = None
    z_threshold: Positive = 2.5


class IsolationForestSection(ModelSection):
    """Isolation forest of scikit-learn; gives a score and no expected range."""

    outputs = ("anomaly_score", "y")

    class_name: str = Field("isolation_forest", alias="class")
    contamination: Annotated[str | float, PlainValidator(_contamination)] = "auto"
    seasonal_features: CyclicFeatures = ()


class IsolationForestMultivariateSection(IsolationForestSection):
    """One forest over all series of a group."""

    multivariate = True

    class_name: str = Field("isolation_forest_multivariate", alias="class")


class OptimizationParams(Section):
    """How the model inside `auto` is tuned; `timeout` in seconds."""

    anomaly_percentage: Annotated[
        float, number("a number of 0 or more and below 0.5", lambda x: 0 <= x < 0.5)
    ]
    seed: Annotated[int, whole(0)] | None = None
    n_splits: Annotated[int, whole(1)] = 3
    validation_scheme: Annotated[str, choice("regular", "leaky")] = "regular"
    train_val_ratio: Positive = 3.0
    n_trials: Annotated[int, whole(1)] = 128
    timeout: Positive | None = None
    n_jobs: Annotated[int, whole(-1)] = 1
    exact: Flag = False
    optimize_complexity: Flag = True
    optimized_business_params: Annotated[tuple[str, ...], texts()] = ()
    frozen_params: FreeMapping = Field(default_factory=dict)


class AutoSection(ModelSection):
    """Another model, tuned on every fit."""

    outputs = None

    class_name: str = Field("auto", alias="class")
    tuned_class_name: Text
    optimization_params: OptimizationParams
    frozen_params: FreeMapping = Field(default_factory=dict)


class CustomSection(OnlineModelSection):
    """A model of the user's own; `class` is `custom` or the dotted name of a class.

    Attributes
    ----------
    class_folder
        Where its file is looked for.
    own_keys
        The keys that only its class knows.
    """

    derived = frozenset({"class_folder", "own_keys"})
    takes_any_key = True
    outputs = None

    class_name: Text = Field("custom", alias="class")
    class_folder: Path = Path()
    own_keys: FreeMapping = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_own_keys(cls, values: Mapping[str, object]) -> dict[str, object]:
        known = {*cls.yaml_keys(), *cls.model_fields}
        own = {
            key: value for key, value in values.items() if key not in known and value is not None
        }
        shared = {key: value for key, value in values.items() if key in known}
        return {"own_keys": own} | shared

    def as_multivariate(self) -> CustomMultivariateSection:
        """Return the same section, of a class that looks at all series of its queries together."""
        return CustomMultivariateSection.model_construct(self.model_fields_set, **self.__dict__)


class CustomMultivariateSection(CustomSection):
    """The same, where the class turned out to look at all series of its queries together."""

    multivariate = True
