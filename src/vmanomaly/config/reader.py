"""The sections of the readers, and their queries."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from vmanomaly.config.http import HttpSection
from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import (
    DataRange,
    Deviation,
    Direction,
    Flag,
    NonNegativeDuration,
    Offset,
    PositiveDuration,
    Tenant,
    Text,
    TimeZone,
    texts,
    whole,
)


class Query(Section):
    """One query, with the reader's defaults applied.

    Attributes
    ----------
    alias
        Its name in the config and the label `for` of what is written.
    expr
        In the language of the datasource.
    step
        Distance of the points.
    data_range, detection_direction, min_dev_from_expected, min_rel_dev_from_expected
        Policies of the score; None where neither the query nor the reader says anything.
    max_points_per_query
        Above it, a range is fetched in pieces.
    tz
        Civil time of calendar patterns.
    tenant_id
        The tenant to read from; None for a single node.
    offset
        Added to the times of the range that is asked for.
    """

    derived: ClassVar[frozenset[str]] = frozenset({"alias"})

    alias: Text
    expr: Text
    step: PositiveDuration
    data_range: DataRange | None = None
    detection_direction: Direction | None = None
    min_dev_from_expected: Deviation | None = None
    min_rel_dev_from_expected: Deviation | None = None
    max_points_per_query: Annotated[int, whole(1)] | None = None
    tz: TimeZone = "UTC"
    tenant_id: Tenant | None = None
    offset: Offset = Duration(0)


class ReaderSection(Section):
    """What every reader takes.

    Attributes
    ----------
    queries
        By alias.
    sampling_period, data_range, max_points_per_query, tz, offset
        Defaults of the queries, already applied to them; `sampling_period` is the `step`.
    query_from_last_seen_timestamp
        Whether an infer reads from the last timestamp it saw, not from the last interval on.
    query_last_seen_max_lookback
        How far back that may reach; at least one step.
    workers
        Queries read side by side; 0 chooses by the number of queries and CPUs.
    series_processing_batch_size
        Series worked on together where work is cut into batches of series.
    """

    # What a query takes over from the reader, by the reader's name.
    inherited: ClassVar[dict[str, str]] = {
        "sampling_period": "step",
        "data_range": "data_range",
        "max_points_per_query": "max_points_per_query",
        "tz": "tz",
        "offset": "offset",
        "tenant_id": "tenant_id",
    }

    class_name: str = Field(alias="class")
    queries: dict[str, Query]
    sampling_period: PositiveDuration | None = None
    data_range: DataRange | None = None
    max_points_per_query: Annotated[int, whole(1)] | None = None
    tz: TimeZone = "UTC"
    offset: Offset = Duration(0)
    query_from_last_seen_timestamp: Flag = False
    query_last_seen_max_lookback: PositiveDuration | None = None
    workers: Annotated[int, whole(0)] = 0
    series_processing_batch_size: Annotated[int, whole(1)] = 8

    def query_defaults(self) -> dict[str, Any]:
        """Return what a query takes over where it says nothing itself."""
        values = {name: getattr(self, key, None) for key, name in self.inherited.items()}
        return {name: value for name, value in values.items() if value is not None}


class VmReaderSection(HttpSection, ReaderSection):
    """VictoriaMetrics, Prometheus, and whatever else answers `query_range`.

    Attributes
    ----------
    query_range_path
        Overrides the path of the query API.
    extra_filters
        Series selectors, sent as `extra_filters[]`.
    latency_offset
        Sent with every query; overrides the server's `-search.latencyOffset`.
    fetch_timeout, processing_timeout
        Of a request, and of the work on its answer; each is `timeout` where left out.
    """

    class_name: str = Field("vm", alias="class")
    query_range_path: Text | None = None
    extra_filters: Annotated[tuple[str, ...], texts()] = ()
    latency_offset: NonNegativeDuration = Duration(1)
    fetch_timeout: PositiveDuration = Field(default_factory=lambda data: data["timeout"])
    processing_timeout: PositiveDuration = Field(default_factory=lambda data: data["timeout"])


class VlogsReaderSection(VmReaderSection):
    """VictoriaLogs and VictoriaTraces, by LogsQL with a `stats` pipe."""

    class_name: str = Field("vlogs", alias="class")

    @field_validator("tenant_id")
    @classmethod
    def _check_tenant(cls, value: str) -> str:
        if value == "multitenant":
            raise ValueError("expected account or account:project; VictoriaLogs has no multitenant")
        return value


class DuckdbReaderSection(ReaderSection):
    """A DuckDB database; `expr` is SQL.

    Attributes
    ----------
    path
        The database file, or `:memory:`.
    """

    class_name: str = Field("duckdb", alias="class")
    path: Text
