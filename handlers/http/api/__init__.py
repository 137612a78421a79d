"""The API under `/v1`: photos brought in, what became of them, and what can be asked
for. Its shapes are contracts.
"""

from __future__ import annotations

from fastapi import APIRouter

from handlers.audit_log.database import AuditLog
from handlers.context import Context
from handlers.http.api import events, previews, tasks, uploads, workflows_and_stats
from handlers.http.api.auth import authenticate
from handlers.http.api.ownership import Belongings
from shared.s3.presign import Presigner


def build(ctx: Context) -> APIRouter:
    """All routes; each says what scope its caller needs."""
    router = APIRouter(prefix="/v1")
    who, presigner, audit_log = (
        authenticate,
        Presigner(ctx.settings),
        AuditLog(ctx.settings),
    )
    belongings = Belongings(ctx, audit_log)
    router.include_router(uploads.build(ctx, presigner, belongings, who))
    router.include_router(tasks.build(ctx, presigner, belongings, audit_log, who))
    router.include_router(previews.build(ctx, belongings, who))
    router.include_router(events.build(ctx, belongings, who))
    router.include_router(workflows_and_stats.build(ctx, audit_log, who))
    return router
