"""One event in, one decision out; what was decided is written down before anybody is told."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from PIL import Image
from structlog.testing import capture_logs

from handlers.context import Context
from handlers.notifications import UploadEvent
from handlers.on_upload import Decision, on_upload, upload_id
from shared import failpoints, identity, keys, workflows
from shared.broker import topology
from shared.documents import Reason, Receipt, Record
from shared.errors import Code, NotFound, StorageUnavailable
from shared.messages import LogEvent, RestoreTask
from shared.settings import Settings
from tests.fakes import FakeClock, MemoryPublisher, MemoryStore

PEPPER = b"pepper"
ANONYMOUS = identity.user_hash("anonymous", PEPPER)


def photo(kind: str = "PNG", colour: int = 90, size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (colour, 80, 70)).save(out, kind)
    return out.getvalue()


@dataclass
class World:
    """A handler with its surroundings in memory."""

    clock: FakeClock = field(default_factory=FakeClock)
    versioned: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock, versioned=self.versioned)
        self.publisher = MemoryPublisher()
        settings = Settings(pepper="pepper", default_workflow="fast", **self.settings)
        self.ctx = Context(settings, self.store, self.publisher, self.clock)

    def put(self, key: str, data: bytes, metadata: dict[str, str] | None = None) -> UploadEvent:
        info = self.store.put("uploads", key, data, "image/png", metadata)
        return UploadEvent("uploads", key, "create", info.version, info.etag, len(data), None, info.last_modified)

    def upload(self, key: str, data: bytes, metadata: dict[str, str] | None = None) -> Decision:
        return on_upload(self.put(key, data, metadata), self.ctx)

    def receipt(self, decision: Decision) -> Receipt:
        assert decision.upload_id
        key = keys.receipt(decision.upload_id)
        return Receipt.from_bytes(self.store.read("results", key), key)

    def reason(self, decision: Decision) -> Reason:
        assert decision.upload_id
        key = keys.reason(decision.upload_id)
        return Reason.from_bytes(self.store.read("quarantine", key), key)

    def documents(self) -> dict[str, bytes]:
        """All JSON that the handler wrote."""
        found = {f"{b}/{k}": self.store.read(b, k) for b in ("results", "quarantine") for k in self.store.keys(b)}
        return {name: data for name, data in found.items() if name.endswith(".json")}

    def tasks(self, queue: str = topology.BULK) -> list[RestoreTask]:
        return [RestoreTask.decode(body) for body in self.publisher.bodies(queue)]

    def log(self) -> list[LogEvent]:
        return [LogEvent.decode(body) for body in self.publisher.bodies(topology.LOG)]

    def restore(self, decision: Decision) -> None:
        """What the worker would leave behind."""
        receipt, at = self.receipt(decision), self.clock.now()
        assert receipt.task_id
        assert receipt.workflow
        record = Record(
            task_id=receipt.task_id, upload_id=receipt.upload_id, user_hash=receipt.user_hash, source=receipt.source,
            workflow=receipt.workflow, models=[], engine="e", device="d", tile={}, steps=[], width=1, height=1,
            result_key="k", result_sha256="s", result_bytes=1, attempts=1, queued_at=at, started_at=at, finished_at=at,
            duration_seconds=1, queue_seconds=1, peak_memory_bytes=1, software="0",
        )  # fmt: skip
        self.store.put("results", keys.record(receipt.task_id), record.to_bytes(), "application/json")


@pytest.fixture
def world() -> World:
    return World()


def test_a_photo_is_queued(world: World) -> None:
    """The receipt says all that was seen and decided; the message names it; the log event tells the diary."""
    data = photo()
    decision = world.upload("in/a.png", data)
    receipt = world.receipt(decision)
    info = world.store.head("uploads", "in/a.png")
    resolved = workflows.resolve("fast").ref
    assert decision == Decision("queued", upload_id(info), receipt.task_id)
    assert receipt.decision == "queued"
    assert receipt.user_hash == ANONYMOUS
    assert receipt.workflow == resolved
    assert receipt.decided_at == world.clock.now()
    source = receipt.source
    assert (source.bucket, source.key, source.version, source.etag) == ("uploads", "in/a.png", None, info.etag)
    assert (source.bytes, source.width, source.height, source.mode, source.format) == (len(data), 40, 30, "RGB", "PNG")
    assert source.upload_time == info.last_modified
    assert receipt.task_id == identity.task_id(ANONYMOUS, source.sha256 or "", resolved.signature)
    assert world.tasks() == [
        RestoreTask(task_id=receipt.task_id, upload_id=receipt.upload_id, priority="bulk", queued_at=world.clock.now())
    ]
    [event] = world.log()
    assert (event.kind, event.upload_id, event.task_id) == ("queued", receipt.upload_id, receipt.task_id)
    assert event.upload_time == info.last_modified
    assert event.fields["workflow_type"] == "fast"
    assert event.fields["image_filename"] == "a.png"
    assert event.fields["bytes"] == len(data)


def test_the_original_is_never_touched(world: World) -> None:
    """Not when it is accepted, and not when it is refused."""
    for key, data in (("a.png", photo()), ("b.jpg", b"text")):
        event = world.put(key, data, {"user": "u"})
        before = world.store.head("uploads", key)
        on_upload(event, world.ctx)
        world.clock.advance(60)
        assert world.store.read("uploads", key) == data
        assert replace(world.store.head("uploads", key), served_at=None) == replace(before, served_at=None)


@pytest.mark.parametrize(
    "key",
    ["with blank.png", "a+b.png", "100%.png", "%2F.png", "#?&=.png", "中文.png", "🖼️.png", "a//b.png", "no-ending",
     "x/" * 510 + "é", ".hidden", "quote'\".png", "tab\t.png", "reason.json"],
)  # fmt: skip
def test_every_key_works(world: World, key: str) -> None:
    """Whatever the store takes as a key is only a name, and what is made of it has plain characters."""
    assert world.upload(key, photo()).kind == "queued"
    rejected = world.upload(f"{key}2", b"text")
    assert rejected.kind == "rejected"
    assert world.reason(rejected).source.key == f"{key}2"
    for bucket in ("results", "quarantine"):
        assert all(name.isascii() and name.isprintable() and " " not in name for name in world.store.keys(bucket))
    assert all(len(sent.body) <= 2048 for sent in world.publisher.sent)


@pytest.mark.parametrize(
    ("key", "metadata", "expected"),
    [
        ("a.png", {}, ("fast", "bulk", "anonymous", 4)),
        ("incoming/anime/a.png", {}, ("anime", "bulk", "anonymous", 4)),
        ("incoming/a.png", {}, ("fast", "bulk", "anonymous", 4)),
        ("x/incoming/anime/a.png", {}, ("fast", "bulk", "anonymous", 4)),
        ("a.png", {"workflow": "enhance", "priority": "interactive", "user": "ada", "params": '{"scale": 2}'},
         ("enhance", "interactive", "ada", 2)),
        ("incoming/anime/a.png", {"workflow": "fast", "params": ""}, ("fast", "bulk", "anonymous", 4)),
        ("a.png", {"Workflow": "anime", "PRIORITY": "bulk"}, ("anime", "bulk", "anonymous", 4)),
        ("a.png", {"params": "%7B%22scale%22%3A%203%7D", "user": "J%C3%BCrg"}, ("fast", "bulk", "Jürg", 3)),
        ("a.png", {"user": "=?UTF-8?B?SsO8cmc=?="}, ("fast", "bulk", "Jürg", 4)),
        ("a.png", {"user": "=?UTF-8?Q?J=C3=BCrg?="}, ("fast", "bulk", "Jürg", 4)),
        ("a.png", {"user": "J\u00c3\u00bcrg"}, ("fast", "bulk", "Jürg", 4)),
        ("a.png", {"user": "中"}, ("fast", "bulk", "中", 4)),
        ("a.png", {"user": "=?broken"}, ("fast", "bulk", "=?broken", 4)),
    ],
)  # fmt: skip
def test_what_is_asked_for(world: World, key: str, metadata: dict[str, str], expected: tuple[Any, ...]) -> None:
    """Metadata before the key before the defaults; values come as plain, percent-escaped, RFC 2047 or bare UTF-8."""
    receipt = world.receipt(world.upload(key, photo(), metadata))
    assert receipt.workflow
    scale = receipt.workflow.params["scale"]
    user = identity.user_hash(expected[2], PEPPER)
    assert (receipt.workflow.name, receipt.priority, receipt.user_hash, scale) == (*expected[:2], user, expected[3])
    assert len(world.tasks(topology.restore_queue(receipt.priority))) == 1


def test_a_presigned_upload_belongs_to_the_user_in_its_key(world: World) -> None:
    """`users/{user_hash}/…` holds the pseudonym itself; `user` in the metadata overrides it."""
    owner = identity.user_hash("ada", PEPPER)
    assert world.receipt(world.upload(f"users/{owner}/a.png", photo())).user_hash == owner
    assert world.receipt(world.upload("users/ada/a.png", photo())).user_hash == ANONYMOUS
    bob = identity.user_hash("bob", PEPPER)
    assert world.receipt(world.upload(f"users/{owner}/b.png", photo(), {"user": "bob"})).user_hash == bob


def test_the_user_is_stored_only_as_a_pseudonym(world: World) -> None:
    """No document or message holds the user's own name; log lines hold no user, no key and no file name at all."""
    with capture_logs() as lines:
        world.upload("secretive/photo-of-me.png", photo(), {"user": "ada.lovelace"})
        world.upload("secretive/photo-of-me.jpg", b"text", {"user": "ada.lovelace"})
    assert b"ada.lovelace" not in b"".join([*world.documents().values(), *(sent.body for sent in world.publisher.sent)])
    printed = json.dumps(lines, default=str)
    for secret in ("ada", "secretive", "photo-of-me", identity.user_hash("ada.lovelace", PEPPER)):
        assert secret not in printed


