"""What is deleted, damaged, down or killed around an upload costs no decision that was
written down.
"""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from shared.broker import topology
from shared.errors import Code, StorageUnavailable, TransientError
from shared.runtime import failpoints
from shared.uploads import keys
from tests.support.upload_world import World, photo


@pytest.fixture
def world() -> World:
    return World()


def test_a_damaged_record_proves_no_result(world: World) -> None:
    """The worker looks again, and repairs it."""
    first = world.upload("a.png", photo())
    world.store.put(
        "results", keys.record(first.task_id or ""), b"{", "application/json"
    )
    assert world.upload("b.png", photo()).kind == "queued"


def test_a_damaged_receipt_is_written_anew(world: World) -> None:
    """And the upload is decided on again."""
    event = world.put("a.png", photo())
    first = on_upload(event, world.ctx)
    world.store.put(
        "results", keys.receipt(first.upload_id or ""), b"{", "application/json"
    )
    assert on_upload(event, world.ctx) == first
    assert world.receipt(first).decision == "queued"


def test_a_deleted_upload_is_ignored_and_logged(world: World) -> None:
    """Deleted before it was looked at: no receipt, no task, and a row that says so; the
    same row however often.
    """
    event = world.put("a.png", photo())
    world.store.delete("uploads", "a.png")
    decision = on_upload(event, world.ctx)
    assert (decision.kind, decision.code) == ("ignored", Code.SOURCE_MISSING)
    assert world.store.keys("results") == world.store.keys("quarantine") == ()
    [row] = world.log()
    assert (row.kind, row.fields["error_code"], row.upload_id) == (
        "rejected",
        "source_missing",
        decision.upload_id,
    )
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
    assert (
        on_upload(UploadEvent("uploads", "gone.png", "create"), world.ctx).kind
        == "ignored"
    )
    assert not world.publisher.sent


def test_a_broker_that_is_down_costs_no_upload(world: World) -> None:
    """The receipt is there, from which the sweep publishes; the uploader's event is
    answered, and a line says it.
    """
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
    [
        ("handler.before_receipt", 0, 0, 0),
        ("handler.before_publish", 1, 0, 0),
        ("handler.after_publish", 1, 1, 0),
    ],
)
def test_a_crash_leaves_what_was_done_before_it(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    receipts: int,
    tasks: int,
    events: int,
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
    assert (len(world.store.keys("results")), len(world.tasks()), len(world.log())) == (
        receipts,
        tasks,
        events,
    )
    assert on_upload(event, world.ctx).kind == "queued"
    assert len(world.store.keys("results")) == 1


POISON = "=?utf-7?q?+2AA-?="
"""Read by Python's codec of that name: half a surrogate pair, which no document can
hold.
"""


@pytest.mark.parametrize(
    "name", ["user", "filename", "params", "workflow", "priority", "callback"]
)
def test_a_value_that_is_no_text_has_an_end(world: World, name: str) -> None:
    """Decided once and for all: with its receipt, and a row of the log."""
    decision = world.upload("a.png", photo(), {name: POISON})
    receipt = world.receipt(decision)
    assert (decision.kind == "queued") == (name in ("user", "filename"))
    if receipt.decision == "rejected":
        assert receipt.fault is not None
        assert receipt.fault.error_code in (
            Code.BAD_METADATA,
            Code.UNKNOWN_WORKFLOW,
            Code.BAD_PARAMETER,
        )
    assert [row.kind for row in world.log()] == [decision.kind]


@pytest.mark.parametrize(
    "name", ["user", "filename", "params", "workflow", "priority", "callback"]
)
@pytest.mark.parametrize("value", ["x" * 3000, "=?punycode?q?" + "a" * 300_000 + "?="])
def test_a_value_longer_than_metadata_may_be_is_refused_unread(
    world: World, name: str, value: str
) -> None:
    decision = world.upload("a.png", photo(), {name: value})
    assert decision.kind == "rejected"
    assert decision.code == (
        Code.BAD_PARAMETER if name == "callback" else Code.BAD_METADATA
    )


def test_what_cannot_be_decided_on_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours that one photo meets costs that photo, with an end and a line of
    the log, and no photo twice.
    """
    bug = IndexError("IMG_private.jpg")
    monkeypatch.setattr(
        "handlers.intake.examine.probe", lambda *_: (_ for _ in ()).throw(bug)
    )
    event = world.put("private.png", photo())
    with capture_logs() as lines:
        decision = on_upload(event, world.ctx)
    assert (decision.kind, decision.code) == ("rejected", Code.INTERNAL)
    assert world.reason(decision).error_code == Code.INTERNAL
    assert [row.kind for row in world.log()] == ["rejected"]
    assert "upload.failed" in [line["event"] for line in lines]
    assert "private" not in str(lines)
    assert on_upload(event, world.ctx).repeated


def test_a_machine_in_trouble_refuses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file descriptor left, or no memory: the event comes again."""
    monkeypatch.setattr(
        "handlers.intake.examine.probe",
        lambda *_: (_ for _ in ()).throw(OSError(24, "too many files")),
    )
    with pytest.raises(TransientError):
        world.upload("a.png", photo())
    assert world.documents() == {}
