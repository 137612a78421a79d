"""Erased is erased: every byte of every version of every object, and every row, is
searched for what is to be gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from handlers.http.api.tickets import Drawn
from handlers.http.api.upload_shapes import UploadRequest
from handlers.intake.notifications import UploadEvent
from handlers.on_sweep import on_sweep
from handlers.on_upload import on_upload
from handlers.reconcile import damage
from infra.bootstrap import bootstrap, buckets
from infra.local.stack import Stack
from shared.broker import topology
from shared.broker.depth import Backlog
from shared.errors import Code
from shared.s3.presign import META
from shared.uploads import events, identity, keys
from shared.uploads.documents import Receipt
from shared.uploads.messages import RestoreTask
from shared.uploads.retry_failed import reopen
from tests.support.api_world import tenant
from tests.support.erasure_world import VERSIONS, ErasureWorld, Secrets, Versions, noise
from tests.support.waiting import eventually

Make = Callable[[Versions], ErasureWorld]


@pytest.fixture
def make(servers: Stack, url: str) -> Iterator[Make]:
    made: list[ErasureWorld] = []

    def one(versions: Versions) -> ErasureWorld:
        made.append(ErasureWorld(servers.settings, url, versions))
        return made[-1]

    yield one
    for world in made:
        world.close()


def asked(secret: Secrets, user: str) -> dict[str, str]:
    return {
        "user": user,
        "workflow": "fast",
        "params": f'{{"sharpen": {secret.number()}}}',
        "filename": secret.word(),
    }


def erase_all(client: TestClient) -> None:
    """Every task that the log has of a user."""
    for task in {
        row["task_id"]
        for row in client.get("/v1/tasks").json()["items"]
        if row["task_id"]
    }:
        answer = client.delete(f"/v1/tasks/{task}", params={"erase": True})
        assert answer.status_code == 200, answer.text


def by_ticket(
    world: ErasureWorld, client: TestClient, secret: Secrets, data: bytes
) -> str:
    """Something sent for a ticket with an `Idempotency-Key`; the ticket."""
    name = secret.word()
    wanted = {
        "filename": f"{name}.png",
        "content_type": "image/png",
        "workflow": "fast",
    }
    issued = client.post(
        "/v1/uploads", json=wanted, headers={"Idempotency-Key": str(uuid4())}
    ).json()
    fields = issued["post"]["fields"]
    metadata = {
        name.removeprefix(META): value
        for name, value in fields.items()
        if name.startswith(META)
    }
    world.store.put(
        world.settings.bucket_uploads, issued["key"], data, "image/png", metadata
    )
    on_upload(
        UploadEvent(world.settings.bucket_uploads, issued["key"], "create"), world.ctx
    )
    world.record()
    return str(issued["ticket"])


def restored(world: ErasureWorld, secret: Secrets, receipt: Receipt, name: str) -> None:
    world.done(
        receipt, secret.picture(f"result {name}"), secret.picture(f"preview {name}")
    )


def a_look(
    world: ErasureWorld, client: TestClient, secret: Secrets, receipt: Receipt
) -> None:
    """A preview, asked for and made."""
    begun = client.post(
        "/v1/previews",
        json={
            "source": {"task_id": receipt.task_id},
            "workflow": "fast",
            "params": {"sharpen": secret.number()},
        },
    )
    key = keys.receipt(keys.preview_upload(receipt.upload_id, begun.json()["task_id"]))
    look = Receipt.from_bytes(world.store.read(world.settings.bucket_results, key), key)
    world.restore(look, secret.picture("look"), secret.picture("look's preview"))


def a_retry(world: ErasureWorld, receipt: Receipt) -> None:
    task = RestoreTask(
        task_id=receipt.task_id or "",
        upload_id=receipt.upload_id,
        priority=receipt.priority,
        queued_at=receipt.decided_at,
    )
    publisher: Any = world.publisher
    assert reopen(task, world.store, publisher, world.settings, world.ctx.clock.now())
    world.record()


@pytest.mark.parametrize("versions", VERSIONS)
def test_nothing_is_left_of_what_is_erased(make: Make, versions: Versions) -> None:
    """A life with everything in it, in buckets of every kind.

    Photos are restored, put again with other wishes, looked ahead at, overwritten; they
    fail, are tried again, and fail again; handler and log refuse some; documents are
    damaged and put aside.
    """
    world, secret, ann = make(versions), Secrets(), f"ann-{uuid4()}"
    client = world.client(tenant(ann, world.settings))
    folder, data = f"{uuid4()}/{secret.word()}", secret.picture("original", noise())

    first = world.put(f"{folder}.png", data, **asked(secret, ann))
    restored(world, secret, first, "first")
    if versions == "kept later":
        world.switch("Enabled")
    second = world.put(f"{folder}.png", data, **asked(secret, ann))
    restored(world, secret, second, "second")
    a_look(world, client, secret, second)
    world.put(f"{folder}-again.png", data, **asked(secret, ann))

    failed = world.put(
        f"{folder}-failed.png", secret.picture("failed", noise()), **asked(secret, ann)
    )
    world.fail(failed, Code.DECODE_ERROR, f"cannot read {secret.word()}")
    a_retry(world, failed)
    world.fail(failed, Code.DECODE_ERROR, f"cannot read {secret.word()}")
    damage.keep(world.ctx, keys.receipt(failed.upload_id))
    damage.keep(
        world.ctx, keys.reason(failed.upload_id), world.settings.bucket_quarantine
    )

    changed = world.put(
        f"{folder}-changed.png",
        secret.picture("changed", noise()),
        **asked(secret, ann),
    )
    if versions == "no longer kept":
        world.switch("Suspended")
    later = world.put(
        f"{folder}-changed.png",
        secret.picture("changed later", noise()),
        **asked(secret, ann),
    )
    world.fail(changed, Code.SOURCE_CHANGED)
    restored(world, secret, later, "later")
    told = events.of_receipt(later, world.settings.bucket_results)
    refused = told.model_copy(
        update={"event_id": str(uuid4()), "fields": told.fields | {"width": -1}}
    )
    assert world.audit_log.write([refused]).rejected == 1

    tickets = [
        by_ticket(world, client, secret, secret.picture("no photo")),
        by_ticket(world, client, secret, secret.picture("sent", noise())),
    ]
    there = {what.partition(" in ")[0] for what in world.found(secret)}
    assert there >= (set(secret.pictures) | secret.words) - (
        {"changed"} if versions == "none" else set()
    )

    assert (
        client.delete(f"/v1/tasks/{later.task_id}", params={"erase": True}).status_code
        == 200
    )
    assert not [
        place
        for place in world.found(secret)
        if place.startswith(("changed later in", "result later in"))
    ]
    for ticket in tickets:
        assert client.delete(f"/v1/uploads/{ticket}").status_code == 200
    erase_all(client)
    world.record()
    assert world.found(secret) == []
    assert {row["error_code"] for row in client.get("/v1/tasks").json()["items"]} == {
        "erased"
    }
    world.audit_log.write([refused, told])  # they come once more, late
    assert world.found(secret) == []


@pytest.mark.parametrize("versions", ["none"])
def test_the_last_upload_at_a_key_takes_the_earlier_ones_along(
    make: Make, versions: Versions
) -> None:
    """They share its id and its bytes: nobody sees any more that they were others."""
    world, secret, ann = make(versions), Secrets(), f"ann-{uuid4()}"
    client = world.client(tenant(ann, world.settings))
    key, data = f"{uuid4()}/{secret.word()}.png", secret.picture("original", noise())
    for name in ("first", "second", "third"):
        last = world.put(key, data, **asked(secret, ann))
        restored(world, secret, last, name)
    assert (
        client.delete(f"/v1/tasks/{last.task_id}", params={"erase": True}).status_code
        == 200
    )
    world.record()
    assert world.found(secret) == []
    assert {row["error_code"] for row in client.get("/v1/tasks").json()["items"]} == {
        "erased"
    }


def test_two_users_who_put_the_same_bytes_at_one_key_see_nothing_of_each_other(
    make: Make,
) -> None:
    """The upload has one id. Each keeps what is his own: task, events, result, and the
    right to have it erased.
    """
    world, secret = make("none"), Secrets()
    key, data = f"{uuid4()}/a.png", noise()
    users = [f"ann-{uuid4()}", f"bob-{uuid4()}"]
    receipts: list[Receipt] = []
    for user in users:
        if receipts:
            world.next_second(receipts[-1])
        receipts.append(world.put(key, data, **asked(secret, user)))
        restored(world, secret, receipts[-1], user)
    assert receipts[0].upload_id == receipts[1].upload_id
    clients = [world.client(tenant(user, world.settings)) for user in users]
    for client, own, other in zip(clients, receipts, reversed(receipts), strict=True):
        assert client.get(f"/v1/tasks/{other.task_id}").status_code == 404
        shown = client.get(f"/v1/tasks/{own.task_id}")
        assert [event["kind"] for event in shown.json()["events"]] == [
            "queued",
            "success",
        ]
        assert (
            client.get(
                f"/v1/tasks/{own.task_id}/events", headers={"Last-Event-ID": "end"}
            ).status_code
            == 204
        )
        told = shown.text + client.get("/v1/tasks").text
        assert other.workflow
        for theirs in (
            other.user_hash,
            other.task_id,
            str(other.workflow.params["sharpen"]),
            other.source.filename,
        ):
            assert str(theirs) not in told
    assert (
        clients[0]
        .delete(f"/v1/tasks/{receipts[0].task_id}", params={"erase": True})
        .status_code
        == 200
    )
    world.record()
    assert clients[0].get("/v1/tasks").json()["items"][0]["error_code"] == "erased"
    assert clients[1].get(f"/v1/tasks/{receipts[1].task_id}/result").status_code == 307
    assert (
        clients[1].get("/v1/tasks").json()["items"][0]["image_filename"]
        == receipts[1].source.filename
    )


def test_a_look_that_is_asked_for_while_the_photo_is_erased_leaves_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erasure has looked for previews already when the preview's receipt is
    written.
    """
    world, secret, ann = make("none"), Secrets(), f"ann-{uuid4()}"
    client = world.client(tenant(ann, world.settings))
    receipt = world.put(
        f"{uuid4()}/{secret.word()}.png",
        secret.picture("original", noise()),
        **asked(secret, ann),
    )
    put = world.store.put

    def late(bucket: str, key: str, *rest: Any) -> Any:
        if key.startswith("receipts/preview/"):
            monkeypatch.undo()
            assert (
                client.delete(
                    f"/v1/tasks/{receipt.task_id}", params={"erase": True}
                ).status_code
                == 200
            )
        return put(bucket, key, *rest)

    monkeypatch.setattr(world.store, "put", late)
    source = {"task_id": receipt.task_id}
    answer = client.post("/v1/previews", json={"source": source, "workflow": "fast"})
    assert (answer.status_code, answer.json()["code"]) == (409, "already_ended")
    assert not world.publisher.bodies(topology.INTERACTIVE)
    world.record()
    assert world.found(secret) == []


