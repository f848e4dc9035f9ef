"""The application of a listener: its routes, and what applies to all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import Counter
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

import vmanomaly
from vmanomaly.config.server import AuthSection
from vmanomaly.server.auth import Authentication
from vmanomaly.server.errors import ErrorAnswer, add_error_handlers
from vmanomaly.server.middleware import BodyLimit, CountRequests, HeadAsGet, SecurityHeaders
from vmanomaly.server.routes.health import PROBES


def create_app(
    routers: Iterable[APIRouter],
    prefixes: Iterable[str] = ("",),
    auth: AuthSection | None = None,
    openapi_url: str | None = None,
    cors_allowed_origins: Sequence[str] = (),
    api_requests: Counter | None = None,
) -> ASGIApp:
    """Return what answers the requests to a listener.

    Parameters
    ----------
    routers
        The routes.
    prefixes
        Where they are served: each empty, or a path with a leading and no trailing slash.
    auth
        The credentials that a request must have; None lets everyone in. Probes need none.
    openapi_url
        Where the description of the routes is served; None for nowhere.
    cors_allowed_origins
        Origins of other web pages that may use the routes.
    api_requests
        Counts the requests to the API.
    """
    prefixes = tuple(dict.fromkeys(prefixes))
    app: FastAPI | ASGIApp
    app = api = FastAPI(
        title="vmanomaly",
        version=vmanomaly.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses={"default": {"model": ErrorAnswer, "description": "An error"}},
        # Redirects would name the host that the server sees, which a proxy hides.
        redirect_slashes=False,
    )
    add_error_handlers(api)
    for router in routers:
        for prefix in prefixes:
            api.include_router(router, prefix=prefix)
    if openapi_url is not None:
        _serve_document(api, openapi_url)
    app = BodyLimit(app)
    if api_requests is not None:
        app = CountRequests(app, api_requests)
    if auth is not None:
        app = Authentication(app, auth, [prefix + path for prefix in prefixes for path in PROBES])
    if cors_allowed_origins:
        # Before the login: a browser asks without it whether it may send it.
        app = CORSMiddleware(
            app,
            allow_origins=list(cors_allowed_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Datasource-Authorization"],
        )
    return SecurityHeaders(HeadAsGet(app))


def _serve_document(api: FastAPI, url: str) -> None:
    """Serve the description of the routes, which is made once: that takes half a second."""

    @cache
    def document() -> bytes:
        return orjson.dumps(api.openapi())

    def openapi(_: Request) -> Response:
        return Response(document(), media_type="application/json")

    api.add_route(url, openapi, include_in_schema=False)
