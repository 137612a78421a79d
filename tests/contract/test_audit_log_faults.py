"""A database that is missing, gone or frozen is an error that passes, and is used again
afterwards.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psutil
import pytest

from handlers.audit_log import connections
from handlers.audit_log.database import AuditLog
from shared.errors import DatabaseUnavailable
from shared.runtime.settings import Settings
from tests.support.audit_log_events import event, life, select


def test_without_a_database_the_call_says_so(url: str) -> None:
    """No address, a wrong one, or no tables yet: `database_unavailable`, to be tried
    again.
    """
    wrong = urlunsplit(urlsplit(url)._replace(path="/nowhere"))
    bare = urlunsplit(urlsplit(url)._replace(path="/postgres"))
    for address in ("", wrong, bare, "postgresql://nobody@127.0.0.1:1/x"):
        with pytest.raises(DatabaseUnavailable):
            AuditLog(Settings(database_url=address)).write(
                [event(str(uuid4()), "queued")]
            )


def test_a_connection_that_died_is_replaced(audit_log: AuditLog, url: str) -> None:
    """The server ended every connection: the same call connects again and writes."""
    upload = str(uuid4())
    audit_log.write(life(upload)[:1])
    select(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'darkroom'",
    )
    assert audit_log.write(life(upload)).added == 5


@contextmanager
def frozen(url: str) -> Iterator[None]:
    """Every process of the server is stopped, as by a hanging disk."""
    lasting = select(
        url, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
    )
    postmaster = psutil.Process(int(lasting[0][0])).parent()
    assert postmaster is not None
    server = [postmaster, *postmaster.children()]
    try:
        for process in server:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGSTOP)
        yield
    finally:
        for process in server:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)


def test_a_frozen_database_stops_nobody_for_long(
    audit_log: AuditLog, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that holds its sockets open and never answers is an error within the
    limit; thawed, it is used again.
    """
    upload = str(uuid4())
    audit_log.write(life(upload)[:1])
    monkeypatch.setattr(connections, "ANSWER_S", 0.5)
    monkeypatch.setattr(connections, "CONNECT_S", 0.5)
    with frozen(url), pytest.raises(DatabaseUnavailable):
        audit_log.write(life(upload))
    monkeypatch.undo()
    assert audit_log.write(life(upload)).added == 5
