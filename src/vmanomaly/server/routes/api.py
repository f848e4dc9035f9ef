"""All routes of the API."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from vmanomaly.server.api import Api
from vmanomaly.server.routes.alert_rules import alert_rules_router
from vmanomaly.server.routes.autotune import autotune_router
from vmanomaly.server.routes.catalogue import catalogue_router
from vmanomaly.server.routes.characteristics import characteristics_router
from vmanomaly.server.routes.configs import configs_router
from vmanomaly.server.routes.detection import detection_router
from vmanomaly.server.routes.incidents import incidents_router
from vmanomaly.server.routes.models import models_router
from vmanomaly.server.routes.queries import queries_router


def api_routers(api: Api) -> Sequence[APIRouter]:
    """Return the routers of the API, one for each group of routes.

    Parameters
    ----------
    api
        What they work with.
    """
    return [
        catalogue_router(api),
        models_router(),
        configs_router(api),
        alert_rules_router(),
        queries_router(api),
        characteristics_router(api),
        detection_router(api),
        incidents_router(api),
        autotune_router(api),
    ]