def test_an_upload_of_the_photo_that_the_log_did_not_know_of_yet_is_erased_by_the_sweep(
    make: Make,
) -> None:
    """Its event was on its way; what came after the erasure is another wish, and stays."""
    world, secret, ann = make("none"), Secrets(), f"ann-{uuid4()}"
    world.ctx = replace(
        world.ctx, settings=world.settings.model_copy(update={"lease_s": 0.5})
    )
    client, data = (
        world.client(tenant(ann, world.settings)),
        secret.picture("original", noise()),
    )
    wishes = asked(secret, ann)
    first = world.put(f"{uuid4()}/{secret.word()}.png", data, **wishes)
    restored(world, secret, first, "first")
    key = f"{uuid4()}/{secret.word()}.png"
    world.store.put(world.settings.bucket_uploads, key, data, "image/png", wishes)
    twin = on_upload(
        UploadEvent(world.settings.bucket_uploads, key, "create"), world.ctx
    )
    assert (twin.kind, twin.task_id) == ("duplicate", first.task_id)
    untold, world.publisher.sent = list(world.publisher.sent), []
    world.next_second(world.receipt(twin.upload_id or ""))
    assert (
        client.delete(f"/v1/tasks/{first.task_id}", params={"erase": True}).status_code
        == 200
    )
    world.publisher.sent[:0] = untold
    world.record()
    assert world.found(secret) != []

    def swept() -> bool:
        on_sweep(
            world.ctx,
            audit_log=world.audit_log,
            backlogs=lambda: dict.fromkeys(topology.ALL, Backlog(0, 0)),
        )
        world.record()
        return not world.found(secret)

    eventually(swept, "the twin's erasure")
    again = world.put(key, data, **wishes)
    on_sweep(
        world.ctx,
        audit_log=world.audit_log,
        backlogs=lambda: dict.fromkeys(topology.ALL, Backlog(0, 0)),
    )
    assert world.receipt(again.upload_id) == again