REJECTED = {
    "empty": (b"", {}, Code.EMPTY_FILE),
    "text": (b"hello", {}, Code.UNSUPPORTED_FORMAT),
    "cut off": (photo("JPEG")[:-40], {}, Code.TRUNCATED),
    "too many pixels": (photo(size=(400, 300)), {}, Code.TOO_MANY_PIXELS),
    "too many pixels out": (photo(size=(200, 150)), {"params": '{"scale": 4}'}, Code.TOO_MANY_PIXELS),
    "unknown workflow": (photo(), {"workflow": "nonesuch"}, Code.UNKNOWN_WORKFLOW),
    "parameter out of range": (photo(), {"params": '{"scale": 99}'}, Code.BAD_PARAMETER),
    "unknown parameter": (photo(), {"params": '{"colour_of_the_sky": 1}'}, Code.BAD_PARAMETER),
    "params no JSON": (photo(), {"params": "{scale: 2}"}, Code.BAD_METADATA),
    "params no object": (photo(), {"params": "[1]"}, Code.BAD_METADATA),
    "params not a number": (photo(), {"params": '{"scale": NaN}'}, Code.BAD_METADATA),
    "params too long": (photo(), {"params": '{"x": "' + "y" * 3000 + '"}'}, Code.BAD_METADATA),
    "priority": (photo(), {"priority": "now!"}, Code.BAD_METADATA),
}


