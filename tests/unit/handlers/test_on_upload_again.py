"""What comes again: repeated events, the same bytes, other versions of an object."""

from __future__ import annotations

from dataclasses import replace

import pytest

from handlers.http.api import cancel_and_erase
from handlers.on_upload import on_upload
from shared.errors import Code, NotFound
from shared.uploads import identity, keys
from shared.uploads.ref import upload_id_of
from tests.support.upload_world import World, photo


@pytest.fixture
def world() -> World:
    return World()


def test_an_event_that_comes_again_changes_nothing(world: World) -> None:
    """However often: same decision, same documents, no second message."""
    for key, data in (("a.png", photo()), ("b.jpg", b"text")):
        event = world.put(key, data)
        first = on_upload(event, world.ctx)
        before, sent = world.documents(), list(world.publisher.sent)
        world.clock.advance(5)
        assert on_upload(event, world.ctx) == replace(first, repeated=True)
        assert (world.documents(), world.publisher.sent) == (before, sent)


def test_an_event_that_comes_again_after_the_limits_changed(world: World) -> None:
    """A queued upload is not also rejected: one upload has one end."""
    event = world.put("a.png", photo())
    first = on_upload(event, world.ctx)
    strict = replace(
        world.ctx, settings=world.ctx.settings.model_copy(update={"max_pixels": 10})
    )
    assert on_upload(event, strict) == replace(first, repeated=True)
    assert world.store.keys("quarantine") == ()


def test_the_same_bytes_put_again_are_another_upload(world: World) -> None:
    """Same key, same bytes, later: decided anew, also where the first was rejected for
    its metadata.
    """
    first = world.upload("a.png", photo(), {"workflow": "nonesuch"})
    assert first.kind == "rejected"
    world.clock.advance(60)
    second = world.upload("a.png", photo(), {"workflow": "fast"})
    assert (second.kind, second.upload_id) == ("queued", first.upload_id)
    assert world.receipt(second).source.upload_time == world.clock.now()
    with pytest.raises(NotFound):
        world.reason(second)  # the end of the first upload is not the end of the second
    world.clock.advance(60)
    assert world.upload("a.png", photo(), {"workflow": "nonesuch"}).kind == "rejected"
    assert world.reason(second).error_code == Code.UNKNOWN_WORKFLOW
    assert [event.kind for event in world.log()] == [
        "rejected",
        "queued",
        "failed",
        "rejected",
    ]
    assert len({event.event_id for event in world.log()}) == 4


def test_what_was_restored_before_is_a_duplicate(world: World) -> None:
    """Same bytes, user and workflow under another key: nothing is computed, the log
    names the result there is.
    """
    first = world.upload("a.png", photo(), {"user": "ada"})
    world.restore(first)
    second = world.upload("b.png", photo(), {"user": "ada"})
    assert (second.kind, second.task_id) == ("duplicate", first.task_id)
    assert second.upload_id != first.upload_id
    assert world.receipt(second).decision == "duplicate"
    assert len(world.tasks()) == 1
    event = world.log()[-1]
    assert (event.kind, event.fields["result_url"]) == (
        "duplicate",
        f"s3://results/processed/{first.task_id}.png",
    )
    # another user never sees ada's result
    assert world.upload("c.png", photo(), {"user": "bob"}).kind == "queued"
    assert (
        world.upload("d.png", photo(), {"user": "ada", "params": '{"scale": 2}'}).kind
        == "queued"
    )


def test_the_same_bytes_put_again_after_their_result_are_a_duplicate(
    world: World,
) -> None:
    """At the same key, too: the later upload shares the result of the earlier."""
    world.restore(world.upload("a.png", photo()))
    world.clock.advance(60)
    assert world.upload("a.png", photo()).kind == "duplicate"
    assert len(world.tasks()) == 1


def test_two_uploads_of_the_same_task_before_its_result_are_both_queued(
    world: World,
) -> None:
    """Which of them is restored is decided by the workers, not here."""
    first, second = world.upload("a.png", photo()), world.upload("b.png", photo())
    assert [first.kind, second.kind] == ["queued", "queued"]
    assert first.task_id == second.task_id


