"""The audit log: what happened to every upload. Its statements are in `queries.sql`.

Everything here may be repeated: an event is one row however often it is written, and the
row of an upload is computed from all its events. So after a lost connection the same
call is simply made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from handlers.audit_log.columns import (
    KEPT_COLUMNS,
    PERSONAL_COLUMNS,
    Event,
    Row,
    as_row,
    month_of,
    reject_reason,
    uuid_of,
)
from handlers.audit_log.connections import (
    STATEMENT_S,
    VALUE_ERRORS,
    ConnectionPool,
    Cursor,
)
from handlers.audit_log.statements import load
from handlers.audit_log.values import Ending, Filter, Pace, Written
from shared.errors import Code
from shared.runtime.failpoints import passing
from shared.runtime.settings import AuditLogSettings
from shared.runtime.telemetry import logger
from shared.uploads.messages import LogEvent, Status
from shared.uploads.ref import UploadRef

NIL = str(UUID(int=0))
MAX_EVENTS = 500
"""Most events shown of one task."""

_CONDITIONS = {
    "user_id": "user_id = %(user_id)s",
    "status": "status = %(status)s",
    "task_id": "task_id = %(task_id)s",
    "workflow": "workflow_type = %(workflow)s",
    "ingest": "ingest_id = %(ingest)s",
    "since": "upload_time >= %(since)s",
    "until": "upload_time < %(until)s",
    "after": "(upload_time, upload_id) < (%(after_time)s, %(after_id)s)",
}

_OTHER_COLUMNS = "/* each other column: the new value, else the old one */"
_PERSONAL_COLUMNS = "/* each personal column: NULL */"


class AuditLog:
    """Thread-safe; connects when it is first used. Every method raises
    `DatabaseUnavailable`, within seconds unless `statement_s` allows a statement more.
    """

    def __init__(
        self, settings: AuditLogSettings, statement_s: int = STATEMENT_S
    ) -> None:
        self._pool = ConnectionPool(settings, statement_s)
        self._months: set[tuple[int, int]] = set()
        """Months whose partition is known to be there."""

    def write(self, events: Sequence[LogEvent]) -> Written:
        """Store events and bring the rows of their uploads up to date. Returns after
        the commit.

        An event that the tables refuse goes to `darkroom.audit_reject`; the others are
        written all the same.
        """
        written = Written()
        valid = []
        for event in events:
            reason = reject_reason(event)
            if reason:
                written += self._reject(event, reason)
            else:
                valid.append(event)
        if valid:
            written += self._write(valid)
        self._forget_rejected(events)
        return written

    def page(self, where: Filter, limit: int) -> list[Row]:
        """Return uploads, the newest first."""
        after_id, after_time = where.after or (None, None)
        values = {"after_id": after_id, "after_time": after_time, "limit": limit}
        return [Row.model_validate(row) for row in self._where("page", where, values)]

    def task(self, task_id: UUID, limit: int = 100) -> tuple[list[Row], list[Event]]:
        """Return the uploads of a task, the restored one first, and their events in
        order.
        """
        values = {"task_id": str(task_id), "limit": limit}
        rows = self._read("rows_of_task", values)
        values = {"task_id": str(task_id), "limit": MAX_EVENTS, **_keys_of(rows)}
        events = self._read("events_of_uploads", values)
        return (
            [Row.model_validate(row) for row in rows],
            [Event.model_validate(event) for event in events],
        )

    def ended(self, ends: Sequence[Ending]) -> set[str]:
        """Return the ids of those uploads whose row has this end, or a later one."""
        if not ends:
            return set()
        columns = zip(*ends, strict=True)
        names_and_columns = zip(Ending._fields, columns, strict=True)
        values = {name: list(column) for name, column in names_and_columns}
        return {row["upload_id"] for row in self._read("ended", values)}

    def twins(self, erased: Sequence[Ending]) -> list[UploadRef]:
        """Return the uploads of the same tasks that were not in the log yet when these
        were erased.
        """
        values = {
            "upload_id": [end.upload_id for end in erased],
            "upload_time": [end.upload_time for end in erased],
        }
        rows = self._read("twins", values)
        return [UploadRef(str(row["upload_id"]), row["upload_time"]) for row in rows]

    def archived(self, task_id: UUID | str) -> list[str]:
        """Return the ids of the uploads of a task whose month is archived."""
        rows = self._read("archived", {"task_id": str(task_id)})
        return [str(row["upload_id"]) for row in rows]

    def uploads_of(self, task_id: UUID | str) -> list[str]:
        """Return the ids of all uploads of a task, those of archived months among them."""
        rows = self._read("uploads_of_task", {"task_id": str(task_id)})
        return [str(row["upload_id"]) for row in rows]

    def counts(self, where: Filter) -> list[dict[str, Any]]:
        """Count uploads by day, workflow_type, model_size, status and error_code."""
        return self._where("counts", where, {})

    def figures(
        self, name: str, where: Filter, values: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the rows of a statement of `statistics.sql`."""
        return self._where(name, where, values)

    def by_status(self, where: Filter) -> dict[Status, int]:
        """Count uploads by status."""
        rows = self._where("by_status", where, {})
        return {row["status"]: int(row["uploads"]) for row in rows}

    def now(self) -> datetime:
        """Return the time by the database's clock, as `updated_at` has it."""
        (row,) = self._read("now", {})
        moment: datetime = row["now"]
        return moment

    def underway(self, user_id: str, limit: int) -> list[Row]:
        """Return the uploads of one user that have no end yet, the newest first."""
        values = {"user_id": user_id, "limit": limit}
        return [Row.model_validate(row) for row in self._read("underway", values)]

    def changed(
        self,
        user_id: str,
        after: tuple[datetime, str],
        limit: int,
    ) -> list[Row]:
        """Return the uploads of one user whose row changed behind `after`, which is
        `updated_at` and `upload_id` of one, in that order.
        """
        moment, upload_id = after
        values = {
            "user_id": user_id,
            "moment": moment,
            "upload_id": upload_id or NIL,
            "limit": limit,
        }
        return [Row.model_validate(row) for row in self._read("changed", values)]

    def waiting(self, user_id: str, most: int) -> int:
        """Count the uploads of one user that have no end yet, up to `most`."""
        (row,) = self._read("waiting", {"user_id": user_id, "most": most})
        return int(row["uploads"])

    def queue(
        self,
        most: int,
        before: tuple[UUID, datetime] | None = None,
    ) -> tuple[int, int]:
        """Count the uploads that wait, of all users, and those in work, each up to
        `most`. `before`: only those that came earlier than this one.
        """
        upload_id, upload_time = before or (None, None)
        values = {
            "upload_id": str(upload_id) if upload_id else None,
            "upload_time": upload_time,
            "most": most,
        }
        (row,) = self._read("queue", values)
        return int(row["waiting"]), int(row["in_work"])

    def paces(self) -> dict[str, Pace]:
        """Return how long the last photos took, by workflow."""
        paces = {}
        for row in self._read("paces", {}):
            name = row.pop("workflow_type")
            paces[name] = Pace(**row)
        return paces

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def _write(self, events: list[LogEvent]) -> Written:
        """Write events that look valid. One that PostgreSQL refuses all the same is
        found by halving the batch.
        """
        try:
            added = self._pool.run(partial(self._add, events))
        except VALUE_ERRORS as error:
            if len(events) == 1:
                return self._reject(events[0], f"{type(error).__name__}: {error}")
            middle = len(events) // 2
            return self._write(events[:middle]) + self._write(events[middle:])
        self._months |= {month_of(event) for event in events}
        return Written(added, len(events) - added)

    def _add(self, events: list[LogEvent], cursor: Cursor) -> int:
        """Add events within one transaction; return how many were new."""
        cursor.execute(STATEMENTS["take_turn"])
        new_months = {month_of(event) for event in events} - self._months
        for year, month in new_months:
            first_day = datetime(year, month, 1, tzinfo=UTC)
            cursor.execute(STATEMENTS["ensure_month"], {"moment": first_day})
        body = json.dumps([as_row(event) for event in events])
        added = _fetch("add_events", {"events": body}, cursor)
        if added:
            keys = _keys_of(added)
            rows = _fetch("fold", keys, cursor)
            if any(row["error_code"] == Code.ERASED for row in rows):
                personal = {"personal": list(PERSONAL_COLUMNS)}
                cursor.execute(STATEMENTS["blank"], keys | personal)
        passing("recorder.before_commit")
        return len(added)

    def _reject(self, event: LogEvent, reason: str) -> Written:
        # JSON escapes everything that PostgreSQL may refuse, so that this statement
        # cannot fail by its values, too.
        body = json.dumps(event.model_dump(mode="json"))
        digest = hashlib.sha256(body.encode()).hexdigest()
        values = {
            "digest": digest,
            "body": body,
            "reason": reason.replace("\x00", "")[:1000],
            "upload_id": uuid_of(event),
        }
        self._execute("reject", values)
        logger().error("log.refused", digest=digest)
        return Written(rejected=1)

    def _forget_rejected(self, events: Sequence[LogEvent]) -> None:
        """Delete what was rejected of uploads that these events erase."""
        erasures = [
            event for event in events if event.fields.get("error_code") == Code.ERASED
        ]
        uploads = {uuid_of(event) for event in erasures} - {None}
        if uploads:
            self._execute("unreject", {"uploads": list(uploads)})

    def _where(
        self,
        name: str,
        where: Filter,
        values: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Read by a statement with the conditions that `where` sets."""
        given = asdict(where)
        conditions = [
            condition
            for field, condition in _CONDITIONS.items()
            if given[field] is not None
        ]
        return self._read(name, given | values, " AND ".join(conditions) or "true")

    def _read(
        self,
        name: str,
        values: dict[str, Any],
        conditions: str = "",
    ) -> list[dict[str, Any]]:
        read = partial(_fetch, name, values, conditions=conditions)
        return self._pool.run(read, autocommit=True)

    def _execute(self, name: str, values: dict[str, Any]) -> None:
        self._pool.run(lambda cursor: cursor.execute(STATEMENTS[name], values))


def _keys_of(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {
        "uploads": [row["upload_id"] for row in rows],
        "times": [row["upload_time"] for row in rows],
    }


def _fetch(
    name: str,
    values: dict[str, Any],
    cursor: Cursor,
    conditions: str = "",
) -> list[dict[str, Any]]:
    statement = STATEMENTS[name]
    if conditions:
        statement = statement.format(conditions=conditions)
    cursor.execute(statement, values)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _assignments() -> str:
    """Return what `fold` does with the columns that have no rule of their own."""
    assignments = (
        f"{column} = coalesce(excluded.{column}, log.{column}),"
        for column in KEPT_COLUMNS
    )
    return "\n    ".join(assignments)


STATEMENTS = load(Path(__file__).with_name("queries.sql"))
STATEMENTS |= load(Path(__file__).with_name("statistics.sql"))
STATEMENTS["fold"] = STATEMENTS["fold"].replace(_OTHER_COLUMNS, _assignments())
_BLANKED = " ".join(f"{column} = NULL," for column in PERSONAL_COLUMNS)
STATEMENTS["blank"] = STATEMENTS["blank"].replace(_PERSONAL_COLUMNS, _BLANKED)
