"""What the sections of the readers share that send range queries to a server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator

from vmanomaly.config.effect import LEARNED_FROM, RESTARTS
from vmanomaly.config.http import HttpSection
from vmanomaly.config.reader.base import ReaderSection
from vmanomaly.config.reader.query import HttpQuery
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import (
    Count,
    NonNegativeDuration,
    PositiveDuration,
    ResponseSize,
    Tenant,
    Url,
    one_of,
)


def _http_method(value: object) -> str:
    return one_of("POST", "GET")(value.strip().upper() if isinstance(value, str) else value)


class HttpReaderSection(HttpSection, ReaderSection):
    """A server that answers range queries.

    Attributes
    ----------
    max_points_per_query
        Default of the queries, already applied to them.
    http_method
        How queries are sent: `POST`, or `GET` for gateways that allow nothing else.
    eval_delay
        As for every reader; a server returns a sample only some seconds after it was scraped.
    fetch_timeout, processing_timeout
        For a request, and for processing its answer; each defaults to `timeout`.
    max_response_size
        The largest answer to one request, decompressed. None chooses by the available memory.
    """

    query = HttpQuery
    inherited = ReaderSection.inherited | {
        "max_points_per_query": "max_points_per_query",
        "tenant_id": "tenant_id",
    }

    datasource_url: Annotated[Url, LEARNED_FROM]
    tenant_id: Annotated[Tenant | None, LEARNED_FROM] = None
    max_points_per_query: Annotated[Count | None, RESTARTS] = None
    http_method: Annotated[str, PlainValidator(_http_method), RESTARTS] = "POST"
    eval_delay: Annotated[NonNegativeDuration, RESTARTS] = Duration(5_000)
    fetch_timeout: Annotated[PositiveDuration, RESTARTS] = Field(
        default_factory=lambda data: data["timeout"]
    )
    processing_timeout: Annotated[PositiveDuration, RESTARTS] = Field(
        default_factory=lambda data: data["timeout"]
    )
    max_response_size: Annotated[ResponseSize | None, RESTARTS] = None