def test_versions_are_uploads_of_their_own() -> None:
    """In a versioned bucket each version has its id, and an event is answered for the
    version it names.
    """
    world = World(versioned=("uploads",))
    old, new = world.put("a.png", photo(colour=1)), world.put("a.png", photo(colour=2))
    first, second = on_upload(old, world.ctx), on_upload(new, world.ctx)
    assert first.upload_id != second.upload_id
    assert first.upload_id == identity.upload_id("uploads", "a.png", old.version or "")
    assert world.receipt(first).source.version == old.version
    assert world.receipt(first).source.sha256 != world.receipt(second).source.sha256


@pytest.mark.parametrize("version", ["", "null"])
def test_the_version_null_is_none(world: World, version: str) -> None:
    """What a bucket without versions calls a version stays the same when the bytes
    change, so the ETag is the id.
    """
    info = world.store.put("uploads", "a.png", photo(), "image/png")
    assert upload_id_of(replace(info, version=version)) == upload_id_of(info)
    assert upload_id_of(info) == identity.upload_id("uploads", "a.png", info.etag)


def test_a_late_event_of_an_overwritten_object(world: World) -> None:
    """The object that is there is decided on; its own event finds that done."""
    old = world.put("a.png", photo(colour=1))
    new = world.put("a.png", photo(colour=2))
    late = on_upload(old, world.ctx)
    world.clock.advance(0.001)
    assert late.upload_id == upload_id_of(world.store.head("uploads", "a.png"))
    assert on_upload(new, world.ctx) == replace(late, repeated=True)


@pytest.mark.parametrize(
    ("metadata", "kind"), [({}, "duplicate"), ({"params": '{"scale": 2}'}, "failed")]
)
def test_a_waiting_upload_that_is_put_again_has_its_end_in_the_log(
    world: World, metadata: dict[str, str], kind: str
) -> None:
    """Its receipt is written over, so nobody could tell it later: no row waits for
    ever.
    """
    world.upload("a.png", photo())
    (queued,) = world.log()
    world.clock.advance(60)
    again = world.upload("a.png", photo(), metadata)
    _, end, later = world.log()
    assert (end.upload_id, end.upload_time, end.kind) == (
        queued.upload_id,
        queued.upload_time,
        kind,
    )
    assert (later.kind, later.upload_time) == (
        "queued",
        world.receipt(again).source.upload_time,
    )
    world.restore(again)
    world.clock.advance(60)
    assert world.upload("a.png", photo(), metadata).kind == "duplicate"
    # what had its end keeps it
    assert [event.kind for event in world.log()[3:]] == ["duplicate"]


def test_a_store_that_wrote_the_receipt_and_answered_with_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again it finds the key taken, by ourselves: the task is published now, not
    by the sweep.
    """
    put_new = world.store.put_new
    monkeypatch.setattr(world.store, "put_new", lambda *args: put_new(*args) and False)
    decision = world.upload("a.png", photo())
    assert (decision.kind, decision.repeated) == ("queued", False)
    assert [task.upload_id for task in world.tasks()] == [decision.upload_id]
    assert [event.kind for event in world.log()] == ["queued"]


def test_a_damaged_receipt_brings_no_cancelled_photo_back(world: World) -> None:
    """The receipt is made anew, the end stays as it was."""
    event = world.put("a.png", photo())
    first = on_upload(event, world.ctx)
    cancel_and_erase.cancel(world.ctx, first.task_id or "", [world.receipt(first)])
    world.store.put(
        "results", keys.receipt(first.upload_id or ""), b"{", "application/json"
    )
    world.clock.advance(60)
    assert on_upload(event, world.ctx) == replace(first, repeated=True)
    assert world.reason(first).error_code == Code.CANCELLED
    assert world.receipt(first).decision == "queued"
    assert len(world.tasks()) == 1
