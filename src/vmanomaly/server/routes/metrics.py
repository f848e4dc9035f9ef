"""The service's own metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

_TEXT = {"schema": {"type": "string"}}
_TYPES = ("text/plain", "application/openmetrics-text")


def metrics_router(registry: CollectorRegistry) -> APIRouter:
    """Return `/metrics`.

    Parameters
    ----------
    registry
        The service's own metrics.
    """
    router = APIRouter(tags=["service"])

    @router.get(
        "/metrics",
        summary="The service's own metrics, in the format of Prometheus",
        response_class=Response,  # Errors are JSON.
        responses={200: {"content": dict.fromkeys(_TYPES, _TEXT)}},
    )
    def metrics(
        accept: Annotated[str, Header()] = "",
        name: Annotated[list[str], Query(alias="name[]")] = [],  # noqa: B006
    ) -> Response:
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # A version that is no number.
            encode, content_type = choose_encoder("")
        wanted = registry.restricted_registry(name) if name else registry
        return Response(encode(wanted), media_type=content_type)

    return router
