"""A few connections to PostgreSQL, used by any number of threads.

A statement fails within seconds where the server is gone, slow or frozen. A connection
that broke while it was idle is replaced, and the work done once more.
"""

from __future__ import annotations

import queue
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import TypeVar

import psycopg2
from psycopg2 import extensions
from psycopg2.errors import ProgramLimitExceeded, QueryCanceled, StatementTooComplex

from shared.errors import DatabaseUnavailable
from shared.runtime.settings import AuditLogSettings

CONNECT_S = 3
STATEMENT_S = 8
ANSWER_S = 10
"""Longer than `STATEMENT_S`, the server's own limit: it ends the wait only when the
server itself is frozen.
"""
CONNECTIONS = 4
SLACK_S = ANSWER_S - STATEMENT_S
NO_LIMIT_S = 86_400.0

VALUE_ERRORS = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    ProgramLimitExceeded,
    StatementTooComplex,
    ValueError,
)
"""What a statement raises because of its values. Every other error is the database's."""
_LOST = (psycopg2.OperationalError, psycopg2.InterfaceError)
"""What the first use of a dead connection raises, and the second."""

Connection = extensions.connection
Cursor = extensions.cursor

T = TypeVar("T")


class ConnectionPool:
    """Thread-safe. Connects when it is first used."""

    def __init__(
        self, settings: AuditLogSettings, statement_s: int = STATEMENT_S
    ) -> None:
        self._settings = settings
        self._statement_s = statement_s
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue()
        self._slots = threading.Semaphore(CONNECTIONS)

    def run(self, work: Callable[[Cursor], T], autocommit: bool = False) -> T:
        """Do `work(cursor)` in one transaction.

        With `autocommit` each statement is a transaction by itself, which spares the
        waits for BEGIN and COMMIT. Raises `DatabaseUnavailable` and `VALUE_ERRORS`.
        """
        with self._slot():
            try:
                return self._run(work, autocommit)
            except VALUE_ERRORS:
                raise
            except psycopg2.Error as error:
                raise _unavailable(error) from error

    def close(self) -> None:
        """Close the idle connections."""
        while (connection := self._take_idle()) is not None:
            connection.close()

    def _run(self, work: Callable[[Cursor], T], autocommit: bool) -> T:
        connection = self._take_idle()
        if connection is not None:
            try:
                return self._transaction(connection, work, autocommit)
            except QueryCanceled:
                raise  # the server lives, and would be as slow again
            except _LOST:
                self.close()  # the other idle connections are lost, too
        connection = connect(self._settings, self._statement_s)
        return self._transaction(connection, work, autocommit)

    def _take_idle(self) -> Connection | None:
        with suppress(queue.Empty):
            return self._idle.get_nowait()
        return None

    def _transaction(
        self,
        connection: Connection,
        work: Callable[[Cursor], T],
        autocommit: bool,
    ) -> T:
        try:
            connection.autocommit = autocommit
            transaction = nullcontext() if autocommit else connection
            with transaction, connection.cursor() as cursor:
                result = work(cursor)
        except VALUE_ERRORS:
            self._idle.put(connection)  # rolled back, still good
            raise
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)
        return result

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=ANSWER_S):
            raise DatabaseUnavailable(f"{CONNECTIONS} statements are waiting already")
        try:
            yield
        finally:
            self._slots.release()


class _Connection(extensions.connection):
    """Knows how long it waits for an answer."""

    answer_s = float(ANSWER_S)


def connect(settings: AuditLogSettings, statement_s: int = STATEMENT_S) -> Connection:
    """A new connection. A statement may take `statement_s` seconds; 0 is no limit.

    Raises `DatabaseUnavailable` without a URL, and psycopg2's own errors.
    """
    url = settings.database_url.get_secret_value()
    if not url:
        raise DatabaseUnavailable("DARKROOM_DATABASE_URL is not set")
    # The callback holds for all of psycopg2, so it is set by its first user.
    extensions.set_wait_callback(_wait)
    connection = psycopg2.connect(
        url,
        connection_factory=_Connection,
        application_name="darkroom",
        connect_timeout=CONNECT_S,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=ANSWER_S * 1000,
        options=_options(statement_s),
    )
    connection.answer_s = statement_s + SLACK_S if statement_s else NO_LIMIT_S
    return connection


@contextmanager
def transaction(
    settings: AuditLogSettings, statement_s: int, *, snapshot: bool = False
) -> Iterator[Connection]:
    """A connection of its own for one transaction; a `snapshot` sees one moment, and
    writes nothing. Raises `DatabaseUnavailable`.
    """
    try:
        with closing(connect(settings, statement_s)) as connection:
            if snapshot:
                connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with connection:
                yield connection
    except psycopg2.Error as error:
        raise _unavailable(error) from error


def _unavailable(error: psycopg2.Error) -> DatabaseUnavailable:
    detail = f"{type(error).__name__}: {str(error).strip()[:200]}"
    return DatabaseUnavailable(detail)


def _options(statement_s: int) -> str:
    options = {
        "timezone": "UTC",
        "statement_timeout": f"{statement_s}s",
        # A writer that freezes in mid-transaction must not keep the others waiting.
        "idle_in_transaction_session_timeout": f"{ANSWER_S}s",
    }
    return " ".join(f"-c {name}={value}" for name, value in options.items())


def _wait(connection: Connection) -> None:
    """Wait for the server, but not without end: a frozen server keeps its sockets open
    and never answers.
    """
    is_connecting = connection.status == extensions.STATUS_SETUP
    answer_s = getattr(connection, "answer_s", ANSWER_S)
    limit_s = CONNECT_S if is_connecting else answer_s
    ends_s = time.monotonic() + limit_s
    while (state := connection.poll()) != extensions.POLL_OK:
        event = select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
        ready = select.poll()
        ready.register(connection.fileno(), event)
        left_s = max(0.0, ends_s - time.monotonic())
        if not ready.poll(left_s * 1000):
            raise psycopg2.OperationalError("the database did not answer in time")
