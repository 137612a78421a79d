"""All tasks of a user in one stream: nothing is missed, and what cannot be told is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
import pytest

from handlers.audit_log.columns import Row
from handlers.http.api import feed
from handlers.http.api.feed import Feed
from handlers.http.api.state import State
from shared.errors import DatabaseUnavailable

START = datetime(2026, 5, 4, tzinfo=UTC)


class Log:
    """The rows of one user, as an audit log gives them."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.clock = START
        self.is_down = False

    def write(self, number: int, status: Any, seconds: float, **fields: Any) -> None:
        at = START + timedelta(seconds=seconds)
        self.rows[number] = Row(
            upload_id=UUID(int=number),
            upload_time=START,
            task_id=UUID(int=number),
            status=status,
            updated_at=at,
            **fields,
        )
        self.clock = max(self.clock, at)

    def now(self) -> datetime:
        return self.clock

    def underway(self, _user: str, limit: int) -> list[Row]:
        found = [
            row for row in self.rows.values() if row.status in ("queued", "processing")
        ]
        return found[:limit]

    def changed(self, _user: str, after: tuple[datetime, str], limit: int) -> list[Row]:
        if self.is_down:
            raise DatabaseUnavailable("down")
        rows = sorted(self.rows.values(), key=_place)
        return [row for row in rows if _place(row) > after][:limit]


def _place(row: Row) -> tuple[datetime, str]:
    assert row.updated_at
    return row.updated_at, str(row.upload_id)


@pytest.fixture
def log() -> Log:
    return Log()


def opened(log: Any, last: str | None = None, state: State | None = None) -> Feed:
    return Feed(log, lambda _: state or State("queued"), "ann", last)


def events(stream: Feed) -> list[tuple[str, Any]]:
    return [_read(event) for event in stream.look()]


def told(stream: Feed) -> list[tuple[str, str]]:
    """(name, status) of the events that are there now."""
    return [(name, data.get("status")) for name, data in events(stream)]


def _read(event: bytes) -> tuple[str, Any]:
    fields = dict(line.split(": ", 1) for line in event.decode().strip().split("\n"))
    return fields["event"], json.loads(fields["data"])


def last_id(stream: Feed) -> str:
    event = stream.look()[-1].decode()
    return event.split("\n")[0].removeprefix("id: ")


def test_it_begins_with_what_is_under_way(log: Log) -> None:
    log.write(1, "success", -100)
    log.write(2, "processing", 2)
    log.write(3, "queued", 3)
    stream = opened(log)
    assert sorted(told(stream)) == [("progress", "processing"), ("queued", "queued")]
    assert told(stream) == []


def test_every_change_is_told_once(log: Log) -> None:
    stream = opened(log)
    assert told(stream) == []
    log.write(1, "queued", 20)
    assert told(stream) == [("queued", "queued")]
    log.write(1, "failed", 21, error_code="decode_error", error_detail="broken")
    ((name, data),) = events(stream)
    assert (name, data["error"]["code"]) == ("finished", "decode_error")
    assert told(stream) == []


def test_a_row_that_becomes_visible_late_is_not_missed(log: Log) -> None:
    """Another writer's transaction began earlier and ended later."""
    stream = opened(log)
    told(stream)
    log.write(2, "queued", 25)
    told(stream)
    log.write(1, "queued", 22)
    assert told(stream) == [("queued", "queued")]


def test_many_changes_of_one_moment_are_all_told(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE", 2)
    stream = opened(log)
    told(stream)
    for number in range(1, 6):
        log.write(number, "queued", 30)
    assert len(told(stream)) == 5


def test_it_resumes_where_it_broke_off(log: Log) -> None:
    stream = opened(log)
    told(stream)
    log.write(1, "queued", 20)
    last = last_id(stream)
    log.write(1, "success", 60)
    log.write(2, "queued", 61)
    again = told(opened(log, last))
    assert again == [("finished", "success"), ("queued", "queued")]


@pytest.mark.parametrize("last", ["1", "end", "99999999999999999999999999"])
def test_it_says_what_it_cannot_tell(log: Log, last: str) -> None:
    log.write(1, "queued", 20)
    stream = opened(log, last)
    assert told(stream)[0] == ("reset", None)


def test_progress_is_that_of_the_claim(log: Log) -> None:
    log.write(1, "processing", 1)
    stream = opened(log, state=State("processing", attempt=1, progress=0.5))
    assert [data["progress"] for _, data in events(stream)][-1] == 0.5
    assert told(stream) == []


def test_while_the_log_is_away_the_stream_stays(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "LONGEST_POLLS", 2)
    log.is_down = True
    stream = opened(log)

    async def read() -> list[bytes]:
        follow = feed.follow(stream, anyio.CapacityLimiter(1), poll_s=0.0)
        return [event async for event in follow]

    _, first, second = anyio.run(read)
    assert b"is away" in first
    assert b"is away" in second
