"""Pictures and manifests by IIIF: for who may read the result, and at a link that opens
one thing until it expires.
"""

from __future__ import annotations

import io
import json
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from fastapi.testclient import TestClient

from gpu_worker.codec.pyramid import write_pyramid
from gpu_worker.photo import Photo
from handlers.http.app import build
from handlers.http.iiif import routes
from shared import access
from shared.access import USUAL
from shared.broker import topology
from shared.errors import Code
from shared.uploads import identity, keys
from shared.uploads.keys import Picture
from shared.uploads.messages import PyramidTask
from shared.uploads.pyramids import NoPyramid, PyramidStore
from tests.support.upload_world import PEPPER, World, photo

SIZE = (1200, 700)


class Library:
    """Ann's restored photo, and Eve."""

    def __init__(self) -> None:
        own = {"s3_access_key": "a", "s3_secret_key": "b"}
        self.world = World(settings={"api_key": "k", "api_url": "http://here", **own})
        self.clock = self.world.clock
        self.client = TestClient(
            build(self.world.ctx, checks={}), follow_redirects=False
        )
        decision = self.world.upload("a.png", photo(), {"user": "ann"})
        self.world.restore(decision)
        self.task = self.world.receipt(decision).task_id or ""
        self.stored = PyramidStore(self.world.store, self.world.ctx.settings)
        self.keys = {user: self._key(user) for user in ("ann", "eve")}

    def _key(self, user: str) -> str:
        now = self.clock.now()
        owner = identity.user_hash(user, PEPPER)
        text, document = access.mint(owner, USUAL, now, None)
        name = access.place(document.id)
        self.world.store.put("access", name, document.to_bytes(), "text/json")
        return text

    def get(self, path: str, user: str | None = "ann", method: str = "GET") -> Any:
        headers = {"Authorization": f"Bearer {self.keys[user]}"} if user else {}
        body = {"lasts_s": 300} if path.endswith("viewer-link") else None
        path = path.format(task=self.task).removeprefix("http://here")
        return self.client.request(method, path, headers=headers, json=body)

    def make(self, of: Picture) -> None:
        file = io.BytesIO()
        bands = (
            Photo(np.full((rows, SIZE[0], 3), 90, np.uint8)) for rows in (512, 188)
        )
        write_pyramid(SIZE, bands, file, "name", None)
        self.stored.put(self.task, of, file, SIZE)

    def asked(self) -> list[str]:
        bodies = self.world.publisher.bodies(topology.PREVIEW)
        return [PyramidTask.decode(body).pyramid_of for body in bodies]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setattr(routes, "WAIT_S", 0.01)
    return Library()


def test_the_first_look_asks_a_worker_once_and_again_after_a_while(
    library: Library,
) -> None:
    for _ in range(2):
        assert library.get("/iiif/3/{task}/info.json").status_code == 202
        answer = library.get("/v1/tasks/{task}/tiles", method="POST")
        assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert library.asked() == ["result"]
    library.clock.advance(31)
    assert library.get("/iiif/3/{task}/info.json").status_code == 202
    assert library.asked() == ["result", "result"]


def test_tiles_are_parts_of_the_zip(library: Library) -> None:
    library.make("result")
    info = library.get("/iiif/3/{task}/info.json").json()
    assert info["id"] == f"http://here/iiif/3/{library.task}"
    tile = library.get("/iiif/3/{task}/1024,512,176,188/176,188/0/default.jpg")
    assert tile.headers["content-type"] == "image/jpeg"
    assert tile.content.startswith(b"\xff\xd8")
    assert tile.content.endswith(b"\xff\xd9")
    told = library.get("/v1/tasks/{task}/tiles", method="POST").json()
    assert (told["width"], told["height"]) == SIZE
    assert (
        library.get("/iiif/3/{task}").headers["location"] == f"{info['id']}/info.json"
    )
    missing = library.get("/iiif/3/{task}/0,0,512,512/99,99/0/default.jpg")
    assert missing.status_code == 404
    assert library.asked() == []


