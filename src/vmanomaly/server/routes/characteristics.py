"""What the series of a query are like."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Query, Request

from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import as_time_zone
from vmanomaly.context import RunContext
from vmanomaly.errors import DatasourceError
from vmanomaly.http import HttpClient
from vmanomaly.monitoring.metrics import Metrics
from vmanomaly.reader import create_reader
from vmanomaly.reader.vm import DEFAULT_MAX_POINTS
from vmanomaly.series import SeriesBatch, TimeRange
from vmanomaly.server.api import Api
from vmanomaly.server.datasource import Datasource, DatasourceArguments, datasource_of
from vmanomaly.server.values import (
    FilledText,
    PositiveDuration,
    TimeMs,
    WrongValueError,
    read_argument,
)
from vmanomaly.tasks.characteristics import characterize

_WEEK_MS = 7 * 86_400_000
_TIMEOUT_S = 25.0
"""Clients give up after 30 s."""


def characteristics_router(api: Api) -> APIRouter:
    """Return the route that tells what the series of a query are like.

    Parameters
    ----------
    api
        What it works with.
    """
    router = APIRouter(prefix="/api/v1/timeseries", tags=["queries"])

    @router.get("/characteristics", summary="Trends, calendar patterns, shifts, gaps and shape")
    def characteristics(
        fields: DatasourceArguments,
        request: Request,
        query: Annotated[FilledText, Query()],
        start: Annotated[TimeMs | None, Query()] = None,
        end: Annotated[TimeMs | None, Query()] = None,
        step: Annotated[PositiveDuration, Query()] = Duration(1000),  # noqa: B008
        timezone: str = "",
        short_gap_steps: Annotated[int, Query(ge=0, le=1000)] = 2,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        verbose: bool = False,
    ) -> dict[str, Any]:
        config = api.config()
        datasource = datasource_of(fields, request, config)
        zone = read_argument("timezone", as_time_zone, timezone or config.reader.tz)
        time_range = range_of_one_query(start, end, step)
        context = RunContext().child(_TIMEOUT_S)
        batch, n_series = read_some(datasource, query, time_range, step, limit, context)
        found = characterize(batch, zone, short_gap_steps, context, verbose)
        return {
            "status": "success",
            "data": {"resultType": "characteristics", "batch": found},
            "stats": sampling_stats(len(batch.labels), n_series),
        }

    return router


def range_of_one_query(start: int | None, end: int | None, step: Duration) -> TimeRange:
    """Return what is to be read, by default the last 7 days.

    Raises
    ------
    WrongValueError
        The end is not after the start, or more points are in between than one query gives: parts
        of the range could not be read of the same series.
    """
    last = end if end is not None else round(time.time() * 1000)
    first = start if start is not None else last - _WEEK_MS
    if last <= first:
        raise WrongValueError("end", "is not after start")
    n_points = (last - first) // step
    if n_points > DEFAULT_MAX_POINTS:
        raise WrongValueError(
            "step",
            f"gives {n_points} points a series, and one query gives {DEFAULT_MAX_POINTS} at most; "
            "shorten the interval or make step larger",
        )
    return TimeRange(first, last)


def read_some(
    datasource: Datasource,
    query: str,
    time_range: TimeRange,
    step: Duration,
    limit: int,
    context: RunContext,
) -> tuple[SeriesBatch, int]:
    """Read at most `limit` of the series of a query.

    Returns
    -------
    batch : SeriesBatch
        The same series for every range, as far as the datasource has `limitk`.
    n_series : int
        How many series there are, where that can be told.
    """
    reader = create_reader(datasource.section, Metrics(), guard=datasource.guard)
    tenant_id = datasource.section.tenant_id

    def read(expr: str) -> SeriesBatch:
        asked = datasource.section.query(alias="query", expr=expr, step=step, tenant_id=tenant_id)
        return reader.read(asked, time_range, "request", stage="fit", context=context)

    try:
        try:
            batch = read(f"limitk({limit}, ({query}))")
        except DatasourceError as error:
            # Prometheus has no `limitk`, or it is switched off.
            if error.code not in {"400", "422"}:
                raise
            batch = read(query)
    finally:
        reader.close()
    n_read = len(batch.labels)
    if n_read < limit:
        return batch, n_read
    n_series = max(n_read, _count(datasource, query, time_range.end, context))
    return batch.keep(range(min(limit, n_read))), n_series


def sampling_stats(n_taken: int, n_series: int) -> dict[str, str]:
    """Return what clients are told about a sample of series; text, as they expect."""
    return {
        "seriesFetched": str(n_taken),
        "seriesEstimated": str(n_series),
        "seriesLimitApplied": str(n_taken < n_series).lower(),
        "seriesLimitMode": "limitk",
        "seriesCharacteristicsIncluded": "false",
    }


def _count(datasource: Datasource, query: str, at: int, context: RunContext) -> int:
    """Return how many series a query has at a moment; 0 where that cannot be told."""
    client = HttpClient(datasource.section, "reader", datasource.guard)
    arguments = urlencode({"query": f"count(({query}))", "time": f"{at / 1000:.3f}"})
    url = client.url("api/v1/query", datasource.section.tenant_id)
    try:
        answer = orjson.loads(client.request("GET", f"{url}?{arguments}", context=context).body)
        return int(float(answer["data"]["result"][0]["value"][1]))
    except (DatasourceError, orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        return 0
    finally:
        client.close()
