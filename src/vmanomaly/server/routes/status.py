"""How the service is, for people: its parts, and what to do about what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from vmanomaly.config import Config
from vmanomaly.monitoring.status import Status, status_of
from vmanomaly.service.health import HealthStatus


class StatusAnswer(BaseModel):
    """The answer with the status."""

    status: Literal["success"] = "success"
    data: Status


def status_router(
    registry: CollectorRegistry, config: Callable[[], Config], health: Callable[[], HealthStatus]
) -> APIRouter:
    """Return the route that tells how the service is.

    Parameters
    ----------
    registry
        The service's own metrics.
    config
        Gives the configuration that runs.
    health
        Returns what is wrong at the moment.
    """
    router = APIRouter(tags=["service"])

    @router.get("/api/v1/status", summary="How the service is, and what to do about it")
    def status() -> StatusAnswer:
        return StatusAnswer(data=status_of(registry, config(), health().reasons, time.time()))

    return router