@pytest.mark.parametrize("name", REJECTED)
def test_bad_input_is_rejected(name: str) -> None:
    """It ends in quarantine with a copy, a code and a sentence; receipt and log say the same; nobody works on it."""
    data, metadata, code = REJECTED[name]
    world = World(settings={"max_pixels": 100_000, "max_output_pixels": 400_000})
    decision = world.upload("in/a b.jpg", data, metadata)
    assert (decision.kind, decision.code, decision.task_id) == ("rejected", code, None)
    reason, receipt = world.reason(decision), world.receipt(decision)
    assert (reason.status, reason.error_code, reason.source.key) == ("rejected", code, "in/a b.jpg")
    assert len(reason.error_detail) > 20
    assert receipt.fault
    assert (receipt.decision, receipt.fault.error_code) == ("rejected", code)
    assert world.store.read("quarantine", f"{decision.upload_id}/a_b.jpg") == data
    assert not world.tasks()
    [event] = world.log()
    assert (event.kind, event.fields["error_code"]) == ("rejected", code)
    assert event.fields["error_detail"]


def test_what_is_too_large_is_not_copied() -> None:
    """Nor read: the store tells the size."""
    world = World(settings={"max_upload_bytes": 1000})
    decision = world.upload("big.jpg", bytes(1001))
    assert (decision.kind, decision.code) == ("rejected", Code.TOO_LARGE)
    assert world.store.keys("quarantine") == (keys.reason(decision.upload_id or ""),)
    assert "1,001" in world.reason(decision).error_detail


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
    strict = replace(world.ctx, settings=world.ctx.settings.model_copy(update={"max_pixels": 10}))
    assert on_upload(event, strict) == replace(first, repeated=True)
    assert world.store.keys("quarantine") == ()


