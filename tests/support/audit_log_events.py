"""Events of an upload's life, and the rows that the audit log makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2

from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter
from shared.uploads import identity
from shared.uploads.messages import LogEvent

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
NOT_SHARED = {"upload_id", "task_id", "updated_at"}
SOURCE = {
    "user_id": "ab" * 32,
    "image_filename": "grandma.jpg",
    "bytes": 1000,
    "width": 20,
    "height": 10,
    "sha256": "cd" * 32,
    "workflow_type": "fast",
    "workflow_version": 1,
    "params": {"scale": 4, "note": None},
    "signature": "0123456789abcdef",
}
LIFE: list[tuple[Any, int, dict[str, Any]]] = [
    ("queued", 0, SOURCE),
    ("processing", 1, {"attempts": 1}),
    ("processing", 2, {"attempts": 2}),
    (
        "failed",
        3,
        {
            "error_code": "attempts_exhausted",
            "error_detail": "5 attempts failed",
            "attempts": 5,
        },
    ),
    ("duplicate", 4, {"result_url": "s3://results/processed/old.png"}),
    (
        "success",
        5,
        {
            **SOURCE,
            "result_url": "s3://results/processed/new.png",
            "engine": "ncnn",
            "attempts": 6,
            "duration_seconds": 1.5,
        },
    ),
]


def event(
    upload_id: str,
    kind: Any,
    minute: int = 0,
    fields: dict[str, Any] | None = None,
    **changes: Any,
) -> LogEvent:
    told = {
        "event_id": identity.event_id(upload_id, kind, str(minute)),
        "upload_id": upload_id,
        "upload_time": NOW,
        "task_id": identity.task_id("u", upload_id, "s"),
        "kind": kind,
        "at": NOW + timedelta(minutes=minute),
        "fields": fields or {},
    }
    return LogEvent(**(told | changes))


AGAIN: list[tuple[Any, int, dict[str, Any]]] = [
    *LIFE[:4],
    ("queued", 10, {**SOURCE, "retries": 1}),
    ("processing", 11, {"attempts": 1, "retries": 1}),
    (
        "failed",
        12,
        {
            "error_code": "decode_error",
            "error_detail": "broken",
            "attempts": 2,
            "retries": 1,
        },
    ),
]
"""A photo that failed, was given a fresh start by a person, and failed again."""


def life(upload_id: str) -> list[LogEvent]:
    return [event(upload_id, kind, minute, fields) for kind, minute, fields in LIFE]


def select(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()
    finally:
        connection.close()


def row(audit_log: AuditLog, upload_id: str) -> dict[str, Any]:
    """The row of an upload without what differs between uploads."""
    (found,) = audit_log.page(Filter(task_id=identity.task_id("u", upload_id, "s")), 10)
    return found.model_dump(exclude=NOT_SHARED)
