"""Dashboards and rule files of the preset in use."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources.abc import Traversable

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response
from pydantic import BaseModel

from vmanomaly.config.presets import preset_files

_MEDIA_TYPES = {".json": "application/json", ".yml": "application/yaml"}


class PresetFiles(BaseModel):
    """What a preset brings for other programs.

    Attributes
    ----------
    preset
        The name of the preset.
    files
        The names of its files, which are served next to this list.
    """

    preset: str
    files: list[str]


def presets_router(preset: Callable[[], str]) -> APIRouter:
    """Return `/presets/` and the files below it.

    Parameters
    ----------
    preset
        Returns the name of the preset in use.
    """
    router = APIRouter(tags=["presets"])

    @router.get("/presets/", summary="The files of the preset in use")
    async def index() -> PresetFiles:
        name = preset()
        return PresetFiles(preset=name, files=sorted(_served(name)))

    # Only names from the list are looked up: no path is ever made of what is requested.
    @router.get(
        "/presets/{file}",
        summary="A dashboard for Grafana, or rules for vmalert",
        response_class=Response,
    )
    async def content(file: str) -> Response:
        name = preset()
        found = _served(name).get(file)
        if found is None:
            raise HTTPException(404, f"the preset {name} has no such file; /presets/ lists them")
        media_type = _MEDIA_TYPES[_suffix(file)]
        return Response(found.read_bytes(), media_type=media_type)

    return router


def _served(name: str) -> dict[str, Traversable]:
    return {file.name: file for file in preset_files(name) if _suffix(file.name) in _MEDIA_TYPES}


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
