"""How a photo comes along, as server-sent events: `queued`, `progress` tile by tile,
and at last `finished`.

Nothing is kept for a stream: the bucket is looked at each second, and an event's id is
a position (attempt and thousandths), so that `Last-Event-ID` resumes anywhere, at any
process.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated, Any
from uuid import UUID
from weakref import WeakValueDictionary

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header
from starlette.responses import Response, StreamingResponse

from handlers.context import Context
from handlers.http.api import state
from handlers.http.api.ownership import Belongings
from handlers.http.api.responses import refusals
from handlers.http.api.state import State
from handlers.http.auth.principal import Authenticate, Caller, needs
from handlers.http.problems import RETRY_AFTER_S, Problem
from shared.errors import TransientError

STREAMS = 64
"""Streams at the same time in one process; each costs up to four calls to the store a
second.
"""
STREAMS_OF_ONE = 8
"""Of these, of one user: nobody takes them all."""
LOOKS_AT_ONCE = 4
POLL_S = 1.0
HEARTBEAT_POLLS = 15
LONGEST_POLLS = 600
"""Then the client comes again by itself, perhaps to another process."""
END = (1 << 31, 0)
END_ID = "end"

Position = tuple[int, int]

_ID = re.compile(r"(\d{1,9})\.(\d{1,9})")


def build(ctx: Context, belongings: Belongings, who: Authenticate) -> APIRouter:
    router = APIRouter(tags=["tasks"])
    reader = needs("read", who)
    streams = anyio.CapacityLimiter(STREAMS)
    looks = anyio.CapacityLimiter(LOOKS_AT_ONCE)
    users: WeakValueDictionary[str, anyio.CapacityLimiter] = WeakValueDictionary()
    described: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "The events, until the last one.",
            "content": {
                "text/event-stream": {
                    "example": (
                        "id: 1.250\nevent: progress\n"
                        'data: {"status": "processing", "attempt": 1, "progress": 0.25}'
                        "\n\n"
                    ),
                }
            },
        },
        204: {
            "description": "`Last-Event-ID` was the last event: there is nothing more to say."
        },
    }

    @router.get(
        "/tasks/{task_id}/events",
        responses=refusals(404) | described,
        response_class=Response,
    )
    async def events(
        task_id: UUID,
        last_event_id: Annotated[
            str | None, Header(alias="Last-Event-ID", max_length=40)
        ] = None,
        caller: Caller = reader,
    ) -> Response:
        """How the photo comes along, as it happens."""
        receipt = await run_sync(belongings.one, caller, task_id)
        own = users.setdefault(caller.user_hash, anyio.CapacityLimiter(STREAMS_OF_ONE))
        if streams.available_tokens < 1 or own.available_tokens < 1:
            detail = f"{STREAMS} streams, or {STREAMS_OF_ONE} of yours, are open; ask GET /v1/tasks/{{task_id}} instead"
            raise Problem(503, detail, "busy", {"Retry-After": str(RETRY_AFTER_S)})
        if last_event_id == END_ID:
            return Response(status_code=204)
        look = partial(state.of_receipt, ctx, receipt)
        told = _counted(
            follow(look, str(task_id), position_of(last_event_id), looks), own, streams
        )
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(told, media_type="text/event-stream", headers=headers)

    return router


async def _counted(
    told: AsyncIterator[str], own: anyio.CapacityLimiter, streams: anyio.CapacityLimiter
) -> AsyncIterator[str]:
    async with own, streams:
        async for event in told:
            yield event


async def follow(
    look: Callable[[], State],
    task_id: str,
    after: Position | None,
    looks: anyio.CapacityLimiter | None = None,
    poll_s: float = POLL_S,
) -> AsyncIterator[str]:
    """The events behind `after`, as text, until the last one."""
    yield f"retry: {RETRY_AFTER_S * 1000}\n\n"
    for turn in range(LONGEST_POLLS):
        if turn:
            await anyio.sleep(poll_s)
        try:
            found = await run_sync(look, limiter=looks)
        except TransientError:
            yield ": the store is away\n\n"
            continue
        now = _position(found)
        if after is None or now > after:
            after = now
            yield _event(found, task_id)
        elif turn % HEARTBEAT_POLLS == 0:
            yield ": heartbeat\n\n"
        if found.ended:
            return


def position_of(last_event_id: str | None) -> Position | None:
    """None for what is no id of ours: then everything is told."""
    found = _ID.fullmatch(last_event_id or "")
    return (int(found[1]), int(found[2])) if found else None


def _position(found: State) -> Position:
    if found.ended:
        return END
    # A try that failed waits behind all of its progress, and before the next try.
    waits = found.status == "queued" and found.attempt > 0
    return found.attempt, 1001 if waits else int(found.progress * 1000)


def _event(found: State, task_id: str) -> str:
    ident = END_ID if found.ended else "{}.{}".format(*_position(found))
    name = (
        "finished"
        if found.ended
        else "queued"
        if found.status == "queued"
        else "progress"
    )
    data = {
        "task_id": task_id,
        "status": found.status,
        "attempt": found.attempt,
        "progress": found.progress,
    }
    if found.fault:
        data["error"] = {
            "code": found.fault.error_code,
            "detail": found.fault.error_detail,
        }
    return f"id: {ident}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
