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
        Distance of the points.
    data_range, detection_direction, min_dev_from_expected, min_rel_dev_from_expected
        Policies of the score; None where neither the query nor the reader says anything.
    max_points_per_query
        Above it, a range is fetched in pieces. A key where the reader does that.
    tz
        Civil time of calendar patterns.
    tenant_id
        The tenant to read from; None for a single node. A key where the datasource has tenants.
    offset
        Added to the times of the range that is asked for.
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


class HttpQuery(Query):
    """A query to a server, which may have tenants and limit its answers."""

    derived = frozenset({"alias"})
