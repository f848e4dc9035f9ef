"""The queries of the readers."""

from __future__ import annotations

from typing import Annotated, ClassVar

from vmanomaly.config.effect import LEARNED_FROM, RESTARTS
from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import (
    Count,
    DataRange,
    Deviation,
    Direction,
    Offset,
    PositiveDuration,
    Tenant,
    Text,
    TimeZone,
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
        Distance between points.
    data_range, detection_direction, min_dev_from_expected, min_rel_dev_from_expected
        Policies of the score; None if neither the query nor the reader sets one.
    max_points_per_query
        A range of more points is fetched in pieces. A key only of readers that do so.
    tz
        Time zone of calendar patterns.
    tenant_id
        The tenant to read from; None for a single node. A key only if datasources have tenants.
    offset
        Added to the times of the range that is requested.
    """

    derived: ClassVar[frozenset[str]] = frozenset({"alias", "max_points_per_query", "tenant_id"})

    alias: Annotated[Text, RESTARTS]
    expr: Annotated[Text, LEARNED_FROM]
    step: Annotated[PositiveDuration, LEARNED_FROM]
    data_range: Annotated[DataRange | None, RESTARTS] = None
    detection_direction: Annotated[Direction | None, RESTARTS] = None
    min_dev_from_expected: Annotated[Deviation | None, RESTARTS] = None
    min_rel_dev_from_expected: Annotated[Deviation | None, RESTARTS] = None
    max_points_per_query: Annotated[Count | None, RESTARTS] = None
    tz: Annotated[TimeZone, LEARNED_FROM] = "UTC"
    tenant_id: Annotated[Tenant | None, LEARNED_FROM] = None
    offset: Annotated[Offset, LEARNED_FROM] = Duration(0)

    @property
    def shift(self) -> int:
        """What is added to the times of a run to get the timestamps that it reads, milliseconds."""
        return int(self.offset)

    @property
    def fills_gaps(self) -> bool:
        """Whether a series that is known has the value 0 wherever it has no sample."""
        return False


class HttpQuery(Query):
    """A query to a server, which may have tenants and limit its answers."""

    derived = frozenset({"alias"})
