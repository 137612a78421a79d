"""Whose photo it is, and what its owner may take back, on the real store and the real
log.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from starlette.testclient import TestClient

from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from infra.local.stack import Stack
from shared.broker import topology
from shared.errors import NotFound
from shared.s3.presign import META
from shared.uploads import events, keys
from shared.uploads.documents import Reason
from tests.support.api_world import ApiWorld, tenant
from tests.support.upload_world import photo


@pytest.fixture
def world(servers: Stack) -> ApiWorld:
    return ApiWorld(servers.settings)


def name() -> str:
    return f"user-{uuid4()}"


PATHS = ["", "/result", "/preview", "/record", "/events"]


def test_a_tenant_sees_own_tasks_only(world: ApiWorld) -> None:
    """Somebody else's are not there: the same answer as for an id that nobody has."""
    ann, bob = name(), name()
    receipt = world.upload(ann)
    world.restore(receipt)
    own, other = (
        world.client(tenant(ann, world.settings)),
        world.client(tenant(bob, world.settings)),
    )
    assert [
        own.get(f"/v1/tasks/{receipt.task_id}{path}").status_code for path in PATHS
    ] == [200, 307, 307, 200, 200]
    assert [row["task_id"] for row in own.get("/v1/tasks").json()["items"]] == [
        receipt.task_id
    ]
    assert other.get("/v1/tasks").json()["items"] == []
    assert other.get("/v1/tasks", params={"user": receipt.user_hash}).status_code == 403
    assert sum(count["uploads"] for count in own.get("/v1/stats").json()) == 1
    assert other.get("/v1/stats").json() == []
    unknown = str(uuid4())
    for method, path in [
        *(("GET", path) for path in PATHS),
        ("DELETE", ""),
        ("DELETE", "?erase=true"),
    ]:
        theirs, nobodys = (
            other.request(method, f"/v1/tasks/{task}{path}")
            for task in (receipt.task_id, unknown)
        )
        assert (theirs.status_code, nobodys.status_code) == (404, 404), path
        assert theirs.text.replace(str(receipt.task_id), unknown) == nobodys.text


def test_a_ticket_is_its_owners(world: ApiWorld) -> None:
    ann, bob = (world.client(tenant(name(), world.settings)) for _ in range(2))
    asked = {"filename": "a.png", "content_type": "image/png"}
    for headers in ({}, {"Idempotency-Key": "k"}):
        issued = ann.post("/v1/uploads", json=asked, headers=headers).json()
        path = f"/v1/uploads/{issued['ticket']}"
        assert (ann.get(path).status_code, bob.get(path).status_code) == (200, 404)
    mine, yours = (
        c.post("/v1/uploads", json=asked, headers={"Idempotency-Key": "k"}).json()
        for c in (ann, bob)
    )
    assert mine["ticket"] != yours["ticket"]


def test_the_same_bytes_are_two_tasks_for_two_users(world: ApiWorld) -> None:
    data = photo() + uuid4().bytes
    first, second = world.upload(name(), data), world.upload(name(), data)
    assert first.task_id != second.task_id


def test_filters(world: ApiWorld) -> None:
    ann = name()
    receipt = world.upload(ann)
    client = world.client(tenant(ann, world.settings))
    at = receipt.source.upload_time.isoformat()

    def found(**asked: str) -> int:
        return len(client.get("/v1/tasks", params=asked).json()["items"])

    assert (found(workflow="fast"), found(workflow="enhance")) == (1, 0)
    assert (found(status="queued"), found(status="success")) == (1, 0)
    assert (found(since=at), found(until=at)) == (1, 0)
    assert client.get("/v1/tasks", params={"since": "yesterday"}).status_code == 422
    assert client.get("/v1/tasks", params={"sice": at}).status_code == 422


def test_scopes(world: ApiWorld) -> None:
    ann = name()
    receipt = world.upload(ann)
    reader = world.client(tenant(ann, world.settings, frozenset({"read"})))
    assert reader.get(f"/v1/tasks/{receipt.task_id}").status_code == 200
    assert reader.delete(f"/v1/tasks/{receipt.task_id}").status_code == 403
    asked = {"filename": "a.png", "content_type": "image/png"}
    assert reader.post("/v1/uploads", json=asked).status_code == 403
    uploader = world.client(tenant(ann, world.settings, frozenset({"upload"})))
    assert uploader.post("/v1/uploads", json=asked).status_code == 201
    assert uploader.get(f"/v1/tasks/{receipt.task_id}").status_code == 403


