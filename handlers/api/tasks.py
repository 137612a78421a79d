"""Tasks: the rows of the log, page by page, and all about one task, which is answered without the database, too."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import RedirectResponse, Response

from handlers.columns import Event, Row
from handlers.context import Context
from handlers.logbook import Filter, Logbook, UploadKey
from handlers.problems import Problem
from shared import facts, keys
from shared.documents import Record
from shared.errors import DatabaseUnavailable, NotFound
from shared.messages import Status

LINK_S = 300
"""How long a link to a result is good."""


class Page(BaseModel):
    """`next` is the cursor of the following page; null on the last."""

    items: list[Row]
    next: str | None = None


class Task(BaseModel):
    """The uploads of one task, the restored one first, and what happened to them, in order."""

    task_id: UUID
    status: Status
    uploads: list[Row]
    events: list[Event]


def build(ctx: Context, logbook: Logbook) -> APIRouter:
    router = APIRouter(tags=["tasks"])

    @router.get("/tasks")
    def tasks(
        user: Annotated[str | None, Query(description="Only this user's: the user's hash.", max_length=200)] = None,
        status: Status | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the page before.", max_length=300)] = None,
    ) -> Page:
        """Uploads, newest first."""
        where = Filter(user_id=user, status=status, after=_position(cursor) if cursor else None)
        items = logbook.page(where, limit + 1)
        return Page(items=items[:limit], next=_cursor(items[limit - 1]) if len(items) > limit else None)

    @router.get("/tasks/{task_id}")
    def task(task_id: UUID) -> Task:
        """One task. While the log database is down, or late, what the bucket knows of it."""
        try:
            uploads, events = logbook.task(task_id)
        except DatabaseUnavailable as error:  # then nobody can say that there is no such task
            return _of_bucket(ctx, task_id, otherwise=error)
        if not uploads:
            return _of_bucket(ctx, task_id, otherwise=Problem(404, f"no task {task_id}", "not_found"))
        return Task(task_id=task_id, status=uploads[0].status, uploads=uploads, events=events)

    @router.get("/tasks/{task_id}/result", status_code=307, response_class=RedirectResponse)
    def result(task_id: UUID) -> Response:
        """A link to the restored photo, a PNG, good for five minutes."""
        return _link(ctx, keys.result(str(task_id)), task_id)

    @router.get("/tasks/{task_id}/preview", status_code=307, response_class=RedirectResponse)
    def preview(task_id: UUID) -> Response:
        """A link to the preview, a WebP of at most 512 px, good for five minutes."""
        return _link(ctx, keys.preview(str(task_id)), task_id)

    @router.get("/tasks/{task_id}/record")
    def record(task_id: UUID) -> Record:
        """What was done to the photo, enough to do it again."""
        return _record(ctx, task_id)

    return router


def _link(ctx: Context, key: str, task_id: UUID) -> Response:
    _record(ctx, task_id)  # only the record says that a result is whole
    return RedirectResponse(ctx.store.presigned(ctx.settings.bucket_results, key, LINK_S), 307)


def _record(ctx: Context, task_id: UUID) -> Record:
    key = keys.record(str(task_id))
    try:
        return Record.from_bytes(ctx.store.read(ctx.settings.bucket_results, key), key)
    except NotFound as error:
        raise Problem(404, f"no result of task {task_id}", "not_found") from error


def _of_bucket(ctx: Context, task_id: UUID, otherwise: Exception) -> Task:
    """A restored task by its record alone. Raises `otherwise` where there is none."""
    try:
        row = _row(_record(ctx, task_id), ctx.settings.bucket_results)
    except Problem:
        raise otherwise from None
    return Task(task_id=task_id, status=row.status, uploads=[row], events=[])


def _row(record: Record, bucket: str) -> Row:
    event = facts.of_record(record, bucket)
    known = {"upload_id": event.upload_id, "upload_time": event.upload_time, "task_id": event.task_id}
    return Row.model_validate(event.fields | known | {"status": event.kind})


def _cursor(row: Row) -> str:
    position = json.dumps([row.upload_time.isoformat(), str(row.upload_id)])
    return base64.urlsafe_b64encode(position.encode()).decode()


def _position(cursor: str) -> UploadKey:
    try:
        moment, upload_id = json.loads(base64.urlsafe_b64decode(cursor))
        return str(UUID(upload_id)), datetime.fromisoformat(moment)
    except (ValueError, TypeError, AttributeError) as error:
        raise Problem(422, "cursor: not one that a page gave as `next`", "bad_request") from error
