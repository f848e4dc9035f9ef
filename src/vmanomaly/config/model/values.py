"""The kinds of values that several models take."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import PlainValidator

from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import (
    OUTPUT_NAME,
    as_text,
    as_texts,
    filled_text,
    number,
    texts,
    whole,
)

FORECAST = re.compile(r"yhat_(?:(?:lower|upper)_)?(?!lower$|upper$)([0-9A-Za-z]+)")
"""The name of a forecast among the outputs; its group is the offset."""

_OFFSET = re.compile(r"[0-9A-Za-z]+")


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


Positive = Annotated[float, number("a number above 0", gt=0)]
NotNegative = Annotated[float, number("a number of 0 or more", ge=0)]
Share = Annotated[float, number("a number from 0 to 1", ge=0, le=1)]
HistoryStrength = Positive
Compression = Annotated[int, whole(10, 1000)]
ForecastOffsets = Annotated[tuple[str, ...], texts(_forecast_offset)]
Outputs = Annotated[tuple[str, ...], PlainValidator(_outputs, json_schema_input_type=list[str])]
