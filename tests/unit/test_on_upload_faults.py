"""What is deleted, damaged, down or killed around an upload costs no decision that was written down."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from handlers.notifications import UploadEvent
from handlers.on_upload import on_upload
from shared import failpoints, keys
from shared.broker import topology
from shared.errors import Code, StorageUnavailable
from tests.unit.upload_world import World, photo


@pytest.fixture
def world() -> World:
    return World()


def test_a_damaged_record_proves_no_result(world: World) -> None:
    """The worker looks again, and repairs it."""
    first = world.upload("a.png", photo())
    world.store.put("results", keys.record(first.task_id or ""), b"{", "application/json")
    assert world.upload("b.png", photo()).kind == "queued"


def test_a_damaged_receipt_is_written_anew(world: World) -> None:
    """And the upload is decided on again."""
    event = world.put("a.png", photo())
    first = on_upload(event, world.ctx)
    world.store.put("results", keys.receipt(first.upload_id or ""), b"{", "application/json")
    assert on_upload(event, world.ctx) == first
    assert world.receipt(first).decision == "queued"


def test_a_deleted_upload_is_ignored_and_logged(world: World) -> None:
    """Deleted before it was looked at: no receipt, no task, and a row that says so; the same row however often."""
    event = world.put("a.png", photo())
    world.store.delete("uploads", "a.png")
    decision = on_upload(event, world.ctx)
    assert (decision.kind, decision.code) == ("ignored", Code.SOURCE_MISSING)
    assert world.store.keys("results") == world.store.keys("quarantine") == ()
    [row] = world.log()
    assert (row.kind, row.fields["error_code"], row.upload_id) == ("rejected", "source_missing", decision.upload_id)
    world.clock.advance(5)
    on_upload(event, world.ctx)
    assert len({row.event_id for row in world.log()}) == 1


def test_an_upload_deleted_after_its_decision_keeps_it(world: World) -> None:
    """A late repetition says nothing new about a photo that may long be restored."""
    event = world.put("a.png", photo())
    on_upload(event, world.ctx)
    world.store.delete("uploads", "a.png")
    assert on_upload(event, world.ctx).kind == "ignored"
    assert [row.kind for row in world.log()] == ["queued"]


def test_a_deleted_upload_of_which_nothing_is_known(world: World) -> None:
    """An event without version, ETag or time names no row."""
    assert on_upload(UploadEvent("uploads", "gone.png", "create"), world.ctx).kind == "ignored"
    assert not world.publisher.sent


def test_a_broker_that_is_down_costs_no_upload(world: World) -> None:
    """The receipt is there, from which the sweep publishes; the uploader's event is answered, and a line says it."""
    world.publisher.refused = {topology.BULK, topology.LOG}
    with capture_logs() as lines:
        decision = world.upload("a.png", photo())
    assert decision.kind == "queued"
    assert world.receipt(decision).decision == "queued"
    assert [line["event"] for line in lines] == ["upload.unpublished", "upload.queued"]


def test_a_store_that_is_down_decides_nothing(world: World) -> None:
    """The event must come again."""
    event = world.put("a.png", photo())
    world.store.unavailable = True
    with pytest.raises(StorageUnavailable):
        on_upload(event, world.ctx)
    assert not world.publisher.sent


@pytest.mark.parametrize(
    ("point", "receipts", "tasks", "events"),
    [("handler.before_receipt", 0, 0, 0), ("handler.before_publish", 1, 0, 0), ("handler.after_publish", 1, 1, 0)],
)
def test_a_crash_leaves_what_was_done_before_it(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str, receipts: int, tasks: int, events: int
) -> None:
    """Receipt, then task, then log event; and after the crash the event may come again."""

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(failpoints.os, "kill", kill)
    monkeypatch.setattr(failpoints, "_armed", {point: 1})
    event = world.put("a.png", photo())
    with pytest.raises(Killed):
        on_upload(event, world.ctx)
    assert (len(world.store.keys("results")), len(world.tasks()), len(world.log())) == (receipts, tasks, events)
    assert on_upload(event, world.ctx).kind == "queued"
    assert len(world.store.keys("results")) == 1
