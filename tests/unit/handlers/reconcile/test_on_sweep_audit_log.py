"""Ends that the audit log does not know are told again, as they were told at first."""

from __future__ import annotations

import pytest

from handlers.on_sweep import Memory
from shared.uploads.messages import LogEvent
from tests.support.reconcile_world import Town, TownAuditLog, photo


@pytest.fixture
def town() -> Town:
    return Town()


def test_an_end_missing_from_the_audit_log_is_sent_again(town: Town) -> None:
    """As it was told at first, event by event; and no more once the audit log knows it."""
    audit_log, memory = TownAuditLog(), Memory()
    data = photo(5)
    uploads = [
        town.upload("done.png", data),
        town.upload("failed.png"),
        town.upload("text.png", b"no photo"),
    ]
    # of a task that is under way: it will share the result
    shared = town.upload("same.png", data)
    waiting = town.upload("waiting.png")
    record = town.restore(uploads[0])
    town.fail(uploads[1])
    town.recorded()
    town.later()
    assert town.sweep(audit_log=audit_log, memory=memory).events_resent == 4
    told = town.recorded()
    ends = {event.upload_id: event.kind for event in told if event.kind != "queued"}
    assert ends == {
        uploads[0]: "success",
        uploads[1]: "failed",
        uploads[2]: "rejected",
        shared: "duplicate",
    }
    assert waiting not in {event.upload_id for event in told}
    assert (
        next(event for event in told if event.kind == "success").at
        == record.finished_at
    )
    audit_log.known |= ends.keys()
    assert town.sweep(audit_log=audit_log, memory=memory).events_resent == 0
    reads = len(town.store.reads)
    assert town.sweep(audit_log=audit_log, memory=memory).events_resent == 0
    assert len(town.store.reads) == reads


def test_nothing_is_sent_again_while_the_log_queue_is_full(town: Town) -> None:
    """What it lacks may be on its way; the last word is spoken when the queue is empty."""
    audit_log = TownAuditLog()
    town.restore(town.upload("a.png"))
    town.later()
    assert town.sweep(audit_log=audit_log).events_resent == 0
    town.recorded()
    assert town.sweep(audit_log=audit_log).events_resent == 1


def test_a_young_end_may_be_on_its_way_to_the_audit_log(town: Town) -> None:
    audit_log = TownAuditLog()
    upload = town.upload("a.png")
    town.later(3600)
    town.restore(upload)
    town.recorded()
    assert town.sweep(audit_log=audit_log).events_resent == 0


def test_an_audit_log_that_is_down_stops_no_photo(town: Town) -> None:
    """Lost messages are published all the same, and the ends are told when it is back,
    by whichever process.
    """
    audit_log = TownAuditLog()
    audit_log.down = True
    town.restore(town.upload("a.png"))
    town.upload("b.png")
    town.lose()
    town.recorded()
    town.later()
    report = town.sweep(audit_log=audit_log)
    assert (report.republished, report.events_resent) == (1, 0)
    audit_log.down = False
    town.later()
    assert town.sweep(audit_log=audit_log).events_resent == 1


def test_the_events_told_again_are_the_first_ones(town: Town) -> None:
    """Same ids, same content: for the audit log a repetition."""
    upload = town.upload("a.png")
    (first,) = town.recorded()
    town.restore(upload)
    town.later()
    town.sweep(audit_log=TownAuditLog())
    again, end = town.recorded()
    assert again == first
    assert isinstance(end, LogEvent)
    assert end.kind == "success"
