"""Tasks: the rows of the log, page by page, and all about one task, which is answered
without the database, too.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)
from starlette.responses import RedirectResponse, Response

from handlers.audit_log.columns import Event, Row
from handlers.audit_log.database import AuditLog, Filter, UploadKey
from handlers.context import Context
from handlers.http.api import cancel_and_erase, state
from handlers.http.api.ownership import Belongings
from handlers.http.api.responses import refusals
from handlers.http.api.state import State
from handlers.http.auth.principal import Authenticate, Caller, needs
from handlers.http.problems import Problem
from shared.errors import DatabaseUnavailable
from shared.s3.presign import Presigner
from shared.uploads import events, keys
from shared.uploads.documents import Record
from shared.uploads.messages import LogEvent, Status

LINK_S = 300
"""How long a link to a result is good."""


class Page(BaseModel):
    """`next` is the cursor of the following page; null on the last."""

    items: list[Row]
    next: str | None = None


class Task(BaseModel):
    """The uploads of one task, the restored one first, and what happened to them, in
    order.
    """

    task_id: UUID
    status: Status
    uploads: list[Row]
    events: list[Event]


class Withdrawn(BaseModel):
    """A task that its owner took back."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "task_id": "0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b",
                    "status": "failed",
                    "code": "cancelled",
                },
            ]
        }
    )

    task_id: UUID
    status: Literal["failed"] = "failed"
    code: Literal["cancelled", "erased"]


def _written_out(value: object) -> object:
    """Refuses seconds since 1970, which the library would take."""
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("date and time with its zone, as in 2026-05-04T03:02:01Z")
    return value


