"""What runs here: version, queries, models, datasource, and what another version would keep."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from pydantic import BaseModel

import vmanomaly
from vmanomaly.config import Config
from vmanomaly.config.loading.model_spec import written_model_spec
from vmanomaly.config.model import ModelSection
from vmanomaly.config.model.base import OnlineModelSection
from vmanomaly.config.reader import HttpReaderSection, Query
from vmanomaly.config.registry import MODELS
from vmanomaly.server.api import Api
from vmanomaly.server.datasource import type_of
from vmanomaly.server.values import WrongValueError
from vmanomaly.state.assessment import assess
from vmanomaly.state.compatibility import parse_version


class BuildInfo(BaseModel):
    """The versions of the service and of its UI.

    Attributes
    ----------
    vmanomaly, vmui
        Such as `v1.2.3`.
    """

    vmanomaly: str
    vmui: str


class QueryInfo(BaseModel):
    """A query of a model.

    Attributes
    ----------
    expr
        In the language of the datasource.
    tz
        Civil time of calendar patterns.
    tenant_id
        In a cluster.
    offset, step
        Durations.
    max_points_per_query
        Above it, a range is read in pieces.
    """

    expr: str
    tz: str
    tenant_id: str | None
    offset: str
    step: str
    max_points_per_query: int | None


class ModelInfo(BaseModel):
    """A model of the configuration.

    Attributes
    ----------
    model_configuration
        Its class and keys, with defaults.
    queries
        What it runs on, by alias.
    is_online
        Whether it learns with every point.
    is_multivariate
        Whether it looks at several series together.
    is_ui_selectable
        Whether requests can name its class.
    """

    model_configuration: dict[str, Any]
    queries: dict[str, QueryInfo]
    is_online: bool
    is_multivariate: bool
    is_ui_selectable: bool


class ServerModels(BaseModel):
    """The models of the configuration.

    Attributes
    ----------
    models
        By alias.
    """

    models: dict[str, ModelInfo]


class DatasourceInfo(BaseModel):
    """Where queries go; without logins.

    Attributes
    ----------
    server_datasource_url, server_datasource_type
        That of the reader; null if it reads nothing over HTTP.
    ui_datasource_url, ui_datasource_type
        That of all requests, if the environment fixes it.
    """

    server_datasource_url: str | None
    server_datasource_type: str | None
    ui_datasource_url: str | None
    ui_datasource_type: str | None


def catalogue_router(api: Api) -> APIRouter:
    """Return the routes that tell what runs here.

    Parameters
    ----------
    api
        What they work with.
    """
    router = APIRouter(prefix="/api/v1", tags=["server"])

    @router.get("/server/buildinfo", summary="The version")
    @router.get("/status/buildinfo", include_in_schema=False)
    def buildinfo() -> BuildInfo:
        version = f"v{vmanomaly.__version__}"
        return BuildInfo(vmanomaly=version, vmui=version)

    @router.get("/server/queries", summary="The queries of the configuration, by alias")
    def queries() -> dict[str, str]:
        return {alias: query.expr for alias, query in api.config().reader.queries.items()}

    @router.get("/server/models", summary="The models of the configuration, by alias")
    def models() -> ServerModels:
        config = api.config()
        return ServerModels(
            models={alias: _model(section, config) for alias, section in config.models.items()}
        )

    @router.get("/server/datasource", summary="Where queries go")
    def datasource() -> DatasourceInfo:
        config = api.config()
        reader, fixed = config.reader, config.ui_datasource
        of_reader = reader if isinstance(reader, HttpReaderSection) else None
        return DatasourceInfo(
            server_datasource_url=without_login(of_reader.datasource_url if of_reader else None),
            server_datasource_type=type_of(of_reader) if of_reader else None,
            ui_datasource_url=None if fixed is None else without_login(fixed.url),
            ui_datasource_type=None if fixed is None else fixed.type,
        )

    @router.get("/compatibility", summary="Whether a version can use the stored state")
    def compatibility(version_to: str | None = None) -> dict[str, Any]:
        version = version_to or vmanomaly.__version__
        if parse_version(version) is None:
            raise WrongValueError("version_to", "expected a version such as 1.2.3")
        return assess(api.config().model_folder, version)

    return router


def without_login(url: str | None) -> str | None:
    """Return an address without the login, the arguments and the fragment in it."""
    if not url:
        return None
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def _model(section: ModelSection, config: Config) -> ModelInfo:
    return ModelInfo(
        model_configuration=written_model_spec(section),
        queries={alias: _query(config.reader.queries[alias]) for alias in section.queries},
        is_online=isinstance(section, OnlineModelSection),
        is_multivariate=section.multivariate,
        is_ui_selectable=MODELS.get(section.class_name) is not None
        and section.class_name != "custom",
    )


def _query(query: Query) -> QueryInfo:
    return QueryInfo(
        expr=query.expr,
        tz=query.tz,
        tenant_id=query.tenant_id,
        offset=str(query.offset),
        step=str(query.step),
        max_points_per_query=query.max_points_per_query,
    )
