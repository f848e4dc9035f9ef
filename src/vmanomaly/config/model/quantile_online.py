"""The section of the model `quantile_online`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from vmanomaly.config.model.base import OnlineModelSection
from vmanomaly.config.model.values import Compression, HistoryStrength, NotNegative, Share
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import Flag, PositiveDuration, ThreeQuantiles, as_text
from vmanomaly.config.values.time import parse_iso

_MAX_SUBSEASONS = 7 * 24 * 60


def _season_start(value: object) -> str:
    text = as_text(value)
    parse_iso(text)
    return text


class QuantileOnlineSection(OnlineModelSection):
    """Quantiles of every part of a season.

    Attributes
    ----------
    quantiles
        Of the lower bound, the prediction and the upper bound.
    iqr_threshold
        How many interquartile ranges the bounds are moved outwards.
    seasonal_interval, min_subseason
        Length of the season and of its parts, each with quantiles of its own, such as 7d and 1h;
        without both there is one part.
    season_starts_from
        A date and time from which on the parts are counted.
    use_transform
        Whether quantiles are those of the logarithm, for values over several orders of magnitude.
    global_smoothing
        Share of the quantiles of all points in those of a part.
    compression
        Size of the digest of a part: larger is more accurate, and takes more memory.
    history_strength
        How much more a point of the fit window weighs than a later one.
    """

    class_name: str = Field("quantile_online", alias="class")
    quantiles: ThreeQuantiles = (0.01, 0.5, 0.99)
    iqr_threshold: NotNegative = 0.0
    seasonal_interval: PositiveDuration | None = None
    min_subseason: PositiveDuration | None = None
    season_starts_from: Annotated[
        str, PlainValidator(_season_start, json_schema_input_type=str)
    ] = "1970-01-01"
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
