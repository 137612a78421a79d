"""The API under `/v1`: what became of photos, and what can be asked for. Its shapes are contracts."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from handlers.api import catalogue, tasks
from handlers.api.auth import authorise
from handlers.context import Context
from handlers.logbook import Logbook


def build(ctx: Context) -> APIRouter:
    """All routes, behind the key."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(authorise(ctx.settings))])
    logbook = Logbook(ctx.settings)
    router.include_router(tasks.build(ctx, logbook))
    router.include_router(catalogue.build(logbook))
    return router
