"""Autotune tasks, which this version does not have."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

_MISSING = "this version has no autotune tasks"


def autotune_router() -> APIRouter:
    """Return the routes of autotune tasks."""
    router = APIRouter(prefix="/api/v1/autotune", include_in_schema=False)

    @router.post("/tasks")
    def create() -> None:
        raise HTTPException(501, _MISSING)

    @router.get("/tasks/{task_id}")
    @router.delete("/tasks/{task_id}")
    def get(task_id: str) -> None:
        raise HTTPException(501, _MISSING)

    return router