def _utc(moment: datetime) -> datetime:
    """Refuses what lies before the year 1 or after 9999, as it is told or in UTC."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("from the year 1 to 9999, in UTC") from error


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_utc)]


class Wish(BaseModel):
    """Which uploads a page shows."""

    model_config = ConfigDict(extra="forbid")

    user: str | None = Field(
        None,
        max_length=64,
        pattern=r"^[^\x00]*$",
        description="Only this user's, by hash: the operator's to ask.",
    )
    status: Status | None = None
    workflow: str | None = Field(None, max_length=80, pattern=r"^[^\x00]*$")
    since: Moment | None = Field(None, description="Uploaded then or later.")
    until: Moment | None = Field(None, description="Uploaded before.")
    limit: int = Field(50, ge=1, le=1000)
    cursor: str | None = Field(
        None, max_length=300, description="`next` of the page before."
    )


def build(
    ctx: Context,
    presigner: Presigner,
    belongings: Belongings,
    audit_log: AuditLog,
    who: Authenticate,
) -> APIRouter:
    router = APIRouter(tags=["tasks"])
    reader, remover = needs("read", who), needs("delete", who)

    @router.get("/tasks", responses=refusals())
    async def tasks(wish: Annotated[Wish, Query()], caller: Caller = reader) -> Page:
        """The caller's uploads, newest first; the operator's: everybody's."""
        where = Filter(
            user_id=_user(wish.user, caller),
            status=wish.status,
            workflow=wish.workflow,
            since=wish.since,
            until=wish.until,
            after=_position(wish.cursor) if wish.cursor else None,
        )
        items = await run_sync(audit_log.page, where, wish.limit + 1)
        return Page(
            items=items[: wish.limit],
            next=_cursor(items[wish.limit - 1]) if len(items) > wish.limit else None,
        )

    @router.get("/tasks/{task_id}", responses=refusals(404))
    def task(task_id: UUID, caller: Caller = reader) -> Task:
        """One task. While the log database is down, or late, what the bucket knows of
        it.
        """
        # then the bucket may know, and says itself when nobody can
        with suppress(DatabaseUnavailable):
            uploads, history = audit_log.task(task_id)
            if uploads and all(caller.sees(row.user_id) for row in uploads):
                return Task(
                    task_id=task_id,
                    status=uploads[0].status,
                    uploads=uploads,
                    events=history,
                )
        done = ctx.uploads.readable_record(str(task_id))
        if done and caller.sees(done.user_hash):
            row = _row(
                events.of_record(done, ctx.settings.bucket_results), State("success")
            )
        else:
            receipt = belongings.one(caller, task_id)
            row = _row(
                events.of_receipt(receipt, ctx.settings.bucket_results),
                state.of_receipt(ctx, receipt),
            )
        return Task(task_id=task_id, status=row.status, uploads=[row], events=[])

    @router.delete("/tasks/{task_id}", responses=refusals(404, 409))
    def withdraw_(
        task_id: UUID,
        erase: Annotated[
            bool,
            Query(description="Take everything away, whatever the state."),
        ] = False,
        caller: Caller = remover,
    ) -> Withdrawn:
        """Cancel a photo that is not restored yet, or erase it with everything that was
        made of it.
        """
        uploads = belongings.every(caller, task_id)
        if erase:
            cancel_and_erase.erase(ctx, str(task_id), uploads)
            return Withdrawn(task_id=task_id, code="erased")
        cancel_and_erase.cancel(ctx, str(task_id), uploads)
        return Withdrawn(task_id=task_id, code="cancelled")

    def link(key: str, caller: Caller, task_id: UUID) -> Response:
        _record(ctx, caller, task_id)  # only the record says that a result is whole
        return RedirectResponse(
            presigner.get(ctx.settings.bucket_results, key, LINK_S, ctx.clock.now()),
            307,
        )

    redirect = {
        "status_code": 307,
        "response_class": RedirectResponse,
        "responses": refusals(404),
    }

    @router.get("/tasks/{task_id}/result", **redirect)  # type: ignore[arg-type]
    def result(task_id: UUID, caller: Caller = reader) -> Response:
        """A link to the restored photo, a PNG, good for five minutes."""
        return link(keys.result(str(task_id)), caller, task_id)

    @router.get("/tasks/{task_id}/preview", **redirect)  # type: ignore[arg-type]
    def preview(task_id: UUID, caller: Caller = reader) -> Response:
        """A link to the preview, a WebP of at most 512 px, good for five minutes."""
        return link(keys.preview(str(task_id)), caller, task_id)

    @router.get("/tasks/{task_id}/record", responses=refusals(404))
    def record(task_id: UUID, caller: Caller = reader) -> Record:
        """What was done to the photo, enough to do it again."""
        return _record(ctx, caller, task_id)

    return router


def _user(asked: str | None, caller: Caller) -> str | None:
    if caller.operator:
        return asked
    if asked not in (None, caller.user_hash):
        raise Problem(403, "only the operator's key may ask for a user", "forbidden")
    return caller.user_hash


def _record(ctx: Context, caller: Caller, task_id: UUID) -> Record:
    found = ctx.uploads.readable_record(str(task_id))
    if found is None or not caller.sees(found.user_hash):
        raise Problem(404, f"no result of task {task_id}", "not_found")
    return found


def _row(event: LogEvent, found: State) -> Row:
    """The row that the log will have, by the bucket alone."""
    fault = dict(found.fault) if found.fault else {}
    # A preview stands for itself: it has no upload of its own.
    known = {
        "upload_id": event.upload_id.rpartition("/")[2],
        "upload_time": event.upload_time,
        "task_id": event.task_id,
    }
    return Row.model_validate(event.fields | fault | known | {"status": found.status})


def _cursor(row: Row) -> str:
    position = json.dumps([row.upload_time.isoformat(), str(row.upload_id)])
    return base64.urlsafe_b64encode(position.encode()).decode()


def _position(cursor: str) -> UploadKey:
    try:
        moment, upload_id = json.loads(base64.urlsafe_b64decode(cursor))
        return str(UUID(upload_id)), _utc(datetime.fromisoformat(moment))
    except (ValueError, TypeError, AttributeError) as error:
        raise Problem(
            422, "cursor: not one that a page gave as `next`", "bad_request"
        ) from error
