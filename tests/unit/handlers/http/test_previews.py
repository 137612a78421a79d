"""A look ahead: a task of its own, never the photo's result, through the photo's own
pipeline.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from gpu_worker.photo import Photo
from gpu_worker.pipeline.preview_region import preview_region
from handlers.http.app import build
from shared import workflows
from shared.broker import topology
from shared.errors import PermanentError
from shared.runtime.settings import Settings
from shared.uploads import keys
from shared.uploads.documents import PreviewSpec, Receipt, Record, Region
from shared.uploads.messages import RestoreTask
from tests.support.records import record_of
from tests.support.upload_world import World, photo


@pytest.fixture
def world() -> World:
    return World(settings={"api_key": "k", "s3_access_key": "a", "s3_secret_key": "b"})


@pytest.fixture
def client(world: World) -> TestClient:
    return TestClient(
        build(world.ctx, checks={}), headers={"Authorization": "Bearer k"}
    )


def look(client: TestClient, **changes: Any) -> httpx2.Response:
    return client.post(
        "/v1/previews", json={"source": {"key": "a.png"}, "workflow": "fast", **changes}
    )


def test_a_preview_has_a_task_of_its_own_and_the_photos_signature(
    world: World, client: TestClient
) -> None:
    """Interactive, with a receipt that the sweep does not see, and nothing for the log."""
    photo_task = world.receipt(world.upload("a.png", photo())).task_id
    events = len(world.log())
    answer = look(client, params={"scale": 2})
    assert answer.status_code == 202
    begun = answer.json()
    assert begun["signature"] == workflows.resolve("fast", {"scale": 2}).ref.signature
    assert begun["task_id"] != photo_task
    (body,) = world.publisher.bodies(topology.PREVIEW)
    task = RestoreTask.decode(body)
    receipt = Receipt.from_bytes(
        world.store.read("results", keys.receipt(task.upload_id)), "receipt"
    )
    assert (receipt.preview, receipt.task_id) == (
        PreviewSpec(max_px=512),
        begun["task_id"],
    )
    assert len(world.log()) == events
    shown = client.get(f"/v1/tasks/{begun['task_id']}").json()
    assert (shown["status"], shown["task_id"]) == ("queued", begun["task_id"])


def test_the_same_look_is_the_same_task(world: World, client: TestClient) -> None:
    """Another part, size, workflow or parameter is another."""
    world.upload("a.png", photo())
    region = {"x": 0, "y": 0, "width": 16, "height": 16}
    looks: list[dict[str, Any]] = [
        {},
        {"max_px": 100},
        {"region": region},
        {"params": {"scale": 3}},
        {"workflow": "enhance"},
    ]
    tasks = [look(client, **changes).json()["task_id"] for changes in looks]
    assert len(set(tasks)) == len(looks)
    assert look(client, max_px=512).json()["task_id"] == tasks[0]


def test_several_sets_make_one_sheet(world: World, client: TestClient) -> None:
    """A task and a signature each; the sheet shows all, once all are done."""
    world.upload("a.png", photo())
    grid = look(client, sets=[{"scale": 2}, {"scale": 3}]).json()
    signatures = [each["signature"] for each in grid["previews"]]
    expected = [
        workflows.resolve("fast", {"scale": scale}).ref.signature for scale in (2, 3)
    ]
    assert signatures == expected
    assert client.get(grid["sheet"]).json()["code"] == "too_early"
    for body in world.publisher.bodies(topology.PREVIEW):
        task = RestoreTask.decode(body)
        name = keys.receipt(task.upload_id)
        receipt = Receipt.from_bytes(world.store.read("results", name), "receipt")
        record = record_of(receipt, world.clock.now())
        world.store.put("results", keys.preview(task.task_id), b"webp", "image/webp")
        place = keys.record(task.task_id)
        world.store.put("results", place, record.to_bytes(), "application/json")
    answer = client.get(grid["sheet"])
    assert answer.headers["content-type"] == "image/svg+xml"
    sheet = ElementTree.fromstring(answer.text)
    texts = [each.text for each in sheet.iter("{http://www.w3.org/2000/svg}text")]
    captions = ["scale 2.0", expected[0], "scale 3.0", expected[1]]
    assert texts == captions


def test_one_bad_set_begins_nothing(world: World, client: TestClient) -> None:
    world.upload("a.png", photo())
    answer = look(client, sets=[{"scale": 2}, {"scale": 99}])
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_parameter")
    assert world.publisher.bodies(topology.PREVIEW) == []
    assert look(client, sets=[{"scale": 2}]).status_code == 422
    both = {"params": {"scale": 2}, "sets": [{"scale": 2}, {"scale": 3}]}
    assert look(client, **both).status_code == 422


def test_a_finished_one_is_not_made_again(world: World, client: TestClient) -> None:
    decision = world.upload("a.png", photo())
    task = look(client).json()["task_id"]
    receipt = world.receipt(decision)
    world.restore(decision)
    made = keys.record(receipt.task_id or "")
    record = Record.from_bytes(world.store.read("results", made), made).model_copy(
        update={"task_id": task}
    )
    world.store.put("results", keys.record(task), record.to_bytes(), "application/json")
    world.publisher.sent.clear()
    assert look(client).json()["task_id"] == task
    assert world.publisher.sent == []


def test_what_cannot_be_looked_at(world: World, client: TestClient) -> None:
    world.upload("a.png", photo())
    world.upload("b.png", b"text")
    region = {"x": 0, "y": 0, "width": 16, "height": 16}
    refused: list[tuple[dict[str, Any], int]] = [
        ({"source": {"key": "nothing.png"}}, 404),
        ({"source": {"key": "b.png"}}, 409),
        ({"source": {}}, 422),
        ({"source": {"key": "a.png", "task_id": str(UUID(int=1))}}, 422),
        ({"region": region, "max_px": 64}, 422),
        ({"workflow": "none"}, 422),
        ({"params": {"scale": 99}}, 422),
        ({"max_px": 5000}, 422),
    ]
    for changes, status in refused:
        assert look(client, **changes).status_code == status, changes


PIXELS = np.arange(40 * 60 * 3, dtype=np.uint16).reshape(40, 60, 3)


def test_a_region_is_cut_out_to_the_pixel() -> None:
    """Alpha with it; what reaches over the edge is left out; nothing there is refused."""
    whole = Photo(PIXELS, alpha=PIXELS[:, :, 0])
    cut = preview_region(
        whole, PreviewSpec(region=Region(x=50, y=4, width=16, height=16)), Settings()
    )
    assert np.array_equal(cut.pixels, PIXELS[4:20, 50:60])
    assert cut.alpha is not None
    assert np.array_equal(cut.alpha, PIXELS[4:20, 50:60, 0])
    assert cut.pixels.flags["C_CONTIGUOUS"]
    with pytest.raises(PermanentError, match="60 x 40"):
        preview_region(
            whole,
            PreviewSpec(region=Region(x=60, y=0, width=16, height=16)),
            Settings(),
        )


def test_a_small_version_keeps_its_shape() -> None:
    whole = Photo(PIXELS, alpha=PIXELS[:, :, 0])
    small = preview_region(whole, PreviewSpec(max_px=30), Settings())
    assert (small.width, small.height) == (30, 20)
    assert small.alpha is not None
    assert small.alpha.shape == (20, 30)
    assert preview_region(whole, PreviewSpec(max_px=512), Settings()) is whole
