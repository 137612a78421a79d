"""`/v1/tasks/{task_id}/events`: the progress of a photo as server-sent events."""

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
from handlers.http.api.responses import refusals
from handlers.http.api.streams import END_ID, position_of

router = APIRouter(tags=["tasks"])

EXAMPLE = """\
event: progress
data: {"status": "processing", "attempt": 1, "progress": 0.25}
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