def test_the_same_bytes_put_again_are_another_upload(world: World) -> None:
    """Same key, same bytes, later: decided anew, also where the first was rejected for its metadata."""
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
    assert len({event.event_id for event in world.log()}) == 3


def test_what_was_restored_before_is_a_duplicate(world: World) -> None:
    """Same bytes, user and workflow under another key: nothing is computed, the log names the result there is."""
    first = world.upload("a.png", photo(), {"user": "ada"})
    world.restore(first)
    second = world.upload("b.png", photo(), {"user": "ada"})
    assert (second.kind, second.task_id) == ("duplicate", first.task_id)
    assert second.upload_id != first.upload_id
    assert world.receipt(second).decision == "duplicate"
    assert len(world.tasks()) == 1
    event = world.log()[-1]
    assert (event.kind, event.fields["result_url"]) == ("duplicate", f"s3://results/processed/{first.task_id}.png")
    assert world.upload("c.png", photo(), {"user": "bob"}).kind == "queued"  # another user never sees ada's result
    assert world.upload("d.png", photo(), {"user": "ada", "params": '{"scale": 2}'}).kind == "queued"


def test_the_same_bytes_put_again_after_their_result_are_a_duplicate(world: World) -> None:
    """At the same key, too: the later upload shares the result of the earlier."""
    world.restore(world.upload("a.png", photo()))
    world.clock.advance(60)
    assert world.upload("a.png", photo()).kind == "duplicate"
    assert len(world.tasks()) == 1


def test_two_uploads_of_the_same_task_before_its_result_are_both_queued(world: World) -> None:
    """Which of them is restored is decided by the workers, not here."""
    first, second = world.upload("a.png", photo()), world.upload("b.png", photo())
    assert [first.kind, second.kind] == ["queued", "queued"]
    assert first.task_id == second.task_id


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


def test_versions_are_uploads_of_their_own() -> None:
    """In a versioned bucket each version has its id, and an event is answered for the version it names."""
    world = World(versioned=("uploads",))
    old, new = world.put("a.png", photo(colour=1)), world.put("a.png", photo(colour=2))
    first, second = on_upload(old, world.ctx), on_upload(new, world.ctx)
    assert first.upload_id != second.upload_id
    assert first.upload_id == identity.upload_id("uploads", "a.png", old.version or "")
    assert world.receipt(first).source.version == old.version
    assert world.receipt(first).source.sha256 != world.receipt(second).source.sha256


@pytest.mark.parametrize("version", ["", "null"])
def test_the_version_null_is_none(world: World, version: str) -> None:
    """What a bucket without versions calls a version stays the same when the bytes change, so the ETag is the id."""
    info = world.store.put("uploads", "a.png", photo(), "image/png")
    assert upload_id(replace(info, version=version)) == upload_id(info)
    assert upload_id(info) == identity.upload_id("uploads", "a.png", info.etag)


def test_a_late_event_of_an_overwritten_object(world: World) -> None:
    """The object that is there is decided on; its own event finds that done."""
    old = world.put("a.png", photo(colour=1))
    new = world.put("a.png", photo(colour=2))
    late = on_upload(old, world.ctx)
    assert late.upload_id == upload_id(world.store.head("uploads", "a.png"))
    assert on_upload(new, world.ctx) == replace(late, repeated=True)


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


@pytest.mark.parametrize("bucket", ["results", "quarantine", "archive"])
def test_our_own_output_is_never_an_upload(world: World, bucket: str) -> None:
    """Whatever a door lets through."""
    assert on_upload(UploadEvent(bucket, "processed/a.png", "create"), world.ctx) == Decision("ignored")
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


def test_one_canonical_line_for_each_upload(world: World) -> None:
    """With its ids, its decision and how long it took."""
    with capture_logs() as lines:
        decision = world.upload("a.png", photo())
        world.upload("b.jpg", b"")
        on_upload(UploadEvent("uploads", "gone.png", "create"), world.ctx)
    assert [line["event"] for line in lines] == ["upload.queued", "upload.rejected", "upload.ignored"]
    assert lines[0]["upload_id"] == decision.upload_id
    assert lines[0]["task_id"] == decision.task_id
    assert lines[1]["code"] == Code.EMPTY_FILE
    assert all(line["own_ms"] >= 0 for line in lines)
