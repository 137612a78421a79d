"""The audit log lost is the audit log rebuilt: from the bucket alone, row for row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter, Written
from handlers.http.api import cancel_and_erase
from handlers.reconcile.rebuild_log import rebuild
from shared.errors import Code, DatabaseUnavailable
from shared.runtime.settings import Settings
from shared.uploads import events, keys
from shared.uploads.documents import Reason
from shared.uploads.messages import LogEvent
from tests.support.databases import database
from tests.support.reconcile_world import Town, photo


@pytest.fixture
def audit_log(servers: Any) -> Iterator[AuditLog]:
    with database(servers.settings) as url:
        book = AuditLog(Settings(database_url=url))
        yield book
        book.close()


def rows(audit_log: AuditLog) -> dict[str, dict[str, Any]]:
    return {
        str(row.upload_id): row.model_dump(exclude={"updated_at"})
        for row in audit_log.page(Filter(), 1000)
    }


@pytest.fixture
def town() -> Town:
    """Uploads with every end there is."""
    town, same = Town(), photo(3)
    done = town.upload("done.png", same, {"user": "ann", "workflow": "fast"})
    shared = town.upload("shared.png", same, {"user": "ann", "workflow": "fast"})
    town.later()
    failed = town.upload("failed.png")
    record = town.restore(done)
    town.fail(failed)
    town.upload("again.png", same, {"user": "ann"})
    town.upload("text.png", b"no photo")
    town.upload("waiting.png")
    town.told = [
        *town.recorded(),
        events.of_record(record, "results"),
        events.of_duplicate(town.receipt(shared), record.finished_at, "results"),
        events.of_reason(town.reason(failed)),
    ]
    return town


def test_every_row_comes_back(town: Town, audit_log: AuditLog) -> None:
    """Restored, shared, failed, rejected, duplicate, waiting: the rows are those that
    were written as it happened.
    """
    audit_log.write(town.told)
    live = rows(audit_log)
    again = rebuild(town.ctx, audit_log)
    assert (again.added, again.repeated, again.damaged) == (0, len(town.told), 0)
    assert rows(audit_log) == live
    assert {row["status"] for row in live.values()} == {
        "success",
        "duplicate",
        "failed",
        "rejected",
        "queued",
    }


def test_an_empty_audit_log_is_filled(
    town: Town, audit_log: AuditLog, servers: Any
) -> None:
    """The same rows as one that was there all the time; and a report of what only the
    database knew.
    """
    with database(servers.settings) as url:
        other = AuditLog(Settings(database_url=url))
        other.write(town.told)
        live = rows(other)
        other.close()
    report = rebuild(town.ctx, audit_log)
    assert rows(audit_log) == live
    assert (report.receipts, report.added, report.repeated) == (6, len(town.told), 0)
    assert (report.records_alone, report.reasons_alone) == (0, 0)
    assert any("processing" in thing for thing in report.only_the_database_knew)


def test_ends_without_a_receipt_are_told_too(town: Town, audit_log: AuditLog) -> None:
    """Somebody deleted receipts: records and reasons speak for themselves."""
    for key in town.store.keys("results"):
        if key.startswith("receipts/"):
            town.store.delete("results", key)
    report = rebuild(town.ctx, audit_log)
    assert (report.receipts, report.records_alone, report.reasons_alone) == (0, 1, 2)
    assert sorted(row["status"] for row in rows(audit_log).values()) == [
        "failed",
        "rejected",
        "success",
    ]


def test_a_damaged_document_costs_its_own_row_only(
    town: Town, audit_log: AuditLog
) -> None:
    receipt = next(
        key for key in town.store.keys("results") if key.startswith("receipts/")
    )
    town.store.put("results", receipt, b"{", "application/json")
    before = town.store.snapshot()
    report = rebuild(town.ctx, audit_log)
    assert (report.damaged, report.receipts) == (1, 5)
    assert town.store.snapshot() == before
    assert keys.SWEEP not in before


def test_without_a_database_the_rebuild_says_so(town: Town) -> None:
    with pytest.raises(DatabaseUnavailable):
        rebuild(town.ctx, AuditLog(Settings(database_url="")))


def test_an_erased_photo_does_not_come_back(town: Town, audit_log: AuditLog) -> None:
    """Not even where the erasure broke off, and the record is still there."""
    upload = next(event.upload_id for event in town.told if event.kind == "success")
    reason = Reason(
        upload_id=upload,
        task_id=town.receipt(upload).task_id,
        status="failed",
        error_code=Code.ERASED,
        error_detail="d",
        source=town.receipt(upload).source,
        at=town.clock.now(),
    )
    town.store.put(
        "quarantine", keys.reason(upload), reason.to_bytes(), "application/json"
    )
    rebuild(town.ctx, audit_log)
    found = rows(audit_log)[upload]
    assert (found["status"], found["error_code"], found["image_filename"]) == (
        "failed",
        "erased",
        None,
    )


def test_an_erasure_in_the_middle_of_a_rebuild_stays(
    town: Town, audit_log: AuditLog
) -> None:
    """The rebuild has read of the photo what the erasure then takes away, and tells it
    last.
    """
    upload = next(event.upload_id for event in town.told if event.kind == "success")

    class Late:
        def write(self, events: Sequence[LogEvent]) -> Written:
            if upload in {event.upload_id for event in events}:
                receipt = town.receipt(upload)
                cancel_and_erase.erase(town.ctx, receipt.task_id or "", [receipt])
                audit_log.write(town.recorded())
            return audit_log.write(events)

    rebuild(town.ctx, Late())
    found = rows(audit_log)[upload]
    assert (found["status"], found["error_code"], found["image_filename"]) == (
        "failed",
        "erased",
        None,
    )
    assert "done.png" not in str(audit_log.task(found["task_id"]))
