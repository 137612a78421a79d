"""Uploads by ticket on the real store: what was signed is taken, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

import httpx
import pytest
from starlette.testclient import TestClient

from handlers.context import Context
from handlers.http.app import build
from handlers.intake.notifications import UploadEvent
from handlers.intake.upload_options import READ
from handlers.on_upload import on_upload
from infra.local.stack import Stack
from shared.runtime.settings import Settings
from shared.s3.clock import SystemClock
from shared.s3.store import S3Store
from shared.uploads import identity
from shared.uploads.documents import Receipt
from tests.support.memory_publisher import MemoryPublisher
from tests.support.upload_world import photo
from tests.support.waiting import eventually

WANTED = {
    "filename": "Oma 中 100%.png",
    "content_type": "image/png",
    "workflow": "fast",
    "params": {"scale": 2},
}


def client_of(settings: Settings) -> TestClient:
    ctx = Context(settings, S3Store(settings), MemoryPublisher(), SystemClock())
    key = settings.api_key.get_secret_value()
    return TestClient(
        build(ctx, checks={}),
        headers={"Authorization": f"Bearer {key}"},
        follow_redirects=False,
    )


@pytest.fixture
def client(servers: Stack) -> Iterator[TestClient]:
    with client_of(servers.settings) as client:
        yield client


def issue(client: TestClient, **changes: Any) -> dict[str, Any]:
    answer = client.post("/v1/uploads", json=WANTED | changes)
    assert answer.status_code == 201, answer.text
    issued: dict[str, Any] = answer.json()
    return issued


def send(issued: dict[str, Any], data: bytes, **changes: str) -> httpx.Response:
    """The form, as a browser or an app sends it."""
    fields = issued["post"]["fields"] | changes
    return httpx.post(
        issued["post"]["url"],
        data=fields,
        files={"file": ("x", data, fields["Content-Type"])},
    )


def decide(servers: Stack, key: str) -> Receipt:
    """What the store's notification brings about."""
    settings = servers.settings
    store = S3Store(settings)
    ctx = Context(settings, store, MemoryPublisher(), SystemClock())
    decision = on_upload(
        UploadEvent("uploads", key, "create", None, None, None, None, None), ctx
    )
    name = f"receipts/{decision.upload_id}.json"
    return Receipt.from_bytes(store.read("results", name), name)


def test_a_form_brings_the_photo_with_all_that_was_asked_for(
    client: TestClient, servers: Stack
) -> None:
    """The object says workflow, parameters and true name; its owner is the caller."""
    issued = issue(client, priority="interactive")
    path = f"/v1/uploads/{issued['ticket']}"
    assert client.get(path).json() == {"ticket": issued["ticket"], "status": "waiting"}
    assert send(issued, photo()).status_code == 201
    assert client.get(path).json()["status"] == "queued"
    receipt = decide(servers, issued["key"])
    assert receipt.workflow
    asked = (
        receipt.workflow.name,
        receipt.workflow.params["scale"],
        receipt.priority,
        receipt.source.filename,
    )
    assert asked == ("fast", 2.0, "interactive", "Oma 中 100%.png")
    pepper = servers.settings.pepper.get_secret_value().encode()
    assert receipt.user_hash == identity.user_hash("operator", pepper)
    shown = client.get(path).json()
    assert (shown["status"], shown["task_id"]) == ("queued", receipt.task_id)
    assert (
        client.get(f"/v1/tasks/{receipt.task_id}").json()["uploads"][0][
            "image_filename"
        ]
        == "Oma 中 100%.png"
    )


def test_a_put_brings_it_too(client: TestClient, servers: Stack) -> None:
    issued = issue(client)
    assert (
        httpx.put(
            issued["put"]["url"], headers=issued["put"]["headers"], content=photo()
        ).status_code
        == 200
    )
    assert decide(servers, issued["key"]).decision == "queued"


