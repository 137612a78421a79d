"""The audit log. The only file that speaks PostgreSQL; its statements are in `queries.sql`.

Everything here may be repeated: a fact is one row however often it is told, and the row
of an upload is computed from all its facts. So a lost connection means: connect again,
say it again.
"""

from __future__ import annotations

import hashlib
import json
import queue
import re
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg2
from psycopg2 import extensions
from psycopg2.errors import ProgramLimitExceeded, QueryCanceled, StatementTooComplex

from handlers.audit_log.columns import Event, Row, as_row, fault_of, month_of, uuid_of
from shared.errors import Code, DatabaseUnavailable
from shared.runtime.failpoints import passing
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.uploads.messages import LogEvent, Status

CONNECT_S = 3
STATEMENT_S = 8
ANSWER_S = 10
"""Longer than the server's own limit: it ends the wait only when the server itself is
frozen.
"""
CONNECTIONS = 4
MAX_EVENTS = 500
"""Most events shown of one task."""

T = TypeVar("T")
UploadKey = tuple[str, datetime]
"""`upload_id` and `upload_time`: the key of a row."""


class Ending(NamedTuple):
    """An end that the bucket knows: of the row of `upload_id` and `upload_time`.

    `least`: what the row must say, or a higher rank. `retries`: fresh starts before it
    failed. `erased`: nothing else will do.
    """

    upload_id: str
    upload_time: datetime
    least: Status = "rejected"
    retries: int = 0
    erased: bool = False


_POISON = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    ProgramLimitExceeded,
    StatementTooComplex,
    ValueError,
)
"""What a statement raises because of its values; every other error is about the
database.
"""
_LOST = (psycopg2.OperationalError, psycopg2.InterfaceError)
"""What the first use of a dead connection raises, and the second."""

_CONDITIONS = {
    "user_id": "user_id = %(user_id)s",
    "status": "status = %(status)s",
    "task_id": "task_id = %(task_id)s",
    "workflow": "workflow_type = %(workflow)s",
    "since": "upload_time >= %(since)s",
    "until": "upload_time < %(until)s",
    "after": "(upload_time, upload_id) < (%(after_time)s, %(after_id)s)",
}


@dataclass(frozen=True)
class Written:
    """What became of the events of one call. `repeated` were known already."""

    added: int = 0
    repeated: int = 0
    rejected: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(
            self.added + other.added,
            self.repeated + other.repeated,
            self.rejected + other.rejected,
        )


@dataclass(frozen=True)
class Filter:
    """Which uploads a page shows; `after` is the key of the last upload of the page
    before.
    """

    user_id: str | None = None
    status: str | None = None
    task_id: str | None = None
    workflow: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: UploadKey | None = None


