"""The classes of models: which there are, what they take, and whether a spec is right."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, Field

from vmanomaly.config.loading.model_spec import read_model_spec, written_model_spec
from vmanomaly.config.model_schema import model_schema
from vmanomaly.config.reader import HttpQuery
from vmanomaly.config.registry import MODELS
from vmanomaly.config.values.duration import Duration
from vmanomaly.model.registry import check_with_library
from vmanomaly.server.api import JSON_TYPE
from vmanomaly.server.bodies import YAML, BodyChecks
from vmanomaly.server.values import MAX_SPEC_VALUES


class ModelClasses(BaseModel):
    """The classes of models that requests can name.

    Attributes
    ----------
    models
        Their names.
    """

    models: list[str]


class ModelSchema(BaseModel):
    """What the specs of a class hold.

    Attributes
    ----------
    model_class
        The class.
    json_schema
        JSON Schema, 2020-12.
    """

    model_class: str
    json_schema: dict[str, Any] = Field(alias="schema")


class ValidModel(BaseModel):
    """A spec that is right.

    Attributes
    ----------
    valid
        True.
    model_spec
        The spec with all defaults, by the canonical name of its class.
    """

    valid: bool
    model_spec: dict[str, Any]


def model_classes() -> list[str]:
    """Return the classes that requests can name: those of this version but the users' own."""
    return [alias for alias in MODELS.aliases if alias != "custom"]


def models_router() -> APIRouter:
    """Return the routes about classes of models."""
    router = APIRouter(prefix="/api/v1", tags=["models"])
    checks = BodyChecks()

    @router.get("/models", summary="The classes of models")
    def models() -> ModelClasses:
        return ModelClasses(models=model_classes())

    @router.get("/model/schema", summary="The JSON Schema of the specs of a class")
    def schema(model_class: str = "") -> ModelSchema:
        entry = MODELS.get(model_class)
        if entry is None or entry.alias not in model_classes():
            what = (
                f"no model class {model_class[:80]!r}" if model_class else "model_class is missing"
            )
            raise HTTPException(404, f"{what}; available: {', '.join(model_classes())}")
        return ModelSchema(model_class=entry.alias, schema=model_schema(entry.section))

    @router.post(
        "/model/validate",
        status_code=201,
        response_model=ValidModel,
        summary="Check a model spec, and fill in its defaults",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    kind: {"schema": {"type": "object"}, "example": {"class": "zscore_online"}}
                    for kind in (JSON_TYPE, YAML)
                },
            }
        },
    )
    async def validate(request: Request) -> Response:
        return await checks.answer(
            request, "a class and its keys", MAX_SPEC_VALUES, _checked, status=201
        )

    return router


def _checked(spec: dict[str, Any]) -> dict[str, Any]:
    section = read_model_spec(spec)
    check_with_library(section, [HttpQuery(alias="query", expr="query", step=Duration(60_000))])
    return {"valid": True, "model_spec": written_model_spec(section)}
