"""The earlier release's code on the present schema: while an upgrade rolls, and after a
roll-back, both write and read one audit log.

`tests/data/earlier_release.tar.xz` holds `shared` and `handlers/audit_log` of 0.2.0, by
`git archive 732057e shared handlers/__init__.py handlers/audit_log`. At a release it is
made anew, of the release before.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter
from infra.local.stack import Stack
from infra.migrate import migrations
from shared.runtime.settings import Settings
from tests.support.audit_log_events import SOURCE, event
from tests.support.databases import database

ARCHIVE = Path(__file__).parents[1] / "data" / "earlier_release.tar.xz"
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from uuid import UUID
import handlers.audit_log.database as module
assert Path(module.__file__).is_relative_to(sys.argv[1]), module.__file__
from handlers.audit_log.values import Filter
from shared.runtime.settings import Settings
from shared.uploads.messages import LogEvent

log = module.AuditLog(Settings(database_url=sys.argv[2]))
events = [LogEvent.decode(text.encode()) for text in json.loads(sys.argv[3])]
written = log.write(events)
rows = log.page(Filter(), 100)
log.counts(Filter())
log.ended([])
log.waiting("ab" * 32, 10)
shown = [log.task(row.task_id) for row in rows if row.task_id]
print(json.dumps([[row.upload_id, row.status] for row in rows], default=str))
log.close()
"""
ADDING = re.compile(
    r"(create (unique )?index|create table|create (or replace )?function|create aggregate|create type|create sequence"
    r"|create schema|comment on|alter table \S+ add column|insert into|create trigger|create (or replace )?view)\b",
    re.IGNORECASE,
)


@pytest.fixture
def url(servers: Stack) -> Iterator[str]:
    with database(servers.settings) as found:
        yield found


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the earlier release's code."""
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def run(earlier: Path, url: str, events: list[Any]) -> list[list[str]]:
    """Write these events and read everything, by the earlier release."""
    told = json.dumps([each.encode().decode() for each in events])
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(earlier), url, told],
        capture_output=True,
        text=True,
        check=False,
        cwd=earlier,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_both_releases_write_and_read_one_log(earlier: Path, url: str) -> None:
    """Each sees the other's rows; what only the later one knows stays."""
    by_later, by_earlier = str(uuid4()), str(uuid4())
    log = AuditLog(Settings(database_url=url))  # type: ignore[arg-type]
    log.write([event(by_later, "success", 1, {**SOURCE, "concurrency": 3})])
    rows = run(earlier, url, [event(by_earlier, "success", 2, SOURCE)])
    assert dict(map(tuple, rows)) == {by_later: "success", by_earlier: "success"}
    run(earlier, url, [event(by_later, "queued", 0, SOURCE)])
    found = {str(row.upload_id): row for row in log.page(Filter(), 10)}
    log.close()
    assert set(found) == {by_later, by_earlier}
    assert found[by_later].model_dump()["concurrency"] == 3


def test_migrations_after_that_release_only_add() -> None:
    """Nothing is dropped, renamed or made stricter: the earlier release's code would
    fail on it.
    """
    for migration in migrations()[5:]:
        text = re.sub(r"--[^\n]*", "", migration.sql)
        text = re.sub(r"'[^']*'", "''", text)
        text = re.sub(r"\$\$.*?\$\$", "$$", text, flags=re.DOTALL)
        for statement in filter(None, map(str.strip, text.split(";"))):
            plain = " ".join(statement.split())
            assert ADDING.match(plain), f"{migration.name}: {plain}"
