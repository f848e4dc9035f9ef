"""The section of the reader `vm`."""

from __future__ import annotations

import re
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
    UrlPath,
    as_duration,
    filled_text,
    one_of,
    stripped,
    texts,
)
from vmanomaly.config.values.scalar import environment_text

_SELECTOR = re.compile(r"[A-Za-z_:][\w:.]*(\{.*\})?|\{.*\}", re.DOTALL)
_BARE_MATCHER = re.compile(r"""(\w+)(=~|!~|!=|=)["']?([\w.|*+-]*)["']?""")


def _selector(value: object) -> str:
    text = stripped(filled_text(value))
    if _SELECTOR.fullmatch(text):
        return text
    bare = _BARE_MATCHER.fullmatch(text)
    remedy = '{env="prod"}'
    if bare and environment_text(text) is None:
        remedy = f'{{{bare[1]}{bare[2]}"{bare[3]}"}}'
    raise ValueError(f"expected a series selector; write '{remedy}'")


def _http_method(value: object) -> str:
    return one_of("POST", "GET")(value.strip().upper() if isinstance(value, str) else value)


def _latency_offset(value: object) -> Duration:
    # VictoriaMetrics refuses every query with 0.
    return Duration(as_duration(value, 0) or 1)


class VmReaderSection(HttpSection, ReaderSection):
    """VictoriaMetrics, Prometheus, and whatever else answers `query_range`.

    Attributes
    ----------
    max_points_per_query
        Default of the queries, already applied to them.
    query_range_path
        Overrides the path of the query API.
    extra_filters
        Series selectors, sent as `extra_filters[]`.
    http_method
        How queries are sent: `POST`, or `GET` for gateways that allow nothing else.
    latency_offset
        Sent with every query; overrides the server's `-search.latencyOffset`.
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

    class_name: str = Field("vm", alias="class")
    datasource_url: Annotated[Url, LEARNED_FROM]
    tenant_id: Annotated[Tenant | None, LEARNED_FROM] = None
    max_points_per_query: Annotated[Count | None, RESTARTS] = None
    query_range_path: Annotated[UrlPath | None, LEARNED_FROM] = None
    extra_filters: Annotated[tuple[str, ...], texts(_selector), LEARNED_FROM] = ()
    http_method: Annotated[str, PlainValidator(_http_method), RESTARTS] = "POST"
    latency_offset: Annotated[Duration, PlainValidator(_latency_offset), RESTARTS] = Duration(1)
    eval_delay: Annotated[NonNegativeDuration, RESTARTS] = Duration(5_000)
    fetch_timeout: Annotated[PositiveDuration, RESTARTS] = Field(
        default_factory=lambda data: data["timeout"]
    )
    processing_timeout: Annotated[PositiveDuration, RESTARTS] = Field(
        default_factory=lambda data: data["timeout"]
    )
    max_response_size: Annotated[ResponseSize | None, RESTARTS] = None
