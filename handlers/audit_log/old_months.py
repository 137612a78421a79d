"""Months of the audit log that go to the archive: read out, and then taken out, in steps
of which each may be the last. Its statements are in `archive.sql`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from handlers.audit_log.connections import Connection, connect, transaction
from handlers.audit_log.database import STATEMENTS
from handlers.audit_log.statements import load
from shared.runtime.failpoints import passing
from shared.runtime.settings import AuditLogSettings

STATEMENT_S = 120
ROWS_AT_ONCE = 2_000
INDEXED_AT_ONCE = 5_000
EMPTIED_AT_ONCE = 2_000

_NAME = re.compile(r"restoration_log_(\d{4})_(\d{2})")
_SQL = load(Path(__file__).with_name("archive.sql"))


KINDS = {"log": "restoration_log", "events": "restoration_event"}
"""What is archived of a month, and the table that it comes from."""

Take = Callable[[str, Iterator[str]], None]
"""Takes the rows of one kind, each as JSON."""


@dataclass(frozen=True)
class Month:
    """A month (UTC) of the log, by its first day."""

    first: date

    @property
    def name(self) -> str:
        return f"{self.first:%Y-%m}"

    @property
    def ends(self) -> datetime:
        """The first moment of the next month."""
        year, month = divmod(self.first.year * 12 + self.first.month, 12)
        return datetime(year, month + 1, 1, tzinfo=UTC)

    @property
    def tables(self) -> dict[str, str]:
        """The name of its partition, for a statement."""
        return {"live": f"restoration_log_{self.first:%Y_%m}"}


@dataclass(frozen=True)
class State:
    """What a month's rows were like when they were read."""

    rows: int
    newest: datetime | None


class OldMonths:
    """For one thread. Every method raises `DatabaseUnavailable`."""

    def __init__(self, settings: AuditLogSettings) -> None:
        self._settings = settings

    def live(self) -> list[Month]:
        """Return the months that have a partition, the oldest first."""
        return [month for month, is_left in self._months() if not is_left]

    def left(self) -> list[Month]:
        """Return the months whose files are stored, and whose rows are not all gone."""
        return [month for month, is_left in self._months() if is_left]

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other process archives meanwhile, which this one keeps from it."""
        with closing(connect(self._settings)) as connection:
            connection.autocommit = True
            (is_alone,) = _rows(connection, _SQL["alone"], {})[0]
            yield is_alone

    def columns(self, table: str) -> dict[str, str]:
        """Return the columns of a table with their types as PostgreSQL names them."""
        with self._connected() as connection:
            rows = _rows(connection, _SQL["columns"], {"table": table})
        return dict(rows)

    def gather(self) -> None:
        """Give rows that came late a partition of their month again."""
        with self._connected() as connection:
            _rows(connection, STATEMENTS["take_turn"], {})
            _rows(connection, _SQL["gather"], {})

    def read(self, month: Month, take: Take) -> State:
        """Give `take` the rows of `log` and of `events`, as JSON, in one snapshot."""
        with transaction(self._settings, STATEMENT_S, snapshot=True) as connection:
            state = self._state(connection, month)
            for kind in KINDS:
                statement = _SQL[f"{kind}_of_month"].format(**month.tables)
                take(kind, _streamed(connection, statement, {}))
        return state

    def read_between(
        self, since: str, until: str, kinds: Sequence[str], take: Take
    ) -> None:
        """Give `take` the live rows of these kinds whose upload is of these months;
        "": no bound.
        """
        begins = f"{since}-01" if since else "-infinity"
        ends = "infinity"
        if until:
            ends = Month(date.fromisoformat(f"{until}-01")).ends.isoformat()
        values = {"since": begins, "until": ends}
        with transaction(self._settings, STATEMENT_S, snapshot=True) as connection:
            for kind in kinds:
                statement = _SQL[f"{kind}_between"]
                take(kind, _streamed(connection, statement, values))

    def index(self, rows: Sequence[dict[str, Any]]) -> None:
        """Remember uploads that are archived. May be repeated."""
        for first in range(0, len(rows), INDEXED_AT_ONCE):
            some = rows[first : first + INDEXED_AT_ONCE]
            with self._connected() as connection, connection.cursor() as cursor:
                cursor.execute(_SQL["index"], {"rows": json.dumps(some)})

    def detach(self, month: Month, read: State) -> bool:
        """Take a month out of the log, unless it changed since it was `read`."""
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute(STATEMENTS["take_turn"])
            if self._state(connection, month) != read:
                return False
            cursor.execute(_SQL["detach"].format(**month.tables))
        return True

    def empty(self, month: Month, beat: Callable[[], None]) -> None:
        """Delete the rows and events of a month that was taken out."""
        statement = _SQL["empty"].format(**month.tables)
        while True:
            beat()
            with self._connected() as connection, connection.cursor() as cursor:
                cursor.execute(STATEMENTS["take_turn"])
                cursor.execute(statement, {"most": EMPTIED_AT_ONCE})
                deleted = cursor.rowcount
            passing("archive.between_deletes")
            if not deleted:
                break
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute(_SQL["drop"].format(**month.tables))

    def _months(self) -> list[tuple[Month, bool]]:
        with self._connected() as connection:
            rows = _rows(connection, _SQL["months"].format(), {})
        found = []
        for name, is_left in rows:
            match = _NAME.fullmatch(name)
            assert match is not None
            month = Month(date(int(match[1]), int(match[2]), 1))
            found.append((month, is_left))
        return found

    def _state(self, connection: Connection, month: Month) -> State:
        (row,) = _rows(connection, _SQL["state"].format(**month.tables), {})
        return State(*row)

    def _connected(self) -> AbstractContextManager[Connection]:
        """A connection of its own, for one transaction."""
        return transaction(self._settings, STATEMENT_S)


def _rows(
    connection: Connection, statement: str, values: dict[str, Any]
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def _streamed(
    connection: Connection, statement: str, values: dict[str, Any]
) -> Iterator[str]:
    """Yield the only column of many rows."""
    with connection.cursor("rows") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(statement, values)
        for (text,) in cursor:
            yield text
