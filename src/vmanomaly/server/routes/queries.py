"""Queries for the UI: what the datasource answers, as it is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote, urlencode

import orjson
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from vmanomaly.config.reader import VlogsReaderSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.errors import DatasourceError, TooLargeError
from vmanomaly.http import HttpClient, StatusError
from vmanomaly.http.urls import with_arguments
from vmanomaly.printable import shown_size
from vmanomaly.reader.vlogs import tenant_headers
from vmanomaly.server.api import Api, only_json
from vmanomaly.server.bodies import JsonRoute
from vmanomaly.server.datasource import (
    Datasource,
    DatasourceArguments,
    DatasourceFields,
    datasource_of,
)
from vmanomaly.server.values import FilledText, PositiveDuration, TimeMs, WrongValueError

TIMEOUT_S = 25.0
"""Of a request to a datasource on behalf of one that clients give up after 30 s."""

MAX_BYTES = 64 << 20
"""Of an answer that is passed on."""

_HOUR_MS = 3_600_000
_SECOND = Duration(1000)
_OWN_ARGUMENTS = frozenset({"datasource_url", "datasource_type", "tenant_id", "pass_auth_headers"})
_LABEL = re.compile(r"[\w:.\-/]{1,200}")
_OF_LOGS = {
    "api/v1/query": "select/logsql/stats_query",
    "api/v1/query_range": "select/logsql/stats_query_range",
}
"""Where VictoriaLogs answers what VictoriaMetrics answers at these paths, in the same format."""
_ONLY_OF_LOGS = ("select/logsql/field_names", "select/logsql/field_values")
"""What VictoriaLogs alone has, for completion."""
_NO_TENANTS = frozenset({"400", "404", "405", "501"})

Arguments: TypeAlias = Sequence[tuple[str, str]]


class QueryRequest(DatasourceFields):
    """The body of a query.

    Attributes
    ----------
    query
        In the language of the datasource.
    start, end
        The range; without both it is an instant query.
    step
        Distance of the points.
    nocache
        Passed on.
    """

    model_config = ConfigDict(extra="ignore")

    query: FilledText
    start: TimeMs | None = None
    end: TimeMs | None = None
    step: PositiveDuration = _SECOND
    nocache: Any = None


class Tenants(BaseModel):
    """The tenants of a cluster.

    Attributes
    ----------
    tenants
        Such as `0:0`; none where the datasource has none.
    """

    tenants: list[str]


def queries_router(api: Api) -> APIRouter:
    """Return the routes that pass queries on to a datasource.

    Parameters
    ----------
    api
        What they work with.
    """
    router = APIRouter(tags=["queries"], route_class=JsonRoute)

    @router.get("/api/v1/query", summary="Ask the datasource")
    def query(
        fields: DatasourceArguments,
        request: Request,
        query: Annotated[FilledText, Query()],
        start: Annotated[TimeMs | None, Query()] = None,
        end: Annotated[TimeMs | None, Query()] = None,
        step: Annotated[PositiveDuration, Query()] = _SECOND,
        nocache: str | None = None,
    ) -> Response:
        datasource = datasource_of(fields, request, api.config())
        return _ask(datasource, query, start, end, step, nocache)

    @router.post("/api/v1/query", summary="Ask the datasource", dependencies=[Depends(only_json)])
    def post_query(body: QueryRequest, request: Request) -> Response:
        datasource = datasource_of(body, request, api.config())
        nocache = None if body.nocache is None else str(body.nocache).lower()
        return _ask(datasource, body.query, body.start, body.end, body.step, nocache)

    def passed_on(path: str) -> Callable[..., Response]:
        def route(fields: DatasourceArguments, request: Request) -> Response:
            return _pass_on(datasource_of(fields, request, api.config()), path, request)

        return route

    for path in (
        "api/v1/query_range",
        "api/v1/labels",
        "api/v1/series",
        "prettify-query",
        "vmui/config.json",
        "vmui/timezone",
        *_ONLY_OF_LOGS,
    ):
        router.add_api_route(
            f"/{path}",
            passed_on(path),
            methods=["GET"],
            summary=f"{path} of the datasource",
            response_model=None,
        )

    @router.get("/api/v1/label/{name}/values", summary="The values of a label")
    def label_values(
        fields: DatasourceArguments,
        request: Request,
        name: Annotated[str, Path(max_length=200)],
    ) -> Response:
        if not _LABEL.fullmatch(name):
            raise HTTPException(404, "no such label")
        datasource = datasource_of(fields, request, api.config())
        return _pass_on(datasource, f"api/v1/label/{quote(name, safe='')}/values", request)

    @router.get("/api/v1/server/tenants", summary="The tenants of the datasource")
    def tenants(fields: DatasourceArguments, request: Request) -> Tenants:
        client = _client(datasource_of(fields, request, api.config()))
        try:
            answer = _fetch(client, client.server_url("admin/tenants"), ())
        except DatasourceError as error:
            if isinstance(error, StatusError) and error.code in _NO_TENANTS:
                return Tenants(tenants=[])
            raise
        finally:
            client.close()
        found = answer.get("data")
        return Tenants(tenants=[str(each) for each in found] if isinstance(found, list) else [])

    return router


def _ask(
    datasource: Datasource,
    query: str,
    start: int | None,
    end: int | None,
    step: Duration,
    nocache: str | None,
) -> Response:
    arguments = [("query", query), ("step", str(step))]
    if nocache is not None:
        arguments.append(("nocache", nocache))
    is_instant = start is None and end is None
    if not is_instant:
        last = end if end is not None else round(time.time() * 1000)
        first = start if start is not None else last - _HOUR_MS
        arguments += [("start", f"{first / 1000:.3f}"), ("end", f"{last / 1000:.3f}")]
    return _answer(datasource, "api/v1/query" if is_instant else "api/v1/query_range", arguments)


def _pass_on(datasource: Datasource, path: str, request: Request) -> Response:
    arguments = [
        (name, value)
        for name, value in request.query_params.multi_items()
        if name not in _OWN_ARGUMENTS
    ]
    return _answer(datasource, path, arguments)


def _answer(datasource: Datasource, path: str, arguments: Arguments) -> Response:
    client = _client(datasource)
    tenant = datasource.section.tenant_id
    try:
        if isinstance(datasource.section, VlogsReaderSection):
            answer = _fetch(client, _logs_url(client, path), arguments, tenant_headers(tenant))
        elif path in _ONLY_OF_LOGS:
            raise WrongValueError("datasource_type", f"VictoriaMetrics has nothing at /{path}")
        else:
            answer = _fetch(client, client.url(path, tenant), arguments)
    finally:
        client.close()
    return Response(orjson.dumps(answer), media_type="application/json")


def _logs_url(client: HttpClient, path: str) -> str:
    found = path if path in _ONLY_OF_LOGS else _OF_LOGS.get(path)
    if found is None:
        raise WrongValueError("datasource_type", f"VictoriaLogs has nothing at /{path}")
    root = client.url("").removesuffix("/" + _OF_LOGS["api/v1/query_range"]).rstrip("/")
    return f"{root}/{found}"


def _client(datasource: Datasource) -> HttpClient:
    return HttpClient(datasource.section, "reader", datasource.guard)


def _fetch(
    client: HttpClient,
    url: str,
    arguments: Arguments,
    headers: Mapping[str, str] | None = None,
) -> Mapping[str, Any]:
    """Return the JSON that a datasource answers with.

    Raises
    ------
    DatasourceError
        There is none, it tells of an error, or it is too large.
    """
    # The address of a datasource may have arguments of its own.
    url = with_arguments(url, urlencode(arguments).encode("ascii"))
    try:
        content = client.request(
            "GET", url, headers=headers, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES
        ).body
    except TooLargeError as error:
        raise DatasourceError(
            f"the datasource answered with more than {shown_size(MAX_BYTES)}; a larger step, a "
            "shorter time range or a query for fewer series needs less",
            "422",
        ) from error
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DatasourceError(
            "the datasource answered with something other than JSON. "
            "Is `reader.datasource_url` right?",
            "422",
        ) from error
    if not isinstance(answer, dict):
        raise DatasourceError("the datasource answered with JSON that is no object", "422")
    if answer.get("status") == "error":
        raise DatasourceError(
            str(answer.get("error", "the datasource answered with an error")), "422"
        )
    return answer