@dataclass
class AuditLog:
    """Thread-safe; connects when it is first used. Every method raises
    `DatabaseUnavailable` within seconds.
    """

    settings: Settings
    _idle: queue.LifoQueue[Any] = field(default_factory=queue.LifoQueue, init=False)
    _places: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(CONNECTIONS), init=False
    )
    _months: set[tuple[int, int]] = field(default_factory=set, init=False)

    def write(self, events: Sequence[LogEvent]) -> Written:
        """Store events and bring the rows of their uploads up to date. Returns after
        the commit.

        An event that the tables refuse is set aside in `darkroom.audit_reject` and
        holds nobody up.
        """
        written, fit = Written(), []
        for event in events:
            if fault := fault_of(event):
                written += self._reject(event, fault)
            else:
                fit.append(event)
        written += self._write(fit) if fit else Written()
        ids = {
            uuid_of(event)
            for event in events
            if event.fields.get("error_code") == Code.ERASED
        } - {None}
        if ids:
            self._run(
                lambda cursor: cursor.execute(
                    STATEMENTS["unreject"], {"uploads": list(ids)}
                )
            )
        return written

    def page(self, where: Filter, limit: int) -> list[Row]:
        """Uploads, newest first."""
        after_id, after_time = where.after or (None, None)
        values = {"after_id": after_id, "after_time": after_time, "limit": limit}
        return [Row.model_validate(row) for row in self._where("page", where, values)]

    def task(self, task_id: UUID, limit: int = 100) -> tuple[list[Row], list[Event]]:
        """The uploads of a task, the restored one first, and what happened to them, in
        order.
        """
        rows = self._read(
            STATEMENTS["rows_of_task"], {"task_id": str(task_id), "limit": limit}
        )
        pairs = {
            "uploads": [row["upload_id"] for row in rows],
            "times": [row["upload_time"] for row in rows],
        }
        asked = pairs | {"task_id": str(task_id), "limit": MAX_EVENTS}
        events = self._read(STATEMENTS["events_of_uploads"], asked)
        return [Row.model_validate(row) for row in rows], [
            Event.model_validate(event) for event in events
        ]

    def ended(self, ends: Sequence[Ending]) -> set[str]:
        """Ids of those uploads whose row says that they ended so. An end that was told
        before another is no answer.
        """
        columns = zip(*ends, strict=True) if ends else repeat([], len(Ending._fields))
        values = {
            name: list(column)
            for name, column in zip(Ending._fields, columns, strict=True)
        }
        return {row["upload_id"] for row in self._read(STATEMENTS["ended"], values)}

    def twins(self, erased: Sequence[Ending]) -> list[UploadKey]:
        """Uploads of the same tasks that the log did not know of when these were
        erased.
        """
        values = {
            "upload_id": [end.upload_id for end in erased],
            "upload_time": [end.upload_time for end in erased],
        }
        return [
            (str(row["upload_id"]), row["upload_time"])
            for row in self._read(STATEMENTS["twins"], values)
        ]

    def counts(self, where: Filter) -> list[dict[str, Any]]:
        """Number of uploads by day, workflow_type, model_size, status and error_code."""
        return self._where("counts", where, {})

    def waiting(self, user_id: str, most: int) -> int:
        """Uploads of one user that have no end yet, counted up to `most`."""
        return int(
            self._read(STATEMENTS["waiting"], {"user_id": user_id, "most": most})[0][
                "uploads"
            ]
        )

    def close(self) -> None:
        """Close the idle connections."""
        while (connection := self._take_idle()) is not None:
            connection.close()

    def _write(self, events: list[LogEvent]) -> Written:
        try:
            added = self._run(partial(self._add, events))
        except _POISON as error:
            if len(events) == 1:
                return self._reject(events[0], f"{type(error).__name__}: {error}")
            middle = len(events) // 2
            return self._write(events[:middle]) + self._write(events[middle:])
        self._months |= set(map(month_of, events))
        return Written(added, len(events) - added)

    def _add(self, events: list[LogEvent], cursor: Any) -> int:
        cursor.execute(STATEMENTS["take_turn"])
        for year, month in set(map(month_of, events)) - self._months:
            cursor.execute(
                STATEMENTS["ensure_month"],
                {"moment": datetime(year, month, 1, tzinfo=UTC)},
            )
        rows = json.dumps([as_row(event) for event in events])
        if added := _fetch(STATEMENTS["add_events"], {"events": rows}, cursor):
            uploads = {
                "uploads": [row["upload_id"] for row in added],
                "times": [row["upload_time"] for row in added],
            }
            if any(
                row["error_code"] == Code.ERASED
                for row in _fetch(STATEMENTS["fold"], uploads, cursor)
            ):
                cursor.execute(STATEMENTS["blank"], uploads)
        passing("recorder.before_commit")
        return len(added)

    def _reject(self, event: LogEvent, fault: str) -> Written:
        # Escapes everything that PostgreSQL may refuse, so that this statement cannot
        # be poisoned, too.
        body = json.dumps(event.model_dump(mode="json"))
        digest = hashlib.sha256(body.encode()).hexdigest()
        reason = fault.replace("\x00", "")[:1000]
        values = {
            "digest": digest,
            "body": body,
            "reason": reason,
            "upload_id": uuid_of(event),
        }
        self._run(lambda cursor: cursor.execute(STATEMENTS["reject"], values))
        logger().error("log.refused", digest=digest)
        return Written(rejected=1)

    def _where(
        self, name: str, where: Filter, values: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """A statement with the conditions that `where` sets."""
        wanted = [
            text
            for name, text in _CONDITIONS.items()
            if getattr(where, name) is not None
        ]
        statement = STATEMENTS[name].format(conditions=" AND ".join(wanted) or "true")
        return self._read(statement, asdict(where) | values)

    def _read(self, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        # One statement is a transaction by itself: BEGIN and COMMIT would be two more
        # waits.
        return self._run(partial(_fetch, statement, values), autocommit=True)

    def _run(self, work: Callable[[Any], T], autocommit: bool = False) -> T:
        """Do `work(cursor)` in one transaction. A connection that lay idle may be dead:
        then once more on a new one.
        """
        with self._place():
            try:
                if (connection := self._take_idle()) is not None:
                    try:
                        return self._transaction(connection, work, autocommit)
                    except QueryCanceled:
                        raise  # the server lives, and would be as slow again
                    except _LOST:
                        self.close()  # the others died with it
                return self._transaction(_connect(self.settings), work, autocommit)
            except _POISON:
                raise
            except psycopg2.Error as error:
                raise DatabaseUnavailable(
                    f"{type(error).__name__}: {str(error).strip()[:200]}"
                ) from error

    def _take_idle(self) -> Any:
        with suppress(queue.Empty):
            return self._idle.get_nowait()
        return None

    def _transaction(
        self, connection: Any, work: Callable[[Any], T], autocommit: bool
    ) -> T:
        try:
            connection.autocommit = autocommit
            with (
                nullcontext() if autocommit else connection,
                connection.cursor() as cursor,
            ):
                result = work(cursor)
        except _POISON:
            self._idle.put(connection)  # rolled back, still good
            raise
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)
        return result

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=ANSWER_S):
            raise DatabaseUnavailable(f"{CONNECTIONS} statements are waiting already")
        try:
            yield
        finally:
            self._places.release()


