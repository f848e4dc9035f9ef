"""What the probes of an orchestrator request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from vmanomaly.service.health import HealthStatus

PROBES = ("/health", "/ready")

_Ready: TypeAlias = Annotated[
    str, Query(alias="ready", description="`1` or `true`: answer as `/ready` does")
]
_Responses: TypeAlias = dict[int | str, dict[str, Any]]
_NOT_WELL: _Responses = {503: {"description": "Something is wrong that only a restart fixes"}}
_NOT_READY: _Responses = {
    503: {"description": "No model is fitted, or a datasource is unreachable"}
}


def health_router(
    status: Callable[[], HealthStatus], unready_reasons: Callable[[], list[str]]
) -> APIRouter:
    """Return `/health` and `/ready`.

    Parameters
    ----------
    status
        Returns what is wrong at the moment.
    unready_reasons
        Returns one line for each thing that is missing before the service is ready.
    """
    router = APIRouter(tags=["service"])

    # Neither waits for a free thread, however many requests there are.
    @router.get("/health", summary="What is wrong at the moment", responses=_NOT_WELL)
    async def health(asks_ready: _Ready = "") -> JSONResponse:
        if asks_ready.lower() in ("1", "true"):
            return await ready()
        now = status()
        members = {"members": [asdict(member) for member in now.members]} if now.members else {}
        if not now.reasons:
            return JSONResponse({"status": "ok", **members})
        if not now.needs_restart:
            return JSONResponse({"status": "degraded", "reasons": now.reasons, **members})
        return JSONResponse({"status": "unhealthy", "reasons": now.reasons, **members}, 503)

    @router.get("/ready", summary="Whether scores are being made", responses=_NOT_READY)
    async def ready() -> JSONResponse:
        reasons = unready_reasons()
        if not reasons:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "not ready", "reasons": reasons}, 503)

    return router
