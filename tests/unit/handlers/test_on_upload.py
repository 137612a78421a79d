"""One event in, one decision out; what was decided is written down before anybody is
told.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from handlers.intake.decision import Decision
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from shared import workflows
from shared.broker import topology
from shared.errors import Code
from shared.uploads import identity, keys
from shared.uploads.messages import RestoreTask
from shared.uploads.ref import upload_id_of
from tests.support.upload_world import ANONYMOUS, PEPPER, World, photo


@pytest.fixture
def world() -> World:
    return World()


def test_a_photo_is_queued(world: World) -> None:
    """The receipt says all that was seen and decided; the message names it; the log
    event tells the audit log.
    """
    data = photo()
    decision = world.upload("in/a.png", data)
    receipt = world.receipt(decision)
    info = world.store.head("uploads", "in/a.png")
    resolved = workflows.resolve("fast").ref
    assert decision == Decision("queued", upload_id_of(info), receipt.task_id)
    assert receipt.decision == "queued"
    assert receipt.user_hash == ANONYMOUS
    assert receipt.workflow == resolved
    assert receipt.decided_at == world.clock.now()
    source = receipt.source
    assert (source.bucket, source.key, source.version, source.etag) == (
        "uploads",
        "in/a.png",
        None,
        info.etag,
    )
    assert (source.bytes, source.width, source.height, source.mode, source.format) == (
        len(data),
        40,
        30,
        "RGB",
        "PNG",
    )
    assert source.upload_time == info.last_modified
    assert receipt.task_id == identity.task_id(
        ANONYMOUS, source.sha256 or "", resolved.signature
    )
    assert world.tasks() == [
        RestoreTask(
            task_id=receipt.task_id,
            upload_id=receipt.upload_id,
            priority="bulk",
            queued_at=world.clock.now(),
        )
    ]
    [event] = world.log()
    assert (event.kind, event.upload_id, event.task_id) == (
        "queued",
        receipt.upload_id,
        receipt.task_id,
    )
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
        assert replace(world.store.head("uploads", key), served_at=None) == replace(
            before, served_at=None
        )


@pytest.mark.parametrize(
    "key",
    [
        "with blank.png",
        "a+b.png",
        "100%.png",
        "%2F.png",
        "#?&=.png",
        "中文.png",
        "🖼️.png",
        "a//b.png",
        "no-ending",
        "x/" * 510 + "é",
        ".hidden",
        "quote'\".png",
        "tab\t.png",
        "reason.json",
    ],
)
def test_every_key_works(world: World, key: str) -> None:
    """Whatever the store takes as a key is only a name, and what is made of it has
    plain characters.
    """
    assert world.upload(key, photo()).kind == "queued"
    rejected = world.upload(f"{key}2", b"text")
    assert rejected.kind == "rejected"
    assert world.reason(rejected).source.key == f"{key}2"
    for bucket in ("results", "quarantine"):
        assert all(
            name.isascii() and name.isprintable() and " " not in name
            for name in world.store.keys(bucket)
        )
    assert all(len(sent.body) <= 2048 for sent in world.publisher.sent)


@pytest.mark.parametrize(
    ("key", "metadata", "expected"),
    [
        ("a.png", {}, ("fast", "bulk", "anonymous", 4)),
        ("incoming/anime/a.png", {}, ("anime", "bulk", "anonymous", 4)),
        ("incoming/a.png", {}, ("fast", "bulk", "anonymous", 4)),
        ("x/incoming/anime/a.png", {}, ("fast", "bulk", "anonymous", 4)),
        (
            "a.png",
            {
                "workflow": "enhance",
                "priority": "interactive",
                "user": "ada",
                "params": '{"scale": 2}',
            },
            ("enhance", "interactive", "ada", 2),
        ),
        (
            "incoming/anime/a.png",
            {"workflow": "fast", "params": ""},
            ("fast", "bulk", "anonymous", 4),
        ),
        (
            "a.png",
            {"Workflow": "anime", "PRIORITY": "bulk"},
            ("anime", "bulk", "anonymous", 4),
        ),
        (
            "a.png",
            {"params": "%7B%22scale%22%3A%203%7D", "user": "J%C3%BCrg"},
            ("fast", "bulk", "Jürg", 3),
        ),
        ("a.png", {"user": "=?UTF-8?B?SsO8cmc=?="}, ("fast", "bulk", "Jürg", 4)),
        ("a.png", {"user": "=?UTF-8?Q?J=C3=BCrg?="}, ("fast", "bulk", "Jürg", 4)),
        ("a.png", {"user": "J\u00c3\u00bcrg"}, ("fast", "bulk", "Jürg", 4)),
        ("a.png", {"user": "中"}, ("fast", "bulk", "中", 4)),
        ("a.png", {"user": "=?broken"}, ("fast", "bulk", "=?broken", 4)),
    ],
)
def test_what_is_asked_for(
    world: World, key: str, metadata: dict[str, str], expected: tuple[Any, ...]
) -> None:
    """Metadata before the key before the defaults; values come as plain,
    percent-escaped, RFC 2047 or bare UTF-8.
    """
    receipt = world.receipt(world.upload(key, photo(), metadata))
    assert receipt.workflow
    scale = receipt.workflow.params["scale"]
    user = identity.user_hash(expected[2], PEPPER)
    assert (receipt.workflow.name, receipt.priority, receipt.user_hash, scale) == (
        *expected[:2],
        user,
        expected[3],
    )
    assert len(world.tasks(topology.restore_queue(receipt.priority, receipt.lane))) == 1


def test_a_presigned_upload_belongs_to_the_user_in_its_key(world: World) -> None:
    """`users/{user_hash}/…` holds the pseudonym itself; `user` in the metadata
    overrides it.
    """
    owner = identity.user_hash("ada", PEPPER)
    assert (
        world.receipt(world.upload(f"users/{owner}/a.png", photo())).user_hash == owner
    )
    assert (
        world.receipt(world.upload("users/ada/a.png", photo())).user_hash == ANONYMOUS
    )
    bob = identity.user_hash("bob", PEPPER)
    assert (
        world.receipt(
            world.upload(f"users/{owner}/b.png", photo(), {"user": "bob"})
        ).user_hash
        == bob
    )


def test_the_user_is_stored_only_as_a_pseudonym(world: World) -> None:
    """No document or message holds the user's own name; log lines hold no user, no key
    and no file name at all.
    """
    with capture_logs() as lines:
        world.upload("secretive/photo-of-me.png", photo(), {"user": "ada.lovelace"})
        world.upload("secretive/photo-of-me.jpg", b"text", {"user": "ada.lovelace"})
    assert b"ada.lovelace" not in b"".join(
        [*world.documents().values(), *(sent.body for sent in world.publisher.sent)]
    )
    printed = json.dumps(lines, default=str)
    for secret in (
        "ada",
        "secretive",
        "photo-of-me",
        identity.user_hash("ada.lovelace", PEPPER),
    ):
        assert secret not in printed


REJECTED = {
    "empty": (b"", {}, Code.EMPTY_FILE),
    "text": (b"hello", {}, Code.UNSUPPORTED_FORMAT),
    "cut off": (photo("JPEG")[:-40], {}, Code.TRUNCATED),
    "too many pixels": (photo(size=(400, 300)), {}, Code.TOO_MANY_PIXELS),
    "too many pixels out": (
        photo(size=(200, 150)),
        {"params": '{"scale": 4}'},
        Code.TOO_MANY_PIXELS,
    ),
    "unknown workflow": (photo(), {"workflow": "nonesuch"}, Code.UNKNOWN_WORKFLOW),
    "parameter out of range": (
        photo(),
        {"params": '{"scale": 99}'},
        Code.BAD_PARAMETER,
    ),
    "unknown parameter": (
        photo(),
        {"params": '{"colour_of_the_sky": 1}'},
        Code.BAD_PARAMETER,
    ),
    "params no JSON": (photo(), {"params": "{scale: 2}"}, Code.BAD_METADATA),
    "params no object": (photo(), {"params": "[1]"}, Code.BAD_METADATA),
    "params not a number": (photo(), {"params": '{"scale": NaN}'}, Code.BAD_METADATA),
    "params too long": (
        photo(),
        {"params": '{"x": "' + "y" * 3000 + '"}'},
        Code.BAD_METADATA,
    ),
    "priority": (photo(), {"priority": "now!"}, Code.BAD_METADATA),
}


@pytest.mark.parametrize("name", REJECTED)
def test_bad_input_is_rejected(name: str) -> None:
    """It ends in quarantine with a copy, a code and a sentence; receipt and log say the
    same; nobody works on it.
    """
    data, metadata, code = REJECTED[name]
    world = World(settings={"max_pixels": 100_000, "max_output_pixels": 400_000})
    decision = world.upload("in/a b.jpg", data, metadata)
    assert (decision.kind, decision.code, decision.task_id) == ("rejected", code, None)
    reason, receipt = world.reason(decision), world.receipt(decision)
    assert (reason.status, reason.error_code, reason.source.key) == (
        "rejected",
        code,
        "in/a b.jpg",
    )
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


@pytest.mark.parametrize("bucket", ["results", "quarantine", "archive"])
def test_our_own_output_is_never_an_upload(world: World, bucket: str) -> None:
    """Whatever a door lets through."""
    assert on_upload(
        UploadEvent(bucket, "processed/a.png", "create"), world.ctx
    ) == Decision("ignored")
    assert not world.publisher.sent


def test_one_canonical_line_for_each_upload(world: World) -> None:
    """With its ids, its decision and how long it took."""
    with capture_logs() as lines:
        decision = world.upload("a.png", photo())
        world.upload("b.jpg", b"")
        on_upload(UploadEvent("uploads", "gone.png", "create"), world.ctx)
    assert [line["event"] for line in lines] == [
        "upload.queued",
        "upload.rejected",
        "upload.ignored",
    ]
    assert lines[0]["upload_id"] == decision.upload_id
    assert lines[0]["task_id"] == decision.task_id
    assert lines[1]["code"] == Code.EMPTY_FILE
    assert all(line["own_ms"] >= 0 for line in lines)