@pytest.mark.parametrize(
    ("versions", "told"), [("none", 0), ("kept", 1), ("no longer kept", 1)]
)
def test_bootstrap_says_that_buckets_keep_versions(
    make: Make, versions: Versions, told: int
) -> None:
    """Once for all of them; the uploads' versions are uploads of their own."""
    world = make(versions)
    if versions == "no longer kept":
        world.switch("Suspended")
    with capture_logs() as logs:
        bootstrap(world.settings)
    names = [
        entry["buckets"] for entry in logs if entry["event"] == "buckets.keep_versions"
    ]
    assert names == [buckets(world.settings)[1:]] * told


def test_what_a_ticket_was_drawn_for_cannot_be_guessed_from_its_document(
    make: Make,
) -> None:
    """It keeps a checksum of the file's name with a key that only the handlers have."""
    world = make("none")
    client = world.client(tenant(f"ann-{uuid4()}", world.settings))
    wanted = {"filename": "grandma.png", "content_type": "image/png"}
    headers = {"Idempotency-Key": str(uuid4())}
    ticket = client.post("/v1/uploads", json=wanted, headers=headers).json()["ticket"]
    guessed = hashlib.sha256(
        identity.canonical_json(UploadRequest.model_validate(wanted).as_asked())
    ).hexdigest()
    bucket, key = world.settings.bucket_access, keys.ticket(ticket)
    document = world.store.read(bucket, key)
    assert guessed.encode() not in document
    # One of release 0.1 is still the same request.
    drawn = Drawn.from_bytes(document, key).model_copy(update={"request": guessed})
    world.store.put(bucket, key, drawn.to_bytes(), "application/json")
    assert (
        client.post("/v1/uploads", json=wanted, headers=headers).json()["ticket"]
        == ticket
    )
    assert world.store.read(bucket, key).count(guessed.encode()) == 0
    assert (
        client.post(
            "/v1/uploads", json=wanted | {"filename": "b.png"}, headers=headers
        ).status_code
        == 409
    )


def test_every_version_that_was_sent_for_a_ticket_is_erased_by_it(make: Make) -> None:
    """Looked at or not: a URL that was signed without the condition took another photo,
    too.
    """
    world, secret = make("kept"), Secrets()
    client = world.client(tenant(f"ann-{uuid4()}", world.settings))
    ticket = by_ticket(world, client, secret, secret.picture("first", noise()))
    (info,) = world.store.list(world.settings.bucket_uploads)
    metadata = world.store.head(info.bucket, info.key).metadata
    for name in ("never looked at", "second"):
        world.store.put(
            info.bucket, info.key, secret.picture(name, noise()), "image/png", metadata
        )
    world.decide(info.key)
    assert client.delete(f"/v1/uploads/{ticket}").status_code == 200
    world.record()
    assert world.found(secret) == []