def test_a_waiting_photo_is_cancelled_once_and_for_all(world: ApiWorld) -> None:
    """Reason in the bucket, `failed` in the log; the same event later changes nothing."""
    ann = name()
    receipt = world.upload(ann)
    client, path = (
        world.client(tenant(ann, world.settings)),
        f"/v1/tasks/{receipt.task_id}",
    )
    for _ in range(2):
        answer = client.delete(path)
        assert (answer.status_code, answer.json()["code"]) == (200, "cancelled")
    world.record()
    shown = client.get(path).json()
    assert (shown["status"], shown["uploads"][0]["error_code"]) == (
        "failed",
        "cancelled",
    )
    event = UploadEvent(
        "uploads", receipt.source.key, "create", None, None, None, None, None
    )
    assert on_upload(event, world.ctx).repeated
    assert not [sent for sent in world.publisher.sent if sent.queue in topology.RESTORE]


def test_a_restored_photo_can_only_be_erased(world: ApiWorld) -> None:
    ann = name()
    receipt = world.upload(ann)
    world.restore(receipt)
    client = world.client(tenant(ann, world.settings))
    answer = client.delete(f"/v1/tasks/{receipt.task_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_ended")


@pytest.mark.parametrize("late", [False, True], ids=["log knows", "log is late"])
def test_what_is_erased_is_gone(world: ApiWorld, late: bool) -> None:
    """Objects in all buckets; name, parameters and result from the log, also where it
    hears of the photo late.
    """
    ann = name()
    receipt = world.upload(ann)
    success = events.of_record(world.restore(receipt), "results")
    task = receipt.task_id or ""
    world.store.put(
        "quarantine", f"{receipt.upload_id}/grandma.png", b"copy", "image/png"
    )
    if not late:
        world.audit_log.write([success])
    client = world.client(tenant(ann, world.settings))
    answer = client.delete(f"/v1/tasks/{task}", params={"erase": True})
    assert (answer.status_code, answer.json()["code"]) == (200, "erased")
    gone = {
        "uploads": [receipt.source.key],
        "quarantine": [f"{receipt.upload_id}/grandma.png"],
        "results": [
            *keys.results(task),
            keys.copy(task, "jpg"),
            keys.pyramid(task),
            keys.pyramid(task, "original"),
        ],
    }
    for bucket, objects in gone.items():
        for key in objects:
            with pytest.raises(NotFound):
                world.store.head(bucket, key)
    for bucket, key in (
        ("results", keys.receipt(receipt.upload_id)),
        ("quarantine", keys.reason(receipt.upload_id)),
    ):
        assert b"grandma" not in world.store.read(bucket, key)
    world.record()
    if late:
        world.audit_log.write([success])
    uploads, history = world.audit_log.task(UUID(task))
    (row,) = uploads
    assert (row.status, row.error_code) == ("failed", "erased")
    assert (row.image_filename, row.params, row.result_url) == (None, None, None)
    assert "grandma" not in str([event.fields for event in history])
    assert client.get(f"/v1/tasks/{task}/result").status_code == 404
    assert client.delete(f"/v1/tasks/{task}", params={"erase": True}).status_code == 200


def test_a_failed_photo_is_erased_too(world: ApiWorld) -> None:
    """Its failure stays a fact; that it was erased is another."""
    ann = name()
    receipt = world.upload(ann)
    reason = Reason(
        upload_id=receipt.upload_id,
        task_id=receipt.task_id,
        status="failed",
        error_code="decode_error",
        error_detail="d",
        source=receipt.source,
        at=world.ctx.clock.now(),
    )
    world.store.put(
        "quarantine",
        keys.reason(receipt.upload_id),
        reason.to_bytes(),
        "application/json",
    )
    world.audit_log.write([events.of_reason(reason)])
    client, path = (
        world.client(tenant(ann, world.settings)),
        f"/v1/tasks/{receipt.task_id}",
    )
    assert client.delete(path).status_code == 409
    assert client.delete(path, params={"erase": True}).status_code == 200
    world.record()
    assert client.get(path).json()["uploads"][0]["error_code"] == "erased"


def put_by_ticket(
    world: ApiWorld, client: TestClient, data: bytes, decided: bool = True
) -> dict[str, str]:
    """Of a user's ticket, for which `data` were uploaded: `ticket`, `key` and, if it
    was decided, `upload`.
    """
    asked = {
        "filename": "grandma.png",
        "content_type": "image/png",
        "workflow": "fast",
        "params": {"scale": 2},
    }
    issued = client.post("/v1/uploads", json=asked).json()
    world.store.put(
        "uploads", issued["key"], data, "image/png", issued_metadata(issued)
    )
    found = {name: issued[name] for name in ("ticket", "key")}
    if decided:
        found["upload"] = (
            on_upload(
                UploadEvent("uploads", issued["key"], "create"), world.ctx
            ).upload_id
            or ""
        )
        world.record()
    return found


def issued_metadata(issued: dict[str, Any]) -> dict[str, str]:
    fields: dict[str, str] = issued["post"]["fields"]
    return {
        name.removeprefix(META): value
        for name, value in fields.items()
        if name.startswith(META)
    }


