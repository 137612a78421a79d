"""A log database that may only be read, as after a failover: events wait, none is taken
for a bad one.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg2
import pytest

from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Written
from shared.errors import DatabaseUnavailable
from shared.runtime.settings import Settings
from tests.support.audit_log_events import life, select


def may_write(url: str, allowed: bool) -> None:
    """Of connections made from now on."""
    admin = psycopg2.connect(url, options="-c default_transaction_read_only=off")
    admin.autocommit = True
    name = admin.info.dbname
    admin.cursor().execute(
        f"ALTER DATABASE {name} SET default_transaction_read_only = {'off' if allowed else 'on'}"
    )
    admin.close()


@pytest.fixture
def read_only(url: str) -> Iterator[str]:
    may_write(url, False)
    yield url
    may_write(url, True)


def test_events_wait_for_a_database_that_may_be_written_to(read_only: str) -> None:
    audit_log, events = AuditLog(Settings(database_url=read_only)), life(str(uuid4()))
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            audit_log.write(events)
    assert select(read_only, "SELECT count(*) FROM darkroom.audit_reject") == [(0,)]
    audit_log.close()
    may_write(read_only, True)
    assert audit_log.write(events) == Written(added=len(events))
    audit_log.close()
