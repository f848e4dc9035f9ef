"""What the sections of all readers share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from vmanomaly.config.effect import HARMLESS, LEARNED_FROM, RESTARTS
from vmanomaly.config.reader.query import Query
from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import (
    DataRange,
    Flag,
    NonNegativeDuration,
    Offset,
    PositiveDuration,
    TimeZone,
    whole,
)


class ReaderSection(Section):
    """What every reader takes.

    Attributes
    ----------
    query
        The section of each of its queries.
    reads
        Whether it reads anything.
    inherited
        What a query takes over from the reader, by the reader's name of it.
    queries
        By alias; each declares its own effects.
    sampling_period, data_range, tz, offset
        Defaults of the queries, already applied to them; `sampling_period` is the `step`.
    query_from_last_seen_timestamp
        Whether an infer reads from the last timestamp it saw instead of the last interval only.
    query_last_seen_max_lookback
        How far back that may reach; at least one step.
    eval_delay
        How long after it is due a live run begins, so that the newest samples can be seen.
    workers
        How many queries are read at a time; 0 chooses by the number of queries and CPUs.
    series_processing_batch_size
        How many series are processed together where work is cut into batches.
    """

    query: ClassVar[type[Query]] = Query
    reads: ClassVar[bool] = True
    inherited: ClassVar[dict[str, str]] = {
        "sampling_period": "step",
        "data_range": "data_range",
        "tz": "tz",
        "offset": "offset",
    }

    class_name: Annotated[str, LEARNED_FROM] = Field(alias="class")
    queries: Annotated[dict[str, Query], HARMLESS]
    sampling_period: Annotated[PositiveDuration | None, RESTARTS] = None
    data_range: Annotated[DataRange | None, RESTARTS] = None
    tz: Annotated[TimeZone, RESTARTS] = "UTC"
    offset: Annotated[Offset, RESTARTS] = Duration(0)
    query_from_last_seen_timestamp: Annotated[Flag, RESTARTS] = False
    query_last_seen_max_lookback: Annotated[PositiveDuration | None, RESTARTS] = None
    eval_delay: Annotated[NonNegativeDuration, RESTARTS] = Duration(0)
    workers: Annotated[int, whole(0), RESTARTS] = 0
    series_processing_batch_size: Annotated[int, whole(1), RESTARTS] = 8

    def query_defaults(self) -> dict[str, Any]:
        """Return what a query takes over where it does not set it itself."""
        values = {name: getattr(self, key) for key, name in self.inherited.items()}
        return {name: value for name, value in values.items() if value is not None}
