"""`/v1/tasks/{task_id}/events` and `/v1/events`: the progress of a photo, or of all of
a user, as server-sent events.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header
from fastapi.sse import EventSourceResponse
from starlette.responses import Response

from handlers.http.api import state
from handlers.http.api.dependencies import Api, Reader
from handlers.http.api.feed import Feed
from handlers.http.api.responses import refusals
from handlers.http.api.streams import END_ID, position_of

router = APIRouter(tags=["tasks"])

EXAMPLE = """\
event: progress
data: {"status": "processing", "attempt": 1, "progress": 0.25, "draft": {"number": 1, "signature": "0f3c5a7e9b1d2468"}}
id: 1.250

"""
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The events, until the last one.",
        "content": {"text/event-stream": {"example": EXAMPLE}},
    },
    204: {
        "description": "`Last-Event-ID` was the last event: there is nothing more to say."
    },
}
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

ALL_EXAMPLE = """\
id: 1777858990123456
event: finished
data: {"task_id": "…", "upload_id": "…", "status": "success", "progress": 1.0, "filename": "grandma.jpg"}

"""
ALL_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The events, for as long as the connection lasts.",
        "content": {"text/event-stream": {"example": ALL_EXAMPLE}},
    },
}

LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=40)]


@router.get(
    "/tasks/{task_id}/events",
    responses=refusals(404) | RESPONSES,
    response_class=Response,
)
async def events(
    task_id: UUID,
    api: Api,
    principal: Reader,
    last_event_id: LastEventId = None,
) -> Response:
    """How the photo comes along, as it happens."""
    receipt = await run_sync(api.ownership.one, principal, task_id)
    api.streams.check_free(principal.user_hash)
    if last_event_id == END_ID:
        return Response(status_code=204)
    read = partial(state.of_receipt, api.ctx, receipt)
    after = position_of(last_event_id)
    stream = api.streams.follow(principal.user_hash, read, str(task_id), after)
    return EventSourceResponse(stream, headers=HEADERS)


@router.get(
    "/events",
    responses=refusals() | ALL_RESPONSES,
    response_class=Response,
)
async def all_events(
    api: Api,
    principal: Reader,
    last_event_id: LastEventId = None,
) -> Response:
    """All of the caller's tasks in one stream: `queued`, `progress` and `finished` of
    those under way, and then as it happens.

    With `Last-Event-ID` of the last day it goes on from there, and may repeat some
    events; otherwise `reset` says that what lies between is in `GET /v1/tasks`.
    """
    user = principal.user_hash
    api.streams.check_free(user)
    read_progress = partial(state.of_claim, api.ctx)
    feed = Feed(api.audit_log, read_progress, user, last_event_id)
    stream = api.streams.follow_all(user, feed)
    return EventSourceResponse(stream, headers=HEADERS)
