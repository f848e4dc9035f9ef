"""The routes: health, metrics and the OpenAPI pages."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

import vmanomaly
from vmanomaly.config.server import AuthSection


def create_app(
    registry: CollectorRegistry,
    health_reasons: Callable[[], list[str]],
    path_prefix: str = "",
    auth: AuthSection | None = None,
) -> FastAPI:
    """Return the application that answers `/health`, `/metrics` and `/docs`.

    Parameters
    ----------
    registry
        The service's own metrics.
    health_reasons
        Gives one line for each thing that is wrong; nothing when all is well.
    path_prefix
        What every path starts with: empty, or a path with a leading and no trailing slash.
    auth
        What a request has to bring; None lets everyone in. `/health` is open in any case, for
        the probes of an orchestrator.
    """
    app = FastAPI(
        title="vmanomaly",
        version=vmanomaly.__version__,
        docs_url=f"{path_prefix}/docs",
        redoc_url=None,
        openapi_url=f"{path_prefix}/openapi.json",
    )
    router = APIRouter(prefix=path_prefix)

    @router.get("/health", summary="Whether the service can do its work")
    def health() -> JSONResponse:
        reasons = health_reasons()
        if reasons:
            return JSONResponse({"status": "unhealthy", "reasons": reasons}, status_code=503)
        return JSONResponse({"status": "ok"})

    def authorize(
        response_to: Annotated[str | None, Header(alias="Authorization")] = None,
    ) -> None:
        if auth is not None and not _authorized(response_to or "", auth):
            scheme = "Basic" if auth.user is not None else "Bearer"
            raise HTTPException(
                401,
                "wrong or missing credentials",
                {"WWW-Authenticate": f'{scheme} realm="vmanomaly"'},
            )

    @router.get(
        "/metrics",
        summary="The service's own metrics, in the format of Prometheus",
        dependencies=[Depends(authorize)],
    )
    def metrics(
        accept: Annotated[str, Header()] = "",
        name: Annotated[list[str], Query(alias="name[]")] = [],  # noqa: B006
    ) -> Response:
        encode, content_type = choose_encoder(accept)
        wanted = registry.restricted_registry(name) if name else registry
        return Response(encode(wanted), media_type=content_type)

    app.include_router(router)
    return app


def _authorized(authorization: str, auth: AuthSection) -> bool:
    if auth.user is not None:
        credentials = f"{auth.user}:{auth.secret()}".encode()
        expected = "Basic " + base64.b64encode(credentials).decode()
    else:
        expected = f"Bearer {auth.secret()}"
    return secrets.compare_digest(authorization.encode(), expected.encode())
