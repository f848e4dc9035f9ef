"""The sections of the writers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PlainValidator

from vmanomaly.config.http import HttpSection
from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import (
    LABEL_NAME,
    Folder,
    PositiveDuration,
    Size,
    Text,
    as_text,
    check_names,
    read_each,
    whole,
)


def _metric_format(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping of label names to values")
    check_names(value, LABEL_NAME, "label name")
    labels = dict(zip(value, read_each(value.items(), as_text), strict=True))
    if "__name__" not in labels:
        raise ValueError('__name__ is missing; add the name to write to, such as __name__: "$VAR"')
    if not any("$VAR" in text for text in labels.values()):
        raise ValueError(
            "no value holds $VAR, so anomaly_score, yhat and the others could not be told apart; "
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
        `__name__` and `for` are always there.
    """

    class_name: str = Field(alias="class")
    metric_format: MetricFormat = Field(
        default_factory=lambda: {"__name__": "$VAR", "for": "$QUERY_KEY"}
    )


class HttpWriterSection(HttpSection, WriterSection):
    """What every writer to a server takes.

    Attributes
    ----------
    connection_retry_attempts
        Reconnections before a write counts as failed.
    queue_path
        Folder of the delivery queue; in memory where None.
    queue_max_size
        Bytes the queue may hold; None for the default of its kind.
    """

    timeout: PositiveDuration = Duration(5_000)
    connection_retry_attempts: Annotated[int, whole(0)] = 1
    queue_path: Folder | None = None
    queue_max_size: Size | None = None


class VmWriterSection(HttpWriterSection):
    """VictoriaMetrics, by its JSON lines import.

    Attributes
    ----------
    import_json_path
        Deprecated. Overrides the path of the import API.
    """

    class_name: str = Field("vm", alias="class")
    import_json_path: Text | None = None


class RemoteWriteSection(HttpWriterSection):
    """Prometheus remote write 1.0."""

    class_name: str = Field("remote_write", alias="class")


class DuckdbWriterSection(WriterSection):
    """A DuckDB database; scores go to its table `scores`.

    Attributes
    ----------
    path
        The database file.
    """

    class_name: str = Field("duckdb", alias="class")
    path: Text