def _connect(settings: Settings) -> Any:
    if not (url := settings.database_url.get_secret_value()):
        raise DatabaseUnavailable("DARKROOM_DATABASE_URL is not set")
    return psycopg2.connect(
        url,
        application_name="darkroom",
        connect_timeout=CONNECT_S,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=ANSWER_S * 1000,
        # A writer that freezes in mid-transaction must not keep the others waiting for
        # its turn to end.
        options=f"-c timezone=UTC -c statement_timeout={STATEMENT_S}s"
        f" -c idle_in_transaction_session_timeout={ANSWER_S}s",
    )


def _wait(connection: Any) -> None:
    """psycopg2's wait for the server, with an end: a frozen server keeps its sockets
    open and never answers.
    """
    ends = time.monotonic() + (
        CONNECT_S if connection.status == extensions.STATUS_SETUP else ANSWER_S
    )
    while (state := connection.poll()) != extensions.POLL_OK:
        waiting = select.poll()
        waiting.register(
            connection.fileno(),
            select.POLLIN if state == extensions.POLL_READ else select.POLLOUT,
        )
        if not waiting.poll(max(0.0, ends - time.monotonic()) * 1000):
            raise psycopg2.OperationalError("the database did not answer in time")


def _fetch(statement: str, values: dict[str, Any], cursor: Any) -> list[dict[str, Any]]:
    cursor.execute(statement, values)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _load(path: Path) -> dict[str, str]:
    parts = re.split(r"^-- name: (\w+)$", path.read_text(), flags=re.MULTILINE)
    bodies = (
        re.sub(r"^--.*\n", "", part, flags=re.MULTILINE).strip() for part in parts[2::2]
    )
    return dict(zip(parts[1::2], bodies, strict=True))


STATEMENTS = _load(Path(__file__).with_name("queries.sql"))
extensions.set_wait_callback(_wait)
