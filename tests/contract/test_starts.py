"""Upload now, start later, on the real store and the real log."""

from __future__ import annotations

from uuid import uuid4

import httpx

from infra.local.stack import Stack
from shared.errors import Code
from tests.support.api_world import ApiWorld, tenant
from tests.support.upload_world import photo


def test_a_start_by_ticket_on_the_real_store(servers: Stack) -> None:
    """Sent once, held, started twice with other parameters, erased with its runs."""
    world = ApiWorld(servers.settings)
    client = world.client(tenant(f"user-{uuid4()}", world.settings))
    wanted = {
        "filename": "a.png",
        "content_type": "image/png",
        "workflow": "fast",
        "start": False,
    }
    ticket = client.post("/v1/uploads", json=wanted).json()
    path = f"/v1/uploads/{ticket['ticket']}"
    put = ticket["put"]
    sent = photo() + uuid4().bytes
    answer = httpx.put(put["url"], headers=put["headers"], content=sent)
    assert answer.status_code == 200
    held = world.decide(ticket["key"])
    assert client.get(path).json()["status"] == "held"
    tasks = []
    for scale in (2, 3):
        start = {"ticket": ticket["ticket"], "params": {"scale": scale}}
        tasks.append(client.post("/v1/tasks", json=start).json()["task_id"])
    world.record()
    assert client.get(path).json()["task_id"] == tasks[1]
    shown = client.get("/v1/tasks").json()["items"]
    assert sorted(row["task_id"] for row in shown) == sorted(tasks)
    for run in world.ctx.uploads.runs(held.upload_id):
        world.restore(world.receipt(run.upload_id))
    original = f"/v1/tasks/{tasks[0]}/original"
    link = client.get(original, follow_redirects=False)
    assert httpx.get(link.headers["location"]).content == sent
    assert client.delete(path).status_code == 200
    world.record()
    rows = client.get("/v1/tasks").json()["items"]
    assert {row["error_code"] for row in rows} == {Code.ERASED}
    assert {row["image_filename"] for row in rows} == {None}
    assert not list(world.store.list(world.settings.bucket_uploads, ticket["key"]))


def test_another_photo_at_the_key_is_not_shown(servers: Stack) -> None:
    """It may be somebody else's: the owner of the first is told that it is gone."""
    world = ApiWorld(servers.settings)
    client = world.client(tenant(f"user-{uuid4()}", world.settings))
    wanted = {"filename": "a.png", "content_type": "image/png", "workflow": "fast"}
    ticket = client.post("/v1/uploads", json=wanted).json()
    put = ticket["put"]
    sent = photo() + uuid4().bytes
    assert httpx.put(put["url"], headers=put["headers"], content=sent).is_success
    task_id = world.decide(ticket["key"]).task_id
    original = f"/v1/tasks/{task_id}/original"
    assert client.get(original, follow_redirects=False).status_code == 307
    bucket = world.settings.bucket_uploads
    world.store.put(bucket, ticket["key"], photo() + b"another", "image/png", {})
    assert client.get(original, follow_redirects=False).status_code == 404
