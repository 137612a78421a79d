"""Uploads that wait for their start, and what is started: a run is an upload of its own
for worker, sweep and log, of the photo's bytes.
"""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from handlers import erasure
from handlers.audit_log.database import AuditLog
from handlers.http.app import build
from shared import workflows
from shared.broker import topology
from shared.errors import Code, NotFound, StorageUnavailable
from shared.uploads import keys
from shared.uploads.documents import Receipt
from shared.uploads.messages import LogEvent
from shared.uploads.store import UploadStore
from tests.support.reconcile_world import LEASE_S, Town, TownAuditLog

EXPIRES_S = 3600.0
HELD = {
    "start": "false",
    "priority": "interactive",
    "params": '{"scale": 3}',
}


@pytest.fixture
def town() -> Town:
    # Without a broker of the Redis protocol, limits count in this process.
    return Town(
        api_key="k",
        s3_access_key="a",
        s3_secret_key="b",
        broker_url="amqp://127.0.0.1:1//",
        held_expires_s=EXPIRES_S,
        max_output_pixels=6 * 4 * 15,
    )


@pytest.fixture
def client(town: Town, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The API beside an audit log that knows of no upload yet."""
    monkeypatch.setattr(AuditLog, "page", lambda *_: [])
    monkeypatch.setattr(AuditLog, "archived", lambda *_: [])
    app = build(town.ctx, checks={})
    return TestClient(app, headers={"Authorization": "Bearer k"})


def start(client: TestClient, **changes: Any) -> httpx2.Response:
    return client.post("/v1/tasks", json={"key": "a.png", **changes})


def started(client: TestClient, **changes: Any) -> str:
    answer = start(client, **changes)
    assert answer.status_code == 202, answer.text
    task_id: str = answer.json()["task_id"]
    return task_id


def run_of(town: Town, photo: str, task_id: str) -> str:
    """The upload id of the latest run of this task."""
    runs = town.ctx.uploads.runs(photo)
    return [run.upload_id for run in runs if run.task_id == task_id][-1]


def kinds(town: Town) -> list[str]:
    return [LogEvent.decode(body).kind for body in town.publisher.bodies(topology.LOG)]


def test_a_held_photo_is_nobodys_work(town: Town) -> None:
    """No task, no message, no row; the sweep sees neither a photo that waits nor an
    end that the log lacks.
    """
    photo = town.upload("a.png", metadata=HELD)
    town.later()
    report = town.sweep(audit_log=TownAuditLog())
    receipt = town.receipt(photo)
    assert (receipt.decision, receipt.task_id) == ("held", None)
    assert (report.waiting, report.republished, report.events_resent) == (0, 0, 0)
    assert (town.messages(), kinds(town)) == ([], [])


def test_what_cannot_be_restored_is_refused_at_once(town: Town) -> None:
    photo = town.upload("a.png", b"no photo", HELD)
    assert town.reason(photo).error_code == Code.UNSUPPORTED_FORMAT


def test_start_takes_true_or_false(town: Town) -> None:
    photo = town.upload("a.png", metadata={"start": "perhaps"})
    assert town.reason(photo).error_code == Code.BAD_METADATA


def test_a_start_does_what_the_upload_asked_for(town: Town, client: TestClient) -> None:
    photo = town.upload("a.png", metadata=HELD | {"params": '{"scale": 2}'})
    answer = start(client).json()
    signature = workflows.resolve("fast", {"scale": 2}).ref.signature
    assert (answer["status"], answer["signature"]) == ("queued", signature)
    run = town.receipt(run_of(town, photo, answer["task_id"]))
    assert (run.decision, run.run_of) == ("queued", photo)
    assert run.source.etag == town.receipt(photo).source.etag
    assert town.depths()[topology.INTERACTIVE] == 1
    assert kinds(town) == ["queued"]


def test_the_same_start_is_the_same_run(town: Town, client: TestClient) -> None:
    """Another workflow or parameter is another; what ended without a result begins
    anew.
    """
    photo = town.upload("a.png", metadata=HELD)
    first = started(client)
    assert started(client) == first
    other = started(client, params={"scale": 2})
    assert other != first
    assert len(town.messages()) == 2
    assert client.delete(f"/v1/tasks/{other}").status_code == 200
    assert started(client, params={"scale": 2}) == other
    assert len(town.ctx.uploads.runs(photo)) == 3


def test_a_photo_that_is_restored_can_run_again_by_its_task(
    town: Town, client: TestClient
) -> None:
    """The same workflow gives the result that there is, another one a run."""
    photo = town.upload("a.png", metadata={"params": '{"scale": 3}'})
    task_id = town.receipt(photo).task_id
    town.restore(photo)
    by_ticket = start(client).json()
    assert (by_ticket["task_id"], by_ticket["status"]) == (task_id, "success")
    other = started(client, params={"scale": 2})
    wanted = {"task_id": other, "workflow": "fast", "params": {"scale": 1}}
    third = client.post("/v1/tasks", json=wanted).json()["task_id"]
    assert len({task_id, other, third}) == 3
    assert len(town.ctx.uploads.runs(photo)) == 2


def test_the_same_bytes_and_wishes_share_a_result(
    town: Town, client: TestClient
) -> None:
    """Also of another upload."""
    restored = town.upload("b.png", metadata={"params": HELD["params"]})
    town.restore(restored)
    source = town.store.read("uploads", "b.png")
    town.upload("a.png", source, HELD)
    answer = start(client).json()
    assert answer["status"] == "duplicate"
    assert answer["task_id"] == town.receipt(restored).task_id
    assert kinds(town)[-1] == "duplicate"


def begun(client: TestClient, name: str) -> str:
    """A job of this name."""
    job = client.post("/v1/ingests", json={"name": name, "workflow": "fast"})
    found: str = job.json()["job"]
    return found


def test_what_is_started_in_a_job_is_a_photo_of_it(
    town: Town, client: TestClient
) -> None:
    """The same start is the same run; what was restored elsewhere is a duplicate there,
    so that no job lacks a photo.
    """
    photo = town.upload("a.png", metadata=HELD)
    first = {"job": begun(client, "first"), "item": 1}
    task_id = started(client, ingest=first)
    assert started(client, ingest=first) == task_id
    run = town.receipt(run_of(town, photo, task_id))
    assert run.ingest is not None
    assert run.ingest.model_dump(mode="json") == first
    town.restore(run.upload_id)
    second = {"job": begun(client, "second"), "item": 7}
    answer = start(client, ingest=second).json()
    assert (answer["task_id"], answer["status"]) == (task_id, "duplicate")
    sent = [LogEvent.decode(body) for body in town.publisher.bodies(topology.LOG)]
    jobs = {event.fields["ingest_id"] for event in sent if event.kind != "finished"}
    assert jobs >= {first["job"], second["job"]}
    # And who names no job has what there is.
    assert started(client) == task_id
    assert len(town.ctx.uploads.runs(photo)) == 2
    assert client.delete(f"/v1/tasks/{task_id}?erase=true").status_code == 200
    assert town.ctx.uploads.runs(photo) == []


def test_nobody_starts_a_photo_in_a_job_that_is_not_theirs(
    town: Town, client: TestClient
) -> None:
    town.upload("a.png", metadata=HELD)
    unknown = {"job": "6aa1b3f2-0c1d-8e4f-9a5b-2c3d4e5f6071", "item": 1}
    assert start(client, ingest=unknown).status_code == 404
    too_many = {"job": begun(client, "album"), "item": 100_001}
    assert start(client, ingest=too_many).status_code == 422
    assert town.messages() == []


def test_what_breaks_a_rule_is_not_started(town: Town, client: TestClient) -> None:
    town.upload("a.png", metadata=HELD)
    town.upload("b.png", b"no photo")
    refused: list[tuple[dict[str, Any], int]] = [
        ({"key": "nothing.png"}, 404),
        ({"key": "b.png"}, 409),
        ({"key": None}, 422),
        ({"workflow": "none"}, 422),
        ({"params": {"scale": 99}}, 422),
        ({"callback": "http://127.0.0.1/"}, 422),
        ({"ticket": "6aa1b3f2-0c1d-8e4f-9a5b-2c3d4e5f6071"}, 422),
    ]
    for changes, status in refused:
        assert start(client, **changes).status_code == status, changes
    assert town.messages() == []


def test_a_result_that_would_be_too_large_is_not_started(
    town: Town, client: TestClient
) -> None:
    """The limit is of the workflow that is started, not of the one at the upload."""
    town.upload("a.png", metadata=HELD)
    answer = start(client, workflow="fast")
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_pixels")


def test_an_original_that_is_gone_is_not_started(
    town: Town, client: TestClient
) -> None:
    photo = town.upload("a.png", metadata=HELD)
    task_id = started(client)
    town.store.delete("uploads", "a.png")
    wanted = {"task_id": task_id, "params": {"scale": 2}}
    answer = client.post("/v1/tasks", json=wanted)
    assert (answer.status_code, answer.json()["code"]) == (409, "source_missing")
    assert len(town.ctx.uploads.runs(photo)) == 1


@pytest.mark.parametrize("broken", ["write_run", "write_new_receipt", "message"])
def test_a_start_that_breaks_off_is_mended(
    town: Town, client: TestClient, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Before the run or its receipt is written nothing was promised, and the start is
    made again; a lost message is the sweep's.
    """
    photo = town.upload("a.png", metadata=HELD)
    if broken == "message":
        town.publisher.refused = set(topology.RESTORE)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(UploadStore, broken, _fail)
            assert start(client).status_code == 503
    task_id = started(client)
    town.publisher.refused = set()
    town.later()
    town.sweep()
    assert town.messages() == [run_of(town, photo, task_id)]


def test_a_damaged_receipt_of_a_run_is_made_anew(
    town: Town, client: TestClient
) -> None:
    photo = town.upload("a.png", metadata=HELD)
    run = run_of(town, photo, started(client))
    before = town.receipt(run)
    town.store.put("results", keys.receipt(run), b"{", "application/json")
    town.later()
    assert town.sweep().repaired == 1
    assert town.receipt(run) == before


def test_erasing_the_photo_erases_its_runs(town: Town, client: TestClient) -> None:
    photo = town.upload("a.png", metadata=HELD)
    run = run_of(town, photo, started(client, params={"scale": 2}))
    town.restore(run)
    erasure.erase_held(town.ctx, town.receipt(photo))
    assert town.reason(run).error_code == Code.ERASED
    assert town.ctx.uploads.runs(photo) == []
    for bucket, key in [
        ("uploads", "a.png"),
        ("results", keys.record(town.receipt(run).task_id or "")),
        ("results", keys.held(photo)),
    ]:
        with pytest.raises(NotFound):
            town.store.head(bucket, key)


def test_erasing_a_run_leaves_the_photo_and_its_other_runs(
    town: Town, client: TestClient
) -> None:
    """They can be started again; without a run the photo expires."""
    photo = town.upload("a.png", metadata=HELD)
    first, second = started(client), started(client, params={"scale": 2})
    for task_id in (first, second):
        town.restore(run_of(town, photo, task_id))
    town.later(EXPIRES_S + LEASE_S + 5)
    assert town.sweep().held_expired == 0
    assert client.delete(f"/v1/tasks/{first}?erase=true").status_code == 200
    assert town.store.head("uploads", "a.png")
    assert started(client) == first
    for task_id in (first, second):
        client.delete(f"/v1/tasks/{task_id}?erase=true")
    town.later(EXPIRES_S + LEASE_S + 5)
    assert town.sweep().held_expired == 1
    with pytest.raises(NotFound):
        town.store.head("uploads", "a.png")


def test_a_run_that_meets_an_erasure_does_not_begin(
    town: Town, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner erases the photo between the first write of the start and the second."""
    photo = town.upload("a.png", metadata=HELD)
    write_new = UploadStore.write_new_receipt

    def erase_first(uploads: UploadStore, receipt: Receipt) -> bool:
        erasure.erase_held(town.ctx, town.receipt(photo))
        return write_new(uploads, receipt)

    monkeypatch.setattr(UploadStore, "write_new_receipt", erase_first)
    answer = start(client)
    assert (answer.status_code, answer.json()["code"]) == (409, "already_ended")
    assert town.messages() == []
    assert town.ctx.uploads.runs(photo) == []


def test_what_is_not_started_expires(town: Town, client: TestClient) -> None:
    """It is erased with a reason, later than the API takes a start of it."""
    photo = town.upload("a.png", metadata=HELD)
    town.later(EXPIRES_S + 5)
    answer = start(client)
    assert (answer.status_code, answer.json()["code"]) == (409, "expired")
    assert town.sweep().held_expired == 0
    town.later(LEASE_S)
    assert town.sweep().held_expired == 1
    assert town.reason(photo).error_code == Code.EXPIRED
    assert town.receipt(photo).source.filename is None
    (body,) = town.publisher.bodies(topology.LOG)
    event = LogEvent.decode(body)
    assert (event.kind, event.fields["error_code"]) == ("failed", "expired")
    assert event.fields["user_id"] == town.receipt(photo).user_hash
    assert "image_filename" not in event.fields
    assert town.sweep().held_expired == 0


def test_what_failed_is_retried(town: Town, client: TestClient) -> None:
    """By its owner, once; what has not failed is not."""
    photo = town.upload("a.png", metadata=HELD)
    task_id = started(client)
    path = f"/v1/tasks/{task_id}/retry"
    assert client.post(path).json()["code"] == "not_failed"
    run = run_of(town, photo, task_id)
    town.fail(run)
    town.publisher.sent.clear()
    answer = client.post(path)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert town.receipt(run).retries == 1
    assert len(town.publisher.bodies(topology.INTERACTIVE)) == 1
    assert client.post(path).status_code == 409


def _fail(*_: object) -> None:
    raise StorageUnavailable("down")
