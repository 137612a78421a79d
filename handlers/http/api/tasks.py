"""`/v1/tasks`: the rows of the audit log page by page, and all about one task, which is
answered without the database as well.
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
from pydantic.config import JsonDict
from starlette.responses import RedirectResponse, Response

from handlers.audit_log.columns import Event, Row
from handlers.audit_log.values import Filter
from handlers.http.api import cancel_and_erase, state
from handlers.http.api.dependencies import Api, Reader, Remover
from handlers.http.api.expectations import Place
from handlers.http.api.file_names import disposition, name_of
from handlers.http.api.links import LINK_S, link
from handlers.http.api.responses import refusals
from handlers.http.api.services import Services
from handlers.http.api.state import State
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from shared.errors import DatabaseUnavailable
from shared.uploads import events, keys
from shared.uploads.documents import Record
from shared.uploads.formats import CopyFormat
from shared.uploads.messages import LogEvent, Status
from shared.uploads.ref import UploadRef

router = APIRouter(tags=["tasks"])

WITHDRAWN_EXAMPLE: JsonDict = {
    "task_id": "0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b",
    "status": "failed",
    "code": "cancelled",
}


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
    queue: Place | None = Field(
        default=None, description="While it waits, as far as the audit log knows."
    )


class Withdrawn(BaseModel):
    """A task that its owner cancelled or erased."""

    model_config = ConfigDict(json_schema_extra={"examples": [WITHDRAWN_EXAMPLE]})

    task_id: UUID
    status: Literal["failed"] = "failed"
    code: Literal["cancelled", "erased"]


def _written_out(value: object) -> object:
    """Refuses seconds since 1970, which the library would take."""
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("date and time with its zone, as in 2026-05-04T03:02:01Z")
    return value


def _utc(moment: datetime) -> datetime:
    """Refuses what lies before the year 1 or after 9999, in its own zone or in UTC."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("from the year 1 to 9999, in UTC") from error


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_utc)]


class TaskQuery(BaseModel):
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


Erase = Annotated[
    bool,
    Query(description="Take everything away, whatever the state."),
]


Labelled = Annotated[
    bool,
    Query(description="The one with the visible label."),
]
Download = Annotated[
    bool,
    Query(description="To be saved, not shown, under the photo's name."),
]


@router.get("/tasks", responses=refusals())
async def tasks(
    query: Annotated[TaskQuery, Query()],
    api: Api,
    principal: Reader,
) -> Page:
    """The caller's uploads, newest first; the operator's: everybody's."""
    where = Filter(
        user_id=_user(query.user, principal),
        status=query.status,
        workflow=query.workflow,
        since=query.since,
        until=query.until,
        after=position_of(query.cursor) if query.cursor else None,
    )
    # One row more than the page has, to know whether another page follows.
    rows = await run_sync(api.audit_log.page, where, query.limit + 1)
    items = rows[: query.limit]
    is_last = len(rows) <= query.limit
    return Page(items=items, next=None if is_last else cursor_of(items[-1]))


@router.get("/tasks/{task_id}", responses=refusals(404))
def task(
    task_id: UUID,
    api: Api,
    principal: Reader,
) -> Task:
    """One task. While the log database is down, or late, what the bucket knows of it."""
    # Without the database the bucket may know, and says so itself if it does not.
    with suppress(DatabaseUnavailable):
        uploads, history = api.audit_log.task(task_id)
        if uploads and all(principal.sees(row.user_id) for row in uploads):
            status = uploads[0].status
            return Task(
                task_id=task_id,
                status=status,
                uploads=uploads,
                events=history,
                queue=_place(api, uploads[0]),
            )
    row = _row_by_the_bucket(api, principal, task_id)
    return Task(
        task_id=task_id,
        status=row.status,
        uploads=[row],
        events=[],
    )


@router.delete("/tasks/{task_id}", responses=refusals(404, 409))
def withdraw(
    task_id: UUID,
    api: Api,
    principal: Remover,
    erase: Erase = False,
) -> Withdrawn:
    """Cancel a photo that is not restored yet, or erase it with everything that was made
    of it.
    """
    uploads = api.ownership.every(principal, task_id)
    if erase:
        cancel_and_erase.erase(api.ctx, str(task_id), uploads)
        return Withdrawn(task_id=task_id, code="erased")
    cancel_and_erase.cancel(api.ctx, str(task_id), uploads)
    return Withdrawn(task_id=task_id, code="cancelled")


@link(router, "/tasks/{task_id}/result")
def result(
    task_id: UUID,
    api: Api,
    principal: Reader,
    download: Download = False,
) -> Response:
    """A link to the restored photo, a PNG, good for five minutes."""
    # Only the record says that a result is whole.
    found = record_of(api, principal, task_id)
    name = name_of(found.source, "restored", "png")
    return _signed(api, keys.result(str(task_id)), name, download)


@link(router, "/tasks/{task_id}/preview")
def preview(
    task_id: UUID,
    api: Api,
    principal: Reader,
    download: Download = False,
) -> Response:
    """A link to the preview, a WebP of at most 512 px, good for five minutes."""
    found = record_of(api, principal, task_id)
    name = name_of(found.source, "preview", "webp")
    return _signed(api, keys.preview(str(task_id)), name, download)


