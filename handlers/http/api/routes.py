"""All routes of the API; each says which scope its principal needs."""

from __future__ import annotations

import re

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from handlers.context import Context
from handlers.http.api import (
    dead,
    events,
    ingests,
    me,
    originals,
    previews,
    queue,
    reports,
    sheets,
    starts,
    status,
    tasks,
    tiles,
    uploads,
    viewer_links,
    workflows_and_stats,
)
from handlers.http.api.services import Services
from handlers.http.iiif import routes as iiif

PREFIX = "/v1"


def operation_id(route: APIRoute) -> str:
    """How an operation is called in the description, and so in generated clients: by
    method and path, as in `get_task_result`.
    """
    method = min(route.methods or {"get"}).lower()
    path = re.sub(r"[.-]", "_", route.path.removeprefix(PREFIX))
    parts = path.strip("/").split("/")
    names: list[str] = []
    for part in parts:
        if part.startswith("{"):
            names[-1] = _singular(names[-1])
        else:
            names.append(part)
    if method == "post":
        *names, last = names
        method = last if names else "create"
        names = names or [_singular(last)]
    return "_".join([method, *names])


def install(app: FastAPI, ctx: Context) -> None:
    """Add the API to `app`."""
    app.state.api = Services.of(ctx)
    router = APIRouter(prefix=PREFIX)
    resources = (
        uploads,
        ingests,
        starts,
        tasks,
        reports,
        originals,
        tiles,
        viewer_links,
        previews,
        sheets,
        events,
        queue,
        me,
        workflows_and_stats,
        status,
        dead,
    )
    for resource in resources:
        router.include_router(resource.router)
    app.include_router(router)
    app.include_router(iiif.router())


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    return name.removesuffix("s")