@pytest.mark.parametrize(
    "changes",
    [
        {"Content-Type": "text/html"},
        {"key": "users/somebody/else.png"},
        {"x-amz-meta-workflow": "enhance"},
        {"x-amz-meta-params": "{}"},
        {"x-amz-meta-user": "bob"},
        {"x-amz-meta-priority": "interactive"},
        {"success_action_status": "200"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_form_that_was_changed_is_refused(
    client: TestClient, changes: dict[str, str]
) -> None:
    """The policy fixes every field."""
    assert send(issue(client), photo(), **changes).status_code == 403


@pytest.mark.parametrize(
    "name",
    ["Content-Type", "x-amz-meta-workflow", "x-amz-meta-user", "x-amz-meta-priority"],
)
def test_a_put_that_was_changed_is_refused(client: TestClient, name: str) -> None:
    issued = issue(client)
    headers = issued["put"]["headers"] | {name: "text/html"}
    assert (
        httpx.put(issued["put"]["url"], headers=headers, content=photo()).status_code
        == 403
    )


@pytest.mark.parametrize(
    "added",
    [
        {"x-amz-copy-source": "/results/access/keys/somebody.json"},
        {"x-amz-meta-callback": "https://somebody.example/"},
        {"x-amz-acl": "public-read"},
        {"X-Amz-Meta-User": "bob"},
    ],
    ids=lambda added: next(iter(added)),
)
def test_nothing_is_added_to_a_put_or_a_form(
    client: TestClient, servers: Stack, added: dict[str, str]
) -> None:
    """A copy would be one of anybody's object. A form's field that is there already
    counts once, as it was signed.
    """
    issued = issue(client)
    headers = [*issued["put"]["headers"].items(), *added.items()]
    assert (
        httpx.put(issued["put"]["url"], headers=headers, content=photo()).status_code
        == 403
    )
    if send(issued, photo(), **added).status_code == 201:
        assert decide(servers, issued["key"]).user_hash == issued["key"].split("/")[1]
        assert "X-Amz-Meta-User" in added


@pytest.mark.parametrize("name", sorted(READ))
def test_nothing_that_is_read_is_taken_from_the_headers_of_a_form(
    client: TestClient, servers: Stack, name: str
) -> None:
    """No signature covers them, and the store takes from there what the form does not
    name.
    """
    issued = issue(client)
    files, headers = (
        {"file": ("x", photo(), "image/png")},
        {f"x-amz-meta-{name}": "https://example.com/theirs"},
    )
    httpx.post(
        issued["post"]["url"],
        data=issued["post"]["fields"],
        files=files,
        headers=headers,
    )
    found = S3Store(servers.settings).head("uploads", issued["key"]).metadata
    assert "https://example.com/theirs" not in found.values()


@pytest.mark.parametrize(
    "name", ["x-amz-meta-user", "x-amz-meta-params", "Content-Type"]
)
def test_nothing_is_left_out_of_a_put_or_a_form(client: TestClient, name: str) -> None:
    issued = issue(client)
    headers = {
        key: value for key, value in issued["put"]["headers"].items() if key != name
    }
    assert (
        httpx.put(issued["put"]["url"], headers=headers, content=photo()).status_code
        == 403
    )
    fields = {
        key: value for key, value in issued["post"]["fields"].items() if key != name
    }
    assert (
        httpx.post(
            issued["post"]["url"], data=fields, files={"file": photo()}
        ).status_code
        == 403
    )


def test_a_put_of_another_size_than_was_told_is_refused(client: TestClient) -> None:
    issued = issue(client, bytes=len(photo()) + 1)
    headers = {
        name: value
        for name, value in issued["put"]["headers"].items()
        if name != "Content-Length"
    }
    assert (
        httpx.put(issued["put"]["url"], headers=headers, content=photo()).status_code
        == 403
    )


def test_nothing_empty_and_nothing_too_large(servers: Stack) -> None:
    """From 1 byte to DARKROOM_MAX_UPLOAD_BYTES; a size that is told is refused at once."""
    client = client_of(servers.settings.model_copy(update={"max_upload_bytes": 1000}))
    issued = issue(client)
    assert send(issued, b"").status_code in (400, 403)
    assert send(issued, b"x" * 1001).status_code in (400, 403)
    assert send(issued, b"x" * 1000).status_code == 201
    refused = client.post("/v1/uploads", json=WANTED | {"bytes": 1001})
    assert (refused.status_code, refused.json()["code"]) == (422, "too_large")


def test_nothing_after_its_time(servers: Stack) -> None:
    """Signatures and the ticket expire together."""
    client = client_of(servers.settings.model_copy(update={"upload_expires_s": 1.0}))
    issued = issue(client)
    eventually(
        lambda: (
            client.get(f"/v1/uploads/{issued['ticket']}").json()["status"] == "expired"
        ),
        "the end of it",
    )
    # the store's clock reads whole seconds
    eventually(lambda: send(issued, photo()).status_code == 403, "a refusal")
    put = issued["put"]
    assert (
        httpx.put(put["url"], headers=put["headers"], content=photo()).status_code
        == 403
    )


def test_parts_are_signed_with_their_sizes(servers: Stack) -> None:
    """Above a size; the parts together are the photo, and no part may be larger than it
    was told.
    """
    client = client_of(servers.settings.model_copy(update={"multipart_bytes": 5 << 20}))
    data = photo() + bytes(6 << 20)
    issued = issue(client, bytes=len(data))
    parts = issued["multipart"]["parts"]
    assert [part["bytes"] for part in parts] == [5 << 20, len(data) - (5 << 20)]
    assert (
        httpx.put(parts[1]["url"], content=bytes(parts[1]["bytes"] + 1)).status_code
        == 403
    )
    root, start = ET.Element("CompleteMultipartUpload"), 0
    for part in parts:
        answer = httpx.put(part["url"], content=data[start : start + part["bytes"]])
        assert answer.status_code == 200, answer.text
        start += part["bytes"]
        entry = ET.SubElement(root, "Part")
        ET.SubElement(entry, "PartNumber").text = str(part["number"])
        ET.SubElement(entry, "ETag").text = answer.headers["etag"]
    done = httpx.post(
        issued["multipart"]["complete"], content=ET.tostring(root), timeout=30
    )
    assert done.status_code == 200, done.text
    receipt = decide(servers, issued["key"])
    assert (receipt.decision, receipt.source.bytes) == ("queued", len(data))
    assert receipt.workflow
    assert receipt.workflow.params["scale"] == 2.0


def test_a_renewed_ticket_keeps_the_parts_that_were_sent(servers: Stack) -> None:
    """The same key and request: the same upload in parts, and what is there of it. One
    that has ended begins anew.
    """
    client = client_of(servers.settings.model_copy(update={"multipart_bytes": 5 << 20}))
    data = photo() + bytes(6 << 20)
    body = WANTED | {"bytes": len(data)}
    headers = {"Idempotency-Key": str(uuid4())}
    first = client.post("/v1/uploads", json=body, headers=headers).json()["multipart"]
    sent = httpx.put(first["parts"][0]["url"], content=data[: 5 << 20])
    again = client.post("/v1/uploads", json=body, headers=headers).json()["multipart"]
    assert again["upload_id"] == first["upload_id"]
    etags = [part["etag"] for part in again["parts"]]
    assert etags == [sent.headers["etag"], None]
    assert httpx.delete(again["abort"]).status_code == 204
    anew = client.post("/v1/uploads", json=body, headers=headers).json()["multipart"]
    assert anew["upload_id"] != first["upload_id"]
    assert [part["etag"] for part in anew["parts"]] == [None, None]


def test_addresses_are_those_that_clients_reach(servers: Stack) -> None:
    client = client_of(
        servers.settings.model_copy(update={"s3_public_url": "https://photos.example"})
    )
    issued = issue(client)
    for url in (issued["post"]["url"], issued["put"]["url"]):
        assert url.startswith("https://photos.example/uploads")


def test_an_idempotency_key_gives_one_ticket(client: TestClient) -> None:
    """The same key with the same body: the same ticket; with another: 409; another key:
    another ticket.
    """
    first, again = (
        client.post("/v1/uploads", json=WANTED, headers={"Idempotency-Key": "k1"})
        for _ in range(2)
    )
    assert (first.status_code, again.status_code) == (201, 201)
    assert (first.json()["ticket"], first.json()["key"]) == (
        again.json()["ticket"],
        again.json()["key"],
    )
    other = client.post(
        "/v1/uploads",
        json=WANTED | {"workflow": "enhance"},
        headers={"Idempotency-Key": "k1"},
    )
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    more = client.post("/v1/uploads", json=WANTED, headers={"Idempotency-Key": "k2"})
    assert more.json()["ticket"] != first.json()["ticket"]
    assert (
        client.get(f"/v1/uploads/{first.json()['ticket']}").json()["status"]
        == "waiting"
    )
