"""What the sections of all models share."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator

from vmanomaly.config.effect import HARMLESS, LEARNED_FROM, RESTARTS
from vmanomaly.config.model.values import FORECAST, NotNegative, Outputs
from vmanomaly.config.secrets import shown_name
from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import (
    DataRange,
    Deviation,
    Direction,
    Flag,
    FreeMapping,
    Scale,
    number,
    texts,
    whole,
)

STANDARD_OUTPUTS = ("anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper")
NEEDS_YHAT = (
    "scale",
    "clip_predictions",
    "detection_direction",
    "min_dev_from_expected",
    "min_rel_dev_from_expected",
)
"""Policies that compare a value with what is expected."""
INCIDENT_SCORE = "incident_score"
"""Of every model: it is made of the anomaly score."""
CONTRIBUTION = "contribution"
"""Of models of groups that can say it: the share of each channel in the score, in percent."""
FLATLINE_SCORE = "flatline_score"
"""Of models that notice how long a series stands still: the incident score is made of it too."""
DRIFT_SCORE, DRIFT = "drift_score", "drift"
"""Of models that notice how far the level has come from where it was for days: how unusual that is,
of which the incident score is made too, and how far, in the unit of the series."""
BEYOND_LEVELS = "beyond_levels"
"""Of models whose range covers two levels for a while, and never written: how far a sample that is
back at the level before is beyond both, the largest float for all others. The evidence of the
incident score is never larger."""


class ModelSection(Section):
    """What every model takes.

    Attributes
    ----------
    outputs
        What the class can produce, in addition to forecasts and the incident score; None where
        only a run can tell.
    multivariate
        Whether one model scores all series of its queries jointly.
    forecasts
        Whether the class predicts the future too, as its key `forecast_at` asks.
    gives_yhat
        Whether the class says what is expected, which most policies need.
    takes_args
        Whether there is a library's model inside, to which `args` are passed.
    queries, schedulers
        Aliases of what the model runs on. Attaching it to more schedulers does not affect those
        that it is on already.
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
    forecasts: ClassVar[bool] = False
    gives_yhat: ClassVar[bool] = True
    takes_args: ClassVar[bool] = False
    without_effect = MappingProxyType(
        {"ttl": "states are forgotten after settings.retention.ttl; set that, and remove this"}
    )
    default_effect = LEARNED_FROM

    class_name: str = Field(alias="class")
    queries: Annotated[tuple[str, ...], texts(), RESTARTS] = ()
    schedulers: Annotated[tuple[str, ...], texts(), HARMLESS] = ()
    provide_series: Annotated[Outputs | None, RESTARTS] = None
    scale: Annotated[Scale, RESTARTS] = (1.0, 1.0)
    clip_predictions: Annotated[Flag, RESTARTS] = False
    anomaly_score_outside_data_range: Annotated[NotNegative, RESTARTS] = 1.01
    data_range: Annotated[DataRange | None, RESTARTS] = None
    detection_direction: Annotated[Direction | None, RESTARTS] = None
    min_dev_from_expected: Annotated[Deviation | None, RESTARTS] = None
    min_rel_dev_from_expected: Annotated[Deviation | None, RESTARTS] = None
    groupby: Annotated[tuple[str, ...], texts()] = ()
    args: FreeMapping = Field(default_factory=dict)

    @classmethod
    def why_without_effect(cls, key: str) -> str | None:
        """Return why a key is accepted and changes nothing; None for every other key."""
        if key == "forecast_at" and not cls.forecasts:
            return "this class makes no forecasts; remove it, or use temporal_envelope or prophet"
        if key in NEEDS_YHAT and not cls.gives_yhat:
            return "this class gives no yhat, which it is about; remove it"
        return super().why_without_effect(key)

    def for_step(self, step: Duration) -> Self:
        """Return the section with the defaults filled in that depend on the step of the query."""
        return self

    @property
    def query_groups(self) -> tuple[tuple[str, ...], ...]:
        """The aliases of the queries of each model instance: all together, or one by one."""
        queries = tuple(sorted(self.queries))
        return (queries,) if self.multivariate else tuple((query,) for query in queries)

    @field_validator("provide_series")
    @classmethod
    def _check_producible(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if cls.outputs is None:
            return value
        outputs = (*cls.outputs, INCIDENT_SCORE)
        wrong = [
            name
            for name in value
            if name not in outputs and not (cls.forecasts and FORECAST.fullmatch(name))
        ]
        if wrong:
            raise ValueError(
                f"this model does not produce {', '.join(map(shown_name, wrong))}; "
                f"it produces {', '.join(outputs)}"
            )
        return value


class OnlineModelSection(ModelSection):
    """What every online model takes in addition.

    Attributes
    ----------
    decay
        Weight of the past, per point; 1 never forgets.
    min_n_samples_seen
        The score is 0 until that many points have been seen.
    """

    decay: Annotated[float, number("a number above 0 and up to 1", gt=0, le=1)] = 1.0
    min_n_samples_seen: Annotated[int, whole(1)] = 16