def test_a_rejected_upload_is_erased_by_its_ticket(world: ApiWorld) -> None:
    """It has no task; its copy in quarantine and its name go, too. A repeated event
    brings nothing back.
    """
    ann, bob = (world.client(tenant(name(), world.settings)) for _ in range(2))
    made = put_by_ticket(world, ann, b"no photo")
    path = f"/v1/uploads/{made['ticket']}"
    assert ann.get(path).json()["status"] == "rejected"
    assert bob.delete(path).status_code == 404
    answer = ann.delete(path)
    assert (answer.status_code, answer.json()["code"]) == (200, "erased")
    assert list(world.store.list("uploads", made["key"])) == []
    assert [info.key for info in world.store.list("quarantine", made["upload"])] == [
        keys.reason(made["upload"])
    ]
    for bucket, key in (
        ("results", keys.receipt(made["upload"])),
        ("quarantine", keys.reason(made["upload"])),
    ):
        assert b"grandma" not in world.store.read(bucket, key)
    world.record()
    (row,) = ann.get("/v1/tasks").json()["items"]
    assert (row["status"], row["error_code"], row["image_filename"], row["params"]) == (
        "failed",
        "erased",
        None,
        None,
    )
    assert ann.delete(path).json()["code"] == "nothing_there"
    assert (
        on_upload(UploadEvent("uploads", made["key"], "create"), world.ctx).kind
        == "ignored"
    )


def test_an_erasure_by_ticket_that_broke_off_is_done_by_the_next(
    world: ApiWorld,
) -> None:
    """What leads from the ticket to all else is there until that is gone."""
    ann = world.client(tenant(name(), world.settings))
    made = put_by_ticket(world, ann, b"no photo")
    path, link = (
        f"/v1/uploads/{made['ticket']}",
        keys.refused(made["ticket"], made["upload"]),
    )
    told = world.store.read("results", link)
    assert ann.delete(path).status_code == 200
    world.store.put("results", link, told, "application/json")
    assert ann.delete(path).status_code == 200
    assert list(world.store.list("results", link)) == []


def test_everything_that_was_refused_of_a_ticket_is_erased_by_it(
    world: ApiWorld,
) -> None:
    """A form may be sent again, and each time it is another upload; what follows the
    last is not all.
    """
    ann = world.client(tenant(name(), world.settings))
    made = put_by_ticket(world, ann, b"no photo")
    uploads = [made["upload"]]
    metadata = world.store.head(
        "quarantine", keys.quarantined(made["upload"], "", "grandma.png")
    ).metadata
    for data in (b"no photo, either", photo() + uuid4().bytes):
        world.store.put("uploads", made["key"], data, "image/png", metadata)
        uploads.append(
            str(
                on_upload(
                    UploadEvent("uploads", made["key"], "create"), world.ctx
                ).upload_id
            )
        )
    assert ann.delete(f"/v1/uploads/{made['ticket']}").status_code == 200
    for upload in uploads:
        assert [info.key for info in world.store.list("quarantine", upload)] == [
            keys.reason(upload)
        ]
        assert b"grandma" not in world.store.read("results", keys.receipt(upload))
    assert list(world.store.list("results", keys.refused(made["ticket"]))) == []


def test_a_photo_is_erased_by_its_ticket_with_all_of_its_task(world: ApiWorld) -> None:
    ann = world.client(tenant(name(), world.settings))
    data = photo() + uuid4().bytes
    first, second = (put_by_ticket(world, ann, data) for _ in range(2))
    task = ann.get(f"/v1/uploads/{first['ticket']}").json()["task_id"]
    answer = ann.delete(f"/v1/uploads/{first['ticket']}")
    assert (answer.status_code, answer.json()["task_id"]) == (200, task)
    for made in (first, second):
        assert list(world.store.list("uploads", made["key"])) == []
    world.record()
    assert {row["error_code"] for row in ann.get("/v1/tasks").json()["items"]} == {
        "erased"
    }


@pytest.mark.parametrize(
    ("uploaded", "code"), [(False, "nothing_there"), (True, "too_early")]
)
def test_what_is_not_decided_cannot_be_erased_yet(
    world: ApiWorld, uploaded: bool, code: str
) -> None:
    ann = world.client(tenant(name(), world.settings))
    made = put_by_ticket(world, ann, b"no photo", decided=False)
    if not uploaded:
        world.store.delete("uploads", made["key"])
    answer = ann.delete(f"/v1/uploads/{made['ticket']}")
    assert (answer.status_code, answer.json()["code"]) == (409, code)


def test_what_was_uploaded_there_since_is_left(world: ApiWorld) -> None:
    """Another photo at the same key is another upload."""
    ann = name()
    receipt = world.upload(ann)
    world.store.put("uploads", receipt.source.key, b"another", "image/png")
    world.client(tenant(ann, world.settings)).delete(
        f"/v1/tasks/{receipt.task_id}", params={"erase": True}
    )
    assert world.store.read("uploads", receipt.source.key) == b"another"
