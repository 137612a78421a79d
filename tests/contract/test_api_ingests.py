"""Jobs of many photos on the real store and the real log."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import Any
from uuid import uuid4

import httpx
import pytest

from handlers.on_finished import on_finished
from handlers.processes.webhook_dispatcher import Dispatcher
from handlers.reconcile.finished_ingests import tell_finished
from handlers.webhooks.call_log import CallLog
from infra.local.stack import Stack
from shared.broker import topology
from shared.uploads import events
from shared.uploads.documents import Receipt
from tests.support.api_world import ApiWorld, tenant
from tests.support.upload_world import photo
from tests.support.webhook_world import URL, Receiver


class Album:
    """A user's job, with a client of the API."""

    def __init__(self, servers: Stack, **wishes: Any) -> None:
        self.world = ApiWorld(servers.settings)
        self.user = f"ann-{uuid4()}"
        self.client = self.world.client(tenant(self.user, servers.settings))
        self.wishes = {"name": "<Oma> & Opa", "workflow": "fast", **wishes}
        self.job = self.begin().json()["job"]

    def begin(self, **changes: Any) -> httpx.Response:
        return self.client.post("/v1/ingests", json=self.wishes | changes)

    def send(self, item: int, data: bytes, filename: str) -> Receipt:
        """A photo of the job, sent by its ticket and decided on."""
        asked = {
            "filename": filename,
            "content_type": "image/png",
            "ingest": {"job": self.job, "item": item},
        }
        answer = self.client.post("/v1/uploads", json=asked)
        assert answer.status_code == 201, answer.text
        issued = answer.json()
        fields = issued["post"]["fields"]
        files = {"file": ("x", data, "image/png")}
        httpx.post(issued["post"]["url"], data=fields, files=files).raise_for_status()
        return self.world.decide(issued["key"])

    def restore(self, receipt: Receipt) -> None:
        """What a worker and the recorder do."""
        record = self.world.restore(receipt, result=b"restored")
        self.world.audit_log.write([events.of_record(record, "results")])

    def get(self, rest: str = "", **query: Any) -> httpx.Response:
        answer = self.client.get(f"/v1/ingests/{self.job}{rest}", params=query)
        assert answer.status_code == 200, answer.text
        return answer

    def end(self, sent: int) -> dict[str, Any]:
        answer = self.client.post(f"/v1/ingests/{self.job}/end", json={"sent": sent})
        state: dict[str, Any] = answer.json()
        return state


@pytest.fixture
def album(servers: Stack) -> Album:
    return Album(servers)


def fresh() -> bytes:
    return photo() + uuid4().bytes


def test_a_job_is_begun_once_and_found_again(album: Album) -> None:
    assert album.begin().json()["job"] == album.job
    other = album.begin(workflow="enhance")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    later = [album.begin(name=name).json()["job"] for name in "ab"]
    first = album.client.get("/v1/ingests", params={"limit": 2}).json()
    assert [job["job"] for job in first["items"]] == later[::-1]
    rest = album.client.get("/v1/ingests", params={"cursor": first["next"]}).json()
    assert ([job["job"] for job in rest["items"]], rest["next"]) == ([album.job], None)


def test_a_job_counts_its_uploads_and_hands_out_what_became_of_them(
    album: Album,
) -> None:
    """Names that are twice, and markup in names, are no trouble."""
    first = album.send(1, fresh(), "a.png")
    second = album.send(2, fresh(), "a.png")
    album.send(3, b"no photo", "<b>.png")
    assert first.ingest is not None
    assert first.workflow is not None
    assert first.workflow.name == "fast"
    album.restore(first)
    state = album.end(3)
    assert state["counts"] == {"success": 1, "queued": 1, "rejected": 1}
    assert (state["sent"], state["finished"]) == (3, False)
    album.restore(second)
    assert album.get().json()["finished"] is True
    found = album.get("/items", limit=2).json()
    rest = album.get("/items", limit=2, cursor=found["next"]).json()
    assert len(found["items"] + rest["items"]) == 3
    (failed,) = album.get("/items", status="rejected").json()["items"]
    assert failed["ingest_id"] == album.job
    with zipfile.ZipFile(io.BytesIO(album.get("/results").content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.png", "a.png.png", "failed.csv"]
        assert archive.read("a.png") == b"restored"
        listed = list(csv.DictReader(io.TextIOWrapper(archive.open("failed.csv"))))
    assert [row["filename"] for row in listed] == ["<b>.png"]
    report = album.get("/report").text
    assert "&lt;b&gt;.png" in report
    assert "<b>" not in report


def test_an_upload_names_no_job_of_another_and_no_item_beyond_the_limit(
    album: Album, servers: Stack
) -> None:
    asked = {
        "filename": "a.png",
        "content_type": "image/png",
        "ingest": {"job": album.job, "item": 1},
    }
    eve = album.world.client(tenant(f"eve-{uuid4()}", servers.settings))
    assert eve.post("/v1/uploads", json=asked).status_code == 404
    asked["ingest"] = {"job": album.job, "item": 100_001}
    answer = album.client.post("/v1/uploads", json=asked)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_parameter")


def test_the_end_of_a_job_is_told_once(servers: Stack) -> None:
    """After everything was sent and has ended, and again only where nobody heard it."""
    album = Album(servers, callback=URL)
    world, ctx = album.world, album.world.ctx
    receipt = album.send(1, fresh(), "a.png")
    album.end(1)
    assert tell_finished(ctx, world.audit_log) == 0
    album.restore(receipt)
    assert tell_finished(ctx, world.audit_log) == 1
    (request,) = world.publisher.bodies(topology.CALLBACKS)
    # The message may be lost.
    assert tell_finished(ctx, world.audit_log) == 1
    call_log = CallLog(world.store, "results", 15)
    receiver = Receiver()
    Dispatcher(ctx, call_log, receiver).take_in(request)
    assert tell_finished(ctx, world.audit_log) == 0
    (due,) = [call for call in call_log.pending() if call.upload_id == album.job]
    assert on_finished(due, ctx, call_log, receiver) is None
    ((url, _, body),) = receiver.calls
    assert (url, body["type"]) == (URL, "ingest.finished")
    assert body["data"]["counts"] == {"success": 1}
    album.end(1)
    assert tell_finished(ctx, world.audit_log) == 0
    assert [*world.store.list("results", f"callbacks/ingests/{album.job}")] == []