@link(router, "/tasks/{task_id}/draft")
def draft(task_id: UUID, api: Api, principal: Reader) -> Response:
    """A link to what is done so far of a photo that takes long, while it is restored: a
    WebP of at most 1024 px, transparent where nothing is done, good for five minutes.
    """
    receipt = api.ownership.one(principal, task_id)
    found = state.of_receipt(api.ctx, receipt)
    if found.draft is None:
        detail = f"nothing is shown of task {task_id} yet; the event `progress` says when, as `draft`"
        raise Problem(404, detail, "not_found")
    name = name_of(receipt.source, "draft", "webp")
    return _signed(api, keys.draft(str(task_id)), name, False)


@link(router, "/tasks/{task_id}/mask")
def mask(
    task_id: UUID,
    api: Api,
    principal: Reader,
    download: Download = False,
) -> Response:
    """A link to the mask of a repair, a grey PNG of the photo's size that is above 0
    where pixels may have changed, good for five minutes.
    """
    found = record_of(api, principal, task_id)
    if found.mask_key is None:
        detail = "this task has no mask: its workflow looks for no damage"
        raise Problem(404, detail, "not_found")
    name = name_of(found.source, "mask", "png")
    return _signed(api, keys.mask(str(task_id)), name, download)


@link(router, "/tasks/{task_id}/copies/{format}")
def copy(
    task_id: UUID,
    format: CopyFormat,
    api: Api,
    principal: Reader,
    labelled: Labelled = False,
    download: Download = False,
) -> Response:
    """A link to a copy that was asked for with the upload, good for five minutes."""
    found = record_of(api, principal, task_id)
    for each in found.copies:
        if (each.format, each.labelled) == (format, labelled):
            what = "labelled" if labelled else "restored"
            extension = each.key.rpartition(".")[2]
            name = name_of(found.source, what, extension)
            return _signed(api, each.key, name, download)
    kind = f"labelled {format}" if labelled else format
    detail = f"no {kind} copy of task {task_id}: ask for `formats` with the upload; the record has `copies` and `notes`"
    raise Problem(404, detail, "not_found")


@link(router, "/tasks/{task_id}/credentials")
def credentials(
    task_id: UUID,
    api: Api,
    principal: Reader,
    download: Download = False,
) -> Response:
    """A link to the content credentials (C2PA) that a worker made of the result, good for
    five minutes.
    """
    found = record_of(api, principal, task_id)
    if found.credentials is None:
        detail = f"task {task_id} has no content credentials: workers make them where DARKROOM_C2PA_SIGN says so"
        raise Problem(404, detail, "not_found")
    name = name_of(found.source, "restored", "png.c2pa")
    return _signed(api, found.credentials.key, name, download)


@router.get("/tasks/{task_id}/record", responses=refusals(404))
def record(
    task_id: UUID,
    api: Api,
    principal: Reader,
) -> Record:
    """What was done to the photo, enough to do it again."""
    return record_of(api, principal, task_id)


def _place(api: Services, row: Row) -> Place | None:
    if row.status != "queued":
        return None
    with suppress(DatabaseUnavailable):
        return api.expectations.place(row)
    return None


def _signed(
    api: Services,
    key: str,
    name: str,
    download: bool,
) -> Response:
    ctx = api.ctx
    bucket = ctx.settings.bucket_results
    shown_as = disposition(name, attachment=download)
    url = api.presigner.get(bucket, key, LINK_S, ctx.clock.now(), shown_as)
    return RedirectResponse(url, 307)


def _user(
    user: str | None,
    principal: Principal,
) -> str | None:
    """The user whose uploads are shown; None: all. Raises `Problem` 403."""
    if principal.operator:
        return user
    if user not in (None, principal.user_hash):
        raise Problem(403, "only the operator's key may ask for a user", "forbidden")
    return principal.user_hash


def record_of(
    api: Services,
    principal: Principal,
    task_id: UUID,
) -> Record:
    """The record of a task. Raises `Problem` 404, also for another user's."""
    found = api.ctx.uploads.readable_record(str(task_id))
    if found is None or not principal.sees(found.user_hash):
        raise Problem(404, f"no result of task {task_id}", "not_found")
    return found


def _row_by_the_bucket(
    api: Services,
    principal: Principal,
    task_id: UUID,
) -> Row:
    """The row that the audit log will have. Raises `Problem` 404."""
    bucket = api.ctx.settings.bucket_results
    done = api.ctx.uploads.readable_record(str(task_id))
    if done and principal.sees(done.user_hash):
        return _row(events.of_record(done, bucket), State("success"))
    receipt = api.ownership.one(principal, task_id)
    found = state.of_receipt(api.ctx, receipt)
    return _row(events.of_receipt(receipt, bucket), found)


def _row(event: LogEvent, found: State) -> Row:
    fields = dict(event.fields)
    if found.fault:
        fields |= dict(found.fault)
    # A preview stands for itself: it has no upload of its own.
    fields["upload_id"] = event.upload_id.rpartition("/")[2]
    fields["upload_time"] = event.upload_time
    fields["task_id"] = event.task_id
    fields["status"] = found.status
    return Row.model_validate(fields)


def cursor_of(row: Row) -> str:
    position = json.dumps([row.upload_time.isoformat(), str(row.upload_id)])
    return base64.urlsafe_b64encode(position.encode()).decode()


def position_of(cursor: str) -> UploadRef:
    """Raises `Problem` 422."""
    try:
        moment, upload_id = json.loads(base64.urlsafe_b64decode(cursor))
        return UploadRef(str(UUID(upload_id)), _utc(datetime.fromisoformat(moment)))
    except (ValueError, TypeError, AttributeError) as error:
        detail = "cursor: not one that a page gave as `next`"
        raise Problem(422, detail, "bad_request") from error
