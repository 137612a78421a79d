"""All routes of the API; each says which scope its principal needs."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from handlers.context import Context
from handlers.http.api import (
    events,
    ingests,
    me,
    previews,
    starts,
    tasks,
    uploads,
    workflows_and_stats,
)
from handlers.http.api.services import Services


def install(app: FastAPI, ctx: Context) -> None:
    """Add the API to `app`."""
    app.state.api = Services.of(ctx)
    router = APIRouter(prefix="/v1")
    resources = (
        uploads,
        ingests,
        starts,
        tasks,
        previews,
        events,
        me,
        workflows_and_stats,
    )
    for resource in resources:
        router.include_router(resource.router)
    app.include_router(router)
