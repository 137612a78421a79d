"""Streams of a task's progress, as server-sent events: `queued`, `progress` tile by
tile, and at last `finished`.

Nothing is kept for a stream: the bucket is read every second, and an event's id is a
position (attempt and thousandths), so that `Last-Event-ID` resumes anywhere, at any
process.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from weakref import WeakValueDictionary

import anyio
from anyio.to_thread import run_sync
from fastapi.sse import format_sse_event

from handlers.http.api import feed as feeds
from handlers.http.api.feed import Feed
from handlers.http.api.state import State
from handlers.http.problems import RETRY_AFTER_S, Problem
from shared.errors import TransientError

STREAMS = 64
"""Streams at the same time in one process; each costs up to four requests to the store
a second.
"""
STREAMS_OF_ONE = 8
"""Of these, streams of one user."""
READS_AT_ONCE = 4
POLL_S = 1.0
HEARTBEAT_POLLS = 15
LONGEST_POLLS = 600
"""Then the client connects again by itself, perhaps to another process."""
END_ID = "end"

Position = tuple[int, int]
"""(attempt, thousandths of its progress)"""
END: Position = (1 << 31, 0)
FAILED_ATTEMPT = 1001
"""In place of thousandths: an attempt that failed is behind all of its progress, and
before the next attempt.
"""
ReadState = Callable[[], State]
"""The state of one upload; it blocks. Raises `TransientError`."""

_ID = re.compile(r"(\d{1,9})\.(\d{1,9})")


class Streams:
    """The streams of all users, for one event loop."""

    def __init__(self) -> None:
        self._all = anyio.CapacityLimiter(STREAMS)
        self._reads = anyio.CapacityLimiter(READS_AT_ONCE)
        self._users: WeakValueDictionary[str, anyio.CapacityLimiter] = (
            WeakValueDictionary()
        )

    def check_free(self, user_hash: str) -> None:
        """Raises `Problem` 503 where this user, or the process, has too many streams."""
        own = self._of_user(user_hash)
        left = min(self._all.available_tokens, own.available_tokens)
        if left < 1:
            detail = f"{STREAMS} streams, or {STREAMS_OF_ONE} of yours, are open; ask GET /v1/tasks/{{task_id}} instead"
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            raise Problem(503, detail, "busy", headers)

    async def follow(
        self,
        user_hash: str,
        read: ReadState,
        task_id: str,
        after: Position | None,
    ) -> AsyncIterator[bytes]:
        """The events behind `after`. The stream counts as open while they are sent."""
        async with self._of_user(user_hash), self._all:
            async for event in follow(read, task_id, after, self._reads):
                yield event

    async def follow_all(self, user_hash: str, feed: Feed) -> AsyncIterator[bytes]:
        """The events of all tasks of a user. It counts like `follow`."""
        async with self._of_user(user_hash), self._all:
            async for event in feeds.follow(feed, self._reads):
                yield event

    def _of_user(self, user_hash: str) -> anyio.CapacityLimiter:
        limiter = anyio.CapacityLimiter(STREAMS_OF_ONE)
        return self._users.setdefault(user_hash, limiter)


async def follow(
    read: ReadState,
    task_id: str,
    after: Position | None,
    reads: anyio.CapacityLimiter | None = None,
    poll_s: float = POLL_S,
) -> AsyncIterator[bytes]:
    """The events behind `after`, until the last one."""
    yield format_sse_event(retry=RETRY_AFTER_S * 1000)
    for poll in range(LONGEST_POLLS):
        if poll:
            await anyio.sleep(poll_s)
        try:
            state = await run_sync(read, limiter=reads)
        except TransientError:
            yield format_sse_event(comment="the store is away")
            continue
        position = _position(state)
        if after is None or position > after:
            after = position
            yield _event(state, task_id)
        elif poll % HEARTBEAT_POLLS == 0:
            yield format_sse_event(comment="heartbeat")
        if state.ended:
            return


def position_of(last_event_id: str | None) -> Position | None:
    """The position of an event's id; None for anything else: then all events are sent."""
    found = _ID.fullmatch(last_event_id or "")
    return (int(found[1]), int(found[2])) if found else None


def _position(state: State) -> Position:
    if state.ended:
        return END
    if state.status == "queued" and state.attempt > 0:
        return state.attempt, FAILED_ATTEMPT
    return state.attempt, int(state.progress * 1000)


def _event(state: State, task_id: str) -> bytes:
    data: dict[str, Any] = {
        "task_id": task_id,
        "status": state.status,
        "attempt": state.attempt,
        "progress": state.progress,
    }
    if state.draft:
        data["draft"] = state.draft.model_dump()
    if state.fault:
        data["error"] = {
            "code": state.fault.error_code,
            "detail": state.fault.error_detail,
        }
    # The id comes first, as it always did: a framework's encoder puts it last.
    fields = f"id: {_id(state)}\nevent: {_name(state)}\ndata: {json.dumps(data)}\n\n"
    return fields.encode()


def _id(state: State) -> str:
    if state.ended:
        return END_ID
    attempt, thousandths = _position(state)
    return f"{attempt}.{thousandths}"


def _name(state: State) -> str:
    if state.ended:
        return "finished"
    return "queued" if state.status == "queued" else "progress"
