"""What the sections of all writers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PlainValidator

from vmanomaly.config.effect import RESTARTS
from vmanomaly.config.section import Section
from vmanomaly.config.values.fields import LABEL_NAME, as_text, check_names, read_each


def _metric_format(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping of label names to values")
    check_names(value, LABEL_NAME, "label name")
    labels = dict(zip(value, read_each(value.items(), as_text), strict=True))
    if "__name__" not in labels:
        raise ValueError('__name__ is missing; add the name to write to, such as __name__: "$VAR"')
    if not any("$VAR" in text for text in labels.values()):
        raise ValueError(
            "no value contains $VAR, so anomaly_score, yhat and the other outputs could not be "
            "distinguished; "
            'write __name__: "$VAR", or put $VAR into a label'
        )
    labels.setdefault("for", "$QUERY_KEY")
    return labels


MetricFormat = Annotated[dict[str, str], PlainValidator(_metric_format)]


class WriterSection(Section):
    """What every writer takes.

    Attributes
    ----------
    metric_format
        Labels of what is written; `$VAR` is the output, `$QUERY_KEY` the query's alias.
        `__name__` and `for` are always present.
    """

    default_effect = RESTARTS

    class_name: str = Field(alias="class")
    metric_format: MetricFormat = Field(
        default_factory=lambda: {"__name__": "$VAR", "for": "$QUERY_KEY"}
    )
