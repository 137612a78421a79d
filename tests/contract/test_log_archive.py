"""Months of the log that grow old, on a real database: wherever a run is cut off, no row
is lost and none is there twice, and an erasure reaches what is archived.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from handlers.audit_log import old_months
from handlers.audit_log.database import AuditLog
from handlers.audit_log.old_months import OldMonths
from handlers.audit_log.values import Ending, Filter
from handlers.context import Context
from handlers.log_archive import archiver
from handlers.log_archive.archiver import Archiver, ArchiveReport
from handlers.log_archive.manifest import manifest_of
from handlers.log_archive.query import Bounds, query
from shared.errors import Code, PermanentError, SettingsError
from shared.runtime.settings import Settings
from shared.s3.clock import StoreClock
from shared.uploads import identity, keys
from tests.support.audit_log_events import NOW, event, life, select
from tests.support.memory_publisher import MemoryPublisher
from tests.support.memory_store import MemoryStore

MONTH = f"{NOW:%Y-%m}"
EVERYTHING = "SELECT * FROM restoration_log ORDER BY upload_id"
ALL_EVENTS = "SELECT * FROM restoration_event ORDER BY event_id"


class Cut(Exception):
    """Stands for the end of the process."""


class Attic:
    """Two uploads of a month long past, and one of today."""

    def __init__(self, url: str) -> None:
        settings = Settings(database_url=url, pepper="p")
        self.url = url
        self.store = MemoryStore()
        self.ctx = Context(settings, self.store, MemoryPublisher(), StoreClock())
        self.audit_log = AuditLog(settings)
        self.months = OldMonths(settings)
        self.old = [str(uuid4()) for _ in range(2)]
        for upload in self.old:
            self.audit_log.write(life(upload))
        today = datetime.now(UTC)
        self.audit_log.write([event(str(uuid4()), "queued", upload_time=today)])

    def archive(self) -> ArchiveReport:
        return Archiver(self.ctx, self.months).run()

    def ask(self, sql: str, **bounds: Any) -> list[tuple[Any, ...]]:
        return query(self.ctx, self.months, sql, Bounds(**bounds)).rows

    def erase(self, upload: str) -> None:
        erased = event(upload, "failed", 9, {"error_code": "erased"})
        self.audit_log.write([erased])

    def files(self) -> list[str]:
        return [key for key in self.store.keys("archive") if key.endswith(".parquet")]


@pytest.fixture
def attic(url: str) -> Iterator[Attic]:
    found = Attic(url)
    yield found
    found.audit_log.close()
    select(url, "DELETE FROM darkroom.restoration_log RETURNING 1")
    select(url, "DELETE FROM darkroom.restoration_event RETURNING 1")
    select(url, "DELETE FROM darkroom.archived_upload RETURNING 1")


def test_the_same_question_has_the_same_answer_before_and_after(attic: Attic) -> None:
    before = attic.ask(EVERYTHING), attic.ask(ALL_EVENTS)
    report = attic.archive()
    assert (report.months, report.rows) == ([MONTH], 2)
    assert attic.audit_log.page(Filter(until=NOW + timedelta(days=1)), 10) == []
    assert select(attic.url, "SELECT count(*) FROM darkroom.restoration_event") == [
        (1,)
    ]
    assert (attic.ask(EVERYTHING), attic.ask(ALL_EVENTS)) == before
    assert attic.archive().months == []
    assert attic.ask("SELECT count(*) FROM restoration_log", until="2020-01") == [(0,)]


def test_what_must_be_found_without_the_archive_stays(attic: Attic) -> None:
    """By whom an upload is erased, and that its end is in the log."""
    attic.archive()
    upload = attic.old[0]
    assert attic.audit_log.archived(identity.task_id("u", upload, "s")) == [upload]
    restored = Ending(upload, NOW, "duplicate")
    erased = restored._replace(erased=True)
    assert attic.audit_log.ended([restored]) == {upload}
    assert attic.audit_log.ended([erased]) == set()


def test_an_erasure_reaches_the_archive(attic: Attic) -> None:
    attic.archive()
    before = attic.files()
    gone, kept = attic.old
    attic.erase(gone)
    assert attic.archive().months == [MONTH]
    rows = attic.ask(
        "SELECT upload_id::VARCHAR, image_filename, params, status, error_code, sha256 IS NULL FROM restoration_log "
        "WHERE image_filename IS NOT NULL OR error_code IS NOT NULL"
    )
    by_upload = {row[0]: row[1:] for row in rows}
    assert by_upload[gone] == (None, None, "failed", "erased", False)
    assert by_upload[kept][0] == "grandma.jpg"
    told = attic.ask(
        f"SELECT count(*) FROM restoration_event WHERE upload_id = '{gone}' AND (fields->>'image_filename') IS NOT NULL"
    )
    assert told == [(0,)]
    assert set(attic.files()).isdisjoint(before)
    assert attic.audit_log.ended([Ending(gone, NOW, erased=True)]) == {gone}


@pytest.mark.parametrize(
    ("point", "module"),
    [
        ("archive.after_files", archiver),
        ("archive.after_manifest", archiver),
        ("archive.after_detach", archiver),
        ("archive.between_deletes", old_months),
    ],
)
def test_a_run_that_is_cut_off_is_finished_by_the_next(
    attic: Attic, monkeypatch: pytest.MonkeyPatch, point: str, module: Any
) -> None:
    """An erasure that arrives between the two is not lost either."""
    before = attic.ask(EVERYTHING)

    def cut(name: str) -> None:
        if name == point:
            raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(module, "passing", cut)
        with pytest.raises(Cut):
            attic.archive()
    assert attic.ask(EVERYTHING) == before
    attic.erase(attic.old[0])
    attic.archive()
    (row,) = attic.ask("SELECT * FROM restoration_log WHERE error_code = 'erased'")
    assert "grandma.jpg" not in map(str, row)
    assert len(attic.ask(EVERYTHING)) == 3
    assert len(attic.ask(ALL_EVENTS)) == 14
    manifest = manifest_of(attic.ctx, MONTH)
    assert manifest is not None
    assert set(attic.files()) == {manifest.log.key, manifest.events.key}
    left = "SELECT count(*) FROM pg_tables WHERE schemaname = 'darkroom_left'"
    assert select(attic.url, left) == [(0,)]


def test_a_month_that_changes_meanwhile_waits_for_the_next_run(
    attic: Attic, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(name: str) -> None:
        if name == "archive.after_files":
            attic.erase(attic.old[0])

    monkeypatch.setattr(archiver, "passing", late)
    report = attic.archive()
    assert (report.months, report.changed) == ([], [MONTH])
    monkeypatch.undo()
    assert attic.archive().months == [MONTH]


def test_a_damaged_file_is_told_and_nothing_is_deleted(attic: Attic) -> None:
    attic.archive()
    (key,) = [key for key in attic.files() if "/log-" in key]
    attic.store.put("archive", key, b"PAR1", "application/octet-stream")
    attic.erase(attic.old[0])
    with pytest.raises(PermanentError) as caught:
        attic.archive()
    assert caught.value.code == Code.CHECKSUM_MISMATCH
    assert key in caught.value.detail
    assert key in attic.files()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM restoration_log",
        "SELECT 1; SELECT 2",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM 'https://example.org/x.parquet'",
        "ATTACH 'x.duckdb'",
        "SET enable_external_access = true",
        "SELECT * FROM nothing",
        "nonsense",
        "",
    ],
)
def test_a_question_can_only_read_the_log(attic: Attic, sql: str) -> None:
    with pytest.raises(SettingsError):
        attic.ask(sql)


def test_a_question_has_an_end(attic: Attic) -> None:
    endless = "SELECT count(*) FROM range(10_000_000_000) a, range(1000) b WHERE a.range % 7 = b.range"
    with pytest.raises(SettingsError, match="longer than"):
        attic.ask(endless, seconds=0.2)
    answer = query(attic.ctx, attic.months, "FROM range(10)", Bounds(rows=3))
    assert (len(answer.rows), answer.more) == (3, True)


def test_log_files_lie_by_month() -> None:
    assert keys.log_archive("2026-01", "x") == "log/2026-01/x"
