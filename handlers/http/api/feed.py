"""All tasks of one user as one stream of server-sent events: what is under way, then
every change.

The audit log is asked every second for rows that changed, and the bucket for the
progress of those in work. An event's id is the time at which its row changed, by the
database's clock. Rows that were written at the same moment may become visible one after
another, so each look reaches back a little, and after a broken connection some events
come twice.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
from anyio.to_thread import run_sync
from fastapi.sse import format_sse_event

from handlers.audit_log.columns import Row
from handlers.audit_log.database import AuditLog
from handlers.http.api.state import State
from handlers.http.problems import RETRY_AFTER_S
from shared.errors import TransientError

POLL_S = 1.0
HEARTBEAT_POLLS = 15
LONGEST_POLLS = 600
"""Then the client connects again by itself, perhaps to another process."""
OVERLAP = timedelta(seconds=10)
"""So much later than its time a row may become visible: writers take turns."""
OLDEST = timedelta(days=1)
"""What changed before is not sent again: `GET /v1/tasks` has it."""
PAGE = 500
PAGES = 4
"""Pages of changes in one look; the next one goes on from there."""
MOST_PROGRESS = 16
"""Photos in work whose progress is sent."""
RESET = "what changed before this cannot be told any more: read GET /v1/tasks again"

Position = tuple[datetime, str]
"""(updated_at, upload_id) of a row."""
ReadProgress = Callable[[str], State]
"""Task id → the state by its claim; it blocks. Raises `TransientError`."""


class Feed:
    """The changes of one user's uploads since `last_event_id`, for one stream."""

    def __init__(
        self,
        audit_log: AuditLog,
        read_progress: ReadProgress,
        user_hash: str,
        last_event_id: str | None,
    ) -> None:
        self._audit_log = audit_log
        self._read_progress = read_progress
        self._user = user_hash
        self._last_event_id = last_event_id
        self._position: Position | None = None
        self._sent: dict[tuple[str, datetime], Row] = {}
        """Rows as they were sent, as long as a look may find them again."""
        self._working: dict[str, State | None] = {}
        """Tasks in work, with the progress that was sent."""

    def look(self) -> list[bytes]:
        """The events since the last look. Raises `TransientError`."""
        events = []
        if self._position is None:
            events += self._begin()
        events += [_of_row(row) for row in self._changed()]
        events += self._progress()
        return events

    def _begin(self) -> list[bytes]:
        now = self._audit_log.now()
        since = _moment_of(self._last_event_id)
        if since and now - OLDEST < since <= now:
            self._position = (since, "")
            return []
        underway = self._audit_log.underway(self._user, PAGE)
        self._position = (now, "")
        events = [_reset()] if self._last_event_id else []
        for row in reversed(underway):
            self._note(row)
            events.append(_of_row(row))
        return events

    def _changed(self) -> Iterator[Row]:
        assert self._position is not None
        newest, _ = self._position
        after = (newest - OVERLAP, "")
        for _ in range(PAGES):
            rows = self._audit_log.changed(self._user, after, PAGE)
            for row in rows:
                if self._note(row):
                    yield row
            if rows:
                after = _position(rows[-1])
                newest = max(newest, after[0])
            if len(rows) < PAGE:
                break
        self._position = (newest, "")
        self._forget(newest - OVERLAP)

    def _note(self, row: Row) -> bool:
        """Remember a row. False: it was sent as it is."""
        key = str(row.upload_id), row.upload_time
        if self._sent.get(key) == row:
            return False
        self._sent[key] = row
        task_id = str(row.task_id)
        if row.status == "processing":
            self._working.setdefault(task_id, None)
        else:
            self._working.pop(task_id, None)
        return True

    def _forget(self, before: datetime) -> None:
        for key, row in list(self._sent.items()):
            if row.updated_at is None or row.updated_at < before:
                del self._sent[key]

    def _progress(self) -> Iterator[bytes]:
        for task_id, sent in list(self._working.items())[:MOST_PROGRESS]:
            state = self._read_progress(task_id)
            # Otherwise it has just ended, and its row says so soon.
            if state.status == "processing" and state != sent:
                self._working[task_id] = state
                yield _of_progress(task_id, state)


async def follow(
    feed: Feed,
    reads: anyio.CapacityLimiter,
    poll_s: float = POLL_S,
) -> AsyncIterator[bytes]:
    """The events of a feed, for as long as a connection lasts."""
    yield format_sse_event(retry=RETRY_AFTER_S * 1000)
    for poll in range(LONGEST_POLLS):
        if poll:
            await anyio.sleep(poll_s)
        try:
            events = await run_sync(feed.look, limiter=reads)
        except TransientError:
            yield format_sse_event(comment="the audit log, or the store, is away")
            continue
        for event in events:
            yield event
        if not events and poll % HEARTBEAT_POLLS == 0:
            yield format_sse_event(comment="heartbeat")


def _position(row: Row) -> Position:
    assert row.updated_at is not None
    return row.updated_at, str(row.upload_id)


def _moment_of(event_id: str | None) -> datetime | None:
    """The time in an event's id; None for anything else."""
    if event_id is None or not event_id.isdecimal():
        return None
    try:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(event_id))
    except OverflowError:
        return None


def _of_row(row: Row) -> bytes:
    name = {"queued": "queued", "processing": "progress"}.get(row.status, "finished")
    data: dict[str, Any] = {
        "task_id": str(row.task_id) if row.task_id else None,
        "upload_id": str(row.upload_id),
        "status": row.status,
        "attempt": row.attempts or 0,
        "progress": 1.0 if row.status in ("success", "duplicate") else 0.0,
        "workflow": row.workflow_type,
        "filename": row.image_filename,
    }
    if row.error_code:
        data["error"] = {"code": row.error_code, "detail": row.error_detail}
    moment, _ = _position(row)
    since_epoch = moment - datetime.fromtimestamp(0, UTC)
    return _event(name, data, since_epoch // timedelta(microseconds=1))


def _of_progress(task_id: str, state: State) -> bytes:
    data = {
        "task_id": task_id,
        "status": state.status,
        "attempt": state.attempt,
        "progress": state.progress,
    }
    if state.draft:
        data["draft"] = state.draft.model_dump()
    return _event("progress", data)


def _reset() -> bytes:
    return _event("reset", {"detail": RESET})


def _event(name: str, data: dict[str, Any], ident: int | None = None) -> bytes:
    begin = "" if ident is None else f"id: {ident}\n"
    return f"{begin}event: {name}\ndata: {json.dumps(data)}\n\n".encode()
