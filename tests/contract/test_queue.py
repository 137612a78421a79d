"""What changed, what waits, and how long it takes, by the real log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from handlers.audit_log.database import AuditLog
from handlers.http.api import queue
from handlers.http.api.expectations import Expectations
from shared.s3.clock import SystemClock
from shared.uploads.messages import LogEvent
from tests.support.audit_log_events import SOURCE, event


def write(audit_log: AuditLog, number: int, *kinds: str, **fields: Any) -> str:
    """The events of one upload, `number` minutes ago; its id."""
    upload_id = str(uuid4())
    at = datetime.now(UTC) - timedelta(minutes=number)
    told: list[LogEvent] = [
        event(upload_id, kind, fields={**SOURCE, **fields}, upload_time=at, at=at)
        for kind in kinds
    ]
    audit_log.write(told)
    return upload_id


def user() -> str:
    return uuid4().hex * 2


def test_changes_come_in_their_order_page_by_page(audit_log: AuditLog) -> None:
    """Those that were written at the same moment, too, and nobody else's."""
    began, ann = audit_log.now(), user()
    mine = [write(audit_log, 9 - n, "queued", user_id=ann) for n in range(3)]
    write(audit_log, 1, "queued", user_id=user())
    first = audit_log.changed(ann, (began, ""), 2)
    last = first[-1]
    assert last.updated_at
    rest = audit_log.changed(ann, (last.updated_at, str(last.upload_id)), 2)
    assert [str(row.upload_id) for row in first + rest] == mine
    assert len(audit_log.underway(ann, 10)) == 3


def test_a_place_is_behind_those_that_came_earlier(audit_log: AuditLog) -> None:
    """By the median of 2 to 6 s, with one photo in work at a time. Other tests' photos
    may wait, too.
    """
    ann = user()
    for n in range(5):
        write(audit_log, 60 + n, "success", duration_seconds=2.0 + n)
    write(audit_log, 9, "processing")
    ids = [write(audit_log, 4 - n, "queued", user_id=ann) for n in range(3)]
    expectations = Expectations(audit_log, SystemClock())
    rows = {str(row.upload_id): row for row in audit_log.underway(ann, 10)}
    places = [expectations.place(rows[ident]) for ident in ids]
    first = places[0]
    assert [place.place - first.place for place in places] == [0, 1, 2]
    assert first.expected_s == first.place * 4.0
    assert places[2].expected_s == (first.place + 2) * 4.0


def test_nothing_is_expected_where_nothing_was_done(audit_log: AuditLog) -> None:
    ann = user()
    write(audit_log, 1, "queued", user_id=ann, workflow_type="portrait")
    (row,) = audit_log.underway(ann, 10)
    assert Expectations(audit_log, SystemClock()).place(row).expected_s is None


def test_a_smaller_size_is_suggested() -> None:
    """The next smaller usual one; none where there is none."""
    busy = queue.Queue(waiting=7, in_work=1, expected_s=100.0)
    queue.suggest(busy, "fast", {"scale": 4.0})
    assert busy.suggested == {"scale": 2}
    assert "scale=2 instead of 4" in str(busy.hint)
    least = queue.Queue(waiting=7, in_work=1, expected_s=100.0)
    queue.suggest(least, "fast", {"scale": 1.0})
    assert least.hint is None