@pytest.mark.parametrize("user", [None, "eve"])
@pytest.mark.parametrize(
    "path",
    [
        "/iiif/3/{task}/info.json",
        "/iiif/3/{task}/full/max/0/default.jpg",
        "/iiif/presentation/3/{task}/manifest.json",
    ],
)
def test_others_get_nothing(library: Library, path: str, user: str | None) -> None:
    library.make("result")
    assert library.get(path).status_code in (200, 202)
    assert library.get(path, user).status_code == (404 if user else 401)


def test_a_manifest_has_the_restored_picture_and_the_original(library: Library) -> None:
    library.make("result")
    assert library.get("/iiif/presentation/3/{task}/manifest.json").status_code == 202
    library.make("original")
    found = library.get("/iiif/presentation/3/{task}/manifest.json").json()
    assert [canvas["label"]["en"] for canvas in found["items"]] == [
        ["Restored (AI-assisted)"],
        ["Original"],
    ]
    assert found["requiredStatement"]["value"]["none"] == [
        library.world.ctx.settings.label_text
    ]
    assert found["seeAlso"][0]["id"] == f"http://here/v1/tasks/{library.task}/record"


def test_without_an_original_the_manifest_has_the_restored_picture_alone(
    library: Library,
) -> None:
    library.make("result")
    library.world.store.delete("uploads", "a.png")
    found = library.get("/iiif/presentation/3/{task}/manifest.json").json()
    assert len(found["items"]) == 1


def test_a_link_opens_its_task_until_it_expires_and_any_page_may_show_that(
    library: Library,
) -> None:
    library.make("result")
    library.make("original")
    made = library.get("/v1/tasks/{task}/viewer-link", method="POST").json()
    found = library.get(made["url"], None)
    assert found.headers["access-control-allow-origin"] == "*"
    assert "seeAlso" not in found.json()
    service = found.json()["items"][0]["thumbnail"][0]["service"][0]["id"]
    assert library.get(f"{service}/full/max/0/default.jpg", None).status_code == 200
    other = made["url"].replace(library.task, str(uuid4()))
    assert library.get(other, None).status_code == 404
    forged = made["url"].replace("/t/", "/t/A")
    assert library.get(forged, None).status_code == 404
    library.clock.advance(301)
    assert library.get(made["url"], None).status_code == 404


def test_who_may_not_see_a_task_gets_no_link_to_it(library: Library) -> None:
    answer = library.get("/v1/tasks/{task}/viewer-link", "eve", method="POST")
    assert answer.status_code == 404


def test_why_there_are_no_tiles_is_said_and_tried_again_later(library: Library) -> None:
    why = NoPyramid(
        error_code=Code.OUT_OF_MEMORY, error_detail="too large", at=library.clock.now()
    )
    library.stored.write_why_not(library.task, "result", why)
    answer = library.get("/v1/tasks/{task}/tiles", method="POST")
    assert (answer.status_code, answer.json()["code"]) == (409, "out_of_memory")
    library.clock.advance(601)
    assert library.get("/iiif/3/{task}/info.json").status_code == 202


def test_erased_tiles_are_gone_although_their_index_is_known(library: Library) -> None:
    library.make("result")
    path = "/iiif/3/{task}/full/max/0/default.jpg"
    assert library.get(path).status_code == 200
    library.world.store.delete("results", keys.pyramid(library.task))
    assert library.get(path).status_code == 404


def test_an_index_is_kept_for_a_minute_with_the_right_to_it(library: Library) -> None:
    library.make("result")
    path = "/iiif/3/{task}/full/max/0/default.jpg"
    assert library.get(path).status_code == 200
    library.world.store.delete("results", keys.record(library.task))
    assert library.get(path).status_code == 200
    library.clock.advance(61)
    assert library.get(path).status_code == 404
    assert json.loads(library.get(path).text)["code"] == "not_found"
